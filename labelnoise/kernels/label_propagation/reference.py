"""What the result is, in float64 with a dense matrix. Tests compare every backend with this."""

import torch
from torch import Tensor

from labelnoise.kernels.label_propagation.recurrence import CsrMatrix, Recurrence


def propagate(
    matrix: CsrMatrix, values: Tensor, recurrence: Recurrence, class_block: int | None
) -> Tensor:
    """See `labelnoise.kernels.label_propagation`."""
    rows = torch.repeat_interleave(matrix.starts.diff())
    dense = values.new_zeros(len(values), len(values), dtype=torch.float64)
    dense.index_put_((rows, matrix.columns.long()), matrix.weights.double(), accumulate=True)
    weight, first = recurrence.neighbour_weight, values.double()
    now = first.clone()
    for _ in range(recurrence.n_steps):
        before, base = now, now if recurrence.anchor is None else recurrence.anchor.double()
        now = weight * dense @ before + (1 - weight) * base
        if recurrence.clamp is not None:
            now = now.clamp(*recurrence.clamp)
        if recurrence.fixed_rows is not None:
            now = torch.where(recurrence.fixed_rows[:, None], first, now)
        if recurrence.tolerance and not ((now - before).abs() > recurrence.tolerance).any():
            break
    return now.to(values.dtype)
