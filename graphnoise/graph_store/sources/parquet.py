"""Edges in a Parquet file."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from graphnoise.graph_store.sources import EdgeChunk, SourceOptions, file_identity
from graphnoise.graph_store.sources.columns import choose_columns, edge_chunk


class ParquetFile:
    """Edges in a Parquet file; see `EdgeSource`."""

    n_nodes, node_names, features = None, None, None
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, columns: tuple[str, ...], kind: str) -> None:
        self.path, self.columns, self.id_kind = path, columns, kind
        self.description = f"{path.name} (Parquet)"

    def identity(self) -> Mapping[str, Any]:
        """File and columns."""
        return {**file_identity(self.path), "columns": list(self.columns), "ids": self.id_kind}

    def chunks(self, rows: int) -> Iterator[EdgeChunk]:
        """Batches of rows."""
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=rows, columns=list(self.columns)):
                columns = [pa.chunked_array([batch[name]]) for name in self.columns]
                yield edge_chunk(self.path.name, columns, self.id_kind)


def parquet_file(path: Path, options: SourceOptions) -> ParquetFile:
    """Edges in a Parquet file: integer columns are integer ids, all others text.

    Raises:
        ValueError: No Parquet, or a column is missing or holds fractions.
    """
    try:
        schema = pq.read_schema(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from error
    columns = choose_columns(path.name, schema.names, options)
    types = [_value_type(schema.field(name).type) for name in columns[:2]]
    for name, found in zip(columns, types, strict=False):
        if not (pa.types.is_integer(found) or _is_text(found)):
            raise ValueError(
                f"{path.name}: ids must be integers or text, column {name!r} is {found}"
            )
    integers = all(pa.types.is_integer(found) for found in types)
    return ParquetFile(path, columns, options.ids or ("integer" if integers else "text"))


def _value_type(found: pa.DataType) -> pa.DataType:
    return found.value_type if pa.types.is_dictionary(found) else found


def _is_text(found: pa.DataType) -> bool:
    return bool(pa.types.is_string(found) or pa.types.is_large_string(found))
