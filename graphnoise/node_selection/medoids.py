"""One node per cluster of propagated features: every region of the graph is asked about once."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.node_selection.base import Selected, Situation
from graphnoise.node_selection.k_means import Clusters, KMeansSettings, k_means, nearest_centre
from graphnoise.node_selection.ranking import candidates
from labelnoise.kernels.label_propagation import normalise, propagate

COLUMN_BLOCK = 128


@dataclass(frozen=True)
class Medoids:
    """FeatProp: k-means with as many clusters as calls on ``A_hat^2 X``, the nearest member each.

    ``A_hat = D^-1/2 (A + I) D^-1/2``, X the rows of `TextGraph.embedding`. All nodes are
    clustered, also those that cannot be asked, since they want a label too; where a cluster has
    no available node, the available node farthest from those chosen so far is taken instead.
    The paper clusters by k-medoids, which needs all N^2 distances; the k-means objective of the
    two is within a few percent (``benchmarks/results/speed_node_selection.md``).

    Attributes:
        steps: Powers of A_hat; 2, as many as the layers of the network that learns from it.
        around_asked: In later rounds take nodes with a bought label as medoids that are there
            already, so that new ones go where none is near.
        clustering: Amount of work of k-means.

    Source:
        Wu et al., "Active Learning for Graph Neural Networks via Node Feature Propagation",
        arXiv 1910.07567; the selector "FeatProp" of LLM-GNN, arXiv 2310.04668.
    """

    steps: int = 2
    around_asked: bool = True
    clustering: KMeansSettings = field(default_factory=KMeansSettings)
    name: str = field(default="medoids", init=False)

    def select(self, situation: Situation, budget: int) -> Selected:
        """One node per cluster, those that stand for most nodes first.

        The score is the number of nodes in the cluster, 0 for a node taken to fill up.

        Raises:
            ValueError: `budget` is below 1.
        """
        nodes = candidates(situation, budget)
        budget = min(budget, len(nodes))
        if budget == 0:
            return Selected(nodes, np.zeros(0))
        rows = propagated(situation.graph.adjacency, situation.graph.embedding, self.steps)
        asked = rows[:0]
        if self.around_asked and situation.labels is not None:
            asked = rows[situation.labels >= 0]
        clusters = k_means(rows, budget, seed=situation.seed, settings=self.clustering, fixed=asked)
        return medoids_of(rows, clusters, nodes, budget, n_fixed=len(asked))


def propagated(
    adjacency: sparse.csr_array, embedding: NDArray[np.float32], steps: int = 2
) -> NDArray[np.float32]:
    """``A_hat^steps X`` ``[N, D]``; memory beside the result is one block of columns.

    Raises:
        ValueError: `steps` is negative.
    """
    if steps < 0:
        raise ValueError(f"steps must not be negative, got {steps}")
    smooth = normalise(adjacency, "symmetric", self_loops=True, dtype=np.float32)
    return propagate(
        smooth, embedding, neighbour_weight=1.0, n_steps=steps, class_block=COLUMN_BLOCK
    )


def medoids_of(
    rows: NDArray[np.float32],
    clusters: Clusters,
    nodes: NDArray[np.int64],
    budget: int,
    *,
    weights: NDArray[np.float32] | None = None,
    n_fixed: int = 0,
) -> Selected:
    """The candidate nearest to each centre, large clusters first; filled up to `budget`.

    Args:
        rows: ``[N, D]``.
        clusters: Of all rows; at most `budget`.
        nodes: Candidates ``[M]``, M >= `budget`.
        budget: Nodes to return.
        weights: How much each node counts in the size of a cluster ``[N]``; None: 1.
        n_fixed: Clusters that have a medoid already: the first ones, which give no node.
    """
    # candidates by cluster and distance: the first of each cluster is its medoid
    order = nodes[np.lexsort((nodes, clusters.distance[nodes], clusters.cluster[nodes]))]
    held, first = np.unique(clusters.cluster[order], return_index=True)
    held, first = held[held >= n_fixed], first[held >= n_fixed]
    best, sizes = order[first], clusters.weighted_sizes(weights)[held]
    by_size = np.lexsort((best, clusters.distance[best], -sizes))[:budget]
    chosen = best[by_size]
    there = np.concatenate([clusters.centres[:n_fixed], rows[chosen]])
    extra = farthest_first(rows, there, np.setdiff1d(nodes, chosen), budget - len(chosen))
    scores = np.concatenate([sizes[by_size], np.zeros(len(extra))])
    return Selected(np.concatenate([chosen, extra]), scores.astype(np.float64))


def farthest_first(
    rows: NDArray[np.float32], there: NDArray[np.float32], nodes: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """`count` of `nodes`, one at a time the farthest from rows `there` and from those before it."""
    if count < 1:
        return nodes[:0]
    inside = rows[nodes]
    _, distance = nearest_centre(inside, there)
    taken: list[int] = []
    for _ in range(count):
        at = int(distance.argmax())
        taken.append(at)
        distance = np.minimum(distance, np.linalg.norm(inside - inside[at], axis=1))
        distance[taken] = -1
    return nodes[taken]
