"""Nodes drawn at random: what every selector has to beat."""

from dataclasses import dataclass, field

import numpy as np

from graphnoise.node_selection.base import Selected, Situation
from graphnoise.node_selection.ranking import candidates, ranked


@dataclass(frozen=True)
class RandomNodes:
    """Every set of available nodes equally likely; scores are the draws.

    Source:
        The baseline of LLM-GNN, arXiv 2310.04668.
    """

    name: str = field(default="random", init=False)

    def select(self, situation: Situation, budget: int) -> Selected:
        """Nodes drawn without replacement.

        Raises:
            ValueError: `budget` is below 1.
        """
        nodes = candidates(situation, budget)
        draws = np.random.default_rng(situation.seed).random(situation.graph.n_nodes)
        return ranked(nodes, draws[nodes], situation, budget)
