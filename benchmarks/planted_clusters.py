"""Random graphs of any size around planted clusters of fixed size.

A planted cluster looks the same in a graph of 10^4 and of 10^8 edges: so many neighbours within it
and so many outside, on average. The rest is a uniform random graph of the same mean degree. Nodes
of the cluster are scattered over all positions, so that no two share a page of a file by design.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

# a cluster must be a small part of its graph
LARGEST_SHARE = 0.3


@dataclass(frozen=True)
class Planted:
    """A planted cluster.

    Attributes:
        size: Nodes.
        degree_in, degree_out: Mean number of neighbours within and outside.
    """

    size: int
    degree_in: float
    degree_out: float

    @property
    def degree(self) -> float:
        """Mean number of neighbours, of the other nodes too."""
        return self.degree_in + self.degree_out

    @property
    def volume(self) -> float:
        """Sum of degrees."""
        return self.size * self.degree

    @property
    def n_edges(self) -> float:
        """Edges with an end in the cluster."""
        return self.size * (self.degree_in / 2 + self.degree_out)


# what a query on the small one reaches is a part of every graph from 10^4 edges; the large one is
# a block of the stochastic block models of the literature
SMALL, LARGE = Planted(50, 8.0, 2.0), Planted(500, 25.0, 12.5)


@dataclass(frozen=True, eq=False)
class PlantedGraph:
    """A graph and where its cluster is.

    Attributes:
        matrix: Both directions of each edge ``[N, N]`` int8, all 1; sorted rows, no self loops.
        members: Positions of the nodes of the cluster, ascending.
    """

    matrix: sparse.csr_array
    members: NDArray[np.int64]

    @property
    def n_edges(self) -> int:
        """Undirected edges."""
        return int(self.matrix.nnz) // 2


def planted_graph(n_edges: int, cluster: Planted, *, seed: int = 0) -> PlantedGraph:
    """Draw a graph; all memory it takes is a few times that of the result.

    Args:
        n_edges: About how many edges; the few drawn twice count once. Below 10^9.
        cluster: What to plant.
        seed: Of everything that is drawn.

    Raises:
        ValueError: The cluster is no small part of the graph.
    """
    if cluster.n_edges > LARGEST_SHARE * n_edges:
        raise ValueError(f"cluster must be small for {n_edges} edges, got {cluster}")
    rng = np.random.default_rng(seed)
    n_nodes = round(2 * n_edges / cluster.degree)
    places = rng.permutation(n_nodes).astype(np.int32)
    drawn = _cluster_edges(cluster, n_nodes, rng)
    rest = rng.integers(cluster.size, n_nodes, (2, n_edges - drawn.shape[1]), dtype=np.int32)
    ends = places[np.concatenate([drawn, rest], axis=1)]
    members = np.sort(places[: cluster.size]).astype(np.int64)
    del drawn, rest, places
    return PlantedGraph(_symmetric(ends, n_nodes), members)


def _cluster_edges(cluster: Planted, n_nodes: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Edges within the cluster, the first nodes, all distinct; and from it to other nodes."""
    size = cluster.size
    row, column = np.triu_indices(size, 1)
    chosen = rng.choice(len(row), round(size * cluster.degree_in / 2), replace=False)
    n_across = round(size * cluster.degree_out)
    inner, outer = rng.integers(size, size=n_across), rng.integers(size, n_nodes, n_across)
    within, across = np.stack([row[chosen], column[chosen]]), np.stack([inner, outer])
    return np.concatenate([within, across], axis=1).astype(np.int32)


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
