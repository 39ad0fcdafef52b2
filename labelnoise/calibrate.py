"""Views that were fitted to noisy labels, turned into views of the true class."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelnoise.decide import DEFAULT_RULE, pooled_logarithms, scaled_views
from labelnoise.noise_channel import (
    ChannelPrior,
    NoiseChannel,
    fit_noise_channel,
    fit_temperature,
)

# a view's zero is read as this: less than any temperature brings back
SMALLEST_SHARE = 1e-6


def calibrate_views(
    views: Mapping[str, ArrayLike],
    given: ArrayLike,
    *,
    fit_rows: ArrayLike | None = None,
    prior: ChannelPrior | None = None,
    probability_floor: float = DEFAULT_RULE.probability_floor,
) -> tuple[dict[str, NDArray[np.float64]], NoiseChannel]:
    """Estimate the noise of the labels from all views together, then sharpen each view by it.

    The pool of the views knows more than any of them, so the transition matrix is fitted to the
    pool (`fit_noise_channel`). Behind that one matrix each view gets its own temperature, and the
    pool of the new views a channel anew: pooling averages logarithms, and agreeing views that
    err in different ways are together surer than each.

    Args:
        views: As in `labelnoise.decide.decide`; only their order of magnitude matters.
        given: Given labels ``[N]`` in ``0 .. K-1``, or -1 for none.
        fit_rows: Which rows ``[N]`` bool may be fitted to: those whose own label had no part in
            their views. All labelled rows by default.
        prior: See `ChannelPrior`.
        probability_floor: The rule's, for pooling.

    Returns:
        Views ``[N, K]`` of P(true class), silent where they were, and the channel of their pool,
        both for `decide`. Memory: two copies of the views.

    Raises:
        ValueError: No view; else as `labelnoise.decide.decide` and `fit_noise_channel`.
    """
    if not views:
        raise ValueError("views must name at least one view, got none")
    labels = np.asarray(given)
    first = np.asarray(next(iter(views.values())))
    scaled = scaled_views(views, (len(labels), first.shape[-1]))
    usable = labels >= 0
    if fit_rows is not None:
        usable = usable & np.asarray(fit_rows, dtype=bool)
    weights = dict.fromkeys(scaled, 1.0)
    pool, speaks = pooled_logarithms(scaled, weights, probability_floor)
    rows = usable & (speaks > 0)
    channel = fit_noise_channel(pool[rows], labels[rows], prior)
    sharpened = {
        name: _sharpened(view, labels, usable, channel.transition, prior)
        for name, view in scaled.items()
    }
    pool, _ = pooled_logarithms(sharpened, weights, probability_floor)
    return sharpened, fit_noise_channel(pool[rows], labels[rows], prior)


def _sharpened(
    view: NDArray[np.float64],
    labels: NDArray[Any],
    usable: NDArray[np.bool_],
    transition: NDArray[np.float64],
    prior: ChannelPrior | None,
) -> NDArray[np.float64]:
    silent = np.isnan(view[:, 0])
    logits = np.log(np.maximum(np.where(silent[:, None], 1.0, view), SMALLEST_SHARE))
    rows = usable & ~silent
    fitted = fit_temperature(logits[rows], labels[rows], transition, prior)
    return np.where(silent[:, None], np.nan, fitted.probabilities(logits))
