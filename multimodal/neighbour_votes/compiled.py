"""Sparse vote counting: one scratch row of K, of which only the classes seen are touched."""

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True)
def count_votes(
    neighbours: NDArray[np.int64],
    weights: NDArray[np.float32],
    labels: NDArray[np.int64],
    judged: NDArray[np.int64],
    scale: NDArray[np.float64],
    given: NDArray[np.float64],
    best: NDArray[np.int64],
    best_share: NDArray[np.float64],
    second_share: NDArray[np.float64],
) -> None:
    """Fill the last four; see `multimodal.neighbour_votes.count_votes`. No weights: all are 1."""
    k = neighbours.shape[1]
    votes = np.zeros(len(scale))
    seen = np.empty(k, np.int64)
    for row in range(len(neighbours)):
        n_seen, total = 0, 0.0
        for place in range(k):
            other = neighbours[row, place]
            if other < 0 or labels[other] < 0:
                continue
            label = labels[other]
            weight = 1.0
            if weights.shape[0] > 0:
                weight = max(0.0, weights[row, place])
            if weight == 0.0:
                continue
            if votes[label] == 0.0:
                seen[n_seen] = label
                n_seen += 1
            votes[label] += weight
        first, second, winner = 0.0, 0.0, -1
        for place in range(n_seen):
            label = seen[place]
            balanced = votes[label] * scale[label]
            total += balanced
            if balanced > first or (balanced == first and label < winner):
                first, second, winner = balanced, first, label
            elif balanced > second:
                second = balanced
        if n_seen > 0:
            best[row], best_share[row], second_share[row] = winner, first / total, second / total
            if judged[row] >= 0:
                given[row] = votes[judged[row]] * scale[judged[row]] / total
        for place in range(n_seen):
            votes[seen[place]] = 0.0
