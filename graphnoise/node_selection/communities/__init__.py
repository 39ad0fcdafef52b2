"""Parts of a graph with many edges inside and few between them, by modularity (Louvain)."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

MOST_LEVELS, MOST_SWEEPS = 50, 100


def communities(
    adjacency: sparse.csr_array, *, seed: int = 0, resolution: float = 1.0
) -> NDArray[np.int64]:
    """A part ``[N]`` of every node, numbered by the lowest node in it; isolated nodes are alone.

    Louvain: nodes move, in an order drawn from the seed, to the neighbouring part that raises
    modularity most; then each part becomes one node, and so on until nothing moves.

    Args:
        adjacency: ``[N, N]``, non-negative, symmetric, no self loops.
        seed: Of the order in which nodes are visited.
        resolution: Larger than 1 makes smaller parts.

    Raises:
        ValueError: `resolution` is not positive.

    Source:
        Blondel et al., "Fast unfolding of communities in large networks", 2008.
    """
    from graphnoise.node_selection.communities.compiled import move_nodes

    if not resolution > 0:
        raise ValueError(f"resolution must be positive, got {resolution}")
    rng = np.random.default_rng(seed)
    graph = sparse.csr_array(adjacency, dtype=np.float64)
    part = np.arange(graph.shape[0])
    for _ in range(MOST_LEVELS):
        n_nodes = graph.shape[0]
        moved = move_nodes(
            graph.indptr.astype(np.int64), graph.indices.astype(np.int64), graph.data,
            rng.permutation(n_nodes), resolution, MOST_SWEEPS,
        )  # fmt: skip
        names, moved = np.unique(moved, return_inverse=True)
        if len(names) == n_nodes:
            break
        part = moved[part]
        members = sparse.csr_array(
            (np.ones(n_nodes), moved, np.arange(n_nodes + 1)), shape=(n_nodes, len(names))
        )
        graph = sparse.csr_array(members.T @ graph @ members)
    return _by_lowest_node(part)


def modularity(adjacency: sparse.csr_array, part: NDArray[np.int64]) -> float:
    """Share of edge weight inside parts less what random edges of these degrees would put there."""
    degrees = np.asarray(adjacency.sum(axis=1, dtype=np.float64))
    total = degrees.sum()
    if total == 0:
        return 0.0
    source = np.repeat(np.arange(len(part)), np.diff(adjacency.indptr))
    inside = adjacency.data[part[source] == part[adjacency.indices]].sum(dtype=np.float64)
    expected = np.square(np.bincount(part, degrees) / total).sum()
    return float(inside / total - expected)


def _by_lowest_node(part: NDArray[np.int64]) -> NDArray[np.int64]:
    _, first, inverse = np.unique(part, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]
