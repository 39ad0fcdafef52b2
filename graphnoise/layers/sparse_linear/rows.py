"""Sparse rows with dropout, in the two orders that a forward and a backward pass want."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class SparseRows:
    """A constant CSR matrix with the order of its entries by column.

    Attributes:
        shape: ``(N, F)``.
        starts: ``[N + 1]`` int64, entries of row i are ``starts[i] .. starts[i + 1]``.
        columns: ``[nnz]`` int64.
        values: ``[nnz]``.
        column_starts: ``[F + 1]`` int64, the same entries by column.
        by_column: ``[nnz]`` int64, position in `values` of each entry in column order.
        rows: ``[nnz]`` int64, row of each entry in column order.
    """

    shape: tuple[int, int]
    starts: Tensor
    columns: Tensor
    values: Tensor
    column_starts: Tensor
    by_column: Tensor
    rows: Tensor

    @classmethod
    def from_scipy(cls, matrix: sparse.csr_array) -> Self:
        """Copy of a scipy CSR matrix ``[N, F]``."""
        numbered = sparse.csr_array(
            (np.arange(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape
        )
        turned = numbered.tocsc()

        def index(array: np.ndarray) -> Tensor:
            return torch.tensor(array, dtype=torch.int64)

        return cls(
            (matrix.shape[0], matrix.shape[1]),
            index(matrix.indptr), index(matrix.indices), torch.tensor(matrix.data),
            index(turned.indptr), index(turned.data), index(turned.indices),
        )  # fmt: skip

    def dropped(self, probability: float) -> "SparseRows":
        """Dropout on the entries; what is zero stays zero, so it equals dropout on all of them."""
        return replace(self, values=functional.dropout(self.values, probability))

    def to(self, device: torch.device | str) -> "SparseRows":
        """The same rows on another device."""
        tensors = (
            self.starts, self.columns, self.values, self.column_starts, self.by_column, self.rows,
        )  # fmt: skip
        return SparseRows(self.shape, *(tensor.to(device) for tensor in tensors))
