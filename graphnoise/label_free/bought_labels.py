"""The plain recipe: buy labels, drop the least plausible, train a network on the rest."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphnoise.annotators.base import ABSTAIN
from graphnoise.label_free.base import LabelFreeFit, Oracle, StageReport
from graphnoise.label_free.second_opinion import network_fit, stage_numbers
from graphnoise.label_free.training import FixedTraining, one_hot, train_network
from graphnoise.node_selection.base import Situation
from graphnoise.node_selection.choosing import chosen_nodes


@dataclass(frozen=True)
class BoughtLabels:
    """A selector, a filter by the prior, a GCN: what every other recipe is measured against.

    Attributes:
        selector: Name of `graphnoise.node_selection.SELECTORS`.
        selector_options: Its settings by name.
        drop: Share of the answered labels left out, those the prior finds least likely, in
            ``[0, 1)``. .3 as in LLM-GNN's filtered FeatProp; 0 needs no prior.
        training: Of the network.
    """

    selector: str = "medoids"
    selector_options: dict[str, Any] = field(default_factory=dict)
    drop: float = 0.3
    training: FixedTraining = field(default_factory=FixedTraining)
    name: str = field(default="bought_labels", init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.drop < 1:
            raise ValueError(f"drop must lie in [0, 1), got {self.drop}")

    @property
    def needs_prior(self) -> bool:
        """Only to drop labels."""
        return self.drop > 0

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
        """Spend the budget at once and train.

        Raises:
            ValueError: `drop` is positive and there is no prior, or nothing was answered.
        """
        if self.drop > 0 and prior is None:
            raise ValueError("recipe bought_labels needs a prior to drop labels, or drop = 0")
        graph = oracle.graph
        asked = self.first_nodes(oracle.situation(seed, prior=prior), oracle.left)
        votes = oracle.ask(asked)
        if not votes.answered.any():
            raise ValueError("the annotator answered no question: nothing to train on")
        label = np.full(graph.n_nodes, ABSTAIN, np.int64)
        label[asked] = votes.labels
        if prior is not None and self.drop > 0:
            told = asked[votes.answered]
            plausible = prior[told, label[told]]
            label[told[plausible < np.quantile(plausible, self.drop)]] = ABSTAIN
        answer = train_network(
            graph, one_hot(label, graph.n_classes), settings=self.training, seed=seed
        )
        numbers = stage_numbers(votes, label)
        if report is not None:
            report("bought_labels", numbers)
        return network_fit(oracle, label, answer.probabilities, prior=prior, stages=[numbers])
