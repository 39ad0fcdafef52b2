"""One answer out of the networks of all stages so far."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def stage_weights(n_stages: int, decay: float = 0.5) -> NDArray[np.float64]:
    """Weights ``[n_stages]`` of the stages that exist: ``(1 - a) a^(S - i) / (1 - a^S)``.

    They sum to 1 and later stages weigh more.

    Args:
        n_stages: S, at least 1.
        decay: a, in ``[0, 1]``: what a stage weighs relative to the next. 0 is the last stage
            alone, 1 their mean.

    Raises:
        ValueError: An argument is outside its range.
    """
    if n_stages < 1 or not 0 <= decay <= 1:
        raise ValueError(f"want n_stages >= 1 and decay in [0, 1], got {n_stages} and {decay}")
    weights: NDArray[np.float64] = np.float64(decay) ** np.arange(n_stages)[::-1]
    return weights / weights.sum()


def average_stages(
    answers: Sequence[NDArray[np.float32]], decay: float = 0.5
) -> NDArray[np.float32]:
    """Weighted mean of class probabilities ``[N, K]``, first stage first; rows sum to 1.

    Probabilities, not logits: the scale of a stage's logits says how long it trained, not how
    much it knows.

    Raises:
        ValueError: No answer, or `decay` outside its range.
    """
    weights = stage_weights(len(answers), decay)
    total = np.zeros(answers[0].shape, np.float64)
    for weight, answer in zip(weights, answers, strict=True):
        total += weight * answer
    return total.astype(np.float32)
