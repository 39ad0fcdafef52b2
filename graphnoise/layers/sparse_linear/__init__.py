"""Linear map of rows that are mostly zero, such as bags of words."""

from torch import Tensor

from graphnoise.layers.numba_backend import numba_obstacle
from graphnoise.layers.sparse_linear.rows import SparseRows
from labelnoise.kernels._dispatch import Backend, choose

__all__ = ["BACKENDS", "SparseRows", "sparse_linear"]

# fastest first: "auto" takes the first one without an obstacle
BACKENDS = {
    "compiled": Backend(f"{__name__}.compiled", obstacle=numba_obstacle),
    "reference": Backend(f"{__name__}.reference"),
}


def sparse_linear(rows: SparseRows, weight: Tensor, *, backend: str = "auto") -> Tensor:
    """``rows @ weight``; only the weight gets a gradient, the rows are data.

    Args:
        rows: ``[N, F]``.
        weight: ``[F, D]``, float32 or float64, on the device of the rows.
        backend: "auto", or one of `BACKENDS` to insist on it.

    Returns:
        ``[N, D]`` in the dtype of `weight`.

    Raises:
        ValueError: Shapes or dtypes disagree.
        RuntimeError: The `backend` asked for cannot run here.
    """
    if weight.ndim != 2 or weight.shape[0] != rows.shape[1]:
        raise ValueError(f"weight must be [{rows.shape[1]}, D], got {tuple(weight.shape)}")
    if weight.dtype != rows.values.dtype:
        raise ValueError(f"rows are {rows.values.dtype}, weight is {weight.dtype}")
    return choose(BACKENDS, backend, weight).sparse_linear(rows, weight)
