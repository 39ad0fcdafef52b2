"""Edges of a networkx graph."""

from typing import Any

import numpy as np

from graphnoise.graph_store.sources import ArraySource, SourceOptions


def networkx_graph(graph: Any, options: SourceOptions) -> ArraySource:
    """Nodes in the order of the graph, their names as ids; weights from the attribute "weight".

    Raises:
        ValueError: Not a graph, or node names of mixed kinds.
    """
    if not hasattr(graph, "edges") or not hasattr(graph, "nodes"):
        raise ValueError(f"source must be a networkx graph, got {type(graph).__name__}")
    nodes = list(graph.nodes)
    place = {node: at for at, node in enumerate(nodes)}
    attribute = options.weights if isinstance(options.weights, str) else "weight"
    found = [(place[u], place[v], w) for u, v, w in graph.edges(data=attribute)]
    ends = np.array([pair[:2] for pair in found], np.int64).reshape(-1, 2).T
    given = [w for *_, w in found if w is not None]
    if isinstance(options.weights, str) and not given and found:
        raise ValueError(f"no edge of the graph has the attribute {attribute!r}")
    weight = None
    if given and options.weights is not False:
        weight = np.array([1.0 if w is None else w for *_, w in found])
    names = None if nodes == list(range(len(nodes))) else _names(nodes)
    return ArraySource("networkx graph", ends, weight, len(nodes), node_names=names)


def _names(nodes: list[Any]) -> Any:
    if all(isinstance(node, int | np.integer) for node in nodes):
        return np.array(nodes, np.int64)
    if all(isinstance(node, str) for node in nodes):
        return np.array(nodes)
    kinds = sorted({type(node).__name__ for node in nodes})
    raise ValueError(f"nodes of a networkx graph must be all integers or all text, found {kinds}")
