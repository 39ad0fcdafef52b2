"""What one run of Locle knows: answers bought, labels in use, networks trained."""

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from graphnoise.annotators.base import ABSTAIN, Votes
from graphnoise.annotators.calibration import calibrate_votes
from graphnoise.label_free.base import LabelFreeFit, Oracle
from graphnoise.label_free.corrector import Correction, Reviewed
from graphnoise.label_free.locle_settings import LocleSettings


class LocleState:
    """Made afresh for every run; nothing outlives it.

    Args:
        oracle: Graph, annotator, budget.
        settings: Of the recipe.
        seed: Of the run.
        prior: Zero-shot class probabilities ``[N, K]``, or None.

    Attributes:
        label: Label in use per node ``[N]`` int64, -1 where none.
        weight: Of it in the loss ``[N]`` float32.
        reliability: Estimated probability that the annotator's label is right ``[N]``, NaN where
            it gave none.
        answers: Class probabilities ``[N, K]`` of each stage's network.
        probabilities: Their average.
    """

    def __init__(
        self,
        oracle: Oracle,
        settings: LocleSettings,
        seed: int,
        prior: NDArray[np.float32] | None,
    ) -> None:
        n = oracle.graph.n_nodes
        self.oracle, self.settings, self.seed, self.prior = oracle, settings, seed, prior
        self.label = np.full(n, ABSTAIN, np.int64)
        self.weight = np.zeros(n, np.float32)
        self.reliability = np.full(n, np.nan)
        self.answers: list[NDArray[np.float32]] = []
        self.probabilities = np.zeros((n, oracle.graph.n_classes), np.float32)
        self._answer = np.full(n, ABSTAIN, np.int64)
        self._raw = np.full(n, np.nan)
        self._bought_in = np.full(n, np.nan)
        self._dropped = np.zeros(n, bool)
        self._adopted = np.zeros(n, bool)
        self._corrector_label = np.full(n, ABSTAIN, np.int64)
        self._corrector_reliability = np.full(n, np.nan)
        self._replaced = np.zeros(n, bool)

    @property
    def labelled(self) -> NDArray[np.int64]:
        """Nodes with a label in use ``[T]``."""
        return np.flatnonzero(self.label >= 0)

    @property
    def bought_labels(self) -> NDArray[np.int64]:
        """Labelled nodes that were asked about, ascending; not those the ensemble labelled."""
        return np.flatnonzero((self.label >= 0) & (self._answer >= 0) & ~self._adopted)

    def derived(self, purpose: str, stage: int = 0) -> int:
        """A seed of its own for each random step of the run."""
        entropy = [self.seed, crc32(purpose.encode()), stage]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    def in_asked_order(self, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same nodes in the order they were asked about."""
        wanted = np.zeros(len(self.label), bool)
        wanted[nodes] = True
        asked = np.array(self.oracle.asked, np.int64)
        return asked[wanted[asked]]

    def ask(self, nodes: NDArray[np.int64], *, stage: int) -> NDArray[np.int64]:
        """Buy answers and use them as labels; the nodes that got one."""
        votes = self.oracle.ask(nodes)
        answered = nodes[votes.answered]
        self.label[answered] = self._answer[answered] = votes.labels[votes.answered]
        self._raw[answered] = raw_confidence(votes)[votes.answered]
        self._bought_in[nodes] = stage
        self._estimate()
        return answered

    def sureness(self, nodes: NDArray[np.int64]) -> NDArray[np.float64]:
        """How sure the annotator is of its labels, as the settings read it ``[M]``."""
        raw = self.settings.sureness == "raw"
        return self._raw[nodes] if raw else self.reliability[nodes]

    def reviewed(self, nodes: NDArray[np.int64]) -> Reviewed:
        """The annotator's answers about these nodes, for a corrector."""
        by_reliability = self.settings.corrector.rule == "reliability"
        sureness = self.reliability[nodes] if by_reliability else self.sureness(nodes)
        return Reviewed(nodes, self._answer[nodes], sureness)

    def forget(self, nodes: NDArray[np.int64]) -> None:
        """Take labels away; the nodes stay paid for and may be labelled by the ensemble."""
        self.label[nodes], self.weight[nodes], self._dropped[nodes] = ABSTAIN, 0, True

    def adopt(
        self, nodes: NDArray[np.int64], labels: NDArray[np.int64], sure: NDArray[np.float32]
    ) -> None:
        """Label nodes by the ensemble."""
        self.label[nodes], self._adopted[nodes] = labels, True
        self.weight[nodes] = sure if self.settings.weighted else 1

    def take(self, nodes: NDArray[np.int64], correction: Correction) -> None:
        """Use the corrector's labels where they replace, else the annotator's; record both."""
        wins = correction.replaces
        self._corrector_label[nodes] = correction.labels
        self._corrector_reliability[nodes] = correction.reliability
        self._replaced[nodes] = wins
        self.label[nodes] = np.where(wins, correction.labels, self._answer[nodes])
        if self.settings.weighted:
            reliability = np.where(wins, correction.reliability, self.reliability[nodes])
            self.weight[nodes] = reliability

    def fit(self, stages: list[dict[str, float]]) -> LabelFreeFit:
        """What the run learned."""
        return LabelFreeFit(
            probabilities=self.probabilities,
            asked=np.array(self.oracle.asked, np.int64),
            votes=self.oracle.votes,
            label=self.label,
            weight=self.weight,
            reliability=self.reliability,
            views={"network": self.probabilities},
            stages=stages,
            columns={
                "bought_in_stage": self._bought_in,
                "filtered_out": self._dropped.astype(np.float64),
                "labelled_by_ensemble": self._adopted.astype(np.float64),
                "corrector_label": self._corrector_label.astype(np.float64),
                "corrector_reliability": self._corrector_reliability,
                "label_replaced": self._replaced.astype(np.float64),
            },
        )

    def _estimate(self) -> None:
        """Judge all answers so far anew: every purchase is evidence about the others."""
        asked = np.array(self.oracle.asked, np.int64)
        self.reliability[asked] = calibrate_votes(
            self.oracle.votes, asked, self.oracle.graph, self.prior
        )
        in_use = self.bought_labels
        in_use = in_use[~self._replaced[in_use]]
        self.weight[in_use] = self.reliability[in_use] if self.settings.weighted else 1


def raw_confidence(votes: Votes) -> NDArray[np.float64]:
    """The annotator's confidence ``[M]``; where it states none, that of its soft label."""
    stated = votes.confidence.astype(np.float64)
    return np.where(np.isnan(stated), votes.probabilities.max(axis=1), stated)
