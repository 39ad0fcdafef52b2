"""Adaptive mixture: the prototype mixture, or a graph attention network where that does better."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from graphnoise.graph import LabelledGraph
from graphnoise.methods.base import Fitted, NodeClassifier
from graphnoise.methods.calibration import recalibrated
from graphnoise.methods.neural import (
    GraphAttentionNetwork,
    NetworkTrainee,
    NeuralSettings,
    train_with,
)
from graphnoise.methods.prototype_mixture import (
    PrototypeMixtureClassifier,
    PrototypeMixtureSettings,
    most_confident,
)
from graphnoise.training import selection_score


@dataclass(frozen=True)
class AdaptiveMixtureSettings:
    """Settings of `AdaptiveMixture`.

    Attributes:
        mixture: Of the prototype mixture.
        network: Of the graph attention networks; GAT's where None.
        taught_share: Most confident share of each class that joins the training nodes of the
            second network with the mixture's label.
        taught_per_class: At most this many of them, times the number of classes.
    """

    mixture: PrototypeMixtureSettings = field(default_factory=PrototypeMixtureSettings)
    network: NeuralSettings | None = None
    taught_share: float = 0.5
    taught_per_class: int = 100


class AdaptiveMixture(NodeClassifier[AdaptiveMixtureSettings]):
    """Whichever of several learners the noisy validation labels trust most.

    Prototypes are hard to beat where labels are few and classes are compact (citations); a
    trained network is better where classes are not (co-purchases), wrong labels or not. Which of
    the two a graph is, the validation labels tell although they are noisy: noise lowers the
    accuracy of all learners alike. The candidates are the prototype mixture; a graph attention
    network trained on the given labels; one trained on the mixture's labels of the training nodes
    and of the nodes it is surest of; and the mean of the mixture with each. The best single one
    answers, the mixture in a draw, and under ``selection="last"``, which reads no validation
    label.

    Attributes:
        candidates_: After a fit: name -> accuracy on the validation labels.
        chosen_: Name of the candidate that answers.

    Source:
        Ours; see `graphnoise.methods.prototype_mixture` and `graphnoise.methods.neural`.
    """

    name = "adaptive_mixture"
    candidates_: dict[str, float]
    chosen_: str

    @classmethod
    def default_settings(cls) -> AdaptiveMixtureSettings:
        """The defaults of the mixture and of GAT."""
        return AdaptiveMixtureSettings()

    def fit_graph(self, graph: LabelledGraph) -> Fitted:
        """Fit the mixture and the networks, keep the best."""
        # one checkpoint cannot serve three fits; each is short, and an unfinished one starts over
        run = replace(self.run, checkpoint=None)
        mixture = PrototypeMixtureClassifier(self.settings.mixture, run=run).fit_graph(graph)
        answers: dict[str, NDArray[Any]] = {"mixture": mixture.probabilities}
        # without validation labels there is nothing to choose by
        choose = run.selection != "last" and bool(graph.validation.any())
        if choose:
            network = self.settings.network or GraphAttentionNetwork.default_settings()
            taught = self._taught(graph, mixture.probabilities)
            for name, trained_on in (("given", graph), ("taught", taught)):
                trainee = NetworkTrainee(trained_on, network, run.device)
                train_with(trainee, trained_on, network, run)
                answer = trainee.probabilities()
                answers[f"network_{name}"] = answer
                answers[f"network_{name}_and_mixture"] = (answer + mixture.probabilities) / 2
        self.candidates_ = {
            name: selection_score(answer, graph, run.selection) if choose else 0.0
            for name, answer in answers.items()
        }
        self.chosen_ = max(self.candidates_, key=lambda name: self.candidates_[name])
        probabilities = answers[self.chosen_]
        views = dict(mixture.views)
        if self.chosen_ != "mixture":
            views["classifier"] = recalibrated(probabilities, graph)
        return Fitted(
            probabilities,
            views,
            embedding=mixture.embedding,
            transition=mixture.transition,
            columns=mixture.columns,
        )

    def _taught(self, graph: LabelledGraph, probabilities: NDArray[np.float32]) -> LabelledGraph:
        """The graph with the mixture's labels on training nodes and on the nodes it is sure of."""
        at_most = self.settings.taught_per_class * graph.n_classes
        sure = most_confident(
            torch.from_numpy(probabilities), self.settings.taught_share, at_most=at_most
        )
        train = graph.train.copy()
        train[sure.numpy()] = True
        train &= ~graph.validation
        labels = np.where(train, probabilities.argmax(axis=1), graph.given)
        return replace(graph, given=labels, train=train, test=graph.test & ~train)
