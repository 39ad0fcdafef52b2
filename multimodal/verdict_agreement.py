"""How often several judges' verdicts on a label are right, from their agreement alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

N_ROUNDS = 500
TOLERANCE = 1e-6
# where EM begins: most labels are right, and most verdicts
FIRST_SHARE, FIRST_RATE = 0.7, 0.8
# verdicts counted on top of those cast, of which FIRST_RATE are right, so that none is certain
PRIOR_VERDICTS = 5.0
# two judges cannot say which of them errs, nor in which direction: their rates are not estimated
FEWEST_JUDGES = 3


@dataclass(frozen=True, eq=False)
class VerdictAgreement:
    """What the verdicts say of the judges, and of the labels.

    Attributes:
        share_right: Of all labels, in (0, 1).
        passes_right: Share of right labels each judge passes ``[V]``, in (0, 1).
        stops_wrong: Share of wrong labels each stops ``[V]``, in (0, 1).
        ratio_passed: Logarithm of how much a pass speaks for the label ``[V]``.
        ratio_stopped: The same of a stop ``[V]``, below 0.
    """

    share_right: float
    passes_right: NDArray[np.float64]
    stops_wrong: NDArray[np.float64]
    ratio_passed: NDArray[np.float64]
    ratio_stopped: NDArray[np.float64]

    @property
    def weight(self) -> NDArray[np.float64]:
        """Mean logarithm of what a verdict speaks for or against ``[V]``; 0 for a guess."""
        weight: NDArray[np.float64] = (self.ratio_passed - self.ratio_stopped) / 2
        return weight

    def right(
        self, passed: NDArray[np.bool_], cast: NDArray[np.bool_], *, without: int | None = None
    ) -> NDArray[np.float64]:
        """Probability ``[N]`` that each label is right; NaN where no judge speaks.

        Args:
            passed: ``[N, V]``, as in `weigh_verdicts`.
            cast: Likewise.
            without: A judge that is not listened to.
        """
        heard = cast.copy()
        if without is not None:
            heard[:, without] = False
        ratios = np.where(passed, self.ratio_passed, self.ratio_stopped)
        odds = logit(self.share_right) + np.where(heard, ratios, 0).sum(axis=1)
        return np.where(heard.any(axis=1), expit(odds), np.nan)


def weigh_verdicts(
    passed: NDArray[np.bool_], cast: NDArray[np.bool_], independence: NDArray[np.float64]
) -> VerdictAgreement:
    """Estimate how many labels are right, and how often each judge says so.

    The model: a label is right or wrong; judge v passes a right one with probability
    `passes_right` and stops a wrong one with `stops_wrong`, independently of the others. Where two
    judges speak of the same pictures their errors are not independent, and all look better than
    they are. One and two judges cannot be told apart: `FIRST_RATE` is taken of each.

    Args:
        passed: Which labels each judge passes ``[N, V]``.
        cast: Where it says anything at all ``[N, V]``.
        independence: What its word counts for ``[V]``, in (0, 1]; less than 1 for copies.

    Source:
        Dawid & Skene, Applied Statistics 1979, with two classes: right and wrong.

    Example:
        >>> passed = np.array([[True, True, False], [False, False, False], [True, True, True]])
        >>> found = weigh_verdicts(passed, np.ones_like(passed), np.ones(3))
        >>> (found.right(passed, np.ones_like(passed)) > 0.5).tolist()
        [True, False, True]
    """
    n_judges = passed.shape[1]
    share, rates = FIRST_SHARE, np.full((2, n_judges), FIRST_RATE)
    patterns, count = np.unique(
        np.where(cast, passed, 2).astype(np.int8), axis=0, return_counts=True
    )
    said, speaks = patterns == 1, patterns != 2
    for _ in range(N_ROUNDS):
        found = _agreement(share, rates, independence)
        right = np.nan_to_num(found.right(said, speaks), nan=share)
        moved = share
        share = (count @ right + FIRST_RATE) / (count.sum() + 1)
        moved = abs(share - moved)
        if n_judges >= FEWEST_JUDGES:
            latest = np.stack(
                [_rate(count * right, said, speaks), _rate(count * (1 - right), ~said, speaks)]
            )
            moved = max(moved, np.abs(latest - rates).max())
            rates = latest
        if moved < TOLERANCE:
            break
    return _agreement(share, rates, independence)


def _rate(
    weight: NDArray[np.float64], hit: NDArray[np.bool_], speaks: NDArray[np.bool_]
) -> NDArray[np.float64]:
    rate: NDArray[np.float64] = (weight @ (hit & speaks) + FIRST_RATE * PRIOR_VERDICTS) / (
        weight @ speaks + PRIOR_VERDICTS
    )
    return rate


def _agreement(
    share: float, rates: NDArray[np.float64], independence: NDArray[np.float64]
) -> VerdictAgreement:
    passes, stops = rates
    return VerdictAgreement(
        share_right=float(share),
        passes_right=passes,
        stops_wrong=stops,
        # a judge that is worse than a guess would be believed in reverse: it is left out
        ratio_passed=independence * np.maximum(np.log(passes / (1 - stops)), 0),
        ratio_stopped=independence * np.minimum(np.log((1 - passes) / stops), 0),
    )
