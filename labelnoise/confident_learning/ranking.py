"""Label quality of each sample in 0..1, low means suspicious; three published rankings."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from labelnoise.confident_learning.probabilities import (
    Probabilities,
    TopProbabilities,
    given_probability,
)

# a row of probabilities is read in blocks of about this many values
BLOCK_VALUES = 1 << 20
SMALLEST = 1e-6


def self_confidence(labels: NDArray[np.int64], probs: Probabilities) -> NDArray[np.floating]:
    """Probability of the given label ``[N]``."""
    return given_probability(labels, probs)


def normalized_margin(labels: NDArray[np.int64], probs: Probabilities) -> NDArray[np.floating]:
    """``(p_given - max of the others + 1) / 2`` ``[N]``."""
    own = given_probability(labels, probs)
    other = np.empty(len(labels), own.dtype)
    for rows in _blocks(labels, probs):
        part = probs.value[rows] if isinstance(probs, TopProbabilities) else probs[rows]
        part = part.copy()
        if isinstance(probs, TopProbabilities):
            part[probs.index[rows] == labels[rows, None]] = 0
        elif part.shape[1] > 1:
            part[np.arange(len(part)), labels[rows]] = -np.inf
        other[rows] = part.max(axis=1)
    return (own - other + 1) / 2


def confidence_weighted_entropy(
    labels: NDArray[np.int64], probs: Probabilities
) -> NDArray[np.floating]:
    """``log(c + 1) / c`` ``[N]`` for ``c = entropy / (log K * p_given)``, near 1 for good labels.

    Without entropy it is 1 if the sure class is the given one, else 0 (cleanlab: 0 either way).
    From top probabilities the mass that is not listed is spread evenly over the other classes,
    which is the largest entropy it can have.
    """
    own = np.maximum(given_probability(labels, probs).astype(np.float64), SMALLEST)
    entropy = np.empty(len(labels))
    for rows in _blocks(labels, probs):
        entropy[rows] = _entropy(probs, rows, labels)
    n_classes = probs.n_classes if isinstance(probs, TopProbabilities) else probs.shape[1]
    ratio = entropy / (max(np.log(n_classes), SMALLEST) * own)
    score = np.log1p(ratio) / np.where(ratio > 0, ratio, 1)
    return np.where(ratio > 0, score, (own > 0.5).astype(np.float64))


RANKINGS: dict[str, Callable[[NDArray[np.int64], Probabilities], NDArray[np.floating]]] = {
    "self_confidence": self_confidence,
    "normalized_margin": normalized_margin,
    "confidence_weighted_entropy": confidence_weighted_entropy,
}


def _entropy(probs: Probabilities, rows: slice, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    if not isinstance(probs, TopProbabilities):
        return _plogp(probs[rows]).sum(axis=1)
    value, own = probs.value[rows].astype(np.float64), probs.given[rows].astype(np.float64)
    unlisted = ~(probs.index[rows] == labels[rows, None]).any(axis=1)
    listed = value.sum(axis=1) + np.where(unlisted, own, 0)
    left = np.maximum(1 - listed, 0)
    others = np.maximum(probs.n_classes - value.shape[1] - unlisted, 1)
    tail = _plogp(left) + left * np.log(others)
    return _plogp(value).sum(axis=1) + np.where(unlisted, _plogp(own), 0) + tail


def _plogp(p: NDArray[np.floating]) -> NDArray[np.float64]:
    return -p * np.log(np.maximum(p, np.finfo(np.float64).tiny))


def _blocks(labels: NDArray[np.int64], probs: Probabilities) -> list[slice]:
    width = probs.value.shape[1] if isinstance(probs, TopProbabilities) else probs.shape[1]
    step = max(1, BLOCK_VALUES // width)
    return [slice(start, start + step) for start in range(0, len(labels), step)]
