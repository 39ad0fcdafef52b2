"""Small text graphs and full situations for the tests of selectors."""

from dataclasses import replace

import numpy as np
from scipy import sparse

from graphnoise.node_selection.base import Situation
from graphnoise.text_graph import TextGraph, unit_rows
from labelnoise.class_list import ClassList


def blocks(seed=0, *, n_classes=3, size=40, n_isolated=4):
    """Classes as blocks of edges and of embeddings; the last nodes have no edge."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(n_classes), size)
    n = len(truth)
    same = truth[:, None] == truth[None]
    upper = np.triu(rng.random((n, n)) < np.where(same, 0.15, 0.01), 1)
    upper[:, n - n_isolated :] = False
    centres = rng.normal(size=(n_classes, 12))
    rows = centres[truth] + rng.normal(size=(n, 12))
    return TextGraph(
        sparse.csr_array((upper | upper.T).astype(np.float32)),
        tuple(f"text {v}" for v in range(n)),
        unit_rows(rows),
        ClassList(tuple(f"class {k}" for k in range(n_classes))),
        truth=truth,
    )


def situation(graph, *, seed=0, available=None):
    """Everything a later round knows; a fifth of the nodes were asked."""
    rng = np.random.default_rng(99)
    n, k = graph.n_nodes, graph.n_classes
    asked = rng.random(n) < 0.2
    labels = np.where(asked, rng.integers(k, size=n), -1)
    return Situation(
        graph,
        ~asked if available is None else available,
        seed,
        prior=rng.dirichlet(np.ones(k), size=n).astype(np.float32),
        probabilities=rng.dirichlet(np.ones(k), size=n).astype(np.float32),
        labels=labels,
        reliability=np.where(asked, 0.7, np.nan),
    )


def renumbered(given, order):
    """The same situation with node ``order[i]`` called i."""
    graph = given.graph
    moved = replace(
        graph,
        adjacency=graph.adjacency[order][:, order],
        texts=tuple(graph.texts[v] for v in order),
        embedding=graph.embedding[order],
        truth=graph.truth[order],
    )
    columns = {
        name: getattr(given, name)[order]
        for name in ("available", "prior", "probabilities", "labels", "reliability")
    }
    return replace(given, graph=moved, **columns)
