"""Coding rate of a set of rows, of its classes, and their difference as a loss."""

from typing import NamedTuple

import torch
from torch import Tensor

from labelnoise.kernels._dispatch import Backend, choose
from labelnoise.kernels.coding_rate.settings import RateWeights

# fastest first: "auto" takes the first one without an obstacle
BACKENDS = {
    "closed_form": Backend(f"{__name__}.closed_form"),
    "reference": Backend(f"{__name__}.reference"),
}


class CodingRates(NamedTuple):
    """What `coding_rate_loss` returns: three scalars in the dtype of the features.

    Args:
        loss: ``gamma1 * compression - gamma2 * expansion``; carries the gradient.
        expansion: R, the rate of all rows together, for the record: no gradient.
        compression: R_c, the rate of the classes, for the record: no gradient.
    """

    loss: Tensor
    expansion: Tensor
    compression: Tensor


def coding_rate(
    features: Tensor, *, epsilon: float, scale: float = 1.0, backend: str = "auto"
) -> Tensor:
    """Bits (nats here) that the rows need at distortion `epsilon`; large when they spread out.

    ``R = 1/2 logdet(I + scale * D / (N epsilon) * Z^T Z)``; 0 for no row.

    Args:
        features: Rows Z ``[N, D]``, float32 or float64, finite. R depends on their length: it is
            meant for rows of length 1, and `epsilon` acts like ``epsilon / |z|^2`` on others.
        epsilon: Distortion, > 0. It is the square of the theory's epsilon.
        scale: Factor inside the logdet, >= 0. ERASE's gamma1 sits here too.
        backend: "auto", or one of `BACKENDS` to insist on it.

    Returns:
        R, a scalar with a gradient to `features`.

    Raises:
        ValueError: A shape, a dtype or a setting is outside the ranges above.

    Source:
        Yu et al., "Learning Diverse and Discriminative Representations via the Principle of
        Maximal Coding Rate Reduction", NeurIPS 2020, equation 1.
    """
    labels = torch.zeros(len(features), dtype=torch.int64, device=features.device)
    weights = RateWeights(expansion=-1.0, compression=0.0, scale=scale, epsilon=epsilon)
    return _checked_rates(features, labels, 1, weights, backend).loss


def class_coding_rate(
    features: Tensor, labels: Tensor, n_classes: int, *, epsilon: float, backend: str = "auto"
) -> Tensor:
    """Mean coding rate inside the classes; small when every class is flat.

    ``R_c = sum_k N_k / (2 N) logdet(I + D / (N_k epsilon) Z_k^T Z_k)``

    Args:
        features: As in `coding_rate`.
        labels: Class of each row ``[N]``, integers in ``-1 .. n_classes - 1``. A row of label -1
            belongs to no class: it counts in N and nowhere else. Empty classes add 0.
        n_classes: Number of classes, >= 1.
        epsilon: As in `coding_rate`.
        backend: "auto", or one of `BACKENDS` to insist on it.

    Returns:
        R_c, a scalar with a gradient to `features`.

    Raises:
        ValueError: A shape, a dtype, a label or a setting is outside the ranges above.

    Source:
        Yu et al. 2020, equation 2.
    """
    weights = RateWeights(expansion=0.0, compression=1.0, scale=1.0, epsilon=epsilon)
    return _checked_rates(features, labels, n_classes, weights, backend).loss


def coding_rate_loss(
    features: Tensor,
    labels: Tensor,
    n_classes: int,
    *,
    gamma1: float,
    gamma2: float,
    epsilon: float,
    backend: str = "auto",
) -> CodingRates:
    """ERASE's loss ``gamma1 R_c - gamma2 R``, with gamma1 inside R as well; minimise it.

    Rows of different classes are pushed apart, rows of one class together. Costs about
    ``2 N D^2`` multiply-adds and one Cholesky factor per class, on its small side; memory is the
    gradient ``[N, D]`` and a bounded stack of ``[D, D]`` matrices, never ``[N, N]``. The gradient
    is computed with the value, so do not call it with gradients on where only the value is wanted.

    Args:
        features: As in `coding_rate`.
        labels: As in `class_coding_rate`; rows of label -1 count in R and not in R_c.
        n_classes: Number of classes, >= 1.
        gamma1: Weight of R_c and factor inside R, >= 0. ERASE: 1.
        gamma2: Weight of R, >= 0. ERASE: 2, on PubMed 3.
        epsilon: As in `coding_rate`. ERASE: .05, CiteSeer .4, CoraFull .01.
        backend: "auto", or one of `BACKENDS` to insist on it.

    Returns:
        The loss, R and R_c. Only the loss carries a gradient (to `features`, once).

    Raises:
        ValueError: A shape, a dtype, a label or a setting is outside the ranges above.

    Source:
        ERASE, arXiv 2312.08852, the coding-rate loss; gradient in closed form:
        ``dL/dZ_k = gamma1 D / (N epsilon) Z_k (M_k^-1 - gamma2 M^-1)``, where M and M_k are the
        matrices inside the two logdets.
    """
    for name, value in {"gamma1": gamma1, "gamma2": gamma2}.items():
        if not value >= 0:
            raise ValueError(f"{name} must be >= 0, got {value}")
    weights = RateWeights(gamma2, gamma1, scale=gamma1, epsilon=epsilon)
    return _checked_rates(features, labels, n_classes, weights, backend)


def _checked_rates(
    features: Tensor, labels: Tensor, n_classes: int, weights: RateWeights, backend: str
) -> CodingRates:
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(
            "want features [N, D] and labels [N], "
            f"got {tuple(features.shape)} and {tuple(labels.shape)}"
        )
    if features.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"features must be float32 or float64, got {features.dtype}")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be integers, got {labels.dtype}")
    if labels.device != features.device:
        raise ValueError(f"labels are on {labels.device}, features on {features.device}")
    if n_classes < 1:
        raise ValueError(f"n_classes must be >= 1, got {n_classes}")
    if not weights.epsilon > 0:
        raise ValueError(f"epsilon must be > 0, got {weights.epsilon}")
    if not weights.scale >= 0:
        raise ValueError(f"scale must be >= 0, got {weights.scale}")
    if len(labels):
        lowest, highest = torch.stack(torch.aminmax(labels)).tolist()
        if lowest < -1 or highest >= n_classes:
            raise ValueError(
                f"labels must lie in -1 .. {n_classes - 1}, found {lowest} .. {highest}"
            )
    module = choose(BACKENDS, backend, features)
    return CodingRates(*module.weighted_rates(features, labels, n_classes, weights))
