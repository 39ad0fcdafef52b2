"""First pass over the edges: which nodes there are, whether weights are weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graphnoise.graph_store.array_files import ArrayFile, map_array, write_array
from graphnoise.graph_store.compiled import find_texts
from graphnoise.graph_store.distinct import DistinctIntegers, DistinctTexts, text_buffers
from graphnoise.graph_store.header import ID_ORDER, INTEGER_IDS, TEXT_BYTES, TEXT_OFFSETS
from graphnoise.graph_store.progress import Plan
from graphnoise.graph_store.sources import EdgeChunk, EdgeSource

MAX_NODES = 1 << 32
Ends: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Survey:
    """What the first pass found.

    Attributes:
        n_nodes: Number of nodes.
        n_edges: Edges that the source lists.
        ids: "position", "integer" or "text".
        weighted: Whether some weight is neither 0 nor 1.
        has_weights: Whether the source has weights at all; those of 0 drop their edges.
        arrays: Files of the ids.
    """

    n_nodes: int
    n_edges: int
    ids: str
    weighted: bool
    has_weights: bool
    arrays: Mapping[str, ArrayFile]

    def plain(self) -> dict[str, Any]:
        """As JSON holds it; `from_plain` reads it."""
        return asdict(self)

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> "Survey":
        """The survey that `plain` described."""
        arrays = {
            name: ArrayFile(**{**about, "shape": tuple(about["shape"])})
            for name, about in content["arrays"].items()
        }
        return cls(**{**content, "arrays": arrays})


def survey_edges(source: EdgeSource, folder: Path, store: Path, plan: Plan) -> Survey:
    """Read every edge once, collect the ids and write them.

    Args:
        source: The edges.
        folder: For sorted runs.
        store: Where the files of ids go.
        plan: Memory, and whether the number of nodes is known.

    Raises:
        ValueError: A weight that is negative, NaN or infinite; an id out of range; ids that
            repeat; more than 2^32 nodes.
    """
    n_nodes = source.n_nodes if plan.n_nodes is None else plan.n_nodes
    known, kind = n_nodes is not None and source.id_kind != "text", source.id_kind
    distinct = (DistinctTexts if kind == "text" else DistinctIntegers)(folder, plan.memory // 2)
    n_edges, has_weights, weighted = 0, False, False
    for chunk in source.chunks(plan.chunk_rows):
        if chunk.weight is not None:
            _check_weights(chunk, n_edges)
            has_weights = True
            weighted |= bool(((chunk.weight != 0) & (chunk.weight != 1)).any())
        for side in chunk[:2]:
            if known:
                _check_range(side, n_nodes or 0, n_edges)
            else:
                distinct.add(side)
        n_edges += len(chunk.source)
        plan.tell("read ids", n_edges, None)
    if known:
        kind, arrays = _write_names(source.node_names, int(n_nodes or 0), store)
    else:
        n_nodes, arrays = distinct.write(store)
        kind = kind if arrays else "position"
        if plan.n_nodes not in (None, n_nodes):
            raise ValueError(f"n_nodes is {plan.n_nodes}, but the edges name {n_nodes} nodes")
    if n_nodes is None or n_nodes > MAX_NODES:
        raise ValueError(f"a store holds at most 2^32 nodes, found {n_nodes}")
    return Survey(n_nodes, n_edges, kind, weighted, has_weights, arrays)


class Positions:
    """Turns the ends of edges into positions.

    Args:
        survey: Of the source.
        kind: `id_kind` of the source.
        store: Where the files of ids are.
        memory: Bytes that it may hold.
    """

    def __init__(self, survey: Survey, kind: str, store: Path, memory: int) -> None:
        self._plain = kind == "position" or not survey.arrays or survey.ids != kind
        self._kind = kind
        self._table = {} if self._plain else {
            name: map_array(store / name, about) for name, about in survey.arrays.items()
        }  # fmt: skip
        self._ranks = self._rank_table(memory) if kind == "integer" and not self._plain else None

    def of(self, chunk: EdgeChunk) -> Ends:
        """Positions of both ends ``[n]`` int64 each."""
        if self._plain:
            return chunk.source, chunk.target
        if self._kind == "text":
            return self._of_texts(chunk)
        if self._ranks is not None:
            return self._ranks[chunk.source], self._ranks[chunk.target]
        # in ascending order a lookup reads the table from front to back
        values, place = np.unique(np.concatenate(chunk[:2]), return_inverse=True)
        found = np.searchsorted(self._table[INTEGER_IDS], values)[place]
        return found[: len(chunk.source)], found[len(chunk.source) :]

    def _rank_table(self, memory: int) -> NDArray[np.int64] | None:
        ids = self._table[INTEGER_IDS]
        length = int(ids[-1]) + 1
        if ids[0] < 0 or 8 * length > memory // 4:
            return None
        ranks = np.zeros(length, np.int64)
        ranks[ids] = np.arange(len(ids))
        return ranks

    def _of_texts(self, chunk: EdgeChunk) -> Ends:
        both = pa.chunked_array([chunk.source, chunk.target]).combine_chunks()
        coded = both.dictionary_encode()
        # dictionaries of large_string keep 64-bit offsets, as the table does
        offsets, text = text_buffers(coded.dictionary)
        found = np.empty(len(offsets) - 1, np.int64)
        find_texts(self._table[TEXT_OFFSETS], self._table[TEXT_BYTES], offsets, text, found)
        positions = found[coded.indices.to_numpy()]
        return positions[: len(chunk.source)], positions[len(chunk.source) :]


def _write_names(
    names: NDArray[Any] | None, n_nodes: int, store: Path
) -> tuple[str, dict[str, ArrayFile]]:
    """Files of the ids of a source in memory, whose nodes keep their order."""
    if names is None:
        return "position", {}
    if names.shape != (n_nodes,):
        raise ValueError(f"node ids must be [{n_nodes}], one per node, got {names.shape}")
    if names.dtype.kind in "iu":
        values = names.astype(np.int64)
        order, kind = np.argsort(values, kind="stable"), "integer"
        repeated = values[order][1:][np.diff(values[order]) == 0]
        arrays = {INTEGER_IDS: write_array(store / INTEGER_IDS, values)}
    else:
        texts = pa.array([str(name) for name in names], pa.large_string())
        order, kind = pc.array_sort_indices(texts).to_numpy().astype(np.int64), "text"
        ranked = np.asarray(names, object)[order]
        repeated = ranked[1:][ranked[1:] == ranked[:-1]]
        offsets, content = text_buffers(texts)
        arrays = {
            TEXT_OFFSETS: write_array(store / TEXT_OFFSETS, offsets),
            TEXT_BYTES: write_array(store / TEXT_BYTES, content[: offsets[-1]]),
        }
    if len(repeated):
        raise ValueError(f"node ids must be distinct, found {repeated[0]!r} repeated")
    if (np.diff(order) < 0).any():
        arrays[ID_ORDER] = write_array(store / ID_ORDER, order)
    return kind, arrays


def _check_weights(chunk: EdgeChunk, before: int) -> None:
    weight = chunk.weight
    if weight is None:
        return
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any():
        at = int(np.argmax(bad))
        raise ValueError(
            f"weights must be finite and non-negative, found {weight[at]} at edge {before + at}"
            f" (counted from 0), from {chunk.source[at]} to {chunk.target[at]}"
        )


def _check_range(ends: NDArray[np.int64], n_nodes: int, before: int) -> None:
    bad = (ends < 0) | (ends >= n_nodes)
    if bad.any():
        at = int(np.argmax(bad))
        raise ValueError(
            f"ends of edges must lie in 0 .. {n_nodes - 1}, found {ends[at]} at edge"
            f" {before + at} (counted from 0)"
        )
