"""What the networks read: principal components, on one common scale."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal.rows import BLOCK_ROWS, Rows


@dataclass(frozen=True, eq=False)
class Inputs:
    """An affine map.

    Attributes:
        mean: ``[D]``.
        map: ``[D, d]``.
    """

    mean: NDArray[np.float32]
    map: NDArray[np.float32]

    def of(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows ``[n, d]``."""
        return np.matmul(rows - self.mean, self.map, dtype=np.float32)


def fit_inputs(rows: Rows, chosen: NDArray[np.int64], n_columns: int) -> Inputs:
    """The first principal components of the chosen rows, scaled to variance 1 on average.

    Components keep their sizes: to blow the small ones up to the same variance (whitening) is to
    give noise the weight of signal.
    """
    width = rows.shape[1]
    total, products = np.zeros(width), np.zeros((width, width))
    for start in range(0, len(chosen), BLOCK_ROWS):
        block = rows.gather(chosen[start : start + BLOCK_ROWS]).astype(np.float64)
        total += block.sum(axis=0)
        products += block.T @ block
    count = max(len(chosen), 1)
    mean = total / count
    variances, axes = np.linalg.eigh(products / count - np.outer(mean, mean))
    # a column and its negative are the same component: fix the sign by the largest entry
    axes = axes[:, ::-1][:, :n_columns]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    spread = np.sqrt(max(float(variances[::-1][:n_columns].mean()), 1e-12))
    return Inputs(mean.astype(np.float32), (axes / spread).astype(np.float32))
