"""Flow diffusion by dense linear algebra: what the compiled loops are tested against."""

import numpy as np
from numpy.typing import NDArray


def reference_weights(
    adjacency: NDArray[np.float64],
    *,
    labels: NDArray[np.int64] | None = None,
    epsilon: float = 1.0,
    features: NDArray[np.float64] | None = None,
    gamma: float = 0.0,
) -> NDArray[np.float64]:
    """Edge weights ``[N, N]`` after the label rule and the Gaussian kernel.

    Args:
        adjacency: The graph's own weights ``[N, N]``, symmetric.
        labels: ``[N]``, negative where unknown; two known labels that differ cost `epsilon`.
        epsilon: That factor.
        features: ``[N, F]``.
        gamma: Of ``exp(-gamma |X_i - X_j|^2)``.
    """
    weights = adjacency.astype(np.float64)
    if labels is not None:
        differ = (labels[:, None] != labels) & (labels[:, None] >= 0) & (labels >= 0)
        weights = np.where(differ, epsilon * weights, weights)
    if features is not None:
        squared = ((features[:, None] - features) ** 2).sum(-1)
        weights = weights * np.exp(-gamma * squared)
    return weights


def reference_diffusion(
    weights: NDArray[np.float64], capacity: NDArray[np.float64], source: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The x of ``min_{x >= 0} 1/2 x'Lx + x'(capacity - source)``, exact but for rounding.

    The Laplacian is an M-matrix, so nodes enter the support one group after the other and none
    ever leaves: solve on the support, let in what overflows, repeat (Chandrasekaran 1970).

    Args:
        weights: Edge weights ``[N, N]``, symmetric, zero diagonal.
        capacity: ``[N]``, positive.
        source: ``[N]``; less than the capacity in every component it lies in.

    Raises:
        ValueError: A component cannot hold its mass.
    """
    laplacian = np.diag(weights.sum(1)) - weights
    x = np.zeros(len(source))
    support = np.zeros(len(source), bool)
    while True:
        excess = source - laplacian @ x - capacity
        entering = ~support & (excess > 1e-12 * capacity)
        if not entering.any():
            return x
        support |= entering
        inside = np.ix_(support, support)
        try:
            x[support] = np.linalg.solve(laplacian[inside], (source - capacity)[support])
        except np.linalg.LinAlgError:
            x[support] = np.inf
        if not np.all(x < 1e9 * source.max()) or x.min() < 0:
            raise ValueError("a component cannot hold its mass")
