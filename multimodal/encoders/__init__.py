"""Encoders of images and texts by spec, ``FAMILY:ARGUMENT``. A family is one file and one line.

========================================== ===== ==== ========================================
spec                                       image text what it is
========================================== ===== ==== ========================================
``open_clip:ViT-B-32/laion2b_s34b_b79k``   x     x    model and weights by open_clip's names
``open_clip:ViT-B-32@weights.safetensors`` x     x    the same with weights from a file
``transformers:google/siglip-base-...``    x     x    CLIP or SigLIP: hub name or folder
``cnn:mobilenet.safetensors``              x          MobileNetV2, ResNet: state dict or arrays
``cnn:mobilenet.safetensors#early``        x          the same, an early layer
``sentence:NAME_OR_FOLDER``                      x    a sentence-transformers model
``minilm``                                       x    all-MiniLM-L6-v2 from its wheel
``column:NAME``                            x     x    a column of the records
``file:rows.npy``                          x     x    rows beside a list of ids
========================================== ===== ==== ========================================
"""

from typing import TypeGuard

from labelnoise.registry import Entry, Registry
from multimodal.encoders.base import (
    EncoderSettings,
    Family,
    ImageEncoder,
    Precision,
    PrecomputedEncoder,
    TextEncoder,
)

ENCODERS = Registry(
    "encoder family",
    {
        "open_clip": Entry(
            "multimodal.encoders.openclip:FAMILY",
            "image and text towers of open_clip, e.g. open_clip:ViT-B-32/laion2b_s34b_b79k",
            "CLIP, ICML 2021; OpenCLIP, CVPR 2023",
        ),
        "transformers": Entry(
            "multimodal.encoders.huggingface:FAMILY",
            "CLIP and SigLIP of transformers, e.g. transformers:google/siglip-base-patch16-224",
            "CLIP, ICML 2021; SigLIP, ICCV 2023",
        ),
        "sentence": Entry(
            "multimodal.encoders.texts:SENTENCE",
            "texts by a sentence-transformers model, e.g. sentence:all-mpnet-base-v2",
            "Sentence-BERT, EMNLP 2019",
        ),
        "minilm": Entry(
            "multimodal.encoders.texts:MINILM",
            "texts by all-MiniLM-L6-v2 from the wheel of the extra minilm; no download",
            "MiniLM, NeurIPS 2020; CAPro's text encoder",
        ),
        "cnn": Entry(
            "multimodal.encoders.cnn:FAMILY",
            "images by a MobileNetV2 or ResNet, e.g. cnn:resnet50.safetensors",
            "MobileNetV2, CVPR 2018; ResNet, CVPR 2016",
        ),
        "column": Entry(
            "multimodal.encoders.precomputed:COLUMN",
            "rows that the records carry in a column, e.g. column:clip_image",
            "",
        ),
        "file": Entry(
            "multimodal.encoders.precomputed:FILE",
            "rows of a .npy file beside a list of ids, e.g. file:rows.npy",
            "",
        ),
    },
)


def make_image_encoder(
    spec: str,
    *,
    device: str | None = None,
    precision: Precision | None = None,
    batch_size: int | None = None,
) -> ImageEncoder | PrecomputedEncoder:
    """The image encoder that a spec names.

    Args:
        spec: ``FAMILY:ARGUMENT``; see `multimodal.encoders`.
        device: As `EncoderSettings.device`.
        precision: As `EncoderSettings.precision`.
        batch_size: As `EncoderSettings.batch_size`.

    Raises:
        ValueError: Unknown family, a family without images, an argument it cannot use.
        ImportError: The family's extra is not installed; names it.
    """
    family, argument = _family(spec)
    if family.image is None:
        raise ValueError(f"{spec!r} encodes texts only; image encoders: {_offering('image')}")
    return family.image(argument, EncoderSettings(device, precision, batch_size))


def make_text_encoder(
    spec: str,
    *,
    device: str | None = None,
    precision: Precision | None = None,
    batch_size: int | None = None,
) -> TextEncoder | PrecomputedEncoder:
    """The text encoder that a spec names; arguments and errors as `make_image_encoder`."""
    family, argument = _family(spec)
    if family.text is None:
        raise ValueError(f"{spec!r} encodes images only; text encoders: {_offering('text')}")
    return family.text(argument, EncoderSettings(device, precision, batch_size))


def is_precomputed(
    encoder: ImageEncoder | TextEncoder | PrecomputedEncoder,
) -> TypeGuard[PrecomputedEncoder]:
    """Whether rows are looked up rather than encoded."""
    return hasattr(encoder, "lookup")


def _family(spec: str) -> tuple[Family, str]:
    name, _, argument = spec.partition(":")
    family: Family = ENCODERS.load(name)
    return family, argument


def _offering(kind: str) -> list[str]:
    return [name for name in ENCODERS if getattr(ENCODERS.load(name), kind) is not None]
