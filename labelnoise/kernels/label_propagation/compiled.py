"""Numba on CPU: product, mix, clamp and reset of a row while it is in the cache, on all threads.

Threads are plain Python threads over runs of rows (the loop releases the GIL): safe to call from
several threads and after a fork, which numba's own thread layers are not.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from labelnoise.kernels.label_propagation.recurrence import CsrMatrix, Recurrence, iterate

# multiply-adds below which starting threads costs more than it saves
WORK_PER_THREAD = 2_000_000
# runs of rows per thread: more than one evens out what the machine does besides
RUNS_PER_THREAD = 4


def propagate(
    matrix: CsrMatrix, values: Tensor, recurrence: Recurrence, class_block: int | None
) -> Tensor:
    """See `labelnoise.kernels.label_propagation`."""
    starts, columns, weights = (part.numpy() for part in matrix)
    scalar = weights.dtype.type  # Python floats would turn float32 arithmetic into float64
    weight = recurrence.neighbour_weight
    low, high = recurrence.clamp or (-np.inf, np.inf)
    settings = (scalar(weight), scalar(1 - weight), scalar(low), scalar(high))
    fixed = np.empty(0, np.bool_)
    if recurrence.fixed_rows is not None:
        fixed = recurrence.fixed_rows.numpy()
    first, anchor = values.numpy(), recurrence.anchor
    n_threads = min(torch.get_num_threads(), 1 + len(weights) * values.shape[1] // WORK_PER_THREAD)
    runs = _even_runs(starts, n_threads * RUNS_PER_THREAD if n_threads > 1 else 1)

    with ThreadPoolExecutor(n_threads) as pool:

        def step(block: slice, before: Tensor, after: Tensor) -> None:
            source = before.numpy()
            base = source if anchor is None else anchor.numpy()[:, block]
            arguments = (
                starts, columns, weights, source, base, first[:, block], fixed, settings,
                after.numpy(),
            )  # fmt: skip
            if len(runs) == 1:
                _step_of_rows(*arguments, *runs[0])
            else:
                list(pool.map(lambda run: _step_of_rows(*arguments, *run), runs))

        return iterate(step, values, recurrence, class_block)


def _even_runs(starts: NDArray[np.integer], n_runs: int) -> list[tuple[int, int]]:
    """Cut the rows into runs of about as many entries each; a row itself counts as one."""
    cost = starts + np.arange(len(starts))
    cuts = np.searchsorted(cost, np.linspace(0, cost[-1], n_runs + 1)).tolist()
    cuts[0], cuts[-1] = 0, len(starts) - 1
    return [(a, b) for a, b in pairwise(cuts) if a < b]


@njit(nogil=True, cache=True, fastmath={"contract"})
def _step_of_rows(  # type: ignore[no-untyped-def]
    starts, columns, weights, before, base, first, fixed, settings, after, row, end_row
):
    weight, own_weight, low, high = settings
    n_classes = before.shape[1]
    for i in range(row, end_row):
        new = after[i]
        if len(fixed) and fixed[i]:
            new[:] = first[i]
            continue
        new[:] = 0
        for edge in range(starts[i], starts[i + 1]):
            neighbour, factor = before[columns[edge]], weights[edge]
            for k in range(n_classes):
                new[k] += factor * neighbour[k]
        for k in range(n_classes):
            new[k] = min(max(weight * new[k] + own_weight * base[i, k], low), high)
