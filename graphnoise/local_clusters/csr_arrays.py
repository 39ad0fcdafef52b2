"""A sparse matrix of edge weights, checked and brought into the arrays that compiled code reads."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.local_subgraph import GraphArrays

LARGEST_INT32 = np.iinfo(np.int32).max


def graph_arrays(matrix: Any) -> tuple[GraphArrays, tuple[str, ...]]:
    """Arrays of an undirected graph, and what had to be done to get there.

    Self loops and entries of weight 0 are dropped, of two entries for one edge the larger stays,
    a directed matrix is made symmetric by the larger weight of the two directions; each is noted.
    Where all weights are 1 none are kept. Costs O(edges), once; the input is not modified, and its
    array of column numbers is shared where it is already in form.

    Args:
        matrix: Any scipy sparse matrix ``[N, N]`` of bool, integer or float weights.

    Raises:
        ValueError: Not square, not real numbers, a weight that is negative, infinite or NaN.
    """
    if len(matrix.shape) != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"the adjacency matrix must be square, got shape {tuple(matrix.shape)}")
    if matrix.dtype.kind not in "biuf":
        raise ValueError(f"edge weights must be real numbers, got dtype {matrix.dtype}")
    notes = list[str]()
    if matrix.format not in ("csr", "csc", "coo"):
        matrix = matrix.tocsr()
    _refuse_bad_weights(matrix)
    csr = _without_duplicates(matrix, notes)
    csr = _without_loops_and_zeros(csr, notes)
    csr = _symmetric(csr, notes)
    isolated = int((np.diff(csr.indptr) == 0).sum())
    notes.extend([f"{isolated} isolated nodes kept"] if isolated else [])
    return _as_arrays(csr), tuple(notes)


def edge_matrix(
    source: NDArray[Any], target: NDArray[Any], weight: NDArray[Any] | None, n_nodes: int
) -> sparse.coo_array:
    """The matrix of a list of edges ``[E]``, one entry per edge as listed.

    Raises:
        ValueError: End points out of range, or not one weight per edge.
    """
    if len(source) and not (
        min(source.min(), target.min()) >= 0 and max(source.max(), target.max()) < n_nodes
    ):
        found = f"{min(source.min(), target.min())} .. {max(source.max(), target.max())}"
        raise ValueError(f"ends of edges must lie in 0 .. {n_nodes - 1}, found {found}")
    if weight is None:
        weight = np.ones(len(source), np.int8)
    if weight.shape != (len(source),):
        raise ValueError(f"there must be one weight per edge, {len(source)}, got {weight.shape}")
    return sparse.coo_array((weight, (source, target)), shape=(n_nodes, n_nodes))


def _without_duplicates(matrix: Any, notes: list[str]) -> sparse.csr_array:
    """CSR with sorted rows; copied wherever sorting would write into the caller's arrays."""
    listed = matrix.nnz
    if matrix.format == "csr":
        csr = sparse.csr_array(matrix)
        if csr.has_canonical_format:
            return csr
        csr = csr.copy()
    else:
        # a COO matrix adds duplicates up on the way
        csr = sparse.csr_array(matrix)
    csr.sum_duplicates()
    if csr.nnz == listed:
        return csr
    # an edge said twice is still one edge
    notes.append(f"{listed - csr.nnz} duplicate edges merged")
    entries = matrix.tocoo()
    order = np.lexsort((-entries.data.astype(np.float64), entries.col, entries.row))
    row, column = entries.row[order], entries.col[order]
    first = np.ones(len(row), bool)
    first[1:] = (row[1:] != row[:-1]) | (column[1:] != column[:-1])
    kept = (entries.data[order][first], (row[first], column[first]))
    return sparse.csr_array(kept, shape=matrix.shape)


def _refuse_bad_weights(matrix: Any) -> None:
    if matrix.dtype.kind in "bu":
        return
    # NaN fails the comparison too
    good = (matrix.data >= 0) & np.isfinite(matrix.data)
    if not good.all():
        entries = matrix.tocoo(copy=False)
        at = int(np.argmin(good))
        raise ValueError(
            f"edge weights must be finite and non-negative, found {entries.data[at]} at edge"
            f" ({entries.row[at]}, {entries.col[at]}) ({np.count_nonzero(~good)} such)"
        )


def _without_loops_and_zeros(csr: sparse.csr_array, notes: list[str]) -> sparse.csr_array:
    row = np.repeat(np.arange(csr.shape[0], dtype=csr.indices.dtype), np.diff(csr.indptr))
    loop, zero = row == csr.indices, csr.data == 0
    useless = loop | zero
    if not useless.any():
        return csr
    loops = int(loop.sum())
    notes.extend([f"{loops} self loops removed"] if loops else [])
    zeros = int(useless.sum()) - loops
    notes.extend([f"{zeros} edges of weight 0 removed"] if zeros else [])
    counts = np.bincount(row[~useless], minlength=csr.shape[0])
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return sparse.csr_array((csr.data[~useless], csr.indices[~useless], indptr), shape=csr.shape)


def _symmetric(csr: sparse.csr_array, notes: list[str]) -> sparse.csr_array:
    other = sparse.csr_array(csr.T)  # sorted: its rows are filled in order
    same_edges = np.array_equal(csr.indptr, other.indptr) and np.array_equal(
        csr.indices, other.indices
    )
    if same_edges and np.array_equal(csr.data, other.data):
        return csr
    both = sparse.csr_array(csr.maximum(other))
    both.sum_duplicates()
    if same_edges:
        notes.append("made undirected: the larger weight of the two directions kept")
    else:
        notes.append(f"made undirected: {both.nnz - csr.nnz} reverse edges added")
    return both


def _as_arrays(csr: sparse.csr_array) -> GraphArrays:
    index_type = np.int32 if csr.shape[0] <= LARGEST_INT32 else np.int64
    weights, strength = np.empty(0), np.empty(0)
    if not (csr.data == 1).all():
        weights = np.array(csr.data, np.float64)
        strength = csr.astype(np.float64) @ np.ones(csr.shape[0])
    # compiled code is made a second time for arrays that are marked as read-only
    indices = np.require(csr.indices, index_type, ["C", "W"])
    return GraphArrays(np.array(csr.indptr, np.int64), indices, weights, strength)
