"""PyTorch on any device, a block of rows at a time: sums per class are all that the means need."""

import torch
from torch import Tensor

from labelnoise.kernels.class_means.result import ClassMeans, check_rows, check_weights

BLOCK_ROWS = 1024


def class_means(
    features: Tensor, labels: Tensor, n_classes: int, weights: Tensor | None
) -> ClassMeans:
    """See `labelnoise.kernels.class_means`."""
    state = ClassSums(n_classes, features.shape[1], device=features.device)
    state.update(features, labels, weights=weights)
    return state.compute()


class ClassSums:
    """Running sums over the rows seen so far, whose `compute` gives `ClassMeans`.

    Sums are float64, so that neither the order nor the number of shards shows in the means.

    Args:
        n_classes: Number of classes C, at least 1.
        width: Number of features D.
        device: Where the sums live; rows must come from there.
    """

    def __init__(
        self, n_classes: int, width: int, *, device: torch.device | str | None = None
    ) -> None:
        if n_classes < 1:
            raise ValueError(f"n_classes must be at least 1, got {n_classes}")
        # the last line collects the rows without a label, which is cheaper than picking the others
        self._sums = torch.zeros(n_classes + 1, width, dtype=torch.float64, device=device)
        self._weights = torch.zeros(n_classes + 1, dtype=torch.float64, device=device)
        self._counts = torch.zeros(n_classes + 1, dtype=torch.int64, device=device)

    def update(self, features: Tensor, labels: Tensor, *, weights: Tensor | None = None) -> None:
        """Add rows.

        Args:
            features: ``[N, D]``, any float dtype; converted a block of rows at a time.
            labels: ``[N]`` int64 in ``-1 .. C - 1``; rows with -1 are skipped.
            weights: ``[N]``, finite and not negative; None: all 1.

        Raises:
            ValueError: An argument is outside the ranges above. Nothing has been added then.
        """
        n_classes, width = len(self._counts) - 1, self._sums.shape[1]
        check_rows(features, labels, n_classes)
        if features.shape[1] != width:
            raise ValueError(f"features must have {width} columns, got {features.shape[1]}")
        if weights is None:
            weights = torch.ones_like(labels, dtype=torch.float64)
        check_weights(weights, features)
        for start in range(0, len(features), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            line = torch.where(labels[block] < 0, n_classes, labels[block])
            weight = weights[block].double()
            self._sums.index_add_(0, line, features[block].double() * weight[:, None])
            self._weights.index_add_(0, line, weight)
            self._counts.index_add_(0, line, torch.ones_like(line))

    def merge(self, other: "ClassSums") -> "ClassSums":
        """State of both streams together, on this one's device; the two stay as they are.

        Raises:
            ValueError: The numbers of classes or features differ.
        """
        if self._sums.shape != other._sums.shape:
            raise ValueError(
                "states merge when their classes and features agree in number, "
                f"got {self._describe()} and {other._describe()}"
            )
        device = self._sums.device
        merged = ClassSums(len(self._counts) - 1, self._sums.shape[1], device=device)
        merged._sums = self._sums + other._sums.to(device)
        merged._weights = self._weights + other._weights.to(device)
        merged._counts = self._counts + other._counts.to(device)
        return merged

    def compute(self) -> ClassMeans:
        """Means of everything added so far."""
        return ClassMeans(
            # 0 / 0, a class of no rows, is NaN
            means=(self._sums / self._weights[:, None])[:-1].float(),
            counts=self._counts[:-1].clone(),
            present=self._weights[:-1] > 0,
        )

    def _describe(self) -> str:
        return f"{len(self._counts) - 1} classes of {self._sums.shape[1]} features"
