"""Correct and smooth: a network without edges, repaired by propagating its errors and labels."""

from dataclasses import dataclass, field

import numpy as np

from graphnoise.graph import LabelledGraph
from graphnoise.label_propagation import correct_and_smooth
from graphnoise.methods.base import Fitted, NodeClassifier
from graphnoise.methods.label_propagation import with_prior
from graphnoise.methods.networks import NetworkSettings
from graphnoise.methods.neural import NetworkTrainee, NeuralSettings, classifier_views, train_with


def _mlp() -> NeuralSettings:
    return NeuralSettings(NetworkSettings("mlp"))


@dataclass(frozen=True)
class CorrectAndSmoothSettings:
    """Settings of `CorrectAndSmooth`.

    Attributes:
        neural: Of the network whose answer is repaired; without edges ("mlp") as in the paper.
        n_steps: Rounds of spreading the training errors, and then of spreading the repaired
            answer with the training labels.
        correction_weight: Share of a round of the first that comes from the neighbours.
        smoothing_weight: Share of a round of the second that comes from the neighbours.
    """

    neural: NeuralSettings = field(default_factory=_mlp)
    n_steps: int = 50
    correction_weight: float = 0.8
    smoothing_weight: float = 0.8


class CorrectAndSmooth(NodeClassifier[CorrectAndSmoothSettings]):
    """MLP, then PyG's ``CorrectAndSmooth`` with the given labels of the training nodes.

    Both steps trust the training labels: the first spreads what the network got wrong on them,
    the second puts them back. ``history_`` holds the accuracies of the network before repair, by
    which its epoch is selected.

    Source:
        Huang et al., "Combining Label Propagation and Simple Models Out-performs Graph Neural
        Networks", ICLR 2021, sections 2.2 and 2.3, with scale by the mean training error.
    """

    name = "correct_and_smooth"

    @classmethod
    def default_settings(cls) -> CorrectAndSmoothSettings:
        """50 rounds at .8 for both steps."""
        return CorrectAndSmoothSettings()

    def fit_graph(self, graph: LabelledGraph) -> Fitted:
        """Train, correct, smooth."""
        neural = self.settings.neural
        trainee = NetworkTrainee(graph, neural, self.run.device)
        history = train_with(trainee, graph, neural, self.run)
        network = trainee.probabilities()
        scores = correct_and_smooth(
            graph.adjacency,
            network,
            graph.given,
            graph.train,
            correction_weight=self.settings.correction_weight,
            smoothing_weight=self.settings.smoothing_weight,
            n_steps=self.settings.n_steps,
        )
        # a correction may push a score below 0
        repaired = with_prior(np.maximum(scores, 0), graph)
        views = classifier_views(graph, network, seed=self.run.seed)
        return Fitted(repaired, views, embedding=trainee.embedding(), history=history)
