"""Numba on CPU: one pass over the edges each way, weights `[E, H]` kept, never `[E, H, C]`."""

from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphnoise.layers.neighbourhood import Neighbourhood
from graphnoise.layers.numba_backend import FAST, follow_torch_threads

# rows summed by one task where all rows add up; fixed, so that threads do not change the sum
CHUNK_ROWS = 256


def edge_attention(
    values: Tensor,
    source_vector: Tensor,
    target_vector: Tensor,
    neighbourhood: Neighbourhood,
    negative_slope: float,
) -> Tensor:
    """See `graphnoise.layers.edge_attention`."""
    out: Tensor = _EdgeAttention.apply(
        values, source_vector, target_vector, neighbourhood, negative_slope
    )
    return out


class _EdgeAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        source_vector: Tensor,
        target_vector: Tensor,
        neighbourhood: Neighbourhood,
        slope: float,
    ) -> Tensor:
        follow_torch_threads()
        rows, n_rows, n_heads = values.contiguous(), neighbourhood.n_destinations, values.shape[1]
        out = rows.new_empty(n_rows, *rows.shape[1:])
        weights = rows.new_empty(len(neighbourhood.sources), n_heads)
        # remembers on which side of the leaky ReLU a score fell
        leaked = np.empty((len(weights), n_heads), np.bool_)
        _forward(
            rows.numpy(), source_vector.contiguous().numpy(), target_vector.contiguous().numpy(),
            neighbourhood.starts.numpy(), neighbourhood.sources.numpy(), slope,
            out.numpy(), weights.numpy(), leaked,
        )  # fmt: skip
        ctx.save_for_backward(rows, source_vector, target_vector, out, weights)
        ctx.edges, ctx.slope, ctx.leaked = neighbourhood, slope, leaked
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        follow_torch_threads()
        values, source_vector, target_vector, out, weights = ctx.saved_tensors
        edges: Neighbourhood = ctx.edges
        grad_values = torch.empty_like(values)
        n_chunks = -(-len(values) // CHUNK_ROWS)
        partial = values.new_zeros(n_chunks, 2, *source_vector.shape)
        _backward(
            grad.contiguous().numpy(), values.numpy(), out.numpy(), weights.numpy(), ctx.leaked,
            source_vector.contiguous().numpy(), target_vector.contiguous().numpy(), ctx.slope,
            edges.starts.numpy(), edges.source_starts.numpy(), edges.by_source.numpy(),
            edges.destinations.numpy(), grad_values.numpy(), partial.numpy(),
        )  # fmt: skip
        grad_source, grad_target = partial.sum(dim=0)
        return grad_values, grad_source, grad_target, None, None


@njit(parallel=True, cache=True, fastmath=FAST)
def _forward(
    values: Any, source_vector: Any, target_vector: Any, starts: Any, sources: Any, slope: float,
    out: Any, weights: Any, leaked: Any,
) -> None:  # fmt: skip
    n_sources, n_heads, width = values.shape
    n_rows = len(out)
    source_score = np.empty((n_sources, n_heads), values.dtype)
    target_score = np.empty((n_rows, n_heads), values.dtype)
    for j in prange(n_sources):
        for h in range(n_heads):
            row = values[j, h]
            as_source = values.dtype.type(0)
            as_target = values.dtype.type(0)
            for c in range(width):
                as_source += row[c] * source_vector[h, c]
                as_target += row[c] * target_vector[h, c]
            source_score[j, h] = as_source
            if j < n_rows:
                target_score[j, h] = as_target
    for i in prange(n_rows):
        first, last = starts[i], starts[i + 1]
        for h in range(n_heads):
            peak = -np.inf
            for e in range(first, last):
                score = source_score[sources[e], h] + target_score[i, h]
                leaked[e, h] = score < 0
                if score < 0:
                    score *= slope
                weights[e, h] = score
                peak = max(peak, score)
            total = 0.0
            for e in range(first, last):
                weights[e, h] = np.exp(weights[e, h] - values.dtype.type(peak))
                total += weights[e, h]
            for e in range(first, last):
                weights[e, h] /= total
        out[i] = 0
        for e in range(first, last):
            for h in range(n_heads):
                row, sum_, weight = values[sources[e], h], out[i, h], weights[e, h]
                for c in range(width):
                    sum_[c] += weight * row[c]


@njit(parallel=True, cache=True, fastmath=FAST)
def _backward(
    grad: Any, values: Any, out: Any, weights: Any, leaked: Any, source_vector: Any,
    target_vector: Any, slope: float, starts: Any, source_starts: Any, by_source: Any,
    destinations: Any, grad_values: Any, partial: Any,
) -> None:  # fmt: skip
    n_sources, n_heads, width = values.shape
    n_rows = len(out)
    # sum_j w_ij (grad_i . v_j) = grad_i . out_i, what the softmax subtracts
    mean_pull = np.empty((n_rows, n_heads), values.dtype)
    for i in prange(n_rows):
        for h in range(n_heads):
            a, b, dot = grad[i, h], out[i, h], values.dtype.type(0)
            for c in range(width):
                dot += a[c] * b[c]
            mean_pull[i, h] = dot
    grad_score = np.empty(weights.shape, values.dtype)
    grad_source_score = np.empty((n_sources, n_heads), values.dtype)
    for j in prange(n_sources):
        grad_values[j] = 0
        for h in range(n_heads):
            row, row_grad, source_sum = values[j, h], grad_values[j, h], values.dtype.type(0)
            for t in range(source_starts[j], source_starts[j + 1]):
                i, e = destinations[t], by_source[t]
                above, weight, dot = grad[i, h], weights[e, h], values.dtype.type(0)
                for c in range(width):
                    dot += above[c] * row[c]
                    row_grad[c] += weight * above[c]
                pull = weight * (dot - mean_pull[i, h])
                if leaked[e, h]:
                    pull *= slope
                grad_score[e, h] = pull
                source_sum += pull
            grad_source_score[j, h] = source_sum
    for chunk in prange(len(partial)):
        for j in range(chunk * CHUNK_ROWS, min(n_sources, (chunk + 1) * CHUNK_ROWS)):
            for h in range(n_heads):
                as_source, as_target = grad_source_score[j, h], values.dtype.type(0)
                if j < n_rows:
                    for e in range(starts[j], starts[j + 1]):
                        as_target += grad_score[e, h]
                row, row_grad = values[j, h], grad_values[j, h]
                source_sums, target_sums = partial[chunk, 0, h], partial[chunk, 1, h]
                for c in range(width):
                    source_sums[c] += as_source * row[c]
                    target_sums[c] += as_target * row[c]
                    row_grad[c] += as_source * source_vector[h, c] + as_target * target_vector[h, c]
