"""Take doubtful labels away without unbalancing the classes: Locle's post-filter."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata


def post_filter(
    labels: ArrayLike, confidence: ArrayLike, ratio: float, *, balance: float = 1.0
) -> NDArray[np.bool_]:
    """Remove ``floor(ratio n)`` labels one at a time, each time the one of the lowest score::

        score(v) = [ rank_asc(c_v) + balance rank_desc( H(y without v) - H(y) ) ] / n

    rank_asc: 1 is the smallest confidence, ranked once among all n. rank_desc: 1 is the largest
    change of the entropy H of the labels still there, ranked anew after every removal. So little
    confidence and a removal that keeps the classes balanced both lower the score. Equals share
    the lowest of their ranks; of equal scores the less confident goes first, then the earlier.

    The entropy is of the labels themselves, no truth enters. Removing a label of a larger class
    always changes the entropy by more, so classes are ranked by their size and no logarithm is
    computed: O(n log n + K^2) for the ranks and O(K) per removal.

    Args:
        labels: Classes ``[n]``, at least 0.
        confidence: Any finite numbers ``[n]``; larger is surer. Only their order matters.
        ratio: Share to remove, in ``[0, 1)``.
        balance: Weight of the entropy, lambda, at least 0.

    Returns:
        Labels that stay ``[n]`` bool. The last label of a class always stays, so fewer than
        asked are removed where only such are left.

    Raises:
        ValueError: An argument is outside its range or the lengths differ.

    Source:
        arXiv 2412.11983, post-filtering; the order of removal of its released code flips from
        step to step and its entropies read the gold labels.

    Example:
        >>> post_filter([0, 0, 0, 1], [0.9, 0.2, 0.8, 0.1], 0.5).tolist()
        [True, False, False, True]
    """
    classes, sure = _checked(labels, confidence, ratio, balance)
    n = len(classes)
    stays = np.ones(n, bool)
    ranks = rankdata(sure, method="min") if n else np.zeros(0)
    sizes = np.bincount(classes)
    # within a class the entropy term is equal, so the least confident is always next
    queues = [_by_rank(np.flatnonzero(classes == k), ranks) for k in range(len(sizes))]
    used = np.zeros(len(sizes), np.int64)
    for _ in range(int(np.floor(ratio * n + 1e-9))):
        removable = np.flatnonzero(sizes > 1)
        if not len(removable):
            break
        heads = np.array([queues[k][used[k]] for k in removable])
        score = ranks[heads] + balance * _entropy_ranks(sizes)[removable]
        chosen = np.lexsort((heads, ranks[heads], score))[0]
        stays[heads[chosen]] = False
        used[removable[chosen]] += 1
        sizes[removable[chosen]] -= 1
    return stays


def _entropy_ranks(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rank of the change of entropy, per class: one more than the nodes of larger classes."""
    larger = sizes[None, :] > sizes[:, None]
    ranks: NDArray[np.int64] = 1 + (larger * sizes[None, :]).sum(axis=1)
    return ranks


def _by_rank(members: NDArray[np.int64], ranks: NDArray[np.float64]) -> Sequence[int]:
    order: Sequence[int] = members[np.argsort(ranks[members], kind="stable")].tolist()
    return order


def _checked(
    labels: ArrayLike, confidence: ArrayLike, ratio: float, balance: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    classes, sure = np.asarray(labels, dtype=np.int64), np.asarray(confidence, dtype=np.float64)
    if classes.ndim != 1 or classes.shape != sure.shape:
        raise ValueError(f"want labels and confidence [n], got {classes.shape} and {sure.shape}")
    if (classes < 0).any():
        raise ValueError("labels must be at least 0: leave abstentions out")
    if not np.isfinite(sure).all():
        raise ValueError("confidence must be finite, found NaN or infinity")
    if not 0 <= ratio < 1 or balance < 0:
        raise ValueError(f"want ratio in [0, 1) and balance >= 0, got {ratio} and {balance}")
    return classes, sure
