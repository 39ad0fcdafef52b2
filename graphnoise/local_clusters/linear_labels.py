"""L2 logistic regression from a few examples, solved among the examples, and what it is worth."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit

# Newton squares the error, so that what is left after such a step is far smaller
MAX_STEPS, SMALL_STEP = 100, 1e-6
# an example that scores this little without itself is not recognised, on either side
NO_MARGIN = 1e-3
# below this a node is as good as certain, and the equations would lose their digits
LEAST_VARIANCE = 1e-10


@dataclass(frozen=True, eq=False)
class LinearModel:
    """``x_i w + b > 0`` says label 1.

    Attributes:
        weight: ``w [F]`` float64.
        intercept: ``b``.
        right_inside, right_outside: Share of the positives (of the negatives) that a model
            fitted without them labels right, approximately; estimates of P(label 1 | inside) and
            P(label 0 | outside). NaN where there are fewer than two of the kind.
    """

    weight: NDArray[np.float64]
    intercept: float
    right_inside: float
    right_outside: float

    @property
    def may_hurt(self) -> bool:
        """Whether labels this bad may lower the weight of inner edges more than of boundary edges.

        The mean boundary weight is below the mean inner weight if and only if
        ``(2 a1 - 1)(a0 + a1 - 1) > 0``. That both factors are negative, labels that are wrong more
        often than not, is not believed: leaving out examples makes useless features look so.
        """
        a1, a0 = self.right_inside, self.right_outside
        return 2 * a1 - 1 <= 0 or a0 + a1 - 1 <= 0


def unit_rows(matrix: Any) -> Any:
    """Rows divided by their Euclidean length, float64; rows of zeros stay."""
    if sparse.issparse(matrix):
        rows = sparse.csr_array(matrix, dtype=np.float64)
        length = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
        return sparse.csr_array(sparse.diags_array(1 / np.where(length > 0, length, 1.0)) @ rows)
    rows = np.asarray(matrix, np.float64)
    length = np.sqrt((rows**2).sum(axis=1))
    return rows / np.where(length > 0, length, 1.0)[:, None]


def fit_linear(rows: Any, inside: NDArray[np.bool_], regularisation: float) -> LinearModel:
    """Minimise ``|w|^2 / 2 + sum_i log(1 + exp(-s_i (x_i w + b))) / regularisation``, s_i = +-1.

    The same optimum as scikit-learn's ``LogisticRegression(C=1 / regularisation)``. ``w`` is a
    combination ``sum_i a_i x_i`` of the examples, so Newton's method runs on their m x m products,
    whatever the number of features: at m = 50 a tenth of the time of a solve over the features.

    Args:
        rows: Features of the examples ``[m, F]``, dense or CSR.
        inside: Which are positive ``[m]``.
        regularisation: Positive.
    """
    rows = rows.astype(np.float64)
    product = rows @ rows.T
    kernel = product.toarray() if sparse.issparse(product) else np.asarray(product)
    dual, intercept, margin = _newton(kernel, inside.astype(np.float64), 1 / regularisation)
    # without one of its n examples a side is expected less often; undo that for the one left out
    with np.errstate(divide="ignore"):
        less_inside, less_outside = np.log1p(-1 / np.array([inside.sum(), (~inside).sum()]))
    margin = margin + np.where(inside, -less_inside, less_outside)
    right = np.where(inside, margin > NO_MARGIN, margin < -NO_MARGIN)
    return LinearModel(
        np.asarray(rows.T @ dual).ravel(), intercept, _share(right[inside]), _share(right[~inside])
    )


def _share(right: NDArray[np.bool_]) -> float:
    return float(right.mean()) if len(right) > 1 else float("nan")


def _newton(
    kernel: NDArray[np.float64], truth: NDArray[np.float64], strength: float
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Weights of the examples, intercept, and each example's score without itself.

    A Newton step is a weighted least squares fit with targets z and variances v,
    ``(K + V / strength) a + b = z, sum a = 0``; without example i that fit gives it
    ``z_i - a_i / (M^-1)_ii``, where M is the matrix of these equations.
    """
    m = len(truth)
    system = np.zeros((m + 1, m + 1))
    system[:m, m] = system[m, :m] = 1
    dual, intercept, objective = np.zeros(m), 0.0, np.inf
    # from the best constant: otherwise unequal numbers of examples cost a step
    target = np.zeros(m + 1)
    for _ in range(MAX_STEPS):
        score = kernel @ dual + intercept
        share = expit(score)
        variance = np.maximum(share * (1 - share), LEAST_VARIANCE)
        system[:m, :m] = kernel
        system[np.arange(m), np.arange(m)] += 1 / (variance * strength)
        target[:m] = score + (truth - share) / variance
        solved: NDArray[Any] = np.linalg.solve(system, target)
        step, step_intercept = solved[:m] - dual, solved[m] - intercept
        size, wanted = 1.0, _objective(kernel, truth, strength, solved[:m], solved[m])
        # a full step can overshoot where examples are far from balanced
        while wanted > objective + 1e-12 * abs(objective) and size > 1e-4:
            size /= 2
            wanted = _objective(
                kernel, truth, strength, dual + size * step, intercept + size * step_intercept
            )
        dual, intercept = dual + size * step, intercept + size * step_intercept
        small = np.abs(kernel @ step + step_intercept).max() < SMALL_STEP
        objective = wanted
        if small:
            break
    inverse = np.linalg.inv(system)
    return dual, float(intercept), target[:m] - solved[:m] / np.diag(inverse)[:m]


def _objective(
    kernel: NDArray[np.float64],
    truth: NDArray[np.float64],
    strength: float,
    dual: NDArray[np.float64],
    intercept: float,
) -> float:
    product = kernel @ dual
    score = product + intercept
    loss = np.logaddexp(0, score) - truth * score
    return float(dual @ product / 2 + strength * loss.sum())
