"""Numba: distinct neighbours by Floyd's method, random numbers by hashing seed, node and draw."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


def draw_neighbours(
    starts: NDArray[Any], columns: NDArray[Any], nodes: NDArray[np.int64], most: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """At most `most` distinct entries of each row: their columns ``[E]`` and counts ``[n]``."""
    counts = np.minimum(starts[nodes + 1] - starts[nodes], most).astype(np.int64)
    ends = counts.cumsum()
    drawn = np.empty(int(ends[-1]) if len(ends) else 0, np.int64)
    _draw(starts, columns, nodes, np.uint64(seed), ends, drawn)
    return drawn, counts


@njit(cache=True)
def _hash(x: Any) -> Any:
    # splitmix64
    x += np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True)
def _draw(starts: Any, columns: Any, nodes: Any, seed: Any, ends: Any, drawn: Any) -> None:
    first = 0
    for n in range(len(nodes)):
        low, count = starts[nodes[n]], ends[n] - first
        degree = starts[nodes[n] + 1] - low
        state = _hash(seed ^ _hash(np.uint64(nodes[n])))
        for k in range(count):
            # Floyd: draw from the first degree - count + k + 1, on a repeat take the last of them
            last = degree - count + k
            state = _hash(state)
            chosen = np.int64(state % np.uint64(last + 1))
            for other in range(k):
                if drawn[first + other] == chosen:
                    chosen = last
                    break
            drawn[first + k] = chosen
        for k in range(count):
            drawn[first + k] = columns[low + drawn[first + k]]
        first = ends[n]
