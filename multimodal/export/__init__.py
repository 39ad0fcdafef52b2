"""The decisions in the forms other tools take. A new form is one file and one line here."""

from labelnoise.lazy import lazy_names
from labelnoise.registry import Entry, Registry

EXPORTERS = Registry(
    "export format",
    {
        "datacomp": Entry(
            "multimodal.export.datacomp:export_datacomp",
            "sorted .npy of the 128-bit uids that are kept",
            "DataComp, subset files",
        ),
        "parquet": Entry(
            "multimodal.export.parquet:export_parquet",
            "decisions beside texts and names, as one file or one per shard",
            "Apache Parquet",
        ),
        "webdataset": Entry(
            "multimodal.export.webdataset:export_webdataset",
            "tars with the kept images, the labels to use and the decisions",
            "WebDataset",
        ),
        "huggingface": Entry(
            "multimodal.export.huggingface:export_huggingface",
            "a dataset on disk with image, text and a ClassLabel",
            "Hugging Face datasets",
        ),
        "training_filter": Entry(
            "multimodal.export.training_filter:export_training_filter",
            "a small list of what to keep and with which label, for use while training",
            "this project",
        ),
    },
)

_LAZY = {
    "ExportSettings": "multimodal.export.settings",
    "Exported": "multimodal.export.settings",
    "export_run": "multimodal.export.settings",
    "TrainingFilter": "multimodal.export.training_filter",
}
__getattr__, __dir__ = lazy_names(__name__, _LAZY)
__all__ = ["EXPORTERS", *_LAZY]
