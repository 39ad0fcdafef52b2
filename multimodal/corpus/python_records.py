"""Records that are in memory already: for notebooks and tests."""

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multimodal.corpus.base import Corpus
from multimodal.corpus.columns import ColumnNames
from multimodal.corpus.fields import make_record
from multimodal.corpus.images import ImageError, ImageLimits
from multimodal.records import Record


def corpus_from_records(
    records: Iterable[Record | Mapping[str, Any]],
    *,
    columns: ColumnNames = ColumnNames(),  # noqa: B008
    limits: ImageLimits = ImageLimits(),  # noqa: B008
    rows_per_shard: int = 10_000,
) -> Corpus:
    """Records, or mappings of columns, as a corpus. All are held in memory.

    Args:
        records: Each a `Record`, or a mapping such as ``{"image": ..., "caption": ..., "label":
            ...}`` whose image is encoded bytes, the path of a file, or a PIL image.
        columns: What the keys of mappings mean.
        limits: Larger images are refused.
        rows_per_shard: Records of a shard, at least 1.

    Returns:
        The corpus in the order given; ids are row numbers where there are none.

    Raises:
        ValueError: No record, or something else than a record or mapping; names its number.

    Example:
        >>> corpus = corpus_from_records([{"caption": "a cat", "label": "cat"}])
        >>> next(iter(corpus.shards[0].records())).texts["title"]
        'a cat'
    """
    if rows_per_shard < 1:
        raise ValueError(f"rows_per_shard must be at least 1, got {rows_per_shard}")
    made = tuple(_record(number, item, columns, limits) for number, item in enumerate(records))
    shards = tuple(
        MemoryShard(f"records-{start:09d}", made[start : start + rows_per_shard])
        for start in range(0, len(made), rows_per_shard)
    )
    return Corpus("records in memory", shards)


@dataclass(frozen=True)
class MemoryShard:
    """Records in memory.

    Attributes:
        name: Unique in the corpus.
        held: The records.
    """

    name: str
    held: tuple[Record, ...] = field(repr=False)

    def fingerprint(self) -> str:
        """Hash of everything in the records."""
        hashed = hashlib.sha256()
        for record in self.held:
            parts = (record.id, sorted(record.texts.items()), record.labels, record.image_name)
            hashed.update(repr((parts, record.problem)).encode("utf-8", "replace"))
            hashed.update(hashlib.sha256(record.image or b"").digest())
            for name, row in sorted(record.embeddings.items()):
                hashed.update(repr((name, row.dtype.str, row.shape)).encode())
                hashed.update(row.tobytes())
        return hashed.hexdigest()

    def records(self) -> Iterator[Record]:
        """The records."""
        return iter(self.held)


def _record(number: int, item: Any, columns: ColumnNames, limits: ImageLimits) -> Record:
    if isinstance(item, Record):
        return item
    if not isinstance(item, Mapping):
        raise ValueError(f"record {number} must be a Record or a mapping, got {item!r:.80}")
    names = columns.resolve(map(str, item))
    image, image_name, problem = None, "", None
    if names.image:
        try:
            image, image_name = _image(item.get(names.image), limits)
        except ImageError as error:
            image_name, problem = str(item.get(names.image))[:200], error.problem
    return make_record(
        item,
        names,
        default_id=str(number),
        image=image,
        image_name=image_name,
        problem=problem,
    )


def _image(value: Any, limits: ImageLimits) -> tuple[bytes, str]:
    """(encoded image, its name); paths are the caller's own and may lie anywhere."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if value is None or value == "" or value == b"":
        raise ImageError("image_missing", "none is given")
    name = ""
    if isinstance(value, str | Path):
        name, path = str(value), Path(value)
        if not path.is_file():
            raise ImageError("image_missing", f"no file {path}")
        with path.open("rb") as file:
            value = file.read(limits.max_bytes + 1)
    elif hasattr(value, "save"):
        value = _encoded(value)
    if not isinstance(value, bytes):
        raise ImageError("image_undecodable", f"an image as {type(value).__name__}")
    if len(value) > limits.max_bytes:
        raise ImageError("image_too_large", f"more than {limits.max_bytes:,} bytes")
    return value, name


def _encoded(image: Any) -> bytes:
    """A PIL image as PNG, without loss."""
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()
