"""The one form in which local methods see a graph, whatever it came as."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.graph import LabelledGraph, check_features
from graphnoise.local_clusters.csr_arrays import edge_matrix, graph_arrays
from graphnoise.local_clusters.node_ids import NamedNodes
from graphnoise.local_subgraph import GraphArrays


class NodeIds(Protocol):
    """The caller's ids of nodes."""

    def positions(self, ids: NDArray[Any]) -> NDArray[np.int64]:
        """Position of each id; -1 where there is no such node."""

    def names(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """Id of each position."""


@dataclass(frozen=True, eq=False)
class Adjacency:
    """An undirected graph, perhaps on disk.

    Attributes:
        arrays: CSR of both directions; symmetric, no self loops, no duplicates.
        total_volume: Sum of all degrees (of all weights, where there are any).
        ids: The caller's ids, or None where they are 0 .. N-1.
        features: ``[N, F]`` float32, dense (perhaps memory-mapped) or CSR; None where there are
            none.
        notes: What was done to the input, in words.
    """

    arrays: GraphArrays
    total_volume: float
    ids: NodeIds | None = None
    features: NDArray[np.float32] | sparse.csr_array | None = None
    notes: tuple[str, ...] = ()

    @property
    def n_nodes(self) -> int:
        """Number of nodes, N."""
        return len(self.arrays.indptr) - 1


def as_adjacency(graph: Any, *, features: Any = None) -> Adjacency:
    """Bring a graph into the form local methods read; do it once and query the result often.

    Costs O(edges) in memory, nothing for an `Adjacency`, milliseconds for a store. A directed graph
    is made undirected by the larger weight of the two directions, self loops and edges of weight 0
    are dropped, an edge said twice is one edge; `Adjacency.notes` tells. Arrays already in form are
    shared: do not change them while the result is in use.

    Args:
        graph: A `GraphStore` or the path of one, a scipy sparse matrix ``[N, N]``, PyG ``Data``
            (edges and, where present, weights, ``x`` and ``node_names``; neither labels nor masks),
            a networkx graph (its nodes are the ids, attribute "weight" the weight), a
            `LabelledGraph`, or an `Adjacency`.
        features: ``[N, F]``, an array or a scipy sparse matrix, in place of those of `graph`. A
            memory-mapped float32 array stays on disk and is not checked.

    Raises:
        TypeError: None of these.
        ValueError: Not square, a weight that is negative, infinite or NaN (the edge is named),
            features that do not fit, a store that is damaged.
    """
    adjacency = _converted(graph)
    if features is None:
        return adjacency
    return replace(adjacency, features=_checked_features(features, adjacency.n_nodes))


def _converted(graph: Any) -> Adjacency:
    if isinstance(graph, Adjacency):
        return graph
    if isinstance(graph, str | Path):
        from graphnoise.graph_store import open_store

        return open_store(graph).adjacency()
    if sparse.issparse(graph):
        return _from_matrix(graph)
    if isinstance(graph, LabelledGraph):
        names = graph.node_names
        adjacency = _from_matrix(graph.adjacency, None if names is None else names.tolist())
        return replace(adjacency, features=graph.features, notes=(*graph.notes, *adjacency.notes))
    # what has not been imported cannot be the caller's, and is not imported for the question
    if isinstance(graph, _class("networkx", "Graph")):
        return _from_networkx(graph)
    if isinstance(graph, _class("torch_geometric.data", "Data")):
        return _from_data(graph)
    made = _from_store(graph)
    if made is not None:
        return made
    raise TypeError(
        "graph must be a GraphStore, the path of one, a scipy sparse matrix, PyG Data, a networkx"
        f" graph, a LabelledGraph or an Adjacency, got {type(graph).__name__}"
    )


def _class(module: str, name: str) -> Any:
    return getattr(sys.modules.get(module), name, ())


def _from_store(store: Any) -> Adjacency | None:
    """The same adjacency at every call, so that the memory of queries finds its graph again."""
    if not callable(getattr(store, "adjacency", None)):
        return None
    header = getattr(store, "header", None)
    held = _of_stores.get(store)
    # features put beside the graph later change the header
    if held is None or held[0] is not header:
        made = store.adjacency()
        if not isinstance(made, Adjacency):
            return None
        held = _of_stores[store] = header, made
    return held[1]


_of_stores: WeakKeyDictionary[Any, tuple[Any, Adjacency]] = WeakKeyDictionary()


def _from_matrix(matrix: Any, names: list[Any] | None = None) -> Adjacency:
    arrays, notes = graph_arrays(matrix)
    weighted = len(arrays.weights) > 0
    volume = float(arrays.strength.sum()) if weighted else float(len(arrays.indices))
    ids = None if names is None else NamedNodes(names)
    return Adjacency(arrays, volume, ids=ids, notes=notes)


def _from_networkx(graph: Any) -> Adjacency:
    names = list(graph)
    number = {name: position for position, name in enumerate(names)}
    edges = [
        (number[u], number[v], weight) for u, v, weight in graph.edges(data="weight", default=1)
    ]
    columns = list(zip(*edges, strict=True)) or [(), (), ()]
    source, target = (np.array(column, np.int64) for column in columns[:2])
    weight = np.array(columns[2])
    if edges and weight.dtype.kind not in "biuf":
        at = next(e for e in edges if not isinstance(e[2], int | float | np.number))
        raise ValueError(
            f"edge weights must be numbers, found {at[2]!r} at edge"
            f" ({names[at[0]]!r}, {names[at[1]]!r})"
        )
    if not graph.is_directed():
        loop = source == target
        source, target = np.r_[source, target[~loop]], np.r_[target, source[~loop]]
        weight = np.r_[weight, weight[~loop]]
    plain = names == list(range(len(names)))
    matrix = edge_matrix(source, target, weight if edges else None, len(names))
    return _from_matrix(matrix, None if plain else names)


def _from_data(data: Any) -> Adjacency:
    from graphnoise import pyg

    # the parts of `as_graph` that need neither labels nor masks
    ends, weight, notes = pyg.edges_of(data)
    names = data.get("node_names")
    n_nodes = int(data.num_nodes)
    if names is not None and len(names) != n_nodes:
        raise ValueError(f"node_names must have one id per node, {n_nodes}, got {len(names)}")
    listed = None if names is None else np.asarray(names).tolist()
    adjacency = _from_matrix(edge_matrix(ends[0], ends[1], weight, n_nodes), listed)
    x = data.get("x")
    features = None if x is None else _checked_features(pyg.as_matrix(x), n_nodes)
    return replace(adjacency, features=features, notes=(*notes, *adjacency.notes))


def _checked_features(features: Any, n_nodes: int) -> NDArray[np.float32] | sparse.csr_array:
    if isinstance(features, np.memmap) and features.dtype == np.float32 and features.ndim == 2:
        if len(features) != n_nodes:
            raise ValueError(f"features must be [{n_nodes}, F], got {features.shape}")
        return features
    return check_features(features, n_nodes)
