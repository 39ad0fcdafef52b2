"""What the result is: one row after the other. Tests compare every backend with this."""

from torch import Tensor


def momentum_prototypes(
    prototypes: Tensor, features: Tensor, labels: Tensor, momentum: float
) -> Tensor:
    """See `labelnoise.kernels.momentum_prototypes`; `prototypes` are float64."""
    prototypes = prototypes.clone()
    for row, label in zip(features.double(), labels.tolist(), strict=True):
        if label >= 0:
            prototypes[label] = momentum * prototypes[label] + (1 - momentum) * row
    return prototypes
