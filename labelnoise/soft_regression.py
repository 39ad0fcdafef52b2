"""Multinomial logistic regression on class probabilities instead of labels."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SoftRegression:
    """A fitted regression.

    Attributes:
        weight: ``[D, K]``.
        bias: ``[K]``.
    """

    weight: Tensor
    bias: Tensor

    def probabilities(self, features: Tensor) -> Tensor:
        """Class probabilities ``[N, K]`` of rows ``[N, D]``."""
        return (features @ self.weight + self.bias).softmax(1)


def fit_soft_regression(
    features: Tensor, targets: Tensor, *, strength: float = 1.0, n_steps: int = 60
) -> SoftRegression:
    """Minimise ``strength * sum cross-entropy(targets, prediction) + 1/2 |weight|^2``.

    With one-hot targets this is scikit-learn's ``LogisticRegression(C=strength)`` for three
    classes and more; the bias is free. The loss is convex, so seeds play no part.

    Args:
        features: ``[M, D]``, M at least 1.
        targets: ``[M, K]``, rows sum to 1.
        strength: Inverse regularisation, > 0.
        n_steps: Most iterations of L-BFGS; 60 is past where held-out answers still change.

    Raises:
        ValueError: Shapes disagree, there is no row, or `strength` is not positive.
    """
    if features.ndim != 2 or targets.ndim != 2 or len(features) != len(targets):
        raise ValueError(
            f"want features [M, D] and targets [M, K], got {tuple(features.shape)} and"
            f" {tuple(targets.shape)}"
        )
    if not len(features):
        raise ValueError("features must hold at least one row, got none")
    if not strength > 0:
        raise ValueError(f"strength must be positive, got {strength}")
    targets = targets.to(features.dtype)
    weight = features.new_zeros(features.shape[1], targets.shape[1], requires_grad=True)
    bias = features.new_zeros(targets.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=n_steps, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )
    # per row and unit of strength, so that one tolerance serves all sizes
    scale = 1 / (strength * len(features))

    def loss() -> float:
        optimiser.zero_grad()
        entropy = -(targets * (features @ weight + bias).log_softmax(1)).sum()
        value = scale * (strength * entropy + 0.5 * weight.square().sum())
        value.backward()
        return float(value.detach())

    optimiser.step(loss)
    return SoftRegression(weight.detach(), bias.detach())
