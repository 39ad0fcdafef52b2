"""Personalised PageRank by a dense solve."""

import numpy as np
from numpy.typing import NDArray


def exact_pagerank(
    weights: NDArray[np.float64], start: NDArray[np.float64], *, teleport: float
) -> NDArray[np.float64]:
    """``p = teleport (I - (1 - teleport) W D^-1)^-1 s``; O(N^3), for tests and small graphs.

    Args:
        weights: Symmetric ``[N, N]`` float64, zero diagonal. A node without weight keeps the walk.
        start: s ``[N]`` float64, summing to 1.
        teleport: In (0, 1).

    Returns:
        ``[N]`` float64, summing to 1.
    """
    degree = weights.sum(axis=0)
    walk = weights / np.where(degree > 0, degree, 1.0)
    walk[np.diag_indices_from(walk)] = degree == 0
    exact = np.linalg.solve(np.eye(len(start)) - (1 - teleport) * walk, start)
    return np.asarray(teleport * exact, np.float64)
