"""The recurrence all backends run, and the loop around one step of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class CsrMatrix(NamedTuple):
    """Square and sparse: row i has the `columns` and `weights` ``starts[i] : starts[i + 1]``."""

    starts: Tensor
    columns: Tensor
    weights: Tensor


@dataclass(frozen=True, eq=False)
class Recurrence:
    """``Y <- clamp(w P Y + (1 - w) B)``, B the anchor or, without one, Y itself.

    Args:
        neighbour_weight: w.
        anchor: B ``[N, K]``, or None.
        clamp: Lowest and highest value after a step, or None.
        fixed_rows: Rows ``[N]`` that are put back to their first values after a step, or None.
        n_steps: Steps to run at most.
        tolerance: Stop when no entry changed by more; 0 runs every step.
    """

    neighbour_weight: float
    anchor: Tensor | None
    clamp: tuple[float, float] | None
    fixed_rows: Tensor | None
    n_steps: int
    tolerance: float


# (columns, Y of these columns [N, B], where to write the new Y of these columns)
Step = Callable[[slice, Tensor, Tensor], None]


def iterate(step: Step, values: Tensor, recurrence: Recurrence, class_block: int | None) -> Tensor:
    """Run `step` over blocks of columns; memory is that of `values` and of one block more.

    Steps are the outer loop, so that the size of a block does not change after how many of them
    the tolerance is met.
    """
    n_classes = values.shape[1]
    width = class_block or max(n_classes, 1)
    blocks = [slice(first, first + width) for first in range(0, n_classes, width)]
    current = [values[:, block].clone(memory_format=torch.contiguous_format) for block in blocks]
    spare: dict[int, Tensor] = {}  # by width: the last block can be narrower
    for _ in range(recurrence.n_steps):
        settled = recurrence.tolerance > 0
        for i, block in enumerate(blocks):
            before = current[i]
            after = spare.pop(before.shape[1], None)
            after = torch.empty_like(before) if after is None else after
            step(block, before, after)
            if settled:  # one block that still moves is enough
                change = before.sub_(after).abs_().amax() if before.numel() else 0.0
                settled = bool(change <= recurrence.tolerance)
            current[i], spare[before.shape[1]] = after, before
        if settled:
            break
    if not current:  # no column
        return values.clone()
    return current[0] if len(current) == 1 else torch.cat(current, dim=1)
