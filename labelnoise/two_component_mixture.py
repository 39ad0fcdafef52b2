"""Two Gaussians on scalars, in each of many groups at once: which samples are of the higher one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

# means closer than this part of the group's range are one mean
SMALLEST_GAP = 1e-3
# a component that holds less than half a sample is empty
SMALLEST_MASS = 0.5
_LOG_2_PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class MixtureFit:
    """How a mixture is fitted.

    Attributes:
        max_iter: Most rounds of expectation and maximisation, at least 1. 10, as PLS, LSA and
            DivideMix have it.
        tol: Change of the mean log-likelihood below which a group is done, not negative.
        reg: Added to each variance, > 0; on values in 0..1 it keeps a component at least
            0.02 wide.
        fewest: Members a group needs for a mixture of its own, at least 2; PLS leaves 2 or fewer
            alone.
    """

    max_iter: int = 10
    tol: float = 1e-2
    reg: float = 5e-4
    fewest: int = 3

    def __post_init__(self) -> None:
        if self.max_iter < 1 or self.fewest < 2:
            raise ValueError(
                "want max_iter of at least 1 and fewest of at least 2, got"
                f" {self.max_iter} and {self.fewest}"
            )
        if not self.tol >= 0 or not self.reg > 0:
            raise ValueError(
                f"want a tol that is not negative and reg > 0, got {self.tol} and {self.reg}"
            )


@dataclass(frozen=True, eq=False)
class TwoComponents:
    """Mixtures of G groups; column 0 is the component of the lower mean.

    Attributes:
        share: Weights of the components ``[G, 2]``.
        mean: ``[G, 2]``.
        variance: ``[G, 2]``.
        size: Members of each group ``[G]`` int64.
        apart: Whether a group has two components ``[G]``: False where it has too few members, one
            value only, an empty component or equal means. Its numbers then say nothing.
    """

    share: NDArray[np.float64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    size: NDArray[np.int64]
    apart: NDArray[np.bool_]

    def high(
        self,
        values: NDArray[np.float64],
        groups: NDArray[np.int64] | None = None,
        *,
        monotone: bool = True,
    ) -> NDArray[np.float64]:
        """P(component of the higher mean) ``[N]``; NaN in a group that is not `apart`.

        Args:
            values: Finite ``[N]``.
            groups: Group of each ``[N]``; None: all of group 0.
            monotone: Far out on one side the wider component wins whatever its mean. By default
                the odds stay there what they are where they turn, so that a higher value never
                has a lower answer; False gives the plain posterior.
        """
        places = np.zeros(len(values), np.int64) if groups is None else groups
        low, high = self.mean[:, 0], self.mean[:, 1]
        bend = 1 / self.variance[:, 0] - 1 / self.variance[:, 1]
        x = np.asarray(values, dtype=np.float64)
        if monotone:
            # the odds are a parabola; its turn never lies between the means
            turn = low / self.variance[:, 0] - high / self.variance[:, 1]
            turn = np.divide(turn, bend, out=np.full(len(bend), np.nan), where=bend != 0)
            first = np.where(bend > 0, turn, -np.inf)[places]
            last = np.where(bend < 0, turn, np.inf)[places]
            x = np.clip(x, first, last)
        logs = _log_joint(x, self.share[places], self.mean[places], self.variance[places])
        answer = expit(logs[1] - logs[0])
        return np.where(self.apart[places], answer, np.nan)

    def shrunk(self, towards: "TwoComponents", strength: float) -> "TwoComponents":
        """Parameters ``lambda own + (1 - lambda) towards`` with ``lambda = n / (n + strength)``.

        A group that is not `apart` takes those of `towards` as they are; where `towards` is not
        apart, the groups keep their own.

        Args:
            towards: One group, fitted to values on the same scale.
            strength: Samples that `towards` counts as, not negative.

        Raises:
            ValueError: `towards` has several groups, or `strength` is negative.
        """
        if len(towards.size) != 1 or not strength >= 0:
            raise ValueError(
                "towards must have one group and strength not be negative, got"
                f" {len(towards.size)} and {strength}"
            )
        if not towards.apart[0]:
            return self
        total = np.maximum(self.size + strength, 1)
        own = np.where(self.apart, self.size / total, 0.0)[:, None]
        share, mean, variance = (
            own * getattr(self, name) + (1 - own) * getattr(towards, name)
            for name in ("share", "mean", "variance")
        )
        return TwoComponents(share, mean, variance, self.size, np.ones(len(self.size), bool))


def fit_two_components(
    values: NDArray[np.float64],
    groups: NDArray[np.int64] | None = None,
    n_groups: int | None = None,
    *,
    fit: MixtureFit | None = None,
) -> TwoComponents:
    """Fit a mixture of two Gaussians to the values of each group.

    Expectation and maximisation start from the quantile that splits the sorted group into the two
    parts of least squared distance to their means: the end that 2-means seeks from random starts,
    found directly, so nothing is drawn. Values are summed in sorted order: renumbering the samples
    changes no digit, and no group knows of the others.

    Args:
        values: Finite ``[N]``; see `scaled_to_unit` for values with infinities.
        groups: Group of each ``[N]`` int64 in ``0 .. n_groups - 1``; None: one group.
        n_groups: G; None: 1, or what `groups` holds. Groups may be empty.
        fit: See `MixtureFit`.

    Returns:
        The mixtures. Memory is about 100 bytes per value.

    Raises:
        ValueError: Values that are not finite, groups out of range, or lengths that differ.

    Source:
        Textbook; the settings are those of PLS (WACV 2023) and LSA (ECCV 2024).

    Example:
        >>> found = fit_two_components(np.array([0.0, 0.1, 0.2, 0.9, 1.0]))
        >>> np.round(found.mean, 2).tolist(), found.high(np.array([0.1, 0.8])).round().tolist()
        ([[0.1, 0.95]], [0.0, 1.0])
    """
    fit = fit or MixtureFit()
    x, place, count = _checked(values, groups, n_groups)
    if len(x) and not np.isfinite(x).all():
        raise ValueError("values must be finite, found NaN or infinity")
    size = np.bincount(place, minlength=count).astype(np.int64)
    answer = TwoComponents(
        np.full((count, 2), 0.5), np.zeros((count, 2)), np.ones((count, 2)), size,
        np.zeros(count, bool),
    )  # fmt: skip
    low, high = _ends(x, place, count)
    able = np.flatnonzero((size >= fit.fewest) & (high > low))
    taken = np.isin(place, able)
    order = np.flatnonzero(taken)
    order = order[np.lexsort((x[order], place[order]))]
    if len(order):
        found = _Sorted.of(x[order], size[able]).run(fit)
        answer.share[able], answer.mean[able], answer.variance[able] = found
        gap = answer.mean[able, 1] - answer.mean[able, 0]
        held = answer.share[able].min(axis=1) * size[able]
        apart = (gap > SMALLEST_GAP * (high - low)[able]) & (held >= SMALLEST_MASS)
        answer.apart[able] = apart
    return answer


def scaled_to_unit(
    values: NDArray[np.float64],
    groups: NDArray[np.int64] | None = None,
    n_groups: int | None = None,
) -> NDArray[np.float64]:
    """Each group's values from 0 (smallest) to 1 (largest); 0 in a group of one value.

    +inf counts as the largest finite value of its group, as in PLS: the loss of a probability of 0
    must not press all others against 0.

    Args:
        values: ``[N]``, finite or +inf.
        groups: Group of each ``[N]``; None: one group.
        n_groups: G; None: 1, or what `groups` holds.

    Raises:
        ValueError: NaN or -inf, groups out of range, or lengths that differ.
    """
    x, place, count = _checked(values, groups, n_groups)
    if np.isnan(x).any() or np.isneginf(x).any():
        raise ValueError("values must be finite or +inf, found NaN or -inf")
    finite = np.isfinite(x)
    low, high = _ends(x[finite], place[finite], count)
    width = (high - low)[place]
    inside = np.where(finite, x, high[place])
    # a group of infinities alone has no ends
    shift = np.where(np.isfinite(low), low, 0.0)[place]
    inside = np.where(np.isfinite(inside), inside - shift, 0.0)
    return np.divide(inside, width, out=np.zeros(len(x)), where=width > 0)


def _checked(
    values: NDArray[np.float64], groups: NDArray[np.int64] | None, n_groups: int | None
) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    x = np.asarray(values, dtype=np.float64)
    place = np.zeros(len(x), np.int64) if groups is None else np.asarray(groups)
    if x.ndim != 1 or place.shape != x.shape:
        raise ValueError(f"values and groups must both be [N], got {x.shape} and {place.shape}")
    least = 1 if groups is None else (int(place.max()) + 1 if len(place) else 0)
    count = least if n_groups is None else n_groups
    if len(place) and not 0 <= place.min() <= place.max() < count:
        raise ValueError(f"groups must lie in 0 .. {count - 1}")
    return x, place.astype(np.int64), count


def _ends(
    x: NDArray[np.float64], place: NDArray[np.int64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, place, x)
    np.maximum.at(high, place, x)
    return low, high


@dataclass(frozen=True, eq=False)
class _Sorted:
    """Values ``[M]`` sorted inside each of g groups that are not empty and lie one by one."""

    x: NDArray[np.float64]
    size: NDArray[np.int64]
    start: NDArray[np.int64]
    place: NDArray[np.int64]

    @classmethod
    def of(cls, x: NDArray[np.float64], size: NDArray[np.int64]) -> "_Sorted":
        start = np.cumsum(size) - size
        return cls(x, size, start, np.repeat(np.arange(len(size)), size))

    def total(self, column: NDArray[np.float64]) -> NDArray[np.float64]:
        answer: NDArray[np.float64] = np.add.reduceat(column, self.start)
        return answer

    def run(self, fit: MixtureFit) -> tuple[NDArray[np.float64], ...]:
        """Shares, means and variances ``[g, 2]``, the lower mean first."""
        state = self._maximised(self._split(), fit.reg)
        before = np.full(len(self.size), -np.inf)
        active = np.ones(len(self.size), bool)
        for _ in range(fit.max_iter):
            logs = _log_joint(self.x, *(part[self.place] for part in state))
            likelihood = self.total(np.logaddexp(*logs)) / self.size
            found = self._maximised(expit(logs[1] - logs[0]), fit.reg)
            for part, new in zip(state, found, strict=True):
                part[active] = new[active]
            # a group that is done stays as it is, so that it does not know of slower ones
            active &= ~(np.abs(likelihood - before) < fit.tol)
            if not active.any():
                break
            before = likelihood
        swapped = state[1][:, 0] > state[1][:, 1]
        return tuple(np.where(swapped[:, None], part[:, ::-1], part) for part in state)

    def _split(self) -> NDArray[np.float64]:
        """1 for members above the best split, else 0 ``[M]``."""
        # sums of deviations from the group's mean: no cancellation of large numbers
        mean = self.total(self.x) / self.size
        below = np.cumsum(self.x - mean[self.place])
        below -= (below[self.start] - (self.x - mean[self.place])[self.start])[self.place]
        rank = np.arange(len(self.x)) - self.start[self.place] + 1
        left = self.size[self.place] - rank
        # what a split after this member takes off the squared distances, over the group's size
        gain = np.divide(below**2, rank * left, out=np.full(len(rank), -1.0), where=left > 0)
        best = np.maximum.reduceat(gain, self.start)
        at = np.flatnonzero(gain >= best[self.place])
        _, first = np.unique(self.place[at], return_index=True)
        cut = self.x[at[first]]
        return (self.x > cut[self.place]).astype(np.float64)

    def _maximised(
        self, above: NDArray[np.float64], reg: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        share, mean, variance = (np.empty((len(self.size), 2)) for _ in range(3))
        tiny = 10 * np.finfo(np.float64).eps
        for side, part in enumerate((1 - above, above)):
            mass = self.total(part) + tiny
            mean[:, side] = self.total(part * self.x) / mass
            off = self.x - mean[self.place, side]
            variance[:, side] = self.total(part * off * off) / mass + reg
            share[:, side] = mass / self.size
        return share, mean, variance


def _log_joint(
    x: NDArray[np.float64],
    share: NDArray[np.float64],
    mean: NDArray[np.float64],
    variance: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """log(weight x density) of both components ``[N]`` each; parameters ``[N, 2]``."""
    logs = [
        np.log(share[:, side])
        - 0.5
        * (_LOG_2_PI + np.log(variance[:, side]) + (x - mean[:, side]) ** 2 / variance[:, side])
        for side in (0, 1)
    ]
    return logs[0], logs[1]
