"""Locle's critical nodes, for rounds after the first."""

from dataclasses import dataclass, field

import numpy as np

from graphnoise.node_selection.base import Selected, Situation
from graphnoise.node_selection.harmony import (
    SHARE,
    critical_nodes,
    label_disharmonicity,
    label_entropy,
)
from graphnoise.node_selection.ranking import candidates, required


@dataclass(frozen=True)
class DisharmonicityEntropy:
    """Nodes at odds with their neighbours, and unsure among those.

    On Cora an LLM answers these worst of all (28 to 44 % right against 68 % over all nodes):
    the specification's measurements are against using it, which is why it is not the default.

    Attributes:
        share: Nodes of largest disharmonicity among which entropy decides; the paper's .1.

    Source:
        Locle, arXiv 2412.11983, critical nodes.
    """

    share: float = SHARE
    name: str = field(default="disharmonicity_entropy", init=False)

    def select(self, situation: Situation, budget: int) -> Selected:
        """The critical nodes; the score is LE + LH, which need not fall along the list.

        Raises:
            ValueError: `budget` is below 1, or no probabilities are given.
        """
        available = np.zeros(situation.graph.n_nodes, bool)
        available[candidates(situation, budget)] = True
        rows = required(situation.probabilities, "probabilities", self.name)
        adjacency = situation.graph.adjacency
        nodes = critical_nodes(rows, adjacency, available, budget, share=self.share)
        scores = label_entropy(rows) + label_disharmonicity(rows, adjacency)
        return Selected(nodes, scores[nodes])
