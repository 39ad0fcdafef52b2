"""Confident learning over a stream: two passes of small states that add up and merge."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelnoise.confident_learning import compiled
from labelnoise.confident_learning.joint import NoiseEstimate, calibrate_joint, estimate_noise
from labelnoise.confident_learning.probabilities import (
    Dense,
    Probabilities,
    TopProbabilities,
    as_dense,
    checked_labels,
    concatenated,
    given_probability,
    top_probabilities,
)

# a probability this close below its threshold still counts: sums of floats differ in last digits
TOLERANCE = 1e-6
LOWEST_THRESHOLD = 2e-6
# no probability reaches it: a class that no sample was given gets no confident sample
UNREACHABLE = 2.0


class ThresholdState:
    """First pass: sum and count of the given label's probability, per class.

    Args:
        n_classes: K.

    Example:
        >>> state = ThresholdState(2)
        >>> state.update([0, 0, 1], [[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
        >>> state.thresholds().round(2).tolist()
        [0.7, 0.8]
    """

    def __init__(self, n_classes: int) -> None:
        self.sums = np.zeros(n_classes, np.float64)
        self.counts = np.zeros(n_classes, np.int64)

    def update(self, labels: ArrayLike, probs: ArrayLike | TopProbabilities) -> None:
        """Add samples: given labels ``[B]`` and probabilities ``[B, K]`` or their top m."""
        size = len(self.sums)
        given, checked = checked_batch(labels, probs, size)
        own = given_probability(given, checked)
        self.sums += np.bincount(given, weights=own, minlength=size)
        self.counts += np.bincount(given, minlength=size)

    def merge(self, other: "ThresholdState") -> None:
        """Add the samples of another state."""
        self.sums += other.sums
        self.counts += other.counts

    def thresholds(self) -> NDArray[np.float64]:
        """Mean probability of the given label per class ``[K]``; 2 for a class without samples."""
        mean = self.sums / np.maximum(self.counts, 1)
        return np.where(self.counts > 0, np.maximum(mean, LOWEST_THRESHOLD), UNREACHABLE)


@dataclass(frozen=True, eq=False)
class Scan:
    """Samples after the second pass.

    Attributes:
        labels: Given ``[N]``.
        probs: As handed in, dense or top.
        own: Probability of the given label ``[N]``.
        confident: Class the sample is confidently counted as ``[N]``, -1 for none.
        agrees: The likeliest class is the given one ``[N]``.
    """

    labels: NDArray[np.int64]
    probs: Probabilities
    own: Dense
    confident: NDArray[np.int64]
    agrees: NDArray[np.bool_]


@dataclass
class JointState:
    """Second pass: counts of (given, confident) pairs, and what pruning needs of each sample.

    Memory: K² counts, and per sample the probabilities kept: the top `keep` of dense rows, or all
    of them (a reference, not a copy) with ``keep=None``.

    Attributes:
        thresholds: From the first pass ``[K]``.
        keep: Entries of a dense row to keep, or None for all. Pruning by noise rate sees only
            those that are kept; 10 lose nothing worth having among thousands of classes.
    """

    thresholds: NDArray[np.float64]
    keep: int | None = None
    _parts: list[Scan] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        n_classes = len(self.thresholds)
        self.pairs = np.zeros((n_classes, n_classes), np.int64)
        self.label_counts = np.zeros(n_classes, np.int64)

    def update(self, labels: ArrayLike, probs: ArrayLike | TopProbabilities) -> None:
        """Add samples: given labels ``[B]`` and probabilities ``[B, K]`` or their top m."""
        scan = scan_rows(labels, probs, self.thresholds)
        size = len(self.thresholds)
        counted = scan.confident >= 0
        cells = scan.labels[counted] * size + scan.confident[counted]
        self.pairs += np.bincount(cells, minlength=size * size).reshape(size, size)
        self.label_counts += np.bincount(scan.labels, minlength=size)
        if self.keep is not None and not isinstance(scan.probs, TopProbabilities):
            top = top_probabilities(scan.probs, scan.labels, self.keep)
            scan = Scan(scan.labels, top, scan.own, scan.confident, scan.agrees)
        self._parts.append(scan)

    def merge(self, other: Self) -> None:
        """Add the samples of another state, after this one's.

        Raises:
            ValueError: The other state counted with other thresholds.
        """
        if not np.array_equal(self.thresholds, other.thresholds):
            raise ValueError("states to merge must share their thresholds")
        self.pairs += other.pairs
        self.label_counts += other.label_counts
        self._parts.extend(other._parts)

    def scan(self) -> Scan:
        """All samples in the order they came (a copy only if they came in several parts)."""
        if not self._parts:
            return scan_rows([], np.zeros((0, len(self.thresholds))), self.thresholds)
        if len(self._parts) > 1:
            parts = self._parts
            whole = Scan(
                np.concatenate([part.labels for part in parts]),
                concatenated([part.probs for part in parts]),
                np.concatenate([part.own for part in parts]),
                np.concatenate([part.confident for part in parts]),
                np.concatenate([part.agrees for part in parts]),
            )
            self._parts = [whole]
        return self._parts[0]

    def confident_counts(self) -> NDArray[np.int64]:
        """Confident joint ``[K, K]`` of counts [given, true], its diagonal at least 1."""
        counts = self.pairs.copy()
        np.fill_diagonal(counts, np.maximum(np.diagonal(counts), 1))
        return counts

    def joint(self) -> NDArray[np.int64]:
        """Calibrated confident joint ``[K, K]``: row a adds up to the number of labels a."""
        return calibrate_joint(self.confident_counts(), self.label_counts)

    def noise(self) -> NoiseEstimate:
        """Noise matrices of the calibrated joint."""
        return estimate_noise(self.joint())


def scan_rows(
    labels: ArrayLike, probs: ArrayLike | TopProbabilities, thresholds: NDArray[np.float64]
) -> Scan:
    """Confident class of each row, given the class thresholds.

    Raises:
        ValueError: A shape, label or probability is out of range.
    """
    given, checked = checked_batch(labels, probs, len(thresholds))
    confident, agrees = np.empty(len(given), np.int64), np.empty(len(given), np.bool_)
    own = given_probability(given, checked)
    cuts = thresholds - TOLERANCE
    if isinstance(checked, TopProbabilities):
        compiled.scan_top(
            given, checked.index, checked.value, checked.given, cuts, confident, agrees
        )
    else:
        bad = compiled.scan_dense(given, checked, cuts.astype(checked.dtype), confident, agrees)
        if bad >= 0:
            raise ValueError(f"probs must hold probabilities in 0 .. 1, row {bad} does not")
    return Scan(given, checked, own, confident, agrees)


def checked_batch(
    labels: ArrayLike, probs: ArrayLike | TopProbabilities, n_classes: int
) -> tuple[NDArray[np.int64], Probabilities]:
    """Labels as int64 and probabilities in one of their two forms, of K columns."""
    checked = probs if isinstance(probs, TopProbabilities) else as_dense(probs)
    found = checked.n_classes if isinstance(checked, TopProbabilities) else checked.shape[1]
    if found != n_classes:
        raise ValueError(f"probs must have {n_classes} classes, got {found}")
    return checked_labels(labels, len(checked), n_classes), checked
