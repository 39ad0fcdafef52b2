"""Votes of several annotators, each with its own confusion of the classes, and no true label."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

ABSTAIN = -1
# keeps a logarithm finite where nothing was counted
SMALLEST = 1e-12


@dataclass(frozen=True)
class DawidSkeneSettings:
    """What is believed before any vote was seen, and when to stop.

    Attributes:
        strength: Votes that each row of a confusion matrix is pulled by towards the symmetric one
            of the same annotator, errors alike in all directions. 0 is Dawid and Skene's own
            model, which calls classes with few votes anything. 5 lets twenty votes speak.
        accuracy: What the accuracy of an annotator is pulled towards, in (0, 1): above 1 / K, or
            the labels could be permuted.
        accuracy_strength: By this many votes.
        class_strength: Samples that the class frequencies are pulled by towards equal ones, per
            class.
        max_steps: Of expectation and maximisation.
        tolerance: Stop when no posterior moves more.
    """

    strength: float = 5.0
    accuracy: float = 0.7
    accuracy_strength: float = 10.0
    class_strength: float = 1.0
    max_steps: int = 200
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("strength", "accuracy_strength", "class_strength", "tolerance"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 < self.accuracy < 1 or self.max_steps < 1:
            raise ValueError(
                f"accuracy must lie in (0, 1) and max_steps be at least 1, got {self.accuracy}"
                f" and {self.max_steps}"
            )


@dataclass(frozen=True, eq=False)
class DawidSkene:
    """A fitted model of annotators.

    Attributes:
        posteriors: P(true class | votes) ``[M, K]`` float64; the class frequencies where nobody
            voted.
        confusion: P(vote = j | true = i, there is a vote), ``[A, K, K]``, rows sum to 1.
        priors: Class frequencies ``[K]``.
        log_likelihood: Of the votes under confusion and priors.
        n_steps: Taken.
        converged: Whether the posteriors stood still.
    """

    posteriors: NDArray[np.float64]
    confusion: NDArray[np.float64]
    priors: NDArray[np.float64]
    log_likelihood: float
    n_steps: int
    converged: bool


DEFAULT_SETTINGS = DawidSkeneSettings()


def fit_dawid_skene(
    votes: ArrayLike, n_classes: int, settings: DawidSkeneSettings = DEFAULT_SETTINGS
) -> DawidSkene:
    """Estimate true classes and the annotators' confusion together, by expectation-maximisation.

    Given the true class, annotators err independently; whether one votes says nothing. The
    maximisation adds pseudo-votes of the annotator's symmetric confusion, whose accuracy is
    estimated in each step from all its votes: a class with few votes borrows from the others.
    It starts from the shares of the votes.

    Args:
        votes: ``[M, A]`` integers in ``0 .. K-1``, or -1 for none.
        n_classes: K, at least 2.
        settings: See `DawidSkeneSettings`.

    Returns:
        The model. Time and memory: ``O(M A K)`` a step, ``O(M K)``.

    Raises:
        ValueError: Votes are not a table with at least one annotator, or out of range.

    Source:
        Dawid and Skene, Applied Statistics 28 (1979); the shrinkage is ours.

    Example:
        >>> fit_dawid_skene([[0, 0, 1], [1, 1, -1], [0, 0, 0], [1, 1, 1]], 2).posteriors.argmax(1)
        array([0, 1, 0, 1])
    """
    table = _checked(votes, n_classes)
    # the same votes have the same posterior: fit the distinct rows, weighted
    rows, inverse, counts = np.unique(table, axis=0, return_inverse=True, return_counts=True)
    weights = counts.astype(np.float64)
    posteriors = _shares(rows, n_classes)
    moved, step = np.inf, 0
    while step < settings.max_steps and moved > settings.tolerance:
        confusion, priors = _maximise(rows, weights, posteriors, settings)
        found, evidence = vote_posteriors(rows, confusion, priors)
        moved = float(np.abs(found - posteriors).max(initial=0))
        posteriors = found
        step += 1
    return DawidSkene(
        posteriors[inverse.reshape(-1)], confusion, priors, float(weights @ evidence), step,
        moved <= settings.tolerance,
    )  # fmt: skip


def vote_posteriors(
    votes: ArrayLike, confusion: NDArray[np.float64], priors: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """P(true class | votes) ``[M, K]`` under known confusion, and log P(votes) ``[M]``.

    Args:
        votes: ``[M, A]``, -1 for none.
        confusion: ``[A, K, K]``, P(vote = j | true = i).
        priors: ``[K]``.
    """
    table = _checked(votes, len(priors))
    logs = np.log(np.maximum(confusion, SMALLEST))
    joint = np.tile(np.log(np.maximum(priors, SMALLEST)), (len(table), 1))
    for annotator in range(table.shape[1]):
        said = table[:, annotator]
        spoke = said != ABSTAIN
        joint[spoke] += logs[annotator].T[said[spoke]]
    peak = joint.max(axis=1, keepdims=True)
    posteriors = np.exp(joint - peak)
    total = posteriors.sum(axis=1, keepdims=True)
    return posteriors / total, (peak + np.log(total))[:, 0]


def _maximise(
    rows: NDArray[np.int64],
    weights: NDArray[np.float64],
    posteriors: NDArray[np.float64],
    settings: DawidSkeneSettings,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    k, n_annotators = posteriors.shape[1], rows.shape[1]
    expected = posteriors * weights[:, None]
    counts = np.zeros((n_annotators, k, k))
    for annotator in range(n_annotators):
        said = rows[:, annotator]
        spoke = said != ABSTAIN
        np.add.at(counts[annotator].T, said[spoke], expected[spoke])
    right = np.trace(counts, axis1=1, axis2=2) + settings.accuracy_strength * settings.accuracy
    accuracy = right / np.maximum(counts.sum(axis=(1, 2)) + settings.accuracy_strength, SMALLEST)
    # a small amount keeps rows that nobody voted on a distribution, also without shrinkage
    pull = max(settings.strength, SMALLEST)
    counts += pull * symmetric_confusion(accuracy, k)
    total = expected.sum(axis=0) + settings.class_strength
    priors = total / total.sum() if total.sum() > 0 else np.full(k, 1 / k)
    return counts / counts.sum(axis=2, keepdims=True), priors


def symmetric_confusion(accuracy: NDArray[np.float64], n_classes: int) -> NDArray[np.float64]:
    """Confusion ``[A, K, K]`` of annotators that err alike in all directions.

    Args:
        accuracy: ``[A]``, in 0..1.
        n_classes: K, at least 2.
    """
    off = (1 - accuracy) / (n_classes - 1)
    return off[:, None, None] + (accuracy - off)[:, None, None] * np.eye(n_classes)


def _shares(rows: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """Share of the votes per class, equal where there are none."""
    shares = np.zeros((len(rows), n_classes))
    for said in rows.T:
        spoke = np.flatnonzero(said != ABSTAIN)
        shares[spoke, said[spoke]] += 1
    total = shares.sum(axis=1, keepdims=True)
    return np.where(total > 0, shares / np.maximum(total, 1), 1 / n_classes)


def _checked(votes: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    table = np.asarray(votes)
    if n_classes < 2:
        raise ValueError(f"n_classes must be at least 2, got {n_classes}")
    if table.ndim != 2 or not table.shape[1] or not np.issubdtype(table.dtype, np.integer):
        raise ValueError(
            f"votes must be integers [M, A] with A at least 1, got {table.dtype} {table.shape}"
        )
    if table.size and not ABSTAIN <= table.min() <= table.max() < n_classes:
        raise ValueError(
            f"votes must lie in -1 .. {n_classes - 1}, found {table.min()} .. {table.max()}"
        )
    return table.astype(np.int64, copy=False)
