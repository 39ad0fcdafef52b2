"""Numba on CPU: a row of the result, or of the gradient, stays in cache while it is summed."""

from typing import Any

import torch
from numba import njit, prange
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphnoise.layers.numba_backend import FAST, follow_torch_threads
from graphnoise.layers.sparse_linear.rows import SparseRows


def sparse_linear(rows: SparseRows, weight: Tensor) -> Tensor:
    """See `graphnoise.layers.sparse_linear`."""
    out: Tensor = _SparseLinear.apply(weight, rows)
    return out


class _SparseLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: SparseRows) -> Tensor:
        follow_torch_threads()
        ctx.rows = rows
        out = weight.new_empty(rows.shape[0], weight.shape[1])
        _forward(
            rows.starts.numpy(), rows.columns.numpy(), rows.values.numpy(),
            weight.contiguous().numpy(), out.numpy(),
        )  # fmt: skip
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        follow_torch_threads()
        rows: SparseRows = ctx.rows
        grad_weight = grad.new_empty(rows.shape[1], grad.shape[1])
        _backward(
            rows.column_starts.numpy(), rows.by_column.numpy(), rows.rows.numpy(),
            rows.values.numpy(), grad.contiguous().numpy(), grad_weight.numpy(),
        )  # fmt: skip
        return grad_weight, None


@njit(parallel=True, cache=True, fastmath=FAST)
def _forward(starts: Any, columns: Any, values: Any, weight: Any, out: Any) -> None:
    for i in prange(len(out)):
        sums = out[i]
        sums[:] = 0
        for p in range(starts[i], starts[i + 1]):
            factor, row = values[p], weight[columns[p]]
            # half of the entries are dropped
            if factor != 0:
                for c in range(len(sums)):
                    sums[c] += factor * row[c]


@njit(parallel=True, cache=True, fastmath=FAST)
def _backward(
    column_starts: Any, by_column: Any, rows: Any, values: Any, grad: Any, grad_weight: Any
) -> None:
    for f in prange(len(grad_weight)):
        sums = grad_weight[f]
        sums[:] = 0
        for t in range(column_starts[f], column_starts[f + 1]):
            factor, row = values[by_column[t]], grad[rows[t]]
            if factor != 0:
                for c in range(len(sums)):
                    sums[c] += factor * row[c]
