"""Numba on CPU: each row is read twice while it is in cache, forward and backward."""

from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphnoise.layers.numba_backend import FAST, follow_torch_threads
from graphnoise.layers.row_scaling import SMALLEST_SUM


def scaled_rows(rows: Tensor, bias: Tensor, slope_before: float, relu_after: bool) -> Tensor:
    """See `graphnoise.layers.row_scaling`."""
    out: Tensor = _ScaledRows.apply(rows, bias, slope_before, relu_after)
    return out


class _ScaledRows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, bias: Tensor, slope_before: float, relu_after: bool
    ) -> Tensor:
        follow_torch_threads()
        rows, bias = rows.contiguous(), bias.contiguous()
        out, sums = torch.empty_like(rows), rows.new_empty(len(rows))
        _forward(rows.numpy(), bias.numpy(), slope_before, relu_after, out.numpy(), sums.numpy())
        ctx.save_for_backward(rows, bias, sums)
        ctx.how = (slope_before, relu_after)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        follow_torch_threads()
        rows, bias, sums = ctx.saved_tensors
        slope_before, relu_after = ctx.how
        grad_rows = torch.empty_like(rows)
        _backward(
            grad.contiguous().numpy(), rows.numpy(), bias.numpy(), sums.numpy(), slope_before,
            relu_after,
            grad_rows.numpy(),
        )  # fmt: skip
        return grad_rows, grad_rows.sum(dim=0), None, None


@njit(parallel=True, cache=True, fastmath=FAST)
def _forward(
    rows: Any, bias: Any, slope: float, relu_after: bool, out: Any, sums: Any
) -> None:  # fmt: skip
    smallest, leak, zero = rows.dtype.type(SMALLEST_SUM), rows.dtype.type(slope), rows.dtype.type(0)
    lowest = zero if relu_after else rows.dtype.type(-np.inf)
    for i in prange(len(rows)):
        row, scaled, total = rows[i], out[i], zero
        for c in range(len(row)):
            x = row[c] + bias[c]
            x = x if x > 0 else leak * x
            scaled[c] = x
            total += abs(x)
        total = max(total, smallest)
        sums[i] = total
        factor = rows.dtype.type(1) / total
        for c in range(len(row)):
            scaled[c] = max(scaled[c] * factor, lowest)


@njit(parallel=True, cache=True, fastmath=FAST)
def _backward(
    grad: Any, rows: Any, bias: Any, sums: Any, slope: float, relu_after: bool, grad_rows: Any
) -> None:
    smallest, leak, zero = rows.dtype.type(SMALLEST_SUM), rows.dtype.type(slope), rows.dtype.type(0)
    one = rows.dtype.type(1)
    passed_below = zero if relu_after else one
    for i in prange(len(rows)):
        row, above, below = rows[i], grad[i], grad_rows[i]
        factor, dot = one / sums[i], zero
        for c in range(len(row)):
            x = row[c] + bias[c]
            dot += above[c] * (x if x > 0 else passed_below * leak * x)
        # a sum that was clamped is a constant
        dot = dot * factor if sums[i] > smallest else zero
        for c in range(len(row)):
            x = row[c] + bias[c]
            inside = above[c] - dot if x > 0 else leak * (passed_below * above[c] + dot)
            # |x| has slope 0 at 0
            below[c] = factor * (inside if x != 0 else leak * passed_below * above[c])
