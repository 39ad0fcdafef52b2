"""Rows of Arrow tables to records: Parquet files and Hugging Face datasets."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from multimodal.corpus.columns import ColumnNames
from multimodal.corpus.fields import make_record
from multimodal.corpus.image_files import ImageFiles
from multimodal.corpus.images import ImageError, ImageLimits
from multimodal.records import Problem, Record

if TYPE_CHECKING:
    import pyarrow as pa


def records_of(
    batch: "pa.RecordBatch | pa.Table",
    names: ColumnNames,
    *,
    first_row: int,
    id_prefix: str,
    files: ImageFiles,
    limits: ImageLimits,
    class_names: Sequence[str] = (),
) -> Iterator[Record]:
    """Records of a batch.

    Args:
        batch: Rows with the columns of `names`. An image is bytes, a path, or a struct of both.
        names: Resolved columns.
        first_row: Number of the batch's first row, for ids where no column has them.
        id_prefix: Stands before the row's number there.
        files: Where image paths are looked up.
        limits: Larger images are not handed on.
        class_names: Names of numbered labels.
    """
    embedded = set(names.embeddings)
    columns = {
        name: _numbers(batch.column(name)) if name in embedded else _values(batch.column(name))
        for name in names.all_names()
        if name != names.image
    }
    images = batch.column(names.image) if names.image else None
    for row in range(batch.num_rows):
        values = {name: column[row] for name, column in columns.items()}
        # one copy of one image at a time
        cell = None if images is None else images[row].as_py()
        image, image_name, problem = _image(cell, files, limits)
        yield make_record(
            values,
            names,
            default_id=f"{id_prefix}{first_row + row}",
            image=image,
            image_name=image_name,
            problem=problem if names.image else None,
            class_names=class_names,
        )


def class_names_of(schema: "pa.Schema", label: str) -> tuple[str, ...]:
    """Names of a `ClassLabel` column as `datasets` writes them into the schema, else none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        feature = features[label]
        for inner in ("feature", "inner"):
            feature = feature.get(inner, feature) if isinstance(feature, dict) else feature[0]
        return tuple(map(str, feature["names"]))
    except (KeyError, TypeError, IndexError, ValueError, AttributeError):
        return ()


def _image(
    value: Any, files: ImageFiles, limits: ImageLimits
) -> tuple[bytes | None, str, Problem | None]:
    """(bytes, name, what is wrong) of a cell."""
    name = ""
    if isinstance(value, Mapping):
        name, value = str(value.get("path") or ""), value.get("bytes") or value.get("path")
    if value is None or value == "" or value == b"":
        return None, name, Problem("image_missing", "the cell is empty")
    if isinstance(value, str):
        try:
            return *files.read(value, limits), None
        except ImageError as error:
            return None, value, error.problem
    if not isinstance(value, bytes):
        found = f"the image is a {type(value).__name__}, neither bytes nor a path"
        return None, name, Problem("record_broken", found)
    if len(value) > limits.max_bytes:
        detail = f"{len(value):,} bytes, allowed {limits.max_bytes:,}"
        return None, name, Problem("image_too_large", detail)
    return value, name, None


def _values(column: "pa.Array | pa.ChunkedArray") -> list[Any]:
    """Python values; text that is not UTF-8 stays bytes, for the record to be marked."""
    import pyarrow as pa

    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        binary = pa.large_binary() if pa.types.is_large_string(column.type) else pa.binary()
        return [_as_text_or_bytes(v) for v in column.cast(binary, safe=False).to_pylist()]


def _as_text_or_bytes(value: bytes | None) -> str | bytes | None:
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def _numbers(column: "pa.Array | pa.ChunkedArray") -> list[Any]:
    """Rows of a list column as arrays of its own dtype, without a Python float per value."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if not hasattr(column, "values") or pa.types.is_dictionary(column.type):
        return column.to_pylist()
    return [row.values.to_numpy(zero_copy_only=False) if row.is_valid else None for row in column]
