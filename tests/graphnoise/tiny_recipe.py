"""A recipe that trains nothing: answers spread along the edges. It needs no torch."""

from dataclasses import dataclass

import numpy as np

from graphnoise.label_free import RECIPES
from graphnoise.label_free.base import LabelFreeFit, Oracle
from graphnoise.node_selection.base import Situation
from labelnoise.registry import Entry

NAME = "tiny"


@dataclass(frozen=True)
class Tiny:
    """Asks the first nodes, in two rounds; each node takes the mean answer of its neighbourhood."""

    steps: int = 3

    name = NAME
    needs_prior = False

    def first_nodes(self, situation: Situation, budget: int) -> np.ndarray:
        """Half of the budget."""
        return np.flatnonzero(situation.available)[: max(1, budget // 2)]

    def run(self, oracle: Oracle, *, seed, prior=None, report=None) -> LabelFreeFit:
        """Spend the budget."""
        graph = oracle.graph
        oracle.ask(self.first_nodes(oracle.situation(seed), oracle.budget))
        rest = np.flatnonzero(oracle.available)[: oracle.left]
        if len(rest):
            oracle.ask(rest)
        votes, asked = oracle.votes, np.array(oracle.asked)
        if not votes.answered.any():
            raise ValueError("labels must hold at least one")
        told = np.zeros((graph.n_nodes, graph.n_classes))
        told[asked] = votes.probabilities
        spread = told + 1e-6
        for _ in range(self.steps):
            spread = graph.adjacency @ spread + 0.1 * told + 1e-6
            spread /= spread.sum(axis=1, keepdims=True)
        label = np.full(graph.n_nodes, -1)
        label[asked] = votes.labels
        reliability = np.full(graph.n_nodes, np.nan)
        known = label >= 0
        reliability[known] = spread[known, label[known]]
        return LabelFreeFit(
            probabilities=spread.astype(np.float32), asked=asked, votes=votes, label=label,
            weight=known.astype(np.float32), reliability=reliability,
            views={"spread": spread.astype(np.float32)},
            stages=[{"stage": 1.0, "asked": float(len(asked))}],
        )  # fmt: skip


def register() -> None:
    """Make it known to the command line of this process."""
    RECIPES._entries[NAME] = Entry("tests.graphnoise.tiny_recipe:Tiny", "for tests", "tests")


def unregister() -> None:
    """Forget it again: other tests look at every recipe there is."""
    RECIPES._entries.pop(NAME, None)
