"""The dense form of ERASE's loss, kept only to measure what the block form saves.

A membership matrix of every class ``[K, N, N]``, filled node by node; ``Z^T Pi_k Z`` as dense
products, which cost ``2 D N^2`` per class; gradients by autograd; and the two rates computed a
second time for logging. Determinants by Cholesky, so that the baseline is not slower than it has
to be.
"""

import torch
from torch import Tensor


def dense_coding_rate_loss(
    features: Tensor,
    labels: Tensor,
    n_classes: int,
    *,
    gamma1: float,
    gamma2: float,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Same arguments and values as `labelnoise.kernels.coding_rate.coding_rate_loss`.

    Memory is ``12 K N^2`` bytes for the memberships alone (.6 GB on Cora).
    """
    n_rows = len(features)
    members = torch.zeros(n_classes, n_rows, n_rows, dtype=torch.int64)
    for i, label in enumerate(labels.tolist()):
        members[label, i, i] = 1
    memberships = members.to(features.dtype)
    expansion, compression = _rates(features, memberships, gamma1, epsilon)
    loss = gamma1 * compression - gamma2 * expansion
    logged = _rates(features, memberships, gamma1, epsilon)
    return loss, logged[0].detach(), logged[1].detach()


def _rates(
    features: Tensor, memberships: Tensor, scale: float, epsilon: float
) -> tuple[Tensor, Tensor]:
    n_rows, width = features.shape
    spread = scale * width / (n_rows * epsilon)
    expansion = 0.5 * _logdet_of_identity_plus(spread * features.T @ features)
    compression = features.new_zeros(())
    for membership in memberships:
        count = membership.trace() + 1e-8
        gram = features.T @ membership @ features
        rate = _logdet_of_identity_plus(width / (count * epsilon) * gram)
        compression = compression + count / (2 * n_rows) * rate
    return expansion, compression


def _logdet_of_identity_plus(matrix: Tensor) -> Tensor:
    factor = torch.linalg.cholesky(torch.eye(len(matrix)).to(matrix) + matrix)
    return 2 * factor.diagonal().log().sum()
