"""Questions that teach most although some answers are wrong: robust active distillation."""

from dataclasses import dataclass, field
from math import ceil

import numpy as np
from numpy.typing import NDArray

from graphnoise.node_selection.base import Selected, Situation
from graphnoise.node_selection.ranking import candidates, ranked, required

SMALLEST_GAIN = 1e-6


@dataclass(frozen=True)
class InformativeAndCorrect:
    """Nodes drawn so that the gain is largest when the teacher errs where it hurts most.

    A node's gain is 1 - margin of the current model. Questions are drawn, without replacement,
    from `robust_distribution`: above a bar, the more a node would teach, the *less* often it is
    asked, because the teacher is most often wrong there; below the bar, never. Where fewer nodes
    are above it than the budget asks for, those of next largest gain follow.

    Attributes:
        error_rate: Share of the teacher's labels that are wrong, in [0, 1). None takes 1 - mean
            of `Situation.reliability` where that is known, else .3, about what GPT-3.5 does on
            citation graphs.

    Source:
        Robust Active Distillation, arXiv 2210.01213 (closed form derived from its game).
    """

    error_rate: float | None = None
    name: str = field(default="informative_and_correct", init=False)

    def __post_init__(self) -> None:
        if self.error_rate is not None and not 0 <= self.error_rate < 1:
            raise ValueError(f"error_rate must lie in [0, 1), got {self.error_rate}")

    def select(self, situation: Situation, budget: int) -> Selected:
        """Draw nodes; the score is the probability of the first draw, then (below 0) gain - 1.

        Raises:
            ValueError: `budget` is below 1, or no probabilities are given.
        """
        nodes = candidates(situation, budget)
        rows = required(situation.probabilities, "probabilities", self.name)[nodes]
        if not len(nodes):
            return ranked(nodes, np.zeros(0), situation, budget)
        top = np.sort(rows, axis=1)[:, -2:]
        gains = np.maximum(1 - (top[:, 1] - top[:, 0]), SMALLEST_GAIN)
        n_wrong = min(ceil(self._error_rate(situation) * len(nodes)), len(nodes) - 1)
        chance = robust_distribution(gains, n_wrong)
        # the first of exponential races with these rates is a draw without replacement
        races = np.random.default_rng(situation.seed).exponential(size=situation.graph.n_nodes)
        speed = np.where(chance > 0, chance / np.maximum(races[nodes], 1e-300), gains - 1)
        order = ranked(np.arange(len(nodes)), speed, situation, budget).nodes
        return Selected(nodes[order], np.where(chance > 0, chance, gains - 1)[order])

    def _error_rate(self, situation: Situation) -> float:
        if self.error_rate is not None:
            return self.error_rate
        known = situation.reliability
        if known is None or np.isnan(known).all():
            return 0.3
        return float(1 - np.nanmean(known))


def robust_distribution(gains: NDArray[np.float64], n_wrong: int) -> NDArray[np.float64]:
    """The distribution q ``[M]`` with the largest worst-case gain.

    ``max_q min_{|S| = n_wrong} sum_{i not in S} q_i g_i``: with gains in falling order and
    ``H_k = sum_{j <= k} 1 / g_j``, the best k is ``argmax_{k > n_wrong} (k - n_wrong) / H_k``,
    and ``q_i = (1 / g_i) / H_k`` for the first k, else 0. Equal gains at the bar: the lower node.

    Args:
        gains: ``[M]``, positive.
        n_wrong: In ``0 .. M - 1``.

    Raises:
        ValueError: `gains` or `n_wrong` is out of range.

    Example:
        >>> robust_distribution(np.array([1.0, 0.5, 0.01]), 1).round(2)
        array([0.33, 0.67, 0.  ])
    """
    if gains.ndim != 1 or not (gains > 0).all():
        raise ValueError("gains must be positive [M]")
    if not 0 <= n_wrong < len(gains):
        raise ValueError(f"n_wrong must lie in 0 .. {len(gains) - 1}, got {n_wrong}")
    order = np.argsort(-gains, kind="stable")
    inverse = 1 / gains[order]
    sums = np.cumsum(inverse)
    counts = np.arange(1, len(gains) + 1)
    best = int(np.where(counts > n_wrong, (counts - n_wrong) / sums, -1).argmax())
    chance = np.zeros(len(gains))
    chance[order[: best + 1]] = inverse[: best + 1] / sums[best]
    return chance
