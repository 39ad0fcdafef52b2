"""Draws of wrong labels from a transition matrix: one coin per label, or an exact number."""

from dataclasses import dataclass

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray

from labelnoise.noise.transitions import checked_transition, random_state

UNLABELLED = -1


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Labels after noise, and what happened to them.

    Attributes:
        labels: ``[N]`` int64, a new array; unlabelled samples stay -1.
        flipped: ``[N]`` bool, True where the label differs from the one handed in.
        transition: Probabilities P(given = j | true = i) of the draw ``[K, K]``. For
            instance-dependent noise the mean over each class's samples.
        realised_rate: Share of labelled samples that flipped; 0 where there are none.
    """

    labels: NDArray[np.int64]
    flipped: NDArray[np.bool_]
    transition: NDArray[np.float64]
    realised_rate: float


def flip_labels(
    labels: ArrayLike, transition: ArrayLike, *, seed: int | RandomState
) -> NoisyLabels:
    """Draw each label anew from its row of `transition`, independently.

    The realised rate is binomial around the nominal one. One uniform number is used per labelled
    sample, in order, so that the draw equals one ``RandomState(seed).choice`` per sample.

    Args:
        labels: Clean labels ``[N]`` in ``0 .. K-1``, or -1 for none; not modified.
        transition: P(given = j | true = i) ``[K, K]``.
        seed: Of the draw, or the stream to continue.

    Raises:
        ValueError: A label out of range, or rows that are no probabilities.

    Example:
        >>> flip_labels([0, 1, -1, 1], [[0, 1], [1, 0]], seed=0).labels
        array([ 1,  0, -1,  0])
    """
    matrix = checked_transition(transition)
    clean = checked_labels(labels, len(matrix))
    known = np.flatnonzero(clean != UNLABELLED)
    noisy = clean.copy()
    noisy[known] = _draw_by_class(
        clean[known], matrix, random_state(seed).random_sample(len(known))
    )
    return outcome(clean, noisy, matrix)


def flip_labels_exactly(
    labels: ArrayLike, transition: ArrayLike, *, seed: int | RandomState
) -> NoisyLabels:
    """Flip exactly ``round(rate * n_labelled)`` labels, `rate` being the expected flipped share.

    Which ones: drawn without replacement, with weights ``1 - transition[y, y]``. Where to: drawn
    from the rest of the label's row. A label that cannot flip (weight 0) never does.

    Args:
        labels: Clean labels ``[N]`` in ``0 .. K-1``, or -1 for none; not modified.
        transition: P(given = j | true = i) ``[K, K]``.
        seed: Of the draw, or the stream to continue.

    Raises:
        ValueError: A label out of range, or rows that are no probabilities.
    """
    matrix = checked_transition(transition)
    clean = checked_labels(labels, len(matrix))
    known = np.flatnonzero(clean != UNLABELLED)
    stream = random_state(seed)
    chosen = known[draw_exact_flips(1 - np.diagonal(matrix)[clean[known]], stream)]
    elsewhere = matrix.copy()
    np.fill_diagonal(elsewhere, 0)
    noisy = clean.copy()
    noisy[chosen] = _draw_by_class(clean[chosen], elsewhere, stream.random_sample(len(chosen)))
    return outcome(clean, noisy, matrix)


def draw_exact_flips(weights: NDArray[np.float64], stream: RandomState) -> NDArray[np.int64]:
    """Positions of exactly ``round(sum(weights))`` samples, likelier where `weights` are larger.

    Args:
        weights: Flip probability of each sample ``[N]`` in 0..1.
        stream: Source of N uniform numbers.

    Source:
        Efraimidis & Spirakis, "Weighted random sampling with a reservoir", 2006: the largest of
        ``u ** (1 / w)``, here as the smallest of ``-log(u) / w``.
    """
    # nine digits: a rate written in decimals must not lose a flip to its binary form
    n_flips = round(round(float(weights.sum()), 9))
    uniform = stream.random_sample(len(weights))
    with np.errstate(divide="ignore"):
        keys = np.where(weights > 0, -np.log1p(-uniform) / weights, np.inf)
    return np.sort(np.argsort(keys, kind="stable")[:n_flips])


def checked_labels(labels: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    """Labels ``[N]`` as int64 in ``-1 .. n_classes - 1``.

    Raises:
        ValueError: Not ``[N]`` integers in that range; the first bad position is named.
    """
    array = np.asarray(labels)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"labels must be [N] integers, got {array.dtype} of shape {array.shape}")
    bad = np.flatnonzero((array < UNLABELLED) | (array >= n_classes))
    if len(bad):
        raise ValueError(
            f"labels must lie in -1 .. {n_classes - 1}, found {array[bad[0]]} at {bad[0]}"
        )
    return array.astype(np.int64)


def outcome(
    clean: NDArray[np.int64], noisy: NDArray[np.int64], transition: NDArray[np.float64]
) -> NoisyLabels:
    """The record of a draw."""
    flipped = noisy != clean
    n_labelled = int((clean != UNLABELLED).sum())
    return NoisyLabels(noisy, flipped, transition, int(flipped.sum()) / max(n_labelled, 1))


def _draw_by_class(
    labels: NDArray[np.int64], rows: NDArray[np.float64], uniform: NDArray[np.float64]
) -> NDArray[np.int64]:
    """New class of each label ``[M]``, from unnormalised probabilities `rows` ``[K, K]``."""
    drawn = np.empty_like(labels)
    for label in np.unique(labels):
        cumulative = rows[label].cumsum()
        cumulative /= cumulative[-1]
        members = labels == label
        drawn[members] = np.searchsorted(cumulative, uniform[members], side="right")
    return drawn
