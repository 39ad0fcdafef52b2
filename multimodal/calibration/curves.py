"""Monotone curves from scores to shares, read off a sample."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# enough for a share of 90 % to be told from one of 75 %
SAMPLES_PER_BIN = 40
MOST_BINS = 25
# keeps the order of scores within a flat stretch
TILT = 1e-4


@dataclass(frozen=True, eq=False)
class Curve:
    """Straight lines between points, level beyond them.

    Attributes:
        score: Places ``[m]``, ascending.
        share: What holds there ``[m]``, in 0..1, not falling.
    """

    score: NDArray[np.float64]
    share: NDArray[np.float64]

    def at(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """The share at each score; NaN stays NaN."""
        return np.interp(scores, self.score, self.share)


def rising_curve(
    scores: NDArray[np.floating],
    hits: NDArray[np.floating],
    weights: NDArray[np.floating] | None = None,
) -> Curve:
    """Share of hits as a function of the score that never falls.

    Bins of equally many samples, half a hit and half a miss added to each, pooled where they
    would fall (isotonic regression).

    Args:
        scores: ``[n]``, n at least 1.
        hits: ``[n]`` in 0..1.
        weights: ``[n]``, what a sample counts for; all 1 by default.
    """
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, np.float64)
    order = np.argsort(scores, kind="stable")
    n_bins = int(np.clip(len(scores) // SAMPLES_PER_BIN, 1, MOST_BINS))
    bins = np.array_split(order, n_bins)
    centres = np.array([np.median(scores[part]) for part in bins], dtype=np.float64)
    mass = np.array([weights[part].sum() for part in bins])
    found = np.array([(weights[part] * hits[part]).sum() for part in bins])
    return monotone(centres, (found + 0.5) / (mass + 1), mass)


def monotone(
    scores: NDArray[np.float64], shares: NDArray[np.float64], weights: NDArray[np.float64]
) -> Curve:
    """The curve that comes nearest to the points and never falls."""
    from sklearn.isotonic import IsotonicRegression

    places, first = np.unique(scores, return_index=True)
    fitted = IsotonicRegression(y_min=0, y_max=1).fit(scores, shares, sample_weight=weights + 1e-9)
    return Curve(places, fitted.predict(scores)[first])
