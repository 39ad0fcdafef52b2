"""The best connected nodes."""

from dataclasses import dataclass, field

import numpy as np

from graphnoise.node_selection.base import Selected, Situation
from graphnoise.node_selection.ranking import candidates, ranked


@dataclass(frozen=True)
class Degree:
    """Largest sum of edge weights first; equal ones in an order drawn from the seed.

    Source:
        The selector "degree" of LLM-GNN, arXiv 2310.04668.
    """

    name: str = field(default="degree", init=False)

    def select(self, situation: Situation, budget: int) -> Selected:
        """The nodes of largest degree; the score is the degree.

        Raises:
            ValueError: `budget` is below 1.
        """
        nodes = candidates(situation, budget)
        degrees = np.asarray(situation.graph.adjacency.sum(axis=1, dtype=np.float64))
        return ranked(nodes, degrees[nodes], situation, budget)
