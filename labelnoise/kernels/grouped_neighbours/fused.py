"""Triton on CUDA: each program takes a run of queries and only the columns their groups span.

The runs with the longest spans start first, so that one large group does not finish alone.
Checked in Triton's interpreter; block sizes are those of `nearest_neighbours`, not tuned by timing.
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
from labelnoise.kernels.grouped_neighbours.task import GroupSearch

ROWS = 64
COLUMNS = 64
WIDTH = 32
# fewer programs than this leave a large card idle: then spans are split among several
ENOUGH_PROGRAMS = 512


def grouped_neighbours(search: GroupSearch) -> tuple[Tensor, Tensor]:
    """See `labelnoise.kernels.grouped_neighbours`."""
    queries, rows = loadable(search.queries), loadable(search.rows)
    n_queries, n_blocks = len(queries), triton.cdiv(len(queries), ROWS)
    n_parts = max(1, ENOUGH_PROGRAMS // max(1, n_blocks))
    keys = queries.new_empty((n_queries, n_parts, search.k), dtype=torch.int64)
    if n_queries:
        groups = search.query_groups
        begin, end = _spans(search, groups)
        block = (end - begin).argsort(descending=True, stable=True)
        _kernel[(n_blocks, n_parts)](
            queries, rows, inverse_length(queries), inverse_length(rows),
            groups, search.row_groups, block, begin, end, keys,
            n_queries, queries.shape[1], n_parts, search.k,
            OWN=search.own, EARLIER=search.earlier,
            NORMALISE=search.normalise, SLOTS=triton.next_power_of_2(search.k),
            ROWS=ROWS, COLUMNS=COLUMNS, WIDTH=WIDTH, num_warps=8,
        )  # fmt: skip
    return unpack(keys.flatten(1).sort(dim=1, descending=True).values[:, : search.k])


def _spans(search: GroupSearch, groups: Tensor) -> tuple[Tensor, Tensor]:
    """First and last + 1 column that each block of `ROWS` queries may need, int64."""
    first = torch.arange(0, len(groups), ROWS, device=groups.device)
    last = (first + ROWS - 1).clamp(max=len(groups) - 1)
    begin, end = search.offsets[groups[first]], search.offsets[groups[last] + 1]
    # an earlier row lies before the last query of the block
    return begin, torch.minimum(end, last) if search.earlier else end


@triton.jit
def _kernel(
    queries, rows, query_scale, row_scale, query_groups, row_groups, block, begins, ends, keys,
    n_queries, width, n_parts, k,
    OWN: tl.constexpr, EARLIER: tl.constexpr, NORMALISE: tl.constexpr,
    SLOTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    # block numbers are 64-bit, and so is all that follows: row * width passes 2**31
    mine = tl.load(block + tl.program_id(0))
    query = mine * ROWS + tl.arange(0, ROWS)
    inside = query < n_queries
    group = tl.load(query_groups + query, mask=inside, other=-1)
    best = no_keys(k, ROWS, SLOTS)
    end = tl.load(ends + mine)
    begin = tl.load(begins + mine)
    part = tl.cdiv(tl.cdiv(end - begin, COLUMNS), n_parts) * COLUMNS
    begin += tl.program_id(1) * part
    for first in range(begin, tl.minimum(begin + part, end), COLUMNS):
        column = first + tl.arange(0, COLUMNS).to(tl.int64)
        real = column < end
        dot = tl.zeros([ROWS, COLUMNS], tl.float32)
        for start in range(0, width, WIDTH):
            d = start + tl.arange(0, WIDTH)
            q = tl.load(  # [ROWS, WIDTH]
                queries + query[:, None] * width + d[None, :],
                mask=inside[:, None] & (d[None, :] < width),
                other=0.0,
            )
            x = tl.load(  # [WIDTH, COLUMNS]
                rows + column[None, :] * width + d[:, None],
                mask=real[None, :] & (d[:, None] < width),
                other=0.0,
            )
            # without "ieee" the GPU rounds float32 inputs to TF32
            dot = tl.dot(q, x, dot, input_precision="ieee")
        if NORMALISE:
            dot *= tl.load(query_scale + query, mask=inside, other=0.0)[:, None]
            dot *= tl.load(row_scale + column, mask=real, other=0.0)[None, :]
        theirs = tl.load(row_groups + column, mask=real, other=-2)
        able = inside[:, None] & (group[:, None] == theirs[None, :])
        if EARLIER:
            able &= column[None, :] < query[:, None]
        elif OWN:
            able &= column[None, :] != query[:, None]
        best = keep_best(best, tl.where(able, pack(dot, column[None, :]), EMPTY))
    slot = tl.arange(0, SLOTS)
    tl.store(
        keys + ((query * n_parts + tl.program_id(1)) * k)[:, None] + slot[None, :],
        best,
        mask=inside[:, None] & (slot[None, :] < k),
    )
