"""Nodes in the middle of a cluster: typical ones, which an LLM answers best."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from graphnoise.node_selection.base import Selected, Situation
from graphnoise.node_selection.k_means import KMeansSettings, k_means
from graphnoise.node_selection.ranking import candidates, ranked


@dataclass(frozen=True)
class Density:
    """Nearest to the centre of their k-means cluster in X; one tight cluster may take all calls.

    Attributes:
        n_clusters: Of k-means; None takes as many as there are classes.
        clustering: Amount of work of k-means.

    Source:
        AGE, arXiv 1705.05085, and the selector "density" of LLM-GNN, arXiv 2310.04668.
    """

    n_clusters: int | None = None
    clustering: KMeansSettings = field(default_factory=KMeansSettings)
    name: str = field(default="density", init=False)

    def select(self, situation: Situation, budget: int) -> Selected:
        """The densest nodes; the score is the density.

        Raises:
            ValueError: `budget` or `n_clusters` is below 1.
        """
        nodes = candidates(situation, budget)
        scores = density(situation, self.n_clusters, self.clustering)
        return ranked(nodes, scores[nodes], situation, budget)


def density(
    situation: Situation, n_clusters: int | None, clustering: KMeansSettings
) -> NDArray[np.float64]:
    """``1 / (1 + distance to the k-means centre)`` of every node ``[N]``, in (0, 1]."""
    graph = situation.graph
    wanted = graph.n_classes if n_clusters is None else n_clusters
    clusters = k_means(
        graph.embedding, min(wanted, graph.n_nodes), seed=situation.seed, settings=clustering
    )
    return 1 / (1 + clusters.distance.astype(np.float64))
