"""Small subgraphs around seed nodes: a few random neighbours per node and layer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


@dataclass(frozen=True, eq=False)
class SampledSubgraph:
    """Nodes in the order of their distance from the seeds, and the edges that were drawn.

    Attributes:
        nodes: Node of the whole graph ``[n]``; seeds first, then what each hop added.
        adjacency: ``[n, n]``; entry (i, j) means that i drew its neighbour j. Rows of the last
            hop are empty: those nodes were drawn and drew nobody.
        hop_ends: Number of nodes up to and with the seeds, the first hop, the second, ...
    """

    nodes: NDArray[np.int64]
    adjacency: sparse.csr_array
    hop_ends: tuple[int, ...]

    def layer_edges(self, hop: int) -> sparse.csr_array:
        """Edges into the nodes up to `hop` ``[hop_ends[hop], hop_ends[hop + 1]]``."""
        return sparse.csr_array(self.adjacency[: self.hop_ends[hop], : self.hop_ends[hop + 1]])


def sample_subgraph(
    adjacency: sparse.csr_array,
    seeds: NDArray[np.int64],
    fan_out: tuple[int, ...],
    *,
    seed: int,
) -> SampledSubgraph:
    """Draw at most ``fan_out[h]`` distinct neighbours of every node that hop h reached first.

    Uniform without replacement, weights are not read; a node with fewer neighbours gives all of
    them. The draw depends on `seed` and on the node alone, not on threads or on other seeds.

    Args:
        adjacency: ``[N, N]``.
        seeds: Distinct nodes ``[B]``.
        fan_out: Neighbours per node, for the seeds, then for what they drew, and so on.
        seed: Of the draw.

    Raises:
        ValueError: A seed node appears twice or is out of range.
    """
    from graphnoise.layers.neighbour_sampling.compiled import draw_neighbours

    n_nodes = adjacency.shape[0]
    seeds = np.asarray(seeds, dtype=np.int64)
    if len(seeds) and not (seeds.min() >= 0 and seeds.max() < n_nodes):
        raise ValueError(f"seeds must lie in 0 .. {n_nodes - 1}")
    position = np.full(n_nodes, -1)
    position[seeds] = np.arange(len(seeds))
    if (position[seeds] != np.arange(len(seeds))).any():
        raise ValueError("seeds must be distinct, found a node twice")
    nodes, frontier, hop_ends = [seeds], seeds, [len(seeds)]
    columns: list[NDArray[np.int64]] = []
    counts: list[NDArray[np.int64]] = []
    for hop, most in enumerate(fan_out):
        drawn, count = draw_neighbours(
            adjacency.indptr, adjacency.indices, frontier, most, _mixed(seed, hop)
        )
        columns.append(drawn)
        counts.append(count)
        frontier = np.unique(drawn[position[drawn] < 0])
        position[frontier] = hop_ends[-1] + np.arange(len(frontier))
        nodes.append(frontier)
        hop_ends.append(hop_ends[-1] + len(frontier))
    size = hop_ends[-1]
    per_row = np.concatenate([*counts, np.zeros(len(frontier), np.int64)])
    indices = position[np.concatenate([*columns, np.empty(0, np.int64)])]
    edges = sparse.csr_array(
        (np.ones(len(indices), np.float32), indices, _starts(per_row)), shape=(size, size)
    )
    return SampledSubgraph(np.concatenate(nodes), edges, tuple(hop_ends))


def all_neighbours(
    adjacency: sparse.csr_array, targets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], sparse.csr_array]:
    """Targets and all their neighbours ``[n]``, targets first, and the edges into the targets.

    Args:
        adjacency: ``[N, N]``.
        targets: Distinct nodes ``[B]``.

    Returns:
        nodes: ``[n]``.
        edges: ``[B, n]``.
    """
    rows: Any = adjacency[targets]
    others = np.setdiff1d(rows.indices, targets)
    position = np.full(adjacency.shape[0], -1)
    nodes = np.concatenate([targets, others])
    position[nodes] = np.arange(len(nodes))
    edges = sparse.csr_array(
        (rows.data, position[rows.indices], rows.indptr), shape=(len(targets), len(nodes))
    )
    return nodes, edges


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), counts.cumsum()])


def _mixed(seed: int, hop: int) -> int:
    return (seed + 0x9E3779B97F4A7C15 * (hop + 1)) % 2**63
