"""Transition matrices ``[K, K]`` float64: entry (i, j) is P(given = j | true = i)."""

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray

# rows written by hand or in float32 add up to 1 only this closely
ROW_SUM_TOLERANCE = 1e-6


def random_state(seed: int | RandomState) -> RandomState:
    """`seed` itself if it is a stream already, else the legacy stream it starts."""
    return seed if isinstance(seed, RandomState) else RandomState(seed)


def uniform_transition(n_classes: int, rate: float) -> NDArray[np.float64]:
    """With probability `rate` any other class, all equally likely.

    Args:
        n_classes: K, at least 2.
        rate: Share of labels that flip, in 0..1.

    Raises:
        ValueError: Fewer than two classes, or `rate` out of range.

    Example:
        >>> uniform_transition(3, 0.5)
        array([[0.5 , 0.25, 0.25],
               [0.25, 0.5 , 0.25],
               [0.25, 0.25, 0.5 ]])
    """
    _check(n_classes, rate)
    matrix = np.full((n_classes, n_classes), rate / (n_classes - 1))
    np.fill_diagonal(matrix, 1 - rate)
    return matrix


def pair_transition(n_classes: int, rate: float, *, shift: int = 1) -> NDArray[np.float64]:
    """With probability `rate` the class `shift` places on: i -> i + shift mod K.

    Args:
        n_classes: K, at least 2.
        rate: Share of labels that flip, in 0..1.
        shift: 1 is the usual i -> i + 1; -1 is the i -> i - 1 of the NoisyGL benchmark.

    Raises:
        ValueError: Fewer than two classes, `rate` out of range, or a shift onto itself.
    """
    _check(n_classes, rate)
    if shift % n_classes == 0:
        raise ValueError(f"shift must not be a multiple of {n_classes} classes, got {shift}")
    target = (np.arange(n_classes) + shift) % n_classes
    return _to_one_target(target, rate)


def asymmetric_transition(
    n_classes: int, rate: float, *, seed: int | RandomState
) -> NDArray[np.float64]:
    """With probability `rate` the one target class drawn for this class.

    Each class draws its target uniformly among the others, in class order and independently: two
    classes may share one.

    Args:
        n_classes: K, at least 2.
        rate: Share of labels that flip, in 0..1.
        seed: Of the K target draws, or the stream to continue.

    Raises:
        ValueError: Fewer than two classes, or `rate` out of range.

    Source:
        The asymmetric noise of ERASE (arXiv 2312.08852) as released.

    Example:
        >>> asymmetric_transition(7, 1.0, seed=123).argmax(axis=1)
        array([6, 3, 5, 2, 1, 3, 2])
    """
    _check(n_classes, rate)
    stream = random_state(seed)
    others = stream.randint(0, n_classes - 1, size=n_classes, dtype=np.int64)
    own = np.arange(n_classes)
    return _to_one_target(others + (others >= own), rate)


def checked_transition(matrix: ArrayLike) -> NDArray[np.float64]:
    """Any matrix, once it is one of conditional probabilities.

    Raises:
        ValueError: Not square, a value outside 0..1, or a row that does not add up to 1.
    """
    checked = np.asarray(matrix, dtype=np.float64)
    if checked.ndim != 2 or checked.shape[0] != checked.shape[1]:
        raise ValueError(f"transition must be [K, K], got {checked.shape}")
    if not ((checked >= 0) & (checked <= 1)).all():
        raise ValueError("transition must hold probabilities in 0 .. 1")
    sums = checked.sum(axis=1)
    wrong = np.flatnonzero(np.abs(sums - 1) > ROW_SUM_TOLERANCE)
    if len(wrong):
        raise ValueError(f"transition row {wrong[0]} must add up to 1, got {sums[wrong[0]]}")
    return checked


def check_rate(rate: float) -> None:
    """Raise ValueError unless `rate` is a share."""
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must lie in 0 .. 1, got {rate}")


def _check(n_classes: int, rate: float) -> None:
    if n_classes < 2:
        raise ValueError(f"n_classes must be at least 2 to flip a label, got {n_classes}")
    check_rate(rate)


def _to_one_target(target: NDArray[np.int64], rate: float) -> NDArray[np.float64]:
    n_classes = len(target)
    matrix = np.zeros((n_classes, n_classes))
    np.fill_diagonal(matrix, 1 - rate)
    matrix[np.arange(n_classes), target] = rate
    return matrix
