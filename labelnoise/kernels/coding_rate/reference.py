"""What the rates are, in float64 with one mask per class and gradients by autograd."""

import torch
from torch import Tensor

from labelnoise.kernels.coding_rate.settings import RateWeights


def weighted_rates(
    features: Tensor, labels: Tensor, n_classes: int, weights: RateWeights
) -> tuple[Tensor, Tensor, Tensor]:
    """See `labelnoise.kernels.coding_rate`."""
    rows = features.double()
    n_rows, width = rows.shape
    expansion = compression = 0 * rows.sum()  # a zero that autograd knows
    if weights.expansion and n_rows:
        spread = weights.scale * width / (n_rows * weights.epsilon)
        expansion = 0.5 * _logdet_of_identity_plus(spread * rows.T @ rows)
    for k in range(n_classes if weights.compression else 0):
        members = rows * (labels == k)[:, None]
        count = int((labels == k).sum())
        if count:
            spread = width / (count * weights.epsilon)
            rate = _logdet_of_identity_plus(spread * members.T @ members)
            compression = compression + count / (2 * n_rows) * rate
    loss = weights.compression * compression - weights.expansion * expansion
    dtype = features.dtype
    return loss.to(dtype), expansion.detach().to(dtype), compression.detach().to(dtype)


def _logdet_of_identity_plus(matrix: Tensor) -> Tensor:
    return torch.linalg.slogdet(torch.eye(len(matrix)).to(matrix) + matrix).logabsdet
