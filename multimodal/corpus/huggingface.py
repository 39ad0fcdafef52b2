"""Hugging Face `datasets`: saved on disk, named on the hub, or handed over from Python."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multimodal.corpus.arrow_rows import records_of
from multimodal.corpus.base import Corpus, Shard
from multimodal.corpus.columns import ColumnNames
from multimodal.corpus.image_files import FolderImages
from multimodal.corpus.images import ImageLimits
from multimodal.corpus.sources import Source, digest, safe_name
from multimodal.records import Record

if TYPE_CHECKING:
    from datasets import Dataset

# rows turned to Python at once; an image has 0.1 MB
BATCH_ROWS = 64


def open_huggingface(
    source: Source, *, columns: ColumnNames, limits: ImageLimits, rows_per_shard: int
) -> Corpus:
    """A dataset saved by ``save_to_disk``, or one of the hub by name; all its splits.

    Args:
        source: Folder, or name on the hub (loaded through the library's own cache).
        columns: Columns to use; labels of a `ClassLabel` column come out as names.
        limits: Larger images are not handed on.
        rows_per_shard: Rows of a shard.

    Returns:
        The corpus; rows are read later, from memory-mapped files.

    Raises:
        ImportError: `datasets` is missing.
        ValueError: A named column is not there, or the source is a list.
        OSError: There is no such dataset.
    """
    if not isinstance(source, str | Path):
        raise ValueError(f"a Hugging Face source must be one folder or name, got {source!r}")
    shards: list[Shard] = []
    for split, dataset in _splits(str(source)).items():
        shards += _shards(
            dataset, columns, limits, rows_per_shard, where=(str(source), split), split=split
        )
    return Corpus(str(source), tuple(shards))


def corpus_from_dataset(
    dataset: "Dataset",
    *,
    columns: ColumnNames = ColumnNames(),  # noqa: B008
    limits: ImageLimits = ImageLimits(),  # noqa: B008
    rows_per_shard: int = 10_000,
) -> Corpus:
    """A `datasets.Dataset` as a corpus.

    Args:
        dataset: With an image column (not decoded here), texts, labels; filtered, shuffled or
            selected as you like. A shard pickles it: large ones should lie on disk.
        columns: Columns to use; labels of a `ClassLabel` column come out as names.
        limits: Larger images are not handed on.
        rows_per_shard: Rows of a shard, at least 1.

    Returns:
        The corpus, in the order of the dataset.

    Raises:
        ImportError: `datasets` is missing.
        ValueError: A named column is not there, or this is no map-style dataset.
    """
    import_datasets()
    if not hasattr(dataset, "with_format") or not hasattr(dataset, "num_rows"):
        raise ValueError(f"dataset must be a datasets.Dataset, got {type(dataset).__name__}")
    if isinstance(dataset.num_rows, dict):
        raise ValueError(f"dataset must be one split, got {list(dataset.num_rows)}: pick one")
    if rows_per_shard < 1:
        raise ValueError(f"rows_per_shard must be at least 1, got {rows_per_shard}")
    shards = _shards(dataset, columns, limits, rows_per_shard, where=None, split="rows")
    return Corpus(f"dataset of {dataset.num_rows:,} rows", tuple(shards))


@dataclass(frozen=True)
class DatasetShard:
    """Rows ``start .. stop - 1`` of a dataset.

    Attributes:
        name: Unique in the corpus.
        where: (folder or name, split) to load it from, or None where `dataset` is at hand.
        dataset: The dataset itself, or None.
        content: `datasets`' own fingerprint of the rows.
        start: First row.
        stop: Row after the last.
        columns: Resolved columns.
        limits: Larger images are not handed on.
        class_names: Names of numbered labels.
    """

    name: str
    where: tuple[str, str] | None
    dataset: Any = field(repr=False)
    content: str
    start: int
    stop: int
    columns: ColumnNames
    limits: ImageLimits
    class_names: tuple[str, ...] = field(repr=False)

    def fingerprint(self) -> str:
        """Hash of the dataset's fingerprint, the range and the settings."""
        parts = (self.content, self.start, self.stop, self.columns, self.limits, self.class_names)
        return digest("huggingface", *parts)

    def records(self) -> Iterator[Record]:
        """Records in the order of the dataset.

        Raises:
            OSError, ValueError: Its files cannot be read.
        """
        where = self.where
        dataset = self.dataset if where is None else _splits(where[0])[where[1]]
        arrow = dataset.with_format("arrow", columns=self.columns.all_names())
        files = FolderImages(where[0] if where else ".")
        for first in range(self.start, self.stop, BATCH_ROWS):
            yield from records_of(
                arrow[first : min(first + BATCH_ROWS, self.stop)],
                self.columns,
                first_row=first,
                id_prefix="" if where is None else f"{where[1]}:",
                files=files,
                limits=self.limits,
                class_names=self.class_names,
            )


def import_datasets() -> Any:
    """The library.

    Raises:
        ImportError: It is not installed; names the extra.
    """
    try:
        import datasets
    except ImportError:
        message = "Hugging Face datasets need the library: pip install 'graphnoise[hf]'"
        raise ImportError(message) from None
    return datasets


def _shards(
    dataset: "Dataset",
    columns: ColumnNames,
    limits: ImageLimits,
    rows_per_shard: int,
    *,
    where: tuple[str, str] | None,
    split: str,
) -> list[Shard]:
    columns.check(dataset.column_names, where[0] if where else "the dataset")
    resolved = columns.resolve(dataset.column_names)
    label = resolved.label
    names = _class_names(dataset.features[label]) if label else ()
    return [
        DatasetShard(
            name=f"{safe_name(split)}-{start:09d}",
            where=where,
            dataset=dataset if where is None else None,
            content=dataset._fingerprint,
            start=start,
            stop=min(start + rows_per_shard, dataset.num_rows),
            columns=resolved,
            limits=limits,
            class_names=names,
        )
        for start in range(0, dataset.num_rows, rows_per_shard)
    ]


def _splits(source: str) -> "dict[str, Dataset]":
    """Splits by name, loaded once per process unless the folder changes."""
    folder = Path(source)
    return _load(source, folder.stat().st_mtime_ns if folder.is_dir() else 0)


@lru_cache(maxsize=4)
def _load(source: str, changed: int) -> "dict[str, Dataset]":
    datasets = import_datasets()
    if Path(source).is_dir():
        loaded = datasets.load_from_disk(source)
    else:
        loaded = datasets.load_dataset(source)
    return dict(loaded) if isinstance(loaded, dict) else {"rows": loaded}


def _class_names(feature: Any) -> tuple[str, ...]:
    """Names of a `ClassLabel` or a list of them."""
    while hasattr(feature, "feature"):
        feature = feature.feature
    return tuple(getattr(feature, "names", None) or ())
