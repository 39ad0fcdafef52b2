"""Columns of a table of edges: which ones, and what is in them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graphnoise.graph_store.sources import EdgeChunk, SourceOptions

SOURCE_NAMES = ("source", "src", "from", "fromnodeid", "node1", "id1", "u", "head")
TARGET_NAMES = ("target", "dst", "to", "tonodeid", "node2", "id2", "v", "tail")


def choose_columns(where: str, names: Sequence[str], options: SourceOptions) -> tuple[str, ...]:
    """Names of the source, the target and, where wanted, the weight column.

    Raises:
        ValueError: A column that is named is not there, or there are fewer than two.
    """
    if len(names) < 2:
        raise ValueError(f"{where}: expected two columns of node ids or more, found {list(names)}")
    lower = [name.strip().lower() for name in names]
    usual = [
        next((names[lower.index(one)] for one in known if one in lower), None)
        for known in (SOURCE_NAMES, TARGET_NAMES)
    ]
    first, second = usual if None not in usual else names[:2]
    chosen = [options.source_column or first, options.target_column or second]
    if isinstance(options.weights, str):
        chosen.append(options.weights)
    for name in chosen:
        if name not in names:
            raise ValueError(f"{where}: no column {name!r}; found {list(names)}")
    if chosen[0] == chosen[1]:
        raise ValueError(f"{where}: source and target are both column {chosen[0]!r}")
    return tuple(str(name) for name in chosen)


def edge_chunk(where: str, columns: Sequence[pa.ChunkedArray], kind: str) -> EdgeChunk:
    """Arrow columns as a chunk of edges.

    Raises:
        ValueError: An id is missing, or of another kind than `kind`.
    """
    for name, column in zip(("source", "target", "weight"), columns, strict=False):
        if column.null_count:
            row = int(np.argmax(pc.is_null(column).to_numpy()))
            cells = [one[row].as_py() for one in columns]
            raise ValueError(f"{where}: the {name} is missing in an edge that reads {cells}")
    ends = [_ids(where, column, kind) for column in columns[:2]]
    weight = None
    if len(columns) > 2:
        try:
            weight = columns[2].cast(pa.float64()).to_numpy()
        except pa.ArrowInvalid as error:
            raise ValueError(f"{where}: weights must be numbers: {error}") from error
    return EdgeChunk(ends[0], ends[1], weight)


def _ids(where: str, column: pa.ChunkedArray, kind: str) -> NDArray[np.int64] | Any:
    wanted = pa.int64() if kind == "integer" else pa.large_string()
    try:
        cast = column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"{where}: ids must be of kind {kind!r}: {error}") from error
    return cast.to_numpy() if kind == "integer" else cast.combine_chunks()
