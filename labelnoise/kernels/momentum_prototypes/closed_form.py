"""All rows at once: of a class's n rows, row r (from 0) weighs ``(1 - m) m^(n - 1 - r)``.

The old prototype weighs ``m^n``. Powers that underflow are 0, which is what the loop tends to.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from labelnoise.kernels.class_means.result import check_rows
from labelnoise.kernels.momentum_prototypes.settings import check_momentum

BLOCK_ROWS = 1024


def momentum_prototypes(
    prototypes: Tensor, features: Tensor, labels: Tensor, momentum: float
) -> Tensor:
    """See `labelnoise.kernels.momentum_prototypes`; `prototypes` are float64."""
    return MomentumSums.of(features, labels, len(prototypes), momentum=momentum).apply(prototypes)


@dataclass(frozen=True, eq=False)
class MomentumSums:
    """What a run of rows does to any prototypes: enough to apply it, or to put runs together.

    Args:
        momentum: Share of the old prototype at each row, in ``[0, 1]``.
        counts: ``[C]`` int64, rows of each class.
        sums: ``[C, D]`` float64, their weighted sums.
    """

    momentum: float
    counts: Tensor
    sums: Tensor

    @classmethod
    def of(
        cls, features: Tensor, labels: Tensor, n_classes: int, *, momentum: float
    ) -> "MomentumSums":
        """State of the rows `features` ``[N, D]``, in order.

        Args:
            features: Any float dtype; converted a block of rows at a time.
            labels: ``[N]`` int64 in ``-1 .. n_classes - 1``; rows with -1 are skipped.
            n_classes: Number of prototypes C, at least 1.
            momentum: In ``[0, 1]``.

        Raises:
            ValueError: An argument is outside the ranges above.
        """
        check_rows(features, labels, n_classes)
        check_momentum(momentum)
        # the last line collects the rows without a label, as if they were a class
        line = torch.where(labels < 0, n_classes, labels)
        counts = torch.zeros(n_classes + 1, dtype=torch.int64, device=labels.device)
        counts.index_add_(0, line, torch.ones_like(line))
        weights = (1 - momentum) * _power(momentum, _rows_of_class_after(line, counts))
        sums = torch.zeros(len(counts), features.shape[1], dtype=torch.float64, device=line.device)
        for start in range(0, len(features), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            sums.index_add_(0, line[block], features[block].double() * weights[block, None])
        return cls(momentum, counts[:-1], sums[:-1])

    def merge(self, right: "MomentumSums") -> "MomentumSums":
        """State of these rows followed by those of `right`. Associative, not commutative.

        Raises:
            ValueError: The momenta, or the numbers of classes or features, differ.
        """
        if self.momentum != right.momentum or self.sums.shape != right.sums.shape:
            raise ValueError(
                "states merge when momentum and [C, D] agree, got "
                f"{self.momentum} {list(self.sums.shape)} and "
                f"{right.momentum} {list(right.sums.shape)}"
            )
        faded = _power(self.momentum, right.counts)[:, None] * self.sums
        return MomentumSums(self.momentum, self.counts + right.counts, faded + right.sums)

    def apply(self, prototypes: Tensor) -> Tensor:
        """New prototypes ``[C, D]`` float64 after these rows; `prototypes` is not modified."""
        return _power(self.momentum, self.counts)[:, None] * prototypes + self.sums


def _rows_of_class_after(line: Tensor, counts: Tensor) -> Tensor:
    """How many rows of its own class come after each row, ``[N]`` int64."""
    order = line.argsort(stable=True)
    end = counts.cumsum(0)[line[order]]
    after = torch.empty_like(line)
    after[order] = end - 1 - torch.arange(len(line), device=line.device)
    return after


def _power(momentum: float, exponent: Tensor) -> Tensor:
    # 0^0 is 1 here, as it has to be: the last row of a class keeps its full weight
    return torch.pow(momentum, exponent.double())
