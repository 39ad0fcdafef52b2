"""Triton on CUDA: each program keeps its rows' k best keys in registers, so no score is stored.

Checked in Triton's interpreter and compiled for compute capability 9.0; the block sizes are the
largest tried that spill no float32 registers there, and have not been tuned by timing.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from labelnoise.kernels._ranking import unpack
from labelnoise.kernels._ranking.fused import (
    EMPTY,
    inverse_length,
    keep_best,
    loadable,
    no_keys,
    pack,
)
from labelnoise.kernels.nearest_neighbours.task import ALLOWED, Search

ROWS = 64
COLUMNS = 64
WIDTH = 32
# fewer programs than this leave a large card idle: then the candidates are split among several
ENOUGH_PROGRAMS = 512


def nearest_neighbours(search: Search) -> tuple[Tensor, Tensor]:
    """See `labelnoise.kernels.nearest_neighbours`."""
    queries, candidates = loadable(search.queries), loadable(search.candidates)
    n_queries, n_candidates = len(queries), len(candidates)
    row_blocks, column_blocks = triton.cdiv(n_queries, ROWS), triton.cdiv(n_candidates, COLUMNS)
    n_parts = max(1, min(column_blocks, ENOUGH_PROGRAMS // max(1, row_blocks)))
    part = triton.cdiv(column_blocks, n_parts) * COLUMNS
    keys = queries.new_empty((n_queries, n_parts, search.k), dtype=torch.int64)
    if n_queries:
        _kernel[(row_blocks, n_parts)](
            queries, candidates, inverse_length(queries), inverse_length(candidates),
            search.query_labels.contiguous(), search.candidate_labels.contiguous(), keys,
            n_queries, n_candidates, queries.shape[1], part, n_parts, search.k,
            ALLOWED=ALLOWED.index(search.allowed), EXCLUDE_SELF=search.exclude_self,
            NORMALISE=search.normalise, SLOTS=triton.next_power_of_2(search.k),
            ROWS=ROWS, COLUMNS=COLUMNS, WIDTH=WIDTH, num_warps=8,
        )  # fmt: skip
    return unpack(keys.flatten(1).sort(dim=1, descending=True).values[:, : search.k])


@triton.jit
def _kernel(
    queries, candidates, query_scale, candidate_scale, query_labels, candidate_labels, keys,
    n_queries, n_candidates, width, part, n_parts, k,
    ALLOWED: tl.constexpr, EXCLUDE_SELF: tl.constexpr, NORMALISE: tl.constexpr,
    SLOTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    # 64-bit from here on: row * width passes 2**31 at 4.2 M rows of 512
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    inside = row < n_queries
    best = no_keys(k, ROWS, SLOTS)
    begin = tl.program_id(1).to(tl.int64) * part
    for first in range(begin, tl.minimum(begin + part, n_candidates), COLUMNS):
        column = first + tl.arange(0, COLUMNS).to(tl.int64)
        real = column < n_candidates
        dot = tl.zeros([ROWS, COLUMNS], tl.float32)
        for start in range(0, width, WIDTH):
            d = start + tl.arange(0, WIDTH)
            q = tl.load(  # [ROWS, WIDTH]
                queries + row[:, None] * width + d[None, :],
                mask=inside[:, None] & (d[None, :] < width),
                other=0.0,
            )
            x = tl.load(  # [WIDTH, COLUMNS]
                candidates + column[None, :] * width + d[:, None],
                mask=real[None, :] & (d[:, None] < width),
                other=0.0,
            )
            # without "ieee" the GPU rounds float32 inputs to TF32
            dot = tl.dot(q, x, dot, input_precision="ieee")
        if NORMALISE:
            # scaling the product leaves half-precision inputs to the tensor cores as they are
            dot *= tl.load(query_scale + row, mask=inside, other=0.0)[:, None]
            dot *= tl.load(candidate_scale + column, mask=real, other=0.0)[None, :]
        able = inside[:, None] & real[None, :]
        if ALLOWED != 0:
            mine = tl.load(query_labels + row, mask=inside, other=-1)[:, None]
            theirs = tl.load(candidate_labels + column, mask=real, other=-1)[None, :]
            able &= (mine >= 0) & (theirs >= 0)
            able &= (mine == theirs) if ALLOWED == 1 else (mine != theirs)
        if EXCLUDE_SELF:
            able &= row[:, None] != column[None, :]
        best = keep_best(best, tl.where(able, pack(dot, column[None, :]), EMPTY))
    slot = tl.arange(0, SLOTS)
    tl.store(
        keys + ((row * n_parts + tl.program_id(1)) * k)[:, None] + slot[None, :],
        best,
        mask=inside[:, None] & (slot[None, :] < k),
    )
