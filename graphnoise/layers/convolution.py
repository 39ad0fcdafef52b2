"""Graph convolution layer (GCN) on a constant sparse matrix."""

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from graphnoise.layers.sparse_linear import SparseRows, sparse_linear


def normalised_adjacency(adjacency: sparse.csr_array) -> SparseRows:
    """``D^-1/2 (A + I) D^-1/2`` with D the degrees of ``A + I``.

    Args:
        adjacency: Non-negative weights ``[N, N]``, symmetric, no self loops. Not modified.

    Returns:
        ``[N, N]`` float32. The row of an isolated node is its self loop, 1.

    Source:
        Kipf and Welling, "Semi-Supervised Classification with Graph Convolutional Networks",
        ICLR 2017, equation 2.
    """
    with_loops = sparse.csr_array(adjacency + sparse.eye_array(adjacency.shape[0]))
    scale = sparse.diags_array(1 / np.sqrt(with_loops.sum(axis=1, dtype=np.float64)))
    return SparseRows.from_scipy(sparse.csr_array(scale @ with_loops @ scale, dtype=np.float32))


class GraphConvolution(nn.Module):
    """``S X W + b``; the projection comes first, so that the edges carry the narrower rows.

    Args:
        in_width: Columns of the input.
        out_width: Columns of the output.
    """

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        # input first, so that a sparse input reads whole rows of it
        self.weight = nn.Parameter(torch.empty(in_width, out_width))
        self.bias = nn.Parameter(torch.zeros(out_width))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, features: Tensor | SparseRows, normalised: SparseRows) -> Tensor:
        """Output ``[N, out_width]`` for features ``[N, in_width]``."""
        if isinstance(features, SparseRows):
            projected = sparse_linear(features, self.weight)
        else:
            projected = features @ self.weight
        # a constant matrix times rows that need a gradient: the same product with the roles swapped
        return sparse_linear(normalised, projected) + self.bias
