"""Multinomial logistic regression by L-BFGS, warm-started, in the span of few training rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import softmax

# largest entry of the gradient of the loss per row at which the fit is called done
GRADIENT_TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class Probe:
    """A fitted multinomial logistic regression.

    Attributes:
        weight: ``[K, D]``; 0 for classes without training row.
        bias: ``[K]``; ``-inf`` for classes without training row, which are never predicted.
        residual: ``[M, K]`` one-hot label minus probability of each training row, the start of
            the next fit.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    residual: NDArray[np.float32]

    def probabilities(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities ``[N, K]`` of rows ``[N, D]``."""
        answer: NDArray[np.float32] = softmax(rows @ self.weight.T + self.bias, axis=1)
        return answer


def fit_probe(
    rows: NDArray[np.float32],
    labels: NDArray[np.int64],
    n_classes: int,
    *,
    strength: float = 1.0,
    n_steps: int = 1000,
    start: Probe | None = None,
) -> Probe:
    """Minimise ``strength * sum cross-entropy + 1/2 |weight|^2``; the bias is free.

    For three classes and more this is scikit-learn's ``LogisticRegression(C=strength)``. With two
    classes it stays multinomial (two weight vectors), which regularises less than theirs.

    At the optimum ``weight = strength * residual^T rows``. So with fewer rows than columns the
    weight is sought in the span of the rows, and the residuals of an earlier fit are a good start
    when the rows have changed under the weight, as they do from epoch to epoch.

    Args:
        rows: ``[M, D]``.
        labels: ``[M]`` in ``0 .. n_classes - 1``.
        n_classes: K; classes without a row get probability 0.
        strength: Inverse regularisation C.
        n_steps: Most iterations.
        start: A fit on the same training nodes, or None.

    Raises:
        ValueError: No rows.
    """
    if not len(rows):
        raise ValueError("rows must hold at least one training row, got none")
    present = np.unique(labels)
    target = (labels[:, None] == present).astype(np.float64)
    wide = rows.astype(np.float64)
    basis = wide
    if len(rows) < rows.shape[1]:
        # wide = basis @ rotation, rotation with orthonormal rows: lengths of weights are kept
        values, vectors = np.linalg.eigh(wide @ wide.T)
        basis = vectors * np.sqrt(np.clip(values, 0, None))
    first = np.zeros((len(present), basis.shape[1] + 1))
    if start is not None:
        first[:, :-1] = strength * start.residual[:, present].T @ basis
        first[:, -1] = np.nan_to_num(start.bias[present], neginf=0.0)
    solution = minimize(
        _loss, first.ravel(), args=(basis, target, strength), jac=True, method="L-BFGS-B",
        options={"maxiter": n_steps, "gtol": GRADIENT_TOLERANCE, "ftol": 1e-12},
    ).x.reshape(first.shape)  # fmt: skip
    coefficients, free = solution[:, :-1], solution[:, -1]
    residual = np.zeros((len(rows), n_classes), np.float32)
    residual[:, present] = target - softmax(basis @ coefficients.T + free, axis=1)
    weight = np.zeros((n_classes, rows.shape[1]), np.float32)
    if basis is wide:
        weight[present] = coefficients
    else:
        # back to all columns; a direction in which no row extends has no weight
        length = np.sqrt(np.clip(values, 0, None))
        usable = length > 1e-6 * length.max(initial=0.0)
        mixed = vectors[:, usable] / length[usable]
        weight[present] = coefficients[:, usable] @ (mixed.T @ wide)
    bias = np.full(n_classes, -np.inf, np.float32)
    bias[present] = free
    return Probe(weight, bias, residual)


def _loss(
    flat: NDArray[np.float64],
    rows: NDArray[np.float64],
    target: NDArray[np.float64],
    strength: float,
) -> tuple[float, NDArray[np.float64]]:
    parameters = flat.reshape(target.shape[1], -1)
    weight = parameters[:, :-1]
    logits = rows @ weight.T + parameters[:, -1]
    logits -= logits.max(axis=1, keepdims=True)
    likelihood = np.exp(logits)
    total = likelihood.sum(axis=1, keepdims=True)
    entropy = np.log(total).sum() - (logits * target).sum()
    # per row and unit of strength, so that one tolerance serves all sizes
    scale = 1 / (strength * len(rows))
    error = strength * (likelihood / total - target)
    gradient = np.empty_like(parameters)
    gradient[:, :-1] = error.T @ rows + weight
    gradient[:, -1] = error.sum(axis=0)
    loss = strength * entropy + 0.5 * (weight**2).sum()
    return scale * loss, scale * gradient.ravel()
