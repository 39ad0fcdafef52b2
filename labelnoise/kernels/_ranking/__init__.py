"""One order for scored columns: higher score first, then lower column.

A (score, column) pair becomes one 64-bit key, so that the largest keys are the wanted columns in
the wanted order, whatever hardware or block size found them.
"""

import torch
from torch import Tensor

# below the key of every real pair, -inf included: a slot nothing was found for
EMPTY = -(2**63)
_LOW_32 = 0xFFFFFFFF


def pack(scores: Tensor, columns: Tensor) -> Tensor:
    """Keys whose descending order is: higher score first, then lower column.

    Args:
        scores: float32, no NaN.
        columns: int64 in ``0 .. 2**32 - 1``, broadcastable to `scores`.

    Returns:
        int64, shaped like `scores`.
    """
    bits = (scores + 0.0).view(torch.int32)  # + 0.0 turns -0.0 into 0.0, its equal
    # as integers, floats below zero ascend the wrong way round: flip all but their sign
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered.long() << 32) | (_LOW_32 - columns)


def unpack(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (float32) and columns (int64) of `keys`; `EMPTY` gives -inf and -1."""
    ordered = (keys >> 32).int()
    scores = (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(torch.float32)
    columns = _LOW_32 - (keys & _LOW_32)
    empty = ordered == -(2**31)
    return scores.masked_fill(empty, -torch.inf), columns.masked_fill(empty, -1)


def largest(scores: Tensor, k: int) -> Tensor:
    """Keys of the `k` best columns of each row, best first.

    Args:
        scores: ``[R, W]`` float32, no NaN; -inf marks a column that must not be picked.
        k: How many, in ``1 .. W``.

    Returns:
        ``[R, k]`` int64, `EMPTY` where a row has fewer than `k` columns above -inf.
    """
    # the (k + 1)-th shows whether topk, which breaks ties as it likes, had a choice
    values, columns = scores.topk(min(k + 1, scores.shape[1]), dim=1)
    keys = pack(values[:, :k], columns[:, :k])
    if scores.shape[1] > k:
        doubtful = (values[:, k - 1] == values[:, k]) & (values[:, k] > -torch.inf)
        rows = doubtful.nonzero()[:, 0]
        if len(rows):
            every = torch.arange(scores.shape[1], device=scores.device)
            keys[rows] = pack(scores[rows], every).topk(k, dim=1).values
    keys = keys.masked_fill(values[:, :k] == -torch.inf, EMPTY)
    return keys.sort(dim=1, descending=True).values
