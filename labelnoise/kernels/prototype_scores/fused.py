"""Triton on CUDA: online softmax, entropy and best classes in registers; no logit is ever stored.

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
from labelnoise.kernels.prototype_scores.result import Logits

ROWS = 64
CLASSES = 64
WIDTH = 16


def prototype_scores(
    features: Tensor,
    prototypes: Tensor,
    given: Tensor | None,
    *,
    temperature: Tensor,
    kept: int,
    normalise: bool,
) -> Logits:
    """See `labelnoise.kernels.prototype_scores`."""
    features, prototypes = loadable(features), loadable(prototypes)
    n_rows, width = features.shape
    numbers = features.new_empty((n_rows, 3), dtype=torch.float32)
    keys = features.new_empty((n_rows, kept), dtype=torch.int64)
    row_scale = inverse_length(features) if normalise else numbers.new_ones(n_rows)
    class_scale = (inverse_length(prototypes) if normalise else 1) / temperature
    label = torch.zeros_like(keys[:, 0]) if given is None else given
    if n_rows:
        _kernel[(triton.cdiv(n_rows, ROWS),)](
            features, prototypes, row_scale, class_scale, label.contiguous(), numbers, keys,
            n_rows, len(prototypes), width, kept,
            SLOTS=triton.next_power_of_2(kept), ROWS=ROWS, CLASSES=CLASSES, WIDTH=WIDTH,
            num_warps=8,
        )  # fmt: skip
    score, index = unpack(keys.sort(dim=1, descending=True).values)
    return Logits(score, index, *numbers.T)


@triton.jit
def _kernel(
    features, prototypes, row_scale, class_scale, label, numbers, keys,
    n_rows, n_classes, width, kept,
    SLOTS: tl.constexpr, ROWS: tl.constexpr, CLASSES: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    # 64-bit from here on: row * width passes 2**31 at 4.2 M rows of 512
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    inside = row < n_rows
    own = tl.load(label + row, mask=inside, other=-1)
    scale = tl.load(row_scale + row, mask=inside, other=0.0)
    best = no_keys(kept, ROWS, SLOTS)
    # with e = exp(logit - peak): mass is the sum of e, tilt of e * (logit - peak)
    peak = tl.full([ROWS], float("-inf"), tl.float32)
    mass = tl.zeros([ROWS], tl.float32)
    tilt = tl.zeros([ROWS], tl.float32)
    given_logit = tl.zeros([ROWS], tl.float32)
    for first in range(0, n_classes, CLASSES):
        column = first + tl.arange(0, CLASSES).to(tl.int64)
        real = column < n_classes
        logit = tl.zeros([ROWS, CLASSES], tl.float32)
        for start in range(0, width, WIDTH):
            d = start + tl.arange(0, WIDTH)
            x = tl.load(  # [ROWS, WIDTH]
                features + row[:, None] * width + d[None, :],
                mask=inside[:, None] & (d[None, :] < width),
                other=0.0,
            )
            p = tl.load(  # [WIDTH, CLASSES]
                prototypes + column[None, :] * width + d[:, None],
                mask=real[None, :] & (d[:, None] < width),
                other=0.0,
            )
            # without "ieee" the GPU rounds float32 inputs to TF32
            logit = tl.dot(x, p, logit, input_precision="ieee")
        logit *= scale[:, None] * tl.load(class_scale + column, mask=real, other=0.0)[None, :]
        best = keep_best(best, tl.where(real[None, :], pack(logit, column[None, :]), EMPTY))
        given_logit += tl.sum(tl.where(own[:, None] == column[None, :], logit, 0.0), axis=1)

        new_peak = tl.maximum(peak, tl.max(tl.where(real[None, :], logit, float("-inf")), axis=1))
        # in the first block there is no old peak to move from
        moved = tl.where(mass > 0, peak - new_peak, 0.0)
        above = logit - new_peak[:, None]
        weight = tl.where(real[None, :], tl.exp(above), 0.0)
        tilt = tl.exp(moved) * (tilt + mass * moved) + tl.sum(weight * above, axis=1)
        mass = tl.exp(moved) * mass + tl.sum(weight, axis=1)
        peak = new_peak
    # numbers is [N, 3]
    tl.store(numbers + row * 3, given_logit, mask=inside)
    tl.store(numbers + row * 3 + 1, tl.log(mass) - tilt / mass, mask=inside)
    tl.store(numbers + row * 3 + 2, peak + tl.log(mass), mask=inside)
    slot = tl.arange(0, SLOTS)
    tl.store(
        keys + row[:, None] * kept + slot[None, :],
        best,
        mask=inside[:, None] & (slot[None, :] < kept),
    )
