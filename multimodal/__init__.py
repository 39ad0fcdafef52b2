"""Cleaning web image-text data: which labels are wrong, which texts do not belong, and why."""

from typing import TYPE_CHECKING

from labelnoise.lazy import lazy_names

if TYPE_CHECKING:
    from labelnoise.class_list import ClassList, read_classes
    from multimodal.arrays import clean_embeddings
    from multimodal.cleaning import Workforce, clean, run_request
    from multimodal.cleaning_request import CleaningRequest
    from multimodal.corpus import open_corpus
    from multimodal.dataset_map import label_columns
    from multimodal.embedded import EmbeddedCorpus
    from multimodal.encoders import ENCODERS
    from multimodal.methods import CLEANING_METHODS
    from multimodal.prototype_cleaner import PrototypeCleaner
    from multimodal.records import Record
    from multimodal.rows import Rows
    from multimodal.run_folder import CleanedRun, open_run

_MODULES: dict[str, str] = {
    "CLEANING_METHODS": "multimodal.methods",
    "ClassList": "labelnoise.class_list",
    "CleanedRun": "multimodal.run_folder",
    "CleaningRequest": "multimodal.cleaning_request",
    "ENCODERS": "multimodal.encoders",
    "EmbeddedCorpus": "multimodal.embedded",
    "PrototypeCleaner": "multimodal.prototype_cleaner",
    "Record": "multimodal.records",
    "Rows": "multimodal.rows",
    "Workforce": "multimodal.cleaning",
    "clean": "multimodal.cleaning",
    "clean_embeddings": "multimodal.arrays",
    "label_columns": "multimodal.dataset_map",
    "open_corpus": "multimodal.corpus",
    "open_run": "multimodal.run_folder",
    "read_classes": "labelnoise.class_list",
    "run_request": "multimodal.cleaning",
}

__all__ = [
    "CLEANING_METHODS",
    "ENCODERS",
    "ClassList",
    "CleanedRun",
    "CleaningRequest",
    "EmbeddedCorpus",
    "PrototypeCleaner",
    "Record",
    "Rows",
    "Workforce",
    "clean",
    "clean_embeddings",
    "label_columns",
    "open_corpus",
    "open_run",
    "read_classes",
    "run_request",
]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
