"""Second pass: both directions of every edge onto the disk, roughly ordered by row."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from graphnoise.graph_store.compiled import scatter
from graphnoise.graph_store.progress import Plan
from graphnoise.graph_store.sources import EdgeSource
from graphnoise.graph_store.survey import Positions, Survey

KEYS, VALUES, COUNTS = "keys.bin", "values.bin", "counts.npy"
# each chunk is written in so many ranges of rows; a sorted piece is some ranges of all chunks
N_RANGES = 1024


@dataclass(frozen=True)
class Scattered:
    """What the second pass left.

    Attributes:
        loops: Self loops dropped.
        zeros: Edges of weight 0 dropped.
        weighted: Whether `VALUES` was written beside `KEYS`.
    """

    loops: int
    zeros: int
    weighted: bool

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> "Scattered":
        """What `plain` described."""
        return cls(**content)


def scatter_edges(
    source: EdgeSource, survey: Survey, folder: Path, positions: Positions, plan: Plan
) -> Scattered:
    """Write the keys of all entries, chunk by chunk, each chunk ordered by range of rows.

    Args:
        source: The edges.
        survey: Of the source.
        folder: Where the files go: `KEYS`, `VALUES` and, for each chunk, `COUNTS` by range.
        positions: Of the source's ids.
        plan: Sizes.

    Raises:
        ValueError: The source lists another number of edges than before.
    """
    shift = max((max(survey.n_nodes, 1) - 1).bit_length() - (N_RANGES.bit_length() - 1), 0)
    reads_weights, one = survey.has_weights, np.empty(0)
    weighted = survey.weighted or plan.add
    counts: list[NDArray[np.int64]] = []
    loops, zeros, n_edges = 0, 0, 0
    with (folder / KEYS).open("wb") as keys_file, (folder / VALUES).open("wb") as values_file:
        for chunk in source.chunks(plan.chunk_rows):
            ends = positions.of(chunk)
            n = len(chunk.source)
            counted = np.empty(N_RANGES, np.int64)
            keys = np.empty(2 * n, np.uint64)
            values = np.empty(2 * n if weighted or reads_weights else 0)
            given = chunk.weight if chunk.weight is not None else one
            if len(values) and chunk.weight is None:
                given = np.ones(n)
            dropped = scatter(*ends, given, shift, counted, keys, values)
            kept = int(counted.sum())
            _write(keys_file, keys[:kept])
            _write(values_file, values[: kept if weighted else 0])
            counts.append(counted)
            loops, zeros, n_edges = loops + dropped[0], zeros + dropped[1], n_edges + n
            plan.tell("spread edges", n_edges, survey.n_edges)
        if n_edges != survey.n_edges:
            raise ValueError(
                f"{source.description} changed while it was read: found {n_edges} edges, expected"
                f" {survey.n_edges}"
            )
        _sync(keys_file)
        _sync(values_file)
    with (folder / COUNTS).open("wb") as counts_file:
        np.save(counts_file, np.array(counts, np.int64).reshape(-1, N_RANGES))
        _sync(counts_file)
    return Scattered(loops, zeros, weighted)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _write(file: BinaryIO, array: NDArray[Any]) -> None:
    file.write(array.view(np.uint8).data)
