"""From scores to a cluster: which of the scored nodes belong to it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphnoise.local_clusters import ROUNDINGS
from graphnoise.local_clusters.adjacency import Adjacency
from graphnoise.local_clusters.cluster import Diffused, SweepProfile
from graphnoise.local_subgraph import NODES

# volumes of weighted graphs are sums of floats; below this share of the graph nothing is left
NOTHING_LEFT = 1e-12


@dataclass(frozen=True, eq=False)
class Rounded:
    """The members of a cluster.

    Attributes:
        members: Local numbers in the subgraph ``[c]`` int64, highest score first.
        conductance: ``cut / min(volume, total volume - volume)`` by the graph's own weights; NaN
            where nothing of the graph is left outside.
        volume: Sum of degrees of the members.
        sweep: Conductance of every prefix of the scored nodes.
    """

    members: NDArray[np.int64]
    conductance: float
    volume: float
    sweep: SweepProfile


def round_cluster(
    diffused: Diffused, rounding: str, adjacency: Adjacency, *, n_seeds: int = 1
) -> Rounded:
    """Turn the scores of a diffusion into a cluster.

    - "support": every node of positive score, and the seeds. After a push of PageRank this is all
      it has ever spent mass at, which is large.
    - "labels": the support's nodes with label 1, and the seeds.
    - "sweep": the prefix of smallest conductance in descending order of score; the smaller one of
      two equal. A prefix never ends between nodes of the same score.

    Nodes of equal score stand in the order of their numbers in the whole graph. Weights are the
    graph's own, whatever labels or features made of them.

    Args:
        diffused: The scores, valid until their workspace serves another query.
        rounding: One of `ROUNDINGS`.
        adjacency: The graph of the query.
        n_seeds: Number of seeds; they are the first nodes of the subgraph.

    Raises:
        ValueError: An unknown rounding, "labels" where no label is known, or a diffusion whose
            workspace has begun another query.

    Source: Andersen, Chung, Lang 2006, section 2.2 (sweep); Fountoulakis, Wang, Yang 2020, section
    4 (support).
    """
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding must be one of {', '.join(ROUNDINGS)}, got {rounding!r}")
    if len(diffused.score) != diffused.subgraph.used[NODES]:
        raise ValueError("diffused is out of date: its workspace has begun another query")
    order = _descending(diffused)
    sweep = _profile(order, diffused, adjacency)
    seeds_left_out = np.flatnonzero(diffused.score[:n_seeds] == 0)
    support = np.concatenate([order, seeds_left_out])
    if rounding == "labels":
        label = diffused.subgraph.label[: len(diffused.score)]
        if not np.any(label >= 0):
            raise ValueError("rounding 'labels' needs labels, found none at the nodes reached")
        members = support[(label[support] == 1) | (support < n_seeds)]
    elif rounding == "sweep" and len(order):
        members = order[: _best_prefix(diffused.score[order], sweep.conductance)]
    else:
        members = support
    # the profile already knows the sets that are its prefixes
    own = sweep if len(members) <= len(order) and np.array_equal(
        members, order[: len(members)]
    ) else _profile(members, diffused, adjacency)  # fmt: skip
    last = len(members) - 1
    return Rounded(members, float(own.conductance[last]), float(own.volume[last]), sweep)


def _descending(diffused: Diffused) -> NDArray[np.int64]:
    scored = np.flatnonzero(diffused.score > 0)
    return scored[np.lexsort((diffused.subgraph.node[scored], -diffused.score[scored]))]


def _best_prefix(ranked: NDArray[np.float64], conductance: NDArray[np.float64]) -> int:
    """Length of the prefix of smallest conductance among those that end with a tie's last node."""
    ends = np.append(ranked[1:] < ranked[:-1], True)
    known = np.where(ends & ~np.isnan(conductance), conductance, np.inf)
    if not np.any(np.isfinite(known)):
        return len(ranked)
    return int(np.argmin(known)) + 1


def _profile(order: NDArray[np.int64], diffused: Diffused, adjacency: Adjacency) -> SweepProfile:
    from graphnoise.local_clusters.sweeping.compiled import grow_prefixes

    sub, graph = diffused.subgraph, adjacency.arrays
    volume, cut = np.empty(len(order)), np.empty(len(order))
    grow_prefixes(
        order, graph.indptr, graph.indices, graph.weights, sub.table, sub.node, sub.degree,
        sub.start, sub.stop, sub.neighbour, sub.used, volume, cut,
    )  # fmt: skip
    cut = np.maximum(cut, 0.0)
    left = adjacency.total_volume - volume
    smaller = np.minimum(volume, left)
    smaller[left <= NOTHING_LEFT * adjacency.total_volume] = np.nan
    return SweepProfile(np.arange(1, len(order) + 1), volume, cut, cut / smaller)
