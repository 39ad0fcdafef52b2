"""k-medoids on all N^2 distances: what FeatProp's paper does, and what does not scale."""

import numpy as np
from numpy.typing import NDArray

Distances = NDArray[np.float32]
# of the mean distance; less is rounding, and swaps for its sake would never end
SMALLEST_CHANGE = 1e-8


def all_distances(rows: NDArray[np.float32]) -> Distances:
    """Euclidean distances ``[N, N]`` float32."""
    wide = rows.astype(np.float64)
    squares = np.einsum("nd,nd->n", wide, wide)
    found = squares[:, None] - 2 * (wide @ wide.T) + squares
    np.fill_diagonal(found, 0)
    return np.sqrt(np.maximum(found, 0)).astype(np.float32)


def mean_distance(distances: Distances, medoids: NDArray[np.int64]) -> float:
    """The k-medoids objective: mean distance of a node to its nearest medoid."""
    return float(distances[medoids].min(axis=0).mean(dtype=np.float64))


def swap_until_still(
    distances: Distances, start: NDArray[np.int64], *, most_sweeps: int = 50
) -> NDArray[np.int64]:
    """PAM's local optimum: no exchange of one medoid for one node lowers the objective.

    Every node in turn is held against all medoids at once, in O(N), and swapped in at once where
    that helps.

    Args:
        distances: ``[N, N]``.
        start: Medoids to begin with ``[K]``.
        most_sweeps: Passes over all nodes; sweeps end when one changes nothing.

    Source:
        Schubert and Rousseeuw, "Fast and eager k-medoids clustering", 2021 (FasterPAM).
    """
    medoids = start.copy()
    n_nodes = len(distances)
    nearest, first, second = _two_nearest(distances, medoids)
    since = 0
    for at in range(most_sweeps * n_nodes):
        node = at % n_nodes
        since += 1
        if since > n_nodes:
            break
        best, change = _best_swap(distances[node], nearest, first, second, len(medoids))
        if change < -SMALLEST_CHANGE * n_nodes and node not in medoids:
            medoids[best] = node
            nearest, first, second = _two_nearest(distances, medoids)
            since = 0
    return medoids


def _best_swap(
    new: Distances, nearest: NDArray[np.int64], first: Distances, second: Distances, k: int
) -> tuple[int, float]:
    """The medoid to give up for a node at distances `new`, and the change of the summed distance.

    A node nearer to the new one than to its own goes there whoever leaves; besides, nodes of the
    medoid that leaves go to the nearer of the new one and their second.
    """
    gained = np.minimum(new - first, 0)
    if_removed = np.minimum(new, second) - first - gained
    losses = np.bincount(nearest, if_removed, k)
    best = int(losses.argmin())
    return best, float(losses[best] + gained.sum(dtype=np.float64))


def _two_nearest(
    distances: Distances, medoids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Distances, Distances]:
    to_medoids = distances[medoids]
    two = np.argpartition(to_medoids, 1, axis=0)[:2]
    values = np.take_along_axis(to_medoids, two, axis=0)
    lower = values.argmin(axis=0)[None]
    nearest = np.take_along_axis(two, lower, axis=0)[0]
    first = np.take_along_axis(values, lower, axis=0)[0]
    return nearest, first, np.take_along_axis(values, 1 - lower, axis=0)[0]
