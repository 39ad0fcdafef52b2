"""Cleaning methods for image-text corpora, by name. A new one is one file and one line here."""

from labelnoise.registry import Entry, Registry

CLEANING_METHODS = Registry(
    "method",
    {
        "capro": Entry(
            "multimodal.methods.capro:Capro",
            "cross-modal prototypes: texts pick clean images, their prototypes judge the rest",
            "CAPro, NeurIPS 2023",
        ),
    },
)
