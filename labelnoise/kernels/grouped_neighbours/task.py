"""The checked arguments of one search inside groups, as every backend receives them."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class GroupSearch:
    """One search: see `labelnoise.kernels.grouped_neighbours` for the fields.

    `queries` are `rows` themselves where `own` is true; else one per group.
    """

    queries: Tensor
    rows: Tensor
    offsets: Tensor
    k: int
    own: bool
    earlier: bool
    normalise: bool

    @property
    def row_groups(self) -> Tensor:
        """Group of each row ``[N]`` int64."""
        n_groups = len(self.offsets) - 1
        numbers = torch.arange(n_groups, device=self.offsets.device)
        return numbers.repeat_interleave(self.offsets.diff(), output_size=len(self.rows))

    @property
    def query_groups(self) -> Tensor:
        """Group of each query ``[Q]`` int64."""
        if self.own:
            return self.row_groups
        return torch.arange(len(self.queries), device=self.queries.device)
