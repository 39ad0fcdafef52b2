"""The same keys inside Triton kernels, and what both similarity kernels need beside them."""

import torch
import triton
import triton.language as tl
from torch import Tensor

EMPTY = tl.constexpr(-(2**63))


def loadable(features: Tensor) -> Tensor:
    """Contiguous `features` in a dtype that `tl.dot` takes without rounding it."""
    # Triton's interpreter multiplies the bit patterns of bfloat16; a GPU has no fused float64 path
    plain = features.dtype == torch.float16 or (
        features.dtype == torch.bfloat16 and features.is_cuda
    )
    return features.contiguous() if plain else features.float().contiguous()


def inverse_length(features: Tensor) -> Tensor:
    """``1 / |row|`` as float32 ``[N]``, 0 for a row of zeros."""
    length = torch.linalg.vector_norm(features, dim=1, dtype=torch.float32)
    return torch.where(length > 0, 1 / length, 0)


@triton.jit
def pack(scores, columns):
    """Keys of float32 `scores` and int64 `columns`: see `labelnoise.kernels._ranking.pack`."""
    bits = tl.where(scores == 0.0, 0.0, scores).to(tl.int32, bitcast=True)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered.to(tl.int64) << 32) | (0xFFFFFFFF - columns)


@triton.jit
def no_keys(wanted, ROWS: tl.constexpr, SLOTS: tl.constexpr):
    """`SLOTS` keys per row to start `keep_best` from; slots past `wanted` are never replaced."""
    slot = tl.arange(0, SLOTS).to(tl.int64)
    # all different, so that replacing the lowest replaces one
    start = tl.where(slot < wanted, EMPTY + slot, -1 - EMPTY)
    return tl.zeros([ROWS, SLOTS], tl.int64) + start[None, :]


@triton.jit
def keep_best(best, keys):
    """The largest of `best` ``[R, S]`` and `keys` ``[R, W]``, in any order, in ``[R, S]``.

    One round puts the best new key of each row in place of its worst kept one; rounds stop when no
    row gains. Late in a scan few rows do, so the usual price of a block is one maximum.
    """
    top = tl.max(keys, axis=1)
    low = tl.min(best, axis=1)
    while tl.max((top > low).to(tl.int32), axis=0) > 0:
        gains = (top > low)[:, None]
        best = tl.where(gains & (best == low[:, None]), top[:, None], best)
        keys = tl.where(keys == top[:, None], EMPTY, keys)
        top = tl.max(keys, axis=1)
        low = tl.min(best, axis=1)
    return best
