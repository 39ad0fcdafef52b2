"""Random graphs of any size around planted clusters of fixed size.

A planted cluster looks the same in a graph of 10^4 and of 10^8 edges: 25 neighbours within it and
12.5 outside, on average. The rest is a uniform random graph of about the same mean degree. Nodes of
a cluster are scattered over all positions, so that none of them shares a page of a file by design.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

MEAN_DEGREE, DEGREE_IN, DEGREE_OUT = 37.0, 25.0, 12.5
# a cluster must be a small part of its graph
LARGEST_SHARE = 0.3


@dataclass(frozen=True, eq=False)
class PlantedGraph:
    """A graph and where its clusters are.

    Attributes:
        matrix: Both directions of each edge ``[N, N]`` int8, all 1; sorted rows, no self loops.
        clusters: Positions of the nodes of each planted cluster, ascending.
    """

    matrix: sparse.csr_array
    clusters: tuple[NDArray[np.int64], ...]

    @property
    def n_edges(self) -> int:
        """Undirected edges."""
        return int(self.matrix.nnz) // 2


def fitting(sizes: tuple[int, ...], n_edges: int) -> tuple[int, ...]:
    """The cluster sizes that are small parts of a graph with so many edges."""
    per_node = DEGREE_IN / 2 + DEGREE_OUT
    return tuple(size for size in sizes if size * per_node <= LARGEST_SHARE * n_edges)


def planted_graph(n_edges: int, sizes: tuple[int, ...], *, seed: int = 0) -> PlantedGraph:
    """Draw a graph; all memory it takes is a few times that of the result.

    Args:
        n_edges: About how many edges; the few drawn twice count once. Below 10^9.
        sizes: Nodes of each planted cluster; see `fitting`.
        seed: Of everything that is drawn.

    Raises:
        ValueError: A cluster that is no small part of the graph.
    """
    if fitting(sizes, n_edges) != sizes:
        raise ValueError(f"sizes must be small for {n_edges} edges, got {sizes}")
    rng = np.random.default_rng(seed)
    n_nodes = round(2 * n_edges / MEAN_DEGREE)
    places = rng.permutation(n_nodes).astype(np.int32)
    starts = np.cumsum([0, *sizes])
    n_planted = int(starts[-1])
    drawn = [
        _cluster_edges(int(start), size, n_planted, n_nodes, rng)
        for start, size in zip(starts, sizes, strict=False)
    ]
    n_rest = max(n_edges - sum(ends.shape[1] for ends in drawn), 0)
    drawn.append(rng.integers(n_planted, n_nodes, (2, n_rest), dtype=np.int32))
    ends = places[np.concatenate(drawn, axis=1)]
    clusters = tuple(
        np.sort(places[start : start + size]).astype(np.int64)
        for start, size in zip(starts, sizes, strict=False)
    )
    del drawn, places
    return PlantedGraph(_symmetric(ends, n_nodes), clusters)


def _cluster_edges(
    start: int, size: int, n_planted: int, n_nodes: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    """Edges within one cluster, all distinct, and from it to nodes of no cluster."""
    row, column = np.triu_indices(size, 1)
    chosen = rng.choice(len(row), round(size * DEGREE_IN / 2), replace=False)
    within = start + np.stack([row[chosen], column[chosen]])
    n_across = round(size * DEGREE_OUT)
    inner = rng.integers(start, start + size, n_across)
    outer = rng.integers(n_planted, n_nodes, n_across)
    return np.concatenate([within, np.stack([inner, outer])], axis=1).astype(np.int32)


def _symmetric(ends: NDArray[np.int32], n_nodes: int) -> sparse.csr_array:
    ends = ends[:, ends[0] != ends[1]]
    both: tuple[Any, Any] = (np.concatenate([ends[0], ends[1]]), np.concatenate([ends[1], ends[0]]))
    ones = np.ones(len(both[0]), np.int8)
    matrix = sparse.csr_array(sparse.coo_array((ones, both), shape=(n_nodes, n_nodes)))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


@dataclass(frozen=True, eq=False)
class HashedLabels:
    """Noisy membership of a cluster for nodes that are asked about, at no memory of size N.

    Attributes:
        members: Positions of the cluster, ascending.
        right: Probability that a label is right, in and outside the cluster: a1 = a0.
    """

    members: NDArray[np.int64]
    right: float = 0.9

    def __call__(self, nodes: NDArray[np.int64]) -> NDArray[np.int8]:
        """Labels of nodes ``[n]``; a node's label never changes."""
        at = np.minimum(np.searchsorted(self.members, nodes), len(self.members) - 1)
        inside = self.members[at] == nodes
        return (inside != (_uniform(nodes) >= self.right)).astype(np.int8)


def _uniform(nodes: NDArray[np.int64]) -> NDArray[np.float64]:
    """A number in [0, 1) per node, by the finaliser of splitmix64."""
    z = (nodes.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = (z ^ (z >> np.uint64(31))) >> np.uint64(11)
    return z.astype(np.float64) * 2.0**-53
