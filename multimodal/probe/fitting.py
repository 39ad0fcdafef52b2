"""Multinomial logistic regression of all folds at once, with one reading of the rows per step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# float32 numbers of one block of logits [rows, folds, classes]: 16 MB, within reach of the cache
BLOCK_NUMBERS = 4_000_000
# coefficients fitted side by side; the memory of L-BFGS is 20 times their size in float64
MOST_COEFFICIENTS = 4_000_000
HISTORY = 8


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """What the regressions learn from, in canonical order.

    Attributes:
        features: ``[M, D]`` float32 or float64, standardised; products are taken in its type, sums
            in float64.
        fold: Fold of each row ``[M]`` int64: the one model that does not see it.
        target: Classes ``[M, m]`` int64.
        share: Their shares of the row ``[M, m]`` in the type of `features`; a row weighs what they
            add up to.
        n_classes: K.
    """

    features: Tensor
    fold: Tensor
    target: Tensor
    share: Tensor
    n_classes: int


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Linear models, one per fold.

    Attributes:
        weight: ``[F, D, K]`` float32, in the order the folds were asked for.
        bias: ``[F, K]`` float32; -inf for a class that the model was never shown.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


def fit_folds(
    rows: TrainingRows, which: Sequence[int], *, penalty: float, n_steps: int, tolerance: float
) -> Coefficients:
    """Per fold, minimise the mean cross-entropy over the other folds' rows + penalty/2 |weight|^2.

    L-BFGS in coordinates in which the features are white: with the Cholesky factor of
    ``c X'X / M + penalty I``, where c is the curvature of a softmax that knows nothing. A few tens
    of steps then do what takes hundreds on correlated features. The biases are free.

    Args:
        rows: Training rows; a fold without rows of another fold gives a model of -inf biases.
        which: Folds to fit a model for, usually all.
        penalty: > 0, per unit of weight of the rows, so that its meaning does not change with M.
        n_steps: Most steps.
        tolerance: Stop where no next step along one white coordinate would move a logit by more
            than this per standard deviation of it.
    """
    width, n_classes = rows.features.shape[1], rows.n_classes
    factor = _whitening(rows.features, penalty, n_classes)
    together = max(1, MOST_COEFFICIENTS // ((width + 1) * n_classes))
    weight = np.empty((len(which), width, n_classes), np.float32)
    bias = np.empty((len(which), n_classes), np.float32)
    for first in range(0, len(which), together):
        part = slice(first, first + together)
        problem = _Problem(rows, list(which[part]), factor, penalty)
        weight[part], bias[part] = problem.minimise(n_steps, tolerance)
    return Coefficients(weight, bias)


def _whitening(features: Tensor, penalty: float, n_classes: int) -> Tensor:
    """Lower triangular L ``[D, D]`` float64 with ``L L' = c X'X / M + penalty I``."""
    width = features.shape[1]
    moments = torch.zeros(width, width, dtype=torch.float64)
    for block in features.split(8192):
        moments += (block.T @ block).double()
    moments *= _curvature(n_classes) / max(len(features), 1)
    moments.diagonal().add_(penalty)
    return torch.linalg.cholesky(moments)


def _curvature(n_classes: int) -> float:
    """Of the logit of one of K equally likely classes."""
    return (1 - 1 / n_classes) / n_classes if n_classes > 1 else 1.0


class _Problem:
    """The regressions of some folds; their losses add up and share no parameter."""

    def __init__(
        self, rows: TrainingRows, folds: list[int], factor: Tensor, penalty: float
    ) -> None:
        self.rows, self.folds, self.factor, self.penalty = rows, folds, factor, penalty
        weight = rows.share.sum(1)
        masses = torch.zeros(len(folds), rows.n_classes, dtype=torch.float64)
        for place, fold in enumerate(folds):
            seen = rows.fold != fold
            masses[place].index_add_(
                0, rows.target[seen].reshape(-1), rows.share[seen].reshape(-1).double()
            )
        self.known = masses > 0
        self.scale = 1 / masses.sum(1).clamp_min(torch.finfo(torch.float64).tiny)
        self.weight = weight
        self.start = torch.where(self.known, masses.clamp_min(1e-300).log(), 0.0)
        self.barred = torch.where(self.known, 0.0, -torch.inf)

    def minimise(
        self, n_steps: int, tolerance: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights ``[f, D, K]`` and biases ``[f, K]`` of the folds."""
        width, n_classes = self.rows.features.shape[1], self.rows.n_classes
        white = torch.zeros(width, len(self.folds) * n_classes, dtype=torch.float64)
        bias = self.start - self.start.mean(1, keepdim=True)
        parameters = [white.requires_grad_(), bias.requires_grad_()]
        optimiser = torch.optim.LBFGS(
            parameters, max_iter=n_steps, max_eval=2 * n_steps, history_size=HISTORY,
            tolerance_grad=tolerance * _curvature(n_classes) ** 0.5, tolerance_change=1e-12,
            line_search_fn="strong_wolfe",
        )  # fmt: skip
        optimiser.step(self._closure(white, bias))
        weight = self._weight(white.detach()).float().view(width, len(self.folds), n_classes)
        return (
            weight.permute(1, 0, 2).contiguous().numpy(),
            (bias.detach() + self.barred).float().numpy(),
        )

    def _weight(self, white: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(self.factor.T, white, upper=True)

    def _closure(self, white: Tensor, bias: Tensor) -> Callable[[], float]:
        def loss() -> float:
            with torch.no_grad():
                weight = self._weight(white)
                value, by_weight, by_bias = self._value(weight, bias)
                by_weight += self.penalty * weight
                pulled = torch.linalg.solve_triangular(self.factor, by_weight, upper=False)
                white.grad = pulled.contiguous()
                bias.grad = by_bias
            return value + 0.5 * self.penalty * float(weight.square().sum())

        return loss

    def _value(self, weight: Tensor, bias: Tensor) -> tuple[float, Tensor, Tensor]:
        """Sum of the mean cross-entropies and its gradients, float64, a block of rows at a time."""
        rows, shape = self.rows, (-1, len(self.folds), self.rows.n_classes)
        dtype = rows.features.dtype
        matrix, shift = weight.to(dtype), (bias + self.barred).to(dtype)
        by_weight, by_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        total = 0.0
        size = max(64, BLOCK_NUMBERS // (shape[1] * shape[2]))
        for start in range(0, len(rows.fold), size):
            part = slice(start, start + size)
            features = rows.features[part]
            logits = (features @ matrix).view(shape) + shift
            # what each row counts for in each fold's mean; nothing in its own
            counts = (rows.fold[part, None] != torch.tensor(self.folds)) * self.scale
            logs = logits.log_softmax(2)
            target = rows.target[part, None].expand(-1, shape[1], -1)
            share = rows.share[part, None] * counts[:, :, None].to(dtype)
            picked = logs.gather(2, target)
            # a class this fold's model was never shown has nothing to say about its own rows
            total -= float(torch.where(share > 0, share * picked, 0).double().sum())
            residual = logs.exp_().mul_((self.weight[part, None] * counts).to(dtype)[:, :, None])
            residual.scatter_add_(2, target, -share)
            by_weight += (features.T @ residual.view(len(features), -1)).double()
            by_bias += residual.sum(0, dtype=torch.float64)
        return total, by_weight, by_bias
