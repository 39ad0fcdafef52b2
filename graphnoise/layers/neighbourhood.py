"""Who attends to whom: edges by destination, and the same edges by source for the backward pass."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from scipy import sparse
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Directed edges source -> destination in CSR order, and their transposed order.

    Destination i is also source i, as in PyG's bipartite layers: the first `n_destinations` rows
    of whatever is attended to.

    Attributes:
        n_sources: Rows that can be attended to.
        n_destinations: Rows that attend, at most `n_sources`.
        starts: Edges of destination i are ``starts[i] .. starts[i + 1]``, int64.
        sources: Source of each edge ``[E]`` int64.
        source_starts: Edges of source j in transposed order, int64.
        by_source: Position in `sources` of each edge in transposed order ``[E]`` int64.
        destinations: Destination of each edge in transposed order ``[E]`` int64.
    """

    n_sources: int
    n_destinations: int
    starts: Tensor
    sources: Tensor
    source_starts: Tensor
    by_source: Tensor
    destinations: Tensor

    @classmethod
    def from_adjacency(cls, adjacency: sparse.csr_array, *, self_loops: bool = True) -> Self:
        """Edges of a sparse matrix; its weights are not read.

        Args:
            adjacency: ``[n_destinations, n_sources]``; entry (i, j) means i attends to j.
            self_loops: Let every destination attend to itself too, once.

        Raises:
            ValueError: More rows than columns.
        """
        n_destinations, n_sources = adjacency.shape
        if n_destinations > n_sources:
            raise ValueError(
                "a destination must be a source too: want at most as many rows as columns, "
                f"got {adjacency.shape}"
            )
        rows, columns = adjacency.nonzero()
        if self_loops:
            own = np.arange(n_destinations)
            rows, columns = np.concatenate([rows, own]), np.concatenate([columns, own])
        # the constructor merges a loop that was there already
        merged = sparse.csr_array(
            (np.ones(len(rows), np.float32), (rows, columns)), shape=adjacency.shape
        )
        merged.sort_indices()
        return cls.from_edges(merged.indptr, merged.indices, n_sources)

    @classmethod
    def from_edges(cls, starts: np.ndarray, sources: np.ndarray, n_sources: int) -> Self:
        """Edges already sorted by destination, ``starts [n_destinations + 1]``, ``sources [E]``."""
        n_destinations = len(starts) - 1
        numbered = sparse.csr_array(
            (np.arange(len(sources)), sources, starts), shape=(n_destinations, n_sources)
        )
        turned = numbered.tocsc()
        arrays = (starts, sources, turned.indptr, turned.data, turned.indices)
        return cls(n_sources, n_destinations, *(_index_tensor(array) for array in arrays))

    def to(self, device: torch.device | str) -> "Neighbourhood":
        """The same edges on another device."""
        tensors = (
            self.starts, self.sources, self.source_starts, self.by_source, self.destinations,
        )  # fmt: skip
        return Neighbourhood(
            self.n_sources, self.n_destinations, *(tensor.to(device) for tensor in tensors)
        )

    def edge_destinations(self) -> Tensor:
        """Destination of each edge ``[E]``, in the order of `sources`."""
        counts = self.starts.diff()
        rows = torch.arange(self.n_destinations, device=counts.device)
        return rows.repeat_interleave(counts)


def _index_tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64))
