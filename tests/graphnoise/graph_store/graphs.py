"""Random lists of edges, and what a store of them must hold, worked out densely."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from graphnoise.graph_store import GraphStore


def random_edges(seed: int, n_nodes: int = 40, n_edges: int = 300) -> np.ndarray:
    """With loops, repeated edges and both directions; ``[2, E]``."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, n_nodes, (2, n_edges))


def write_lines(path: Path, edges: Any, *, separator: str = "\t", before: str = "") -> Path:
    lines = [separator.join(str(cell) for cell in row) for row in zip(*edges, strict=True)]
    path.write_text(before + "\n".join(lines) + "\n")
    return path


def expected_matrix(edges: np.ndarray, weights=None, *, n_nodes: int, add=False) -> np.ndarray:
    """Dense symmetric weights: an edge at a time."""
    made = np.zeros((n_nodes, n_nodes))
    for k, (u, v) in enumerate(edges.T):
        if u == v:
            continue
        weight = 1.0 if weights is None else weights[k]
        for pair in ((u, v), (v, u)):
            made[pair] = made[pair] + weight if add else max(made[pair], weight)
    return made


def matrix_of(store: GraphStore) -> sparse.csr_array:
    arrays = store.adjacency().arrays
    data = arrays.weights if len(arrays.weights) else np.ones(len(arrays.indices))
    shape = (store.n_nodes, store.n_nodes)
    return sparse.csr_array((data, arrays.indices, arrays.indptr), shape=shape)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
