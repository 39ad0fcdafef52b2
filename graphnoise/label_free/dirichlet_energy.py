"""How much an answer changes along the edges of a graph, and how dense the graph is."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

# edges whose two rows are held at once
BLOCK = 1 << 18


def undirected_edges(
    adjacency: sparse.csr_array,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each undirected edge once: end points ``[2, E]`` with ``u < v``, and weights ``[E]``."""
    upper = sparse.triu(adjacency, k=1).tocoo()
    return np.stack([upper.row, upper.col]).astype(np.int64), upper.data.astype(np.float64)


def edge_gaps(ends: NDArray[np.int64], answer: NDArray[np.float32]) -> NDArray[np.float64]:
    """Squared distance of the two rows of each edge, ``||Y_u - Y_v||^2``, ``[E]``.

    Args:
        ends: ``[2, E]``.
        answer: Y ``[N, K]``.
    """
    gaps = np.empty(ends.shape[1])
    for start in range(0, ends.shape[1], BLOCK):
        u, v = ends[:, start : start + BLOCK]
        difference = answer[u].astype(np.float64) - answer[v]
        gaps[start : start + BLOCK] = np.einsum("ek,ek->e", difference, difference)
    return gaps


def dirichlet_energy(
    ends: Tensor, weights: Tensor, gaps: Tensor, n_nodes: int, *, smoothness: float, size: float
) -> Tensor:
    """``(N / |E|) [ a tr(Y^T L Y) + b ||L||_F^2 ]`` with ``L = D - A``, without ever building L::

        tr(Y^T L Y) = sum over edges of w_uv ||Y_u - Y_v||^2
        ||L||_F^2   = sum over nodes of d_v^2  +  2 * sum over edges of w_uv^2

    ``|E|`` is the sum of the weights, the number of edges where all weigh 1. So the first term
    is N times a weighted mean and cannot be lowered by making every weight smaller.

    Args:
        ends: ``[2, E]`` int64, every undirected edge once.
        weights: ``[E]``, at least 0; a gradient flows through them.
        gaps: ``||Y_u - Y_v||^2`` of every edge ``[E]``; see `edge_gaps`.
        n_nodes: N.
        smoothness: a, at least 0.
        size: b, at least 0; large degrees are paid for with it.

    Returns:
        A scalar; infinite without an edge, so that no rewiring can win by dropping them all.

    Source:
        arXiv 2412.11983, label refinement.
    """
    total = weights.sum()
    if not total > 0:
        return torch.full_like(total, torch.inf)
    degree = weights.new_zeros(n_nodes).index_add(0, ends[0], weights)
    degree = degree.index_add(0, ends[1], weights)
    trace = (weights * gaps).sum()
    frobenius = degree.square().sum() + 2 * weights.square().sum()
    return n_nodes / total * (smoothness * trace + size * frobenius)
