"""PyTorch on any device: a CSR product that adds the mix in place (MKL or cuSPARSE)."""

import warnings

import torch
from torch import Tensor

from labelnoise.kernels.label_propagation.recurrence import CsrMatrix, Recurrence, iterate


def propagate(
    matrix: CsrMatrix, values: Tensor, recurrence: Recurrence, class_block: int | None
) -> Tensor:
    """See `labelnoise.kernels.label_propagation`."""
    with warnings.catch_warnings():  # CSR tensors call themselves beta
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state")
        sparse = torch.sparse_csr_tensor(
            *matrix, size=(len(values), len(values)), check_invariants=False
        )
    weight, anchor, fixed = (
        recurrence.neighbour_weight, recurrence.anchor, recurrence.fixed_rows,
    )  # fmt: skip

    def step(block: slice, before: Tensor, after: Tensor) -> None:
        base = before if anchor is None else anchor[:, block]
        torch.addmm(base, sparse, before, beta=1 - weight, alpha=weight, out=after)
        if recurrence.clamp is not None:
            after.clamp_(*recurrence.clamp)
        if fixed is not None:
            torch.where(fixed[:, None], values[:, block], after, out=after)

    return iterate(step, values, recurrence, class_block)
