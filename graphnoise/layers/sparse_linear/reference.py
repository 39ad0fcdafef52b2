"""What the result is: torch's COO product on any device, gradient by autograd."""

import torch
from torch import Tensor

from graphnoise.layers.sparse_linear.rows import SparseRows


def sparse_linear(rows: SparseRows, weight: Tensor) -> Tensor:
    """See `graphnoise.layers.sparse_linear`."""
    row = torch.arange(rows.shape[0], device=weight.device).repeat_interleave(rows.starts.diff())
    matrix = torch.sparse_coo_tensor(
        torch.stack([row, rows.columns]),
        rows.values,
        rows.shape,
        is_coalesced=True,
        check_invariants=False,
    )
    return torch.sparse.mm(matrix, weight)
