"""Mean feature of each class, in one call or over a stream of shards."""

from torch import Tensor

from labelnoise.kernels._dispatch import Backend, choose
from labelnoise.kernels.class_means.blocked import ClassSums
from labelnoise.kernels.class_means.result import ClassMeans, check_rows, check_weights

__all__ = ["BACKENDS", "ClassMeans", "ClassSums", "class_means"]

# no hand-written kernel: index_add_ is near the time of reading the features once
BACKENDS = {
    "blocked": Backend(f"{__name__}.blocked"),
    "reference": Backend(f"{__name__}.reference"),
}


def class_means(
    features: Tensor,
    labels: Tensor,
    n_classes: int,
    *,
    weights: Tensor | None = None,
    backend: str = "auto",
) -> ClassMeans:
    """Mean, or weighted mean, of the rows of each class.

    For data that does not fit in memory use `ClassSums`: update it shard by shard, merge states of
    several workers, compute at the end.

    Args:
        features: Rows ``[N, D]``, any float dtype. A NaN stays inside its class.
        labels: Class of each row ``[N]`` int64 in ``0 .. n_classes - 1``; rows with -1 are skipped.
        n_classes: Number of means C, at least 1.
        weights: ``[N]``, finite and not negative; None: all 1.
        backend: "auto", or one of `BACKENDS` to insist on it.

    Returns:
        See `ClassMeans`.

    Raises:
        ValueError: An argument is outside the ranges above, or shapes or devices disagree.

    Example:
        >>> import torch
        >>> rows = torch.tensor([[1.0], [3.0], [8.0]])
        >>> found = class_means(rows, torch.tensor([0, 0, -1]), 2)
        >>> found.means[0].tolist(), found.present.tolist()
        ([2.0], [True, False])
    """
    check_rows(features, labels, n_classes)
    if weights is not None:
        check_weights(weights, features)
    return choose(BACKENDS, backend, features).class_means(features, labels, n_classes, weights)
