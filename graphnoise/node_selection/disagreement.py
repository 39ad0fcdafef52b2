"""Questions where two opinions differ: medoids of regions, not single unsure nodes."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from graphnoise.node_selection.base import Selected, Situation
from graphnoise.node_selection.k_means import KMeansSettings, k_means
from graphnoise.node_selection.medoids import medoids_of, propagated
from graphnoise.node_selection.ranking import candidates, required
from labelnoise.kernels.label_propagation import normalise


@dataclass(frozen=True)
class Disagreement:
    """Medoids of propagated features, weighted by how far prior and model are apart around there.

    An LLM's errors come in regions, and single unsure nodes are those it is worst at. Total
    variation between the zero-shot prior and the current model, averaged over two hops, weighs
    the nodes in k-means: where the two differ medoids lie densely, elsewhere thinly.

    Attributes:
        steps: Hops of features and of the average.
        floor: Weight of a node where both agree, > 0; a node where they fully differ has
            1 + floor. Small ones leave regions of agreement with hardly a question.
        clustering: Amount of work of k-means.

    Source:
        Ours: queries where opinions differ, by region instead of by node.
    """

    steps: int = 2
    floor: float = 0.1
    clustering: KMeansSettings = field(default_factory=KMeansSettings)
    name: str = field(default="disagreement", init=False)

    def __post_init__(self) -> None:
        if not self.floor > 0:
            raise ValueError(f"floor must be positive, got {self.floor}")

    def select(self, situation: Situation, budget: int) -> Selected:
        """One node per weighted cluster, the largest clusters first.

        Raises:
            ValueError: `budget` is below 1, or prior or probabilities are missing.
        """
        nodes, graph = candidates(situation, budget), situation.graph
        weight = self.floor + self.difference(situation)
        budget = min(budget, len(nodes))
        if budget == 0:
            return Selected(nodes, np.zeros(0))
        rows = propagated(graph.adjacency, graph.embedding, self.steps)
        clusters = k_means(
            rows, budget, seed=situation.seed, settings=self.clustering, weights=weight
        )
        return medoids_of(rows, clusters, nodes, budget, weights=weight)

    def difference(self, situation: Situation) -> NDArray[np.float32]:
        """Total variation of prior and model ``[N]``, in 0..1, averaged around each node."""
        prior = required(situation.prior, "prior", self.name)
        model = required(situation.probabilities, "probabilities", self.name)
        apart = np.abs(prior - model).sum(axis=1) / 2
        walk = normalise(situation.graph.adjacency, "row", self_loops=True, dtype=np.float64)
        for _ in range(self.steps):
            apart = walk @ apart
        return np.asarray(apart, dtype=np.float32)
