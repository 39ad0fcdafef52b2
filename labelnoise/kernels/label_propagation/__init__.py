"""Spread class values along the entries of a sparse matrix."""

import warnings
from importlib.util import find_spec
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from labelnoise.kernels._dispatch import Backend, choose
from labelnoise.kernels.label_propagation.normalisation import Normalisation, normalise
from labelnoise.kernels.label_propagation.recurrence import CsrMatrix, Recurrence

__all__ = ["BACKENDS", "Normalisation", "normalise", "propagate"]

Values = TypeVar("Values", Tensor, NDArray[Any])


def _scipy_obstacle(tensor: Tensor) -> str | None:
    return None if tensor.device.type == "cpu" else f"the tensor is on {tensor.device}, not on cpu"


def _numba_obstacle(tensor: Tensor) -> str | None:
    return _scipy_obstacle(tensor) or (None if find_spec("numba") else "numba is not installed")


# fastest first: "auto" takes the first one without an obstacle
BACKENDS = {
    "compiled": Backend(f"{__name__}.compiled", obstacle=_numba_obstacle),
    "torch": Backend(f"{__name__}.torch_sparse"),
    "scipy": Backend(f"{__name__}.scipy_sparse", obstacle=_scipy_obstacle),
    "reference": Backend(f"{__name__}.reference"),
}


def propagate(
    matrix: Any,
    values: Values,
    *,
    neighbour_weight: float,
    anchor: Values | None = None,
    clamp: tuple[float, float] | None = None,
    fixed_rows: Values | None = None,
    n_steps: int,
    tolerance: float = 0.0,
    class_block: int | None = None,
    backend: str = "auto",
) -> Values:
    """Repeat ``Y <- w P Y + (1 - w) B``, from Y = `values`.

    Unanchored, B is Y: values diffuse and forget where they came from. Anchored, B is `anchor`
    (mostly `values` again): every step pulls back to it. The one convention for the mixing weight
    is w = `neighbour_weight`, the share that comes from the neighbours.

    Args:
        matrix: P ``[N, N]``: a scipy sparse matrix or a torch CSR or COO tensor on the device of
            `values`; see `normalise`. Weights take the dtype of `values`. May be memory-mapped.
        values: Y at the start ``[N, K]``: finite, float32 or float64, array or tensor; kept.
        neighbour_weight: w, in ``[0, 1]``.
        anchor: B ``[N, K]``, of the kind of `values`; None for the unanchored form.
        clamp: Lowest and highest value; applied after every step.
        fixed_rows: Rows ``[N]`` bool put back to their `values` after every step (and clamp).
        n_steps: Most steps to run, >= 0.
        tolerance: Stop after a step in which no entry changed by more; 0 runs all steps.
        class_block: Columns per product. Beside the result only one block of values is kept;
            the answer does not depend on it. None: all columns at once, the fastest.
        backend: "auto", or one of `BACKENDS` to insist on it.

    Returns:
        Y ``[N, K]`` after the last step, of the kind, dtype and device of `values`; a new array.

    Raises:
        ValueError: A shape, dtype, device or setting is outside the ranges above.
        RuntimeError: The `backend` asked for cannot run here.
    """
    tensor = _dense(values, "values")
    if tensor.ndim != 2 or tensor.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"values must be [N, K] float32 or float64, got {tuple(tensor.shape)} {tensor.dtype}"
        )
    _check_settings(neighbour_weight, clamp, n_steps, tolerance, class_block)
    recurrence = Recurrence(
        neighbour_weight,
        None if anchor is None else _like(_dense(anchor, "anchor"), tensor, "anchor"),
        clamp,
        None if fixed_rows is None else _mask(_dense(fixed_rows, "fixed_rows"), tensor),
        n_steps,
        tolerance,
    )
    csr = _csr_matrix(matrix, tensor)
    result = choose(BACKENDS, backend, tensor).propagate(csr, tensor, recurrence, class_block)
    return result if isinstance(values, Tensor) else result.numpy()


def _check_settings(
    neighbour_weight: float,
    clamp: tuple[float, float] | None,
    n_steps: int,
    tolerance: float,
    class_block: int | None,
) -> None:
    if not 0 <= neighbour_weight <= 1:
        raise ValueError(f"neighbour_weight must lie in [0, 1], got {neighbour_weight}")
    if clamp is not None and not clamp[0] <= clamp[1]:
        raise ValueError(f"clamp must be (lowest, highest), got {clamp}")
    if n_steps < 0:
        raise ValueError(f"n_steps must be >= 0, got {n_steps}")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be >= 0, got {tolerance}")
    if class_block is not None and class_block < 1:
        raise ValueError(f"class_block must be >= 1 or None, got {class_block}")


def _dense(values: Any, name: str) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach()
    if isinstance(values, np.ndarray):
        return _tensor_of(values)
    raise ValueError(f"{name} must be an array or a tensor, got {type(values).__name__}")


def _tensor_of(array: NDArray[Any]) -> Tensor:
    with warnings.catch_warnings():  # nothing here writes to memory-mapped or read-only arrays
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array))


def _like(anchor: Tensor, values: Tensor, name: str) -> Tensor:
    if anchor.shape != values.shape or anchor.device != values.device:
        raise ValueError(
            f"{name} must be {list(values.shape)} on {values.device}, "
            f"got {list(anchor.shape)} on {anchor.device}"
        )
    return anchor.to(values.dtype).contiguous()


def _mask(fixed: Tensor, values: Tensor) -> Tensor:
    if fixed.shape != values.shape[:1] or fixed.dtype != torch.bool:
        raise ValueError(
            f"fixed_rows must be [{len(values)}] bool, got {list(fixed.shape)} {fixed.dtype}"
        )
    return fixed.to(values.device)


def _csr_matrix(matrix: Any, values: Tensor) -> CsrMatrix:
    n_nodes = len(values)
    if not (sparse.issparse(matrix) or (isinstance(matrix, Tensor) and _is_sparse(matrix))):
        raise ValueError(
            "matrix must be a scipy sparse matrix or a torch CSR or COO tensor, "
            f"got {type(matrix).__name__}"
        )
    if tuple(matrix.shape) != (n_nodes, n_nodes):
        raise ValueError(f"matrix must be [{n_nodes}, {n_nodes}], got {list(matrix.shape)}")
    if not isinstance(matrix, Tensor):
        if values.device.type != "cpu":
            raise ValueError(f"a scipy matrix needs values on cpu, got {values.device}")
        csr = sparse.csr_array(matrix)
        parts = CsrMatrix(*map(_tensor_of, (csr.indptr, csr.indices, csr.data)))
    elif matrix.device != values.device:
        raise ValueError(f"matrix is on {matrix.device}, values on {values.device}")
    elif matrix.layout == torch.sparse_csr:
        parts = CsrMatrix(matrix.crow_indices(), matrix.col_indices(), matrix.values())
    else:
        coo = matrix.detach().coalesce()
        rows, columns = coo.indices()
        ends = torch.arange(n_nodes + 1, device=rows.device)
        parts = CsrMatrix(torch.searchsorted(rows, ends), columns.contiguous(), coo.values())
    return parts._replace(weights=parts.weights.detach().to(values.dtype))


def _is_sparse(matrix: Tensor) -> bool:
    return matrix.layout in (torch.sparse_csr, torch.sparse_coo)
