"""The one form in which local methods see a graph, whatever it came as."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.local_subgraph import GraphArrays


class NodeIds(Protocol):
    """The caller's ids of nodes."""

    def positions(self, ids: NDArray[Any]) -> NDArray[np.int64]:
        """Position of each id; -1 where there is no such node."""

    def names(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """Id of each position."""


@dataclass(frozen=True, eq=False)
class Adjacency:
    """An undirected graph, perhaps on disk.

    Attributes:
        arrays: CSR of both directions; symmetric, no self loops, no duplicates.
        total_volume: Sum of all degrees (of all weights, where there are any).
        ids: The caller's ids, or None where they are 0 .. N-1.
        features: ``[N, F]`` float32, dense (perhaps memory-mapped) or CSR; None where there are
            none.
        notes: What was done to the input, in words.
    """

    arrays: GraphArrays
    total_volume: float
    ids: NodeIds | None = None
    features: NDArray[np.float32] | sparse.csr_array | None = None
    notes: tuple[str, ...] = ()

    @property
    def n_nodes(self) -> int:
        """Number of nodes, N."""
        return len(self.arrays.indptr) - 1
