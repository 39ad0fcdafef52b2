"""A linear score of a few nodes from their features, without copying their rows."""

import math

import numba


@numba.njit(cache=True, nogil=True)
def score_sparse(nodes, row_start, column, value, weight, intercept, scaled, out):  # type: ignore[no-untyped-def]
    """``X_i w / |X_i| + b`` of each node (not divided unless `scaled`)."""
    for k in range(len(nodes)):
        score = squares = 0.0
        for e in range(row_start[nodes[k]], row_start[nodes[k] + 1]):
            score += value[e] * weight[column[e]]
            squares += value[e] * value[e]
        if scaled and squares > 0.0:
            score /= math.sqrt(squares)
        out[k] = score + intercept


@numba.njit(cache=True, nogil=True)
def score_dense(nodes, dense, weight, intercept, scaled, out):  # type: ignore[no-untyped-def]
    """The same from dense features."""
    for k in range(len(nodes)):
        score = squares = 0.0
        row = nodes[k]
        for d in range(dense.shape[1]):
            score += dense[row, d] * weight[d]
            squares += dense[row, d] * dense[row, d]
        if scaled and squares > 0.0:
            score /= math.sqrt(squares)
        out[k] = score + intercept
