"""Corpora of images with texts as streams of records, from the formats they lie in."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from labelnoise.lazy import lazy_names
from labelnoise.registry import Entry, Registry
from multimodal.corpus.columns import ColumnNames
from multimodal.corpus.images import ImageLimits

if TYPE_CHECKING:
    from multimodal.corpus.base import Corpus
    from multimodal.corpus.sources import Source

FORMATS = Registry(
    "format",
    {
        "webdataset": Entry(
            "multimodal.corpus.webdataset:open_webdataset",
            "tar files with KEY.jpg, KEY.txt, KEY.json, KEY.cls",
            "WebDataset, img2dataset",
        ),
        "parquet": Entry(
            "multimodal.corpus.parquet:open_parquet",
            "Parquet with image bytes or paths, texts, labels, embeddings",
            "Apache Parquet",
        ),
        "folder": Entry(
            "multimodal.corpus.folder:open_folder",
            "images with a CSV or JSON-lines table, or in a folder per class",
            "ImageFolder",
        ),
        "huggingface": Entry(
            "multimodal.corpus.huggingface:open_huggingface",
            "a dataset saved on disk or named on the hub",
            "Hugging Face datasets",
        ),
    },
)

_LAZY = {
    "corpus_from_records": "multimodal.corpus.python_records",
    "corpus_from_dataset": "multimodal.corpus.huggingface",
}
__getattr__, __dir__ = lazy_names(__name__, _LAZY)
__all__ = ["FORMATS", "ColumnNames", "ImageLimits", "guess_format", "open_corpus", *_LAZY]


def open_corpus(
    source: "Source",
    *,
    format: str | None = None,
    columns: ColumnNames = ColumnNames(),  # noqa: B008
    limits: ImageLimits = ImageLimits(),  # noqa: B008
    rows_per_shard: int = 10_000,
) -> "Corpus":
    """A corpus of image-text pairs; records are read later, shard by shard.

    Args:
        source: Path, URL of any file system fsspec knows, brace expansion
            (``shards/{00000..01243}.tar``), glob, or a list of those.
        format: One of `FORMATS`. Default: by ending, or by what a folder holds.
        columns: Which column means what; guessed where not given.
        limits: Images beyond these become rejected records and are not read.
        rows_per_shard: Records that are read, committed and retried as one, where the format
            leaves the choice (a tar is one shard). 10,000 is img2dataset's size.

    Returns:
        Shards in the order of the source.

    Raises:
        ValueError: An unknown format, nothing found, or a named column that is not there.
        OSError: The source cannot be read.
    """
    if rows_per_shard < 1:
        raise ValueError(f"rows_per_shard must be at least 1, got {rows_per_shard}")
    reader = FORMATS.load(guess_format(source) if format is None else format)
    corpus: Corpus = reader(source, columns=columns, limits=limits, rows_per_shard=rows_per_shard)
    return corpus


def guess_format(source: "Source") -> str:
    """The format of a source by the ending of its first file, or by what its folder holds.

    Raises:
        ValueError: Neither tells.
        OSError: There is no such file or folder.
    """
    from multimodal.corpus.sources import expand, is_folder, list_files

    path = expand(source)[0]
    found = _format_by_ending(path)
    if (found and "://" in path) or not is_folder(path):
        if found is None:
            raise ValueError(f"format must be given, {path} does not tell it: {list(FORMATS)}")
        return found
    names = [Path(inside).name for inside in list_files(path)]
    if {"state.json", "dataset_dict.json"} & set(names):
        return "huggingface"
    formats = {_format_by_ending(name) for name in names}
    # a table stands for the tar beside it
    return next((name for name in ("folder", "webdataset", "parquet") if name in formats), "folder")


def _format_by_ending(path: str) -> str | None:
    endings = {
        "webdataset": r"\.(tar|tgz)(\.\w+)?$",
        "parquet": r"\.(parquet|pq)$",
        "folder": r"\.(csv|tsv|jsonl|ndjson)(\.\w+)?$",
    }
    path = path.split("?")[0] if "://" in path else path
    return next((name for name, ending in endings.items() if re.search(ending, path.lower())), None)
