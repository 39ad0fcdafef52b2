"""Share a budget among parts of a graph."""

import numpy as np
from numpy.typing import NDArray


def proportional_quota(
    sizes: NDArray[np.int64], limits: NDArray[np.int64], budget: int
) -> NDArray[np.int64]:
    """Calls for each part ``[P]``, in proportion to its size: the method of Sainte-Lague.

    Args:
        sizes: Nodes in each part ``[P]``.
        limits: Most calls each part can take ``[P]``.
        budget: Calls to share; where the limits allow fewer, that many.

    Source:
        Webster / Sainte-Lague: each next call goes to the largest ``size / (2 calls + 1)``, which
        keeps shares nearest to proportional without favouring large parts.

    Example:
        >>> proportional_quota(np.array([60, 30, 10]), np.array([60, 2, 10]), 10)
        array([7, 2, 1])
    """
    quota = np.zeros(len(sizes), np.int64)
    for _ in range(min(budget, int(limits.sum()))):
        claim = np.where(quota < limits, sizes / (2 * quota + 1), -1)
        quota[claim.argmax()] += 1
    return quota


def best_of_each(
    nodes: NDArray[np.int64],
    part: NDArray[np.int64],
    scores: NDArray[np.float64],
    budget: int,
    *,
    sizes: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Which candidates ``[M]`` to take: of each part as many of the best as its quota says.

    Args:
        nodes: Candidates ``[M]``; ties fall to the lower one.
        part: Part of each ``[M]``, in ``0 .. P - 1``.
        scores: Of each ``[M]``.
        budget: Calls to share.
        sizes: Nodes in each part ``[P]``, candidates or not.
    """
    quota = proportional_quota(sizes, np.bincount(part, minlength=len(sizes)), budget)
    order = np.lexsort((nodes, -scores, part))
    start = np.searchsorted(part[order], np.arange(len(sizes)))
    place = np.arange(len(nodes)) - start[part[order]]
    taken = np.zeros(len(nodes), bool)
    taken[order[place < quota[part[order]]]] = True
    return taken
