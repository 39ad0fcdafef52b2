"""The confident joint and what follows from it: counts of (given, true) pairs, noise matrices."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class NoiseEstimate:
    """What the confident joint says about the noise.

    Attributes:
        joint: P(given = a, true = b) ``[K, K]``, sums to 1.
        prior: P(true = b) ``[K]``.
        transition: P(given = j | true = i) ``[K, K]``, rows add up to 1.
        inverse: P(true = j | given = i) ``[K, K]``, rows add up to 1.
        noise_rate: P(given != true).
    """

    joint: NDArray[np.float64]
    prior: NDArray[np.float64]
    transition: NDArray[np.float64]
    inverse: NDArray[np.float64]
    noise_rate: float


def calibrate_joint(counts: ArrayLike, label_counts: ArrayLike) -> NDArray[np.int64]:
    """Counts ``[K, K]`` scaled so that row a adds up to the number of labels a, in whole numbers.

    Each row is rounded to the nearest integers and then corrected at the largest remainders.

    Args:
        counts: Confident counts [given, true], with a diagonal of at least 1.
        label_counts: Number of samples per given label ``[K]``.

    Source:
        Northcutt et al., "Confident Learning", JAIR 2021, equation 3.
    """
    # column order in memory: the total then adds up in the order in which cleanlab adds it, and a
    # remainder of exactly one half falls on the same side
    cells, sizes = np.asfortranarray(counts), np.asarray(label_counts)
    scaled = (cells.T / np.maximum(cells.sum(axis=1), 1) * sizes).T
    scaled = scaled / max(scaled.sum(), np.finfo(np.float64).tiny) * sizes.sum()
    return round_rows(scaled)


def round_rows(matrix: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers near `matrix` ``[R, C]`` whose rows add up to the rounded row sums."""
    matrix = np.ascontiguousarray(matrix)
    rounded = np.rint(matrix)
    missing = np.rint(matrix.sum(axis=1)) - rounded.sum(axis=1)
    for row in np.flatnonzero(missing):
        _repair(matrix[row], rounded[row], int(missing[row]))
    return rounded.astype(np.int64)


def estimate_noise(joint: ArrayLike) -> NoiseEstimate:
    """Noise matrices of a calibrated joint ``[K, K]`` of counts [given, true].

    A class that no sample is estimated to have gets the identity row.
    """
    cells = np.asarray(joint, dtype=np.float64)
    total = cells.sum()
    share = cells / total if total else np.eye(len(cells)) / len(cells)
    return NoiseEstimate(
        joint=share,
        prior=share.sum(axis=0),
        transition=_conditional(share.T),
        inverse=_conditional(share),
        noise_rate=float(np.clip(1 - np.trace(share), 0, 1)),
    )


def _repair(exact: NDArray[np.float64], rounded: NDArray[np.float64], missing: int) -> None:
    """Move whole numbers up or down, largest remainder first, until `missing` is made good."""
    step = 1 if missing > 0 else -1
    while missing:
        # one pass gives each cell at most one step
        now = min(abs(missing), len(exact))
        rounded[_foremost(exact - rounded, step, now)] += step
        missing -= step * now


def _foremost(remainders: NDArray[np.float64], step: int, n: int) -> NDArray[np.int64]:
    """Places of the `n` largest (step 1) or smallest (step -1) remainders, in no order."""
    signed = step * remainders
    # most cells are whole numbers already; a sort of all costs ten times as much
    candidates = np.flatnonzero(signed > 0)
    if len(candidates) >= n:
        reached = candidates[signed[candidates] >= np.sort(signed[candidates])[-n]]
        if len(reached) == n:
            return reached
    # NumPy's default sort settles ties for the last place, as it does in cleanlab
    return np.argsort(remainders)[::-step][:n]


def _conditional(joint: NDArray[np.float64]) -> NDArray[np.float64]:
    total = joint.sum(axis=1, keepdims=True)
    return np.divide(joint, total, out=np.eye(len(joint)), where=total > 0)
