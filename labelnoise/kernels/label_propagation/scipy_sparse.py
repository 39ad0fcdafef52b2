"""scipy on CPU: its CSR product, then the mix. One block of columns is held three times."""

import torch
from scipy import sparse
from torch import Tensor

from labelnoise.kernels.label_propagation.recurrence import CsrMatrix, Recurrence, iterate


def propagate(
    matrix: CsrMatrix, values: Tensor, recurrence: Recurrence, class_block: int | None
) -> Tensor:
    """See `labelnoise.kernels.label_propagation`."""
    starts, columns, weights = (part.numpy() for part in matrix)
    product = sparse.csr_array((weights, columns, starts), shape=(len(values), len(values)))
    weight, anchor, fixed = (
        recurrence.neighbour_weight, recurrence.anchor, recurrence.fixed_rows,
    )  # fmt: skip

    def step(block: slice, before: Tensor, after: Tensor) -> None:
        base = before if anchor is None else anchor[:, block]
        torch.mul(base, 1 - weight, out=after)
        after.add_(torch.from_numpy(product @ before.numpy()), alpha=weight)
        if recurrence.clamp is not None:
            after.clamp_(*recurrence.clamp)
        if fixed is not None:
            torch.where(fixed[:, None], values[:, block], after, out=after)

    return iterate(step, values, recurrence, class_block)
