"""Bias, activation and scaling of rows to sum 1 in absolute value, in one pass."""

from torch import Tensor

from graphnoise.layers.numba_backend import numba_obstacle
from labelnoise.kernels._dispatch import Backend, choose

# fastest first: "auto" takes the first one without an obstacle
BACKENDS = {
    "compiled": Backend(f"{__name__}.compiled", obstacle=numba_obstacle),
    "reference": Backend(f"{__name__}.reference"),
}
# a row whose absolute sum is below this is divided by this, as torch's normalize does
SMALLEST_SUM = 1e-12


def scaled_rows(
    rows: Tensor,
    bias: Tensor,
    *,
    slope_before: float = 1.0,
    relu_after: bool = False,
    backend: str = "auto",
) -> Tensor:
    """``y / sum |y|`` per row with ``y = leaky(rows + bias)``, and a ReLU after it where wanted.

    Args:
        rows: ``[N, D]``, float32 or float64.
        bias: ``[D]``.
        slope_before: Slope of the leaky ReLU for negative values, in ``[0, 1]``; 1 is no
            activation, 0 a plain ReLU.
        relu_after: Clip negative values after the scaling: rows then sum to at most 1.
        backend: "auto", or one of `BACKENDS` to insist on it.

    Returns:
        ``[N, D]`` with gradients to both tensors; a row of zeros stays zero.

    Raises:
        ValueError: Shapes disagree or the slope is out of range.
        RuntimeError: The `backend` asked for cannot run here.
    """
    if rows.ndim != 2 or bias.shape != rows.shape[1:]:
        raise ValueError(
            f"want rows [N, D] and bias [D], got {tuple(rows.shape)} and {tuple(bias.shape)}"
        )
    if not 0 <= slope_before <= 1:
        raise ValueError(f"slope_before must lie in [0, 1], got {slope_before}")
    return choose(BACKENDS, backend, rows).scaled_rows(rows, bias, slope_before, relu_after)
