"""Ranked lists of an LLM as imprecise labels: which candidate is meant is a hidden variable."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphnoise.annotators.base import ABSTAIN
from graphnoise.label_free.base import LabelFreeFit, Oracle, StageReport
from graphnoise.label_free.opinions import Rows, pooled
from graphnoise.label_free.second_opinion import network_fit, stage_numbers
from graphnoise.label_free.training import FixedTraining, train_network
from graphnoise.node_selection.base import Situation
from graphnoise.node_selection.choosing import chosen_nodes


@dataclass(frozen=True)
class ImpreciseLabels:
    """Expectation and maximisation over the candidates that an annotator names.

    An answer is a set of candidates with weights, one of which is meant. Expectation gives each
    asked node ``q_v ∝ candidates_v * model_v``, the soft label of the answer times what the model
    says of the node; maximisation trains a fresh network on q. Before the first round the prior,
    where there is one, stands in for the model. A class that the answer gives no weight stays out.

    Attributes:
        selector: Name of `graphnoise.node_selection.SELECTORS`.
        selector_options: Its settings by name.
        rounds: Of training; 3, since labels that a network has learned do not move any more.
        training: Of the network.

    Raises:
        ValueError: `rounds` is below 1.

    Source:
        Chen et al., "Imprecise Label Learning", NeurIPS 2024: its partial-label case, with the
        weights of a ranked list in place of a set.
    """

    selector: str = "medoids"
    selector_options: dict[str, Any] = field(default_factory=dict)
    rounds: int = 3
    training: FixedTraining = field(default_factory=FixedTraining)
    name: str = field(default="imprecise_labels", init=False)

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds}")

    @property
    def needs_prior(self) -> bool:
        """The first expectation is the better for one."""
        return True

    def first_nodes(self, situation: Situation, budget: int) -> NDArray[np.int64]:
        """All nodes that `run` asks about, in order."""
        return chosen_nodes(self.selector, self.selector_options, situation, budget)

    def run(
        self,
        oracle: Oracle,
        *,
        seed: int,
        prior: NDArray[np.float32] | None = None,
        report: StageReport | None = None,
    ) -> LabelFreeFit:
        """Spend the budget at once and train in rounds; without a prior all candidates start alike.

        Raises:
            ValueError: Nothing was answered.
        """
        graph = oracle.graph
        asked = self.first_nodes(oracle.situation(seed, prior=prior), oracle.left)
        votes = oracle.ask(asked)
        told = asked[votes.answered]
        if not len(told):
            raise ValueError("the annotator answered no question: nothing to train on")
        candidates = votes.probabilities[votes.answered]
        shape = (graph.n_nodes, graph.n_classes)
        model = np.full(shape, 1 / graph.n_classes, np.float32) if prior is None else prior
        targets: Rows = np.zeros(shape, np.float32)
        stages = []
        for number in range(self.rounds):
            targets[told] = expected(candidates, model[told])
            model = train_network(
                graph, targets, settings=self.training, seed=seed + number
            ).probabilities
            label = np.where(targets.any(axis=1), targets.argmax(axis=1), ABSTAIN)
            stages.append(
                {
                    **stage_numbers(votes, label),
                    "moved": float((label[told] != votes.labels[votes.answered]).sum()),
                }
            )
            if report is not None:
                report(f"round {number + 1}", stages[-1])
        return network_fit(oracle, label, model, prior=prior, stages=stages)


def expected(candidates: Rows, model: Rows) -> Rows:
    """Which candidate is meant: ``q ∝ candidates * model`` ``[B, K]``, 0 outside the candidates."""
    inside = candidates > 0
    q = np.where(inside, pooled(candidates, model), 0)
    answer: Rows = (q / q.sum(axis=1, keepdims=True)).astype(np.float32)
    return answer
