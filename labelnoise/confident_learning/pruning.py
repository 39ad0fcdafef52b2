"""Which labels to flag, given the scanned samples and the calibrated joint."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from labelnoise.confident_learning import compiled
from labelnoise.confident_learning.probabilities import Dense, TopProbabilities
from labelnoise.confident_learning.ranking import normalized_margin
from labelnoise.confident_learning.states import JointState, Scan

Mask = NDArray[np.bool_]
# a class keeps at least this many of its samples
KEPT_PER_CLASS = 1


def off_diagonal(state: JointState) -> Mask:
    """Samples confidently counted as another class, unless the argmax still is the given label."""
    scan = state.scan()
    return (scan.confident >= 0) & (scan.confident != scan.labels) & ~scan.agrees


def by_class(state: JointState) -> Mask:
    """Per class a, the ``n_a - C[a, a]`` samples with the lowest probability of a.

    Source:
        Northcutt et al. 2021, section 3.2, method 3.
    """
    return _by_class(state.scan(), prune_counts(state.joint()), state.label_counts)


def by_noise_rate(state: JointState) -> Mask:
    """Per pair of classes (a, b), the ``C[a, b]`` samples of label a with the largest margin of b.

    Source:
        Northcutt et al. 2021, section 3.2, method 4.
    """
    return _by_noise_rate(state.scan(), prune_counts(state.joint()), state.label_counts)


def both(state: JointState) -> Mask:
    """Samples flagged by class and by noise rate.

    Source:
        Northcutt et al. 2021, section 3.2, method 5.
    """
    counts, scan = prune_counts(state.joint()), state.scan()
    by_rate = _by_noise_rate(scan, counts, state.label_counts)
    return by_rate & _by_class(scan, counts, state.label_counts)


def predicted_neq_given(state: JointState) -> Mask:
    """Samples whose likeliest class is not the given one."""
    return ~state.scan().agrees


def low_self_confidence(state: JointState) -> Mask:
    """The lowest probabilities of the given label, as many as `off_diagonal` flags."""
    return _lowest(state.scan().own, int(off_diagonal(state).sum()))


def low_normalized_margin(state: JointState) -> Mask:
    """The lowest normalised margins, as many as `off_diagonal` flags."""
    scan = state.scan()
    scores = normalized_margin(scan.labels, scan.probs)
    return _lowest(scores, int(off_diagonal(state).sum()))


# in the names of cleanlab's `filter_by`, whose flagged sets these equal
FILTERS: dict[str, Callable[[JointState], Mask]] = {
    "prune_by_noise_rate": by_noise_rate,
    "prune_by_class": by_class,
    "both": both,
    "confident_learning": off_diagonal,
    "predicted_neq_given": predicted_neq_given,
    "low_normalized_margin": low_normalized_margin,
    "low_self_confidence": low_self_confidence,
}


def prune_counts(joint: NDArray[np.int64]) -> NDArray[np.int64]:
    """The joint ``[K, K]`` [given, true] with every class left at least one sample.

    Where the diagonal must rise, the other counts of that given class shrink by equal parts and
    lose their fractions.
    """
    diagonal = np.diagonal(joint)
    lacking = np.maximum(KEPT_PER_CLASS - diagonal, 0)
    if not lacking.any():
        return joint
    nonzero = np.maximum(np.count_nonzero(joint, axis=1) - 1.0, 1.0)
    reduced = np.maximum(joint - (lacking / nonzero)[:, None], 0)
    np.fill_diagonal(reduced, diagonal + lacking)
    return reduced.astype(np.int64)


def _by_class(scan: Scan, counts: NDArray[np.int64], label_counts: NDArray[np.int64]) -> Mask:
    order, starts = _grouped(scan.labels, label_counts)
    n_errors = np.where(label_counts > KEPT_PER_CLASS, label_counts - np.diagonal(counts), 0)
    flagged = np.zeros(len(scan.labels), bool)
    for label in np.flatnonzero(n_errors > 0):
        rows = order[starts[label] : starts[label + 1]]
        flagged[rows[_lowest_places(scan.own[rows], n_errors[label])]] = True
    return flagged & ~scan.agrees


def _by_noise_rate(scan: Scan, counts: NDArray[np.int64], label_counts: NDArray[np.int64]) -> Mask:
    wanted = np.where(label_counts[:, None] > KEPT_PER_CLASS, counts, 0)
    np.fill_diagonal(wanted, 0)
    flagged = np.zeros(len(scan.labels), bool)
    if isinstance(scan.probs, TopProbabilities):
        _flag_top_cells(scan, scan.probs, wanted, flagged)
    else:
        _flag_dense_cells(scan, scan.probs, wanted, label_counts, flagged)
    return flagged & ~scan.agrees


def _flag_dense_cells(
    scan: Scan,
    probs: Dense,
    wanted: NDArray[np.int64],
    label_counts: NDArray[np.int64],
    flagged: Mask,
) -> None:
    order, starts = _grouped(scan.labels, label_counts)
    cells = np.argwhere(wanted > 0)
    sizes = wanted[cells[:, 0], cells[:, 1]]
    tied = np.zeros(len(cells), bool)
    compiled.flag_cells(probs, scan.own, order, starts, cells, sizes, flagged, tied)
    for (label, other), size in zip(cells[tied], sizes[tied], strict=True):
        rows = order[starts[label] : starts[label + 1]]
        flagged[rows[_lowest_places(scan.own[rows] - probs[rows, other], size)]] = True


def _flag_top_cells(
    scan: Scan, top: TopProbabilities, wanted: NDArray[np.int64], flagged: Mask
) -> None:
    """`compiled.flag_cells` where only the top classes of a row are known."""
    rows = np.repeat(np.arange(len(scan.labels)), top.index.shape[1])
    other = top.index.reshape(-1).astype(np.int64)
    label = scan.labels[rows]
    candidates = np.flatnonzero(wanted[label, other] > 0)
    rows, cell = rows[candidates], label[candidates] * top.n_classes + other[candidates]
    margin = top.value.reshape(-1)[candidates] - scan.own[rows]
    order = np.lexsort((-margin, cell))
    rows, cell = rows[order], cell[order]
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    place = np.arange(len(cell)) - np.repeat(first, np.diff(np.append(first, len(cell))))
    flagged[rows[place < wanted.reshape(-1)[cell]]] = True


def _grouped(
    labels: NDArray[np.int64], label_counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows sorted by label, in their own order within one, and where each label starts."""
    return np.argsort(labels, kind="stable"), np.concatenate([[0], np.cumsum(label_counts)])


def _lowest_places(scores: NDArray[np.floating], n: int) -> NDArray[np.int64]:
    # NumPy's default sort settles ties for the last place, as it does in cleanlab
    return np.argsort(scores)[:n]


def _lowest(scores: NDArray[np.floating], n: int) -> Mask:
    flagged = np.zeros(len(scores), bool)
    flagged[_lowest_places(scores, n)] = True
    return flagged
