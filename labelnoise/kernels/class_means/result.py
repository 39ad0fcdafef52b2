"""What class means are, and what their rows and labels must look like."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ClassMeans:
    """Means of the classes that have one.

    Args:
        means: ``[C, D]`` float32; NaN for a class that is not `present`.
        counts: ``[C]`` int64, rows of each class whatever their weight.
        present: ``[C]`` bool, whether the rows of a class weigh more than 0 together.
    """

    means: Tensor
    counts: Tensor
    present: Tensor


def check_rows(features: Tensor, labels: Tensor, n_classes: int) -> None:
    """Raise ValueError unless `features` are ``[N, D]`` and `labels` ``[N]`` fits them."""
    if features.ndim != 2 or not features.is_floating_point():
        raise ValueError(
            f"features must be floating point [N, D], got {features.dtype} {list(features.shape)}"
        )
    if labels.shape != features.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(
            f"labels must be int64 [{len(features)}], got {labels.dtype} {list(labels.shape)}"
        )
    if labels.device != features.device:
        raise ValueError(f"labels are on {labels.device}, features on {features.device}")
    if n_classes < 1:
        raise ValueError(f"n_classes must be at least 1, got {n_classes}")
    if len(labels) and not (labels.min() >= -1 and labels.max() < n_classes):
        raise ValueError(f"labels must lie in -1 .. {n_classes - 1}")


def check_weights(weights: Tensor, features: Tensor) -> None:
    """Raise ValueError unless `weights` are ``[N]``, finite and not negative."""
    if weights.shape != features.shape[:1] or weights.device != features.device:
        raise ValueError(
            f"weights must be [{len(features)}] on {features.device}, "
            f"got {list(weights.shape)} on {weights.device}"
        )
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError("weights must be finite and not negative")
