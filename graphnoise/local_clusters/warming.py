"""Compiled loops are made, or read from their cache, before the clock of the first query starts."""

import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from graphnoise.local_clusters.adjacency import Adjacency
from graphnoise.local_clusters.base import Workspace
from graphnoise.local_clusters.label_sources import GivenLabels, LabelSource
from graphnoise.local_clusters.learned_labels import LabelsFromExamples, LabelsFromSeed
from graphnoise.local_clusters.query import Budget, Labels
from graphnoise.local_subgraph import FIRST_NODES, GraphArrays

if TYPE_CHECKING:
    from graphnoise.local_clusters.searching import Search

# enough that a query outgrows the memory it starts with
TOY_NODES = 4 * FIRST_NODES
TOY_BUDGET = Budget(max_edges=500_000, timeout=1.0)

_warm = set[tuple[Any, ...]]()
_warming = threading.Lock()


def warm_up(search: "Search") -> None:
    """Answer one query on a small graph of the same types, once per process and kind of query."""
    key = _kind(search)
    if key in _warm:
        return
    with _warming:
        if key in _warm:
            return
        # settings that the toy graph cannot serve leave something to the first query
        with suppress(ValueError):
            toy = _toy_graph(search.adjacency)
            small = replace(
                search, adjacency=toy, labels=_toy_labels(search.labels), budget=TOY_BUDGET,
                mass=None if search.mass is None else toy.total_volume / 3,
            )  # fmt: skip
            small.answer(np.zeros(1, np.int64), Workspace(TOY_NODES))
        _warm.add(key)


def _kind(search: "Search") -> tuple[Any, ...]:
    arrays, features = search.adjacency.arrays, search.adjacency.features
    return (
        type(search.method), search.rounding, type(search.labels), search.mass is None,
        isinstance(search.labels, GivenLabels) and search.labels.labels.function is None,
        arrays.indices.dtype, len(arrays.weights) > 0, type(features),
    )  # fmt: skip


def _toy_graph(like: Adjacency) -> Adjacency:
    """Each node i is joined to 2 i + 1 and 3 i + 7: any node is a few steps away."""
    node = np.arange(TOY_NODES)
    ends = np.concatenate([(2 * node + 1) % TOY_NODES, (3 * node + 7) % TOY_NODES])
    matrix = sparse.coo_array((np.ones(len(ends)), (np.tile(node, 2), ends))).tocsr()
    matrix.setdiag(0)
    matrix = sparse.csr_array((matrix + matrix.T) > 0)
    weighted = len(like.arrays.weights) > 0
    degree = np.diff(matrix.indptr).astype(np.float64)
    arrays = GraphArrays(
        matrix.indptr.astype(np.int64), matrix.indices.astype(like.arrays.indices.dtype),
        np.ones(matrix.nnz * weighted), degree[: TOY_NODES * weighted],
    )  # fmt: skip
    held: Any = like.features
    features: Any = None
    if held is not None:
        features = np.ones((TOY_NODES, 2), np.float32)
        features[::2, 0] = 0
    if sparse.issparse(held):
        features = sparse.csr_array(features)
        features.indptr = features.indptr.astype(held.indptr.dtype)
        features.indices = features.indices.astype(held.indices.dtype)
    return Adjacency(arrays, float(degree.sum()), features=features)


def _toy_labels(source: LabelSource | None) -> LabelSource | None:
    """Labels of the same kind; the caller's own function is not asked about a toy."""
    if isinstance(source, LabelsFromExamples):
        return replace(source, positives=[0, 2], negatives=[1, 3])
    if isinstance(source, LabelsFromSeed):
        return replace(source, n_examples=2)
    if source is None:
        return None
    if isinstance(source, GivenLabels) and source.labels.function is None:
        return GivenLabels(Labels(np.ones(TOY_NODES, np.int32)))
    return GivenLabels(Labels(function=lambda nodes: np.ones(len(nodes), np.int8)))
