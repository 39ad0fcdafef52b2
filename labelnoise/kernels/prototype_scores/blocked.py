"""PyTorch on any device, in blocks small enough that the epilogue finds the logits in the cache."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from labelnoise.kernels._ranking import EMPTY, largest, unpack
from labelnoise.kernels.prototype_scores.result import Logits

BLOCK_ROWS = 2048
BLOCK_CLASSES = 2048
# of float32: guards a row of zeros and bends no other
_FLOOR = torch.finfo(torch.float32).tiny


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
    scaled = prototypes.float()
    if normalise:
        scaled = normalize(scaled, eps=_FLOOR)
    scaled = scaled / temperature[:, None]
    n_rows = len(features)
    numbers = features.new_empty((3, n_rows), dtype=torch.float32)
    given_logit, entropy, log_normaliser = numbers
    keys = features.new_empty((n_rows, kept), dtype=torch.int64)
    for start in range(0, n_rows, BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        rows = features[block].float()
        if normalise:
            rows = normalize(rows, eps=_FLOOR)
        label = torch.zeros_like(keys[block, 0]) if given is None else given[block]
        scan = _Scan(rows, label, kept)
        for first in range(0, len(scaled), BLOCK_CLASSES):
            scan.add(rows @ scaled[first : first + BLOCK_CLASSES].T, first)
        keys[block], given_logit[block] = scan.keys, scan.given_logit
        log_normaliser[block] = scan.peak + scan.mass.log()
        entropy[block] = scan.mass.log() - scan.tilt / scan.mass
    return Logits(*unpack(keys), given_logit, entropy, log_normaliser)


class _Scan:
    """Running sums over the classes of one block of rows.

    With ``e = exp(logit - peak)``: `mass` is the sum of ``e`` and `tilt` of ``e * (logit - peak)``,
    so the entropy is ``log(mass) - tilt / mass``.
    """

    def __init__(self, rows: Tensor, label: Tensor, kept: int) -> None:
        self.label = label
        self.peak = rows.new_full((len(rows),), -torch.inf)
        self.mass = rows.new_zeros(len(rows))
        self.tilt = rows.new_zeros(len(rows))
        self.given_logit = rows.new_zeros(len(rows))
        self.keys = torch.full((len(rows), kept), EMPTY, device=rows.device)

    def add(self, logits: Tensor, first: int) -> None:
        """Take in the classes ``first .. first + W - 1`` of every row, ``[R, W]``; overwrites."""
        kept = self.keys.shape[1]
        found = largest(logits, min(kept, logits.shape[1]))
        # the low half of a key counts columns down: subtracting shifts them up
        self.keys = torch.cat([self.keys, found - first], dim=1).topk(kept, dim=1).values
        column = self.label - first
        here = (column >= 0) & (column < logits.shape[1])
        own = logits.gather(1, column.clamp(0, logits.shape[1] - 1)[:, None])[:, 0]
        self.given_logit = torch.where(here, own, self.given_logit)

        peak = torch.maximum(self.peak, unpack(found[:, 0])[0])
        # before the first block there is no old peak to move from
        moved = torch.where(self.mass > 0, self.peak - peak, 0)
        logits -= peak[:, None]
        old = moved.exp()
        self.tilt = old * (self.tilt + self.mass * moved)
        self.mass = old * self.mass
        weight = logits.exp()
        self.mass += weight.sum(dim=1)
        self.tilt += logits.mul_(weight).sum(dim=1)
        self.peak = peak
