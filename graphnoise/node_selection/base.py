"""What every selector offers: a graph and a budget in, nodes out."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from graphnoise.text_graph import TextGraph


@dataclass(frozen=True, eq=False)
class Situation:
    """What is known when nodes are chosen; no label of the truth is among it.

    Attributes:
        graph: The graph. `TextGraph.truth` must not be read.
        available: Nodes that may be chosen ``[N]`` bool: not yet asked, with a text.
        seed: Of every random step.
        prior: Class probabilities ``[N, K]`` of a second opinion that costs nothing (zero-shot),
            or None.
        probabilities: The current model's answer ``[N, K]``, or None in the first round.
        labels: Labels bought so far ``[N]``, -1 where there is none; None in the first round.
        reliability: Estimated probability that each of them is right ``[N]``, NaN where there is
            none; None where it was not estimated.
    """

    graph: TextGraph
    available: NDArray[np.bool_]
    seed: int = 0
    prior: NDArray[np.float32] | None = None
    probabilities: NDArray[np.float32] | None = None
    labels: NDArray[np.int64] | None = None
    reliability: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class Selected:
    """Nodes to ask about.

    Attributes:
        nodes: Distinct available nodes ``[B]`` int64, most wanted first.
        scores: The score each was chosen by ``[B]`` float64, larger is better; what it means is
            the selector's own.
    """

    nodes: NDArray[np.int64]
    scores: NDArray[np.float64]


class Selector(Protocol):
    """Chooses nodes; a new one is one file and one line in `SELECTORS`.

    Attributes:
        name: Key of `graphnoise.node_selection.SELECTORS`.
    """

    @property
    def name(self) -> str:
        """Key of the registry."""
        ...

    def select(self, situation: Situation, budget: int) -> Selected:
        """Exactly `budget` nodes, or all available ones where there are fewer.

        The same situation gives the same nodes. A selector without random steps gives them
        whatever their numbering, but for exact ties, which the seed breaks.

        Raises:
            ValueError: `budget` is below 1, or the selector needs evidence that is missing.
        """
        ...
