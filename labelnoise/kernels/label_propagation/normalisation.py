"""The matrices that labels are propagated with, named by what sums to one."""

from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy import sparse

Normalisation = Literal["column", "row", "symmetric"]


def normalise(
    adjacency: Any,
    kind: Normalisation,
    *,
    self_loops: bool = False,
    dtype: DTypeLike = np.float64,
) -> sparse.csr_array:
    """Divide edge weights by degrees.

    - "column": ``A D^-1``. Columns sum to 1: a node hands out its value in shares.
    - "row": ``D^-1 A``. Rows sum to 1: a node takes the mean of its neighbours.
    - "symmetric": ``D^-1/2 A D^-1/2``. Neither sums to 1, the largest eigenvalue is at most 1.

    D holds the column sums where it stands on the right and the row sums on the left, so a
    directed graph is allowed. A node without edges keeps a zero row and a zero column.

    Args:
        adjacency: Edge weights ``[N, N]``, non-negative, any scipy sparse format. Not modified.
        kind: Which of the three.
        self_loops: Add 1 to the diagonal first.
        dtype: Of the result, float32 or float64. Degrees are summed in float64 in either case.

    Returns:
        A new CSR array; it shares the index arrays of a CSR `adjacency` without self loops added.

    Raises:
        ValueError: The matrix is not square, has a negative or non-finite weight, or `kind` is
            none of the three.
    """
    if not sparse.issparse(adjacency) or adjacency.ndim != 2:
        raise ValueError(f"adjacency must be a scipy sparse matrix, got {type(adjacency).__name__}")
    n_nodes = adjacency.shape[0]
    if adjacency.shape != (n_nodes, n_nodes):
        raise ValueError(f"adjacency must be square, got {adjacency.shape}")
    powers = {"column": (0.0, 1.0), "row": (1.0, 0.0), "symmetric": (0.5, 0.5)}
    if kind not in powers:
        raise ValueError(f"kind must be one of {list(powers)}, got {kind!r}")
    matrix = sparse.csr_array(adjacency)
    if self_loops:
        matrix = sparse.csr_array(matrix + sparse.eye_array(n_nodes, dtype=matrix.dtype))
    if matrix.nnz and not (matrix.data.min() >= 0 and np.isfinite(matrix.data.max())):
        raise ValueError("adjacency must hold finite weights >= 0")
    left, right = powers[kind]
    # both sums before anything is read: newer SciPy sorts unsorted rows in place to take them
    rows = _inverse_power(matrix.sum(axis=1, dtype=np.float64), left).astype(dtype)
    columns = _inverse_power(matrix.sum(axis=0, dtype=np.float64), right).astype(dtype)
    data = matrix.data.astype(dtype)
    if left:
        data *= np.repeat(rows, np.diff(matrix.indptr))
    if right:
        data *= columns[matrix.indices]
    return sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def _inverse_power(degree: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    # a node of degree 0 has no edge to scale: any finite factor will do
    return np.where(degree > 0, degree, 1.0) ** -power
