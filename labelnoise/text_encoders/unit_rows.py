"""Rows scaled to unit length."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def unit_rows(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rows ``[n, D]`` divided by their length; a row without a direction becomes zero.

    Example:
        >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0], [np.nan, 1.0]])).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0], [0.0, 0.0]]
    """
    wide = np.asarray(rows, dtype=np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    usable = np.isfinite(length) & (length > 0)
    scaled = np.divide(wide, length, out=np.zeros_like(wide), where=usable)
    return scaled.astype(np.float32)
