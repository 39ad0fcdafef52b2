"""What the result is, a class at a time in float64. Tests compare every backend with this."""

import torch
from torch import Tensor

from labelnoise.kernels.class_means.result import ClassMeans


def class_means(
    features: Tensor, labels: Tensor, n_classes: int, weights: Tensor | None
) -> ClassMeans:
    """See `labelnoise.kernels.class_means`."""
    if weights is None:
        weights = torch.ones_like(labels)
    members = [labels == c for c in range(n_classes)]
    total = torch.stack([weights[m].double().sum() for m in members])
    sums = torch.stack([weights[m].double() @ features[m].double() for m in members])
    return ClassMeans(
        means=(sums / total[:, None]).float(),  # 0 / 0, a class of no rows, is NaN
        counts=torch.stack([m.sum() for m in members]),
        present=total > 0,
    )
