"""Louvain's moves of single nodes."""

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True)
def move_nodes(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int64],
    weights: NDArray[np.float64],
    order: NDArray[np.int64],
    resolution: float,
    most_sweeps: int,
) -> NDArray[np.int64]:
    """Part of each node ``[N]`` after sweeps that move nodes to the best neighbouring part.

    The gain of part c for node v is ``w(v, c) - resolution k_v K_c / 2m`` with v taken out of its
    own part first. Entries on the diagonal (edges inside a merged node) count in degrees only.
    """
    n_nodes = len(indptr) - 1
    part = np.arange(n_nodes)
    degree = np.zeros(n_nodes)
    for v in range(n_nodes):
        for at in range(indptr[v], indptr[v + 1]):
            degree[v] += weights[at]
    total = degree.sum()
    if total == 0:
        return part
    held = degree.copy()  # K_c
    link = np.zeros(n_nodes)
    touched = np.empty(n_nodes, np.int64)
    for _ in range(most_sweeps):
        n_moved = 0
        for v in order:
            n_touched = 0
            for at in range(indptr[v], indptr[v + 1]):
                u = indices[at]
                if u == v:
                    continue
                c = part[u]
                if link[c] == 0:
                    touched[n_touched] = c
                    n_touched += 1
                link[c] += weights[at]
            own = part[v]
            held[own] -= degree[v]
            share = resolution * degree[v] / total
            best, best_gain = own, link[own] - share * held[own]
            for i in range(n_touched):
                c = touched[i]
                gain = link[c] - share * held[c]
                # moves for rounding's sake would never end
                if gain > best_gain + 1e-12 * total / n_nodes:
                    best, best_gain = c, gain
            for i in range(n_touched):
                link[touched[i]] = 0
            held[best] += degree[v]
            if best != own:
                part[v] = best
                n_moved += 1
        if n_moved == 0:
            break
    return part
