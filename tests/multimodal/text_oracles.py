"""The text half of CAPro written plainly: sets, dense matrices and loops, float64 throughout."""

import numpy as np


def rerank_by_sets(rows, k1=20, k2=6, trade_off=0.3, column_max=False):
    """Re-ranked distances of row 0 to the rows after it, with Python sets."""
    rows = rows.astype(np.float64)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    n = len(rows)
    near = np.maximum(2 - 2 * rows @ rows.T, 0)
    np.fill_diagonal(near, 0)
    scaled = near / (near.max(axis=1, keepdims=True) if column_max else 4)
    order = [[i, *(j for j in np.argsort(near[i], kind="stable") if j != i)] for i in range(n)]

    def reciprocal(i, k):
        return {j for j in order[i][: k + 1] if i in order[j][: k + 1]}

    half = round(k1 / 2)
    weights = np.zeros((n, n))
    for i in range(n):
        first = reciprocal(i, k1)
        members = set(first)
        for j in first:
            close = reciprocal(j, half)
            if len(close & first) > 2 / 3 * len(close):
                members |= close
        for j in members:
            weights[i, j] = np.exp(-scaled[i, j])
        weights[i] /= weights[i].sum()
    weights = np.array([weights[order[i][:k2]].mean(axis=0) for i in range(n)])
    shared = np.minimum(weights[0], weights).sum(axis=1)
    distance = (1 - trade_off) * (1 - shared / (2 - shared)) + trade_off * scaled[0]
    return distance[1:]


def dense_graph(ids, weights):
    """Row-normalised ``max(A, A^T)`` without self loops; a row without weight stays zero."""
    n = len(ids)
    dense = np.zeros((n, n))
    for i in range(n):
        for j, weight in zip(ids[i], weights[i], strict=True):
            if j >= 0 and j != i:
                dense[i, j] = weight
    dense = np.maximum(dense, dense.T)
    total = dense.sum(axis=1, keepdims=True)
    return np.divide(dense, total, out=np.zeros_like(dense), where=total > 0)


def as_dense(graph):
    dense = np.zeros((len(graph), len(graph)))
    for i in range(len(graph)):
        row = slice(graph.indptr[i], graph.indptr[i + 1])
        dense[i, graph.neighbours[row]] = graph.weights[row]
    return dense


def nearest(vectors, k):
    """Neighbour lists of unit rows: self left out, best first, the lower number of equals."""
    cosines = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(cosines, -np.inf)
    ids = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    similarity = np.take_along_axis(cosines, ids, axis=1)
    ids[np.isneginf(similarity)] = -1
    return Lists(ids, similarity.astype(np.float32))


class Lists:
    """Neighbours as `multimodal.neighbours` hands them out."""

    def __init__(self, ids, similarity):
        self.ids = np.asarray(ids, dtype=np.int64)
        self.similarity = np.asarray(similarity, dtype=np.float32)


def unit_rows(generator, n, width, around=None, spread=1.0):
    """Random rows of length 1, near rows of `around` if given."""
    rows = spread * generator.standard_normal((n, width))
    if around is not None:
        rows = rows + around
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
