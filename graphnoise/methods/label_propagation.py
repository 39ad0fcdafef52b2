"""Label propagation as a method: the given labels and the edges, no features, no training."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphnoise.graph import UNLABELLED, LabelledGraph
from graphnoise.label_propagation import propagate_labels
from graphnoise.methods.base import Fitted, NodeClassifier
from graphnoise.methods.calibration import (
    cross_fitted_propagation,
    neighbours_labels,
)


@dataclass(frozen=True)
class LabelPropagationSettings:
    """Settings of `LabelPropagation`.

    Attributes:
        n_steps: Rounds; 50 is within ``.9 ** 50 = .005`` of the limit.
        neighbour_weight: Share of a score that comes from the neighbours, in ``[0, 1)``.
    """

    n_steps: int = 50
    neighbour_weight: float = 0.9


class LabelPropagation(NodeClassifier[LabelPropagationSettings]):
    """Scores of `graphnoise.label_propagation.propagate_labels`, scaled to sum to 1.

    A node that no training label reaches gets the shares of the classes in training. The audit
    judges a label by the labels around it, never by itself: the view "propagated" is cross-fitted
    over all given labels, "neighbours" counts those of the direct neighbours.

    Source:
        Zhou et al., "Learning with Local and Global Consistency", NeurIPS 2003, section 2.
    """

    name = "label_propagation"

    @classmethod
    def default_settings(cls) -> LabelPropagationSettings:
        """50 rounds, neighbours weigh .9."""
        return LabelPropagationSettings()

    def fit_graph(self, graph: LabelledGraph) -> Fitted:
        """Propagate the labels of the training nodes."""
        weight = self.settings.neighbour_weight
        scores = propagate_labels(
            graph.adjacency,
            np.where(graph.train, graph.given, UNLABELLED),
            n_classes=graph.n_classes,
            neighbour_weight=weight,
            n_steps=self.settings.n_steps,
        )
        probabilities = with_prior(scores, graph)
        propagated = cross_fitted_propagation(
            graph, seed=self.run.seed, neighbour_weight=weight, n_steps=self.settings.n_steps
        )
        return Fitted(
            probabilities, {"propagated": propagated, "neighbours": neighbours_labels(graph)}
        )


def with_prior(scores: NDArray[np.floating], graph: LabelledGraph) -> NDArray[np.float32]:
    """Rows ``[N, K]`` of non-negative scores scaled to sum to 1; zero rows become the class shares.

    The shares are those of the given labels of the training nodes.
    """
    counts = np.bincount(graph.given[graph.train], minlength=graph.n_classes)
    total = scores.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, scores / np.where(total > 0, total, 1), counts / counts.sum())
    return shares.astype(np.float32)
