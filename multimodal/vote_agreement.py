"""How far several judges can be trusted, from their agreement alone: EM over voting patterns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SILENT = -1
N_ROUNDS = 500
TOLERANCE = 1e-6
# where EM begins: better than chance, and a firm vote better than a suggestion
FIRST_FIRM, FIRST_SUGGESTED = 0.75, 0.5
# counted on top of the votes, so that none is ever certain
PRIOR_RIGHT, PRIOR_WRONG = 2.0, 1.0
# judges that agree more often than this begin to count as copies of each other
NEAR_COPIES = 0.95


@dataclass(frozen=True, eq=False)
class Agreement:
    """What the votes say of the judges, and of each row.

    Attributes:
        accuracy: Share of right votes ``[V, 2]``, in (0, 1): firm ones, then suggestions.
        cast: Number of votes ``[V, 2]``, likewise.
        independence: ``[V]`` in (0, 1]: 1 / m for each of m copies, 1 for a judge without any.
        weight: ``[V, 2]``, not negative, ``independence * log((K - 1) a / (1 - a))``. A class's
            weights add up to its log odds against a class that nobody names.
        best: Likeliest class ``[N]`` int64, -1 where all are silent; of equals the lower number.
        best_p: Its probability ``[N]``, NaN where all are silent.
    """

    accuracy: NDArray[np.float64]
    cast: NDArray[np.float64]
    independence: NDArray[np.float64]
    weight: NDArray[np.float64]
    best: NDArray[np.int64]
    best_p: NDArray[np.float64]

    @property
    def mean_weight(self) -> NDArray[np.float64]:
        """Weight of a judge's average vote ``[V]``; 0 for one that never voted."""
        n_votes = self.cast.sum(axis=1)
        mean: NDArray[np.float64] = (self.weight * self.cast).sum(axis=1) / np.maximum(n_votes, 1)
        return mean

    @property
    def mean_accuracy(self) -> NDArray[np.float64]:
        """Share of right votes of both kinds ``[V]``; NaN for a judge that never voted."""
        n_votes = self.cast.sum(axis=1)
        right = (self.accuracy * self.cast).sum(axis=1)
        return np.divide(right, n_votes, out=np.full(len(right), np.nan), where=n_votes > 0)


@dataclass(frozen=True, eq=False)
class Patterns:
    """Who agrees with whom: all that the model reads, whatever the classes are called.

    Attributes:
        group: ``[P, C]`` int64: columns with the same number name the same class, -1 is silent.
        of_row: Pattern of each row ``[N]``.
        count: Rows of each pattern ``[P]``.
    """

    group: NDArray[np.int64]
    of_row: NDArray[np.int64]
    count: NDArray[np.float64]


def find_patterns(columns: NDArray[np.int64]) -> Patterns:
    """Patterns of the classes named in columns ``[N, C]``, -1 where silent.

    Example:
        >>> found = find_patterns(np.array([[4, 4, -1], [2, 7, 7], [5, 5, -1]]))
        >>> found.group.tolist(), found.of_row.tolist()
        ([[0, 0, -1], [0, 1, 1]], [0, 1, 0])
    """
    group = np.full(columns.shape, SILENT)
    code = np.zeros(len(columns), np.int64)
    first = np.zeros(min(len(columns), 1), np.int64)
    for later in range(columns.shape[1]):
        # the first column that names this class names the group
        for earlier in range(later, -1, -1):
            same = (columns[:, earlier] == columns[:, later]) & (columns[:, later] != SILENT)
            group[same, later] = earlier
        code = code * (columns.shape[1] + 1) + group[:, later] + 1
        # ranks in place of codes, which many columns would let overflow
        _, first, code = np.unique(code, return_index=True, return_inverse=True)
    return Patterns(group[first], code, np.bincount(code, minlength=len(first)).astype(np.float64))


def weigh_votes(
    votes: NDArray[np.int64],
    n_classes: int,
    *,
    firm: NDArray[np.bool_] | None = None,
    trust: NDArray[np.float64] | None = None,
) -> Agreement:
    """Estimate who is right how often, and what that makes of each row.

    The model: each row has one true class, all equally likely beforehand; judge v names it with
    probability ``a_v`` and any other class with ``(1 - a_v) / (K - 1)``. Firm votes and mere
    suggestions of a judge have accuracies of their own. EM finds them without any truth. Judges
    that agree on nearly everything are taken as copies and share one vote, which alone is never
    sure.

    The given label is no judge: judges trained on it lean towards it, and with it they would make
    a majority. What nobody can see here: mistakes that most judges share; classes that are easier
    than others; and of two judges alone, which is the better.

    Args:
        votes: Class each judge names ``[N, V]``, -1 where silent.
        n_classes: K, at least 1.
        firm: Which votes were meant ``[N, V]``; the others are suggestions. All by default.
        trust: ``[V]`` of the caller, not negative, that takes the estimates' place; only
            proportions count.

    Source:
        Dawid & Skene, Applied Statistics 1979, with one parameter per judge and kind of vote.

    Example:
        >>> votes = np.array([[0, 0, 1], [1, 2, 1], [1, 1, 1], [0, 2, 2]])
        >>> weigh_votes(votes, 3).best.tolist()
        [0, 1, 1, 2]
    """
    firm = np.ones(votes.shape, np.bool_) if firm is None else firm
    patterns = find_patterns(split_votes(votes, firm))
    n_judges = votes.shape[1]
    independence = 1 / _copies(votes)
    accuracy = np.repeat([FIRST_FIRM, FIRST_SUGGESTED], n_judges)
    cast = patterns.count @ (patterns.group != SILENT)
    for _ in range(N_ROUNDS):
        weight = _weights(accuracy, independence, n_classes)
        right = _rightness(patterns.group, _posterior(patterns.group, weight, n_classes))
        found = (patterns.count @ right + PRIOR_RIGHT) / (cast + PRIOR_RIGHT + PRIOR_WRONG)
        moved = np.abs(found - accuracy).max(initial=0)
        accuracy = found
        if moved < TOLERANCE:
            break
    weight = _weights(accuracy, independence, n_classes)
    if trust is not None:
        weight = _trusted(weight, cast, trust)
    posterior = _posterior(patterns.group, weight, n_classes)
    best, best_p = _likeliest(patterns, votes, firm, posterior)
    by_kind = (2, n_judges)
    return Agreement(
        accuracy=accuracy.reshape(by_kind).T,
        cast=cast.reshape(by_kind).T,
        independence=independence,
        weight=weight.reshape(by_kind).T,
        best=best,
        best_p=best_p,
    )


def split_votes(votes: NDArray[np.int64], firm: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Firm votes and suggestions as judges of their own ``[N, 2 V]``."""
    return np.concatenate([np.where(firm, votes, SILENT), np.where(firm, SILENT, votes)], axis=1)


def _weights(
    accuracy: NDArray[np.float64], independence: NDArray[np.float64], n_classes: int
) -> NDArray[np.float64]:
    odds = np.log(max(n_classes - 1, 1) * accuracy / (1 - accuracy))
    # one that is right less often than chance would be believed in reverse: it is left out
    weight: NDArray[np.float64] = np.tile(independence, 2) * np.maximum(odds, 0)
    return weight


def _trusted(
    weight: NDArray[np.float64], cast: NDArray[np.float64], trust: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The caller's proportions, scaled to what the votes weigh together."""
    n_judges = len(trust)
    total = (weight * cast).sum() / max(cast.sum(), 1) * n_judges or float(n_judges)
    return np.tile(trust / trust.sum() * total, 2)


def _posterior(
    group: NDArray[np.int64], weight: NDArray[np.float64], n_classes: int
) -> NDArray[np.float64]:
    """Probability ``[P, C]`` of the class of each group, in the column that names it first."""
    n_patterns, width = group.shape
    score = np.zeros((n_patterns, width))
    for column in range(width):
        speaks = np.flatnonzero(group[:, column] != SILENT)
        score[speaks, group[speaks, column]] += weight[column]
    named = group == np.arange(width)
    unnamed = np.maximum(n_classes - named.sum(axis=1), 0)
    top = np.where(named, score, 0).max(axis=1, initial=0)
    share = np.where(named, np.exp(score - top[:, None]), 0)
    posterior: NDArray[np.float64] = share / (share.sum(axis=1) + unnamed * np.exp(-top))[:, None]
    return posterior


def _rightness(group: NDArray[np.int64], posterior: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability that each vote is right ``[P, C]``, 0 where none was cast."""
    right = np.take_along_axis(posterior, np.maximum(group, 0), axis=1)
    return np.where(group != SILENT, right, 0)


def _copies(votes: NDArray[np.int64]) -> NDArray[np.float64]:
    """One plus how much of a copy each other judge is ``[V]``: 1 for one that always agrees."""
    copies = np.ones(votes.shape[1])
    for one in range(votes.shape[1]):
        for other in range(votes.shape[1]):
            both = (votes[:, one] != SILENT) & (votes[:, other] != SILENT)
            if one != other and both.any():
                agree = float((votes[both, one] == votes[both, other]).mean())
                copies[one] += max(0.0, agree - NEAR_COPIES) / (1 - NEAR_COPIES)
    return copies


def _likeliest(
    patterns: Patterns,
    votes: NDArray[np.int64],
    firm: NDArray[np.bool_],
    posterior: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The likeliest class of each row and its probability ``[N]``."""
    group, of_row = patterns.group, patterns.of_row
    silent = (group == SILENT).all(axis=1)
    right = np.where(group != SILENT, _rightness(group, posterior), -1)
    best_p = right.max(axis=1, initial=-1)
    leads = (group != SILENT) & (right >= best_p[:, None] - 1e-12)
    highest = np.iinfo(np.int64).max
    best = np.where(leads[of_row], split_votes(votes, firm), highest).min(axis=1, initial=highest)
    return (
        np.where(silent[of_row], SILENT, best),
        np.where(silent, np.nan, best_p)[of_row],
    )
