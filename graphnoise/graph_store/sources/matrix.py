"""Edges held as a sparse matrix: scipy's, or that of a `LabelledGraph`."""

from typing import Any

import numpy as np
from scipy import sparse

from graphnoise.graph import LabelledGraph
from graphnoise.graph_store.sources import ArraySource, SourceOptions


def matrix(
    entries: Any,
    options: SourceOptions,
    *,
    description: str = "sparse matrix",
    features: Any = None,
) -> ArraySource:
    """A square sparse matrix; its entries are the weights.

    Raises:
        ValueError: Not sparse, not square.
    """
    if not sparse.issparse(entries):
        raise ValueError(f"source must be a sparse matrix, got {type(entries).__name__}")
    if len(entries.shape) != 2 or entries.shape[0] != entries.shape[1]:
        raise ValueError(f"an adjacency matrix must be square, got {tuple(entries.shape)}")
    ends = entries.tocoo()
    return ArraySource(
        description,
        np.stack([ends.row, ends.col]),
        None if options.weights is False else np.asarray(ends.data),
        int(entries.shape[0]),
        features=features,
    )


def labelled_graph(graph: LabelledGraph, options: SourceOptions) -> ArraySource:
    """The adjacency, ids and features of a `LabelledGraph`; its labels are not stored."""
    if not isinstance(graph, LabelledGraph):
        raise ValueError(f"source must be a LabelledGraph, got {type(graph).__name__}")
    plain = matrix(graph.adjacency, options)
    return ArraySource(
        f"{graph.name} (LabelledGraph)", plain.ends, plain.weight, plain.n_nodes,
        node_names=graph.node_names, features=graph.features, notes=graph.notes,
    )  # fmt: skip
