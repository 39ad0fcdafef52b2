"""The part of a graph that a query has reached, copied once into a small graph of its own.

A local method works on local numbers 0, 1, 2, ... given in the order in which nodes are reached. A
row is copied when its node first spends something; from then on nothing outside is read for it.
Memory and time depend on what was reached, never on the size of the graph.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

NOT_EXPANDED, NOT_WEIGHED, UNKNOWN_LABEL = -1, -1, -1
# where `Subgraph.used` keeps what
NODES, EDGES, SHIFT, EXPANDED = 0, 1, 2, 3
FIRST_NODES, FIRST_EDGES = 1024, 8192
PER_NODE = (
    "node", "slot", "degree", "label", "start", "split", "stop", "weighted_degree",
)  # fmt: skip


class GraphArrays(NamedTuple):
    """A whole graph as compiled code reads it; may be memory-mapped (writable flag set, or numba
    compiles everything a second time).

    Attributes:
        indptr: Row pointers ``[N + 1]`` int64.
        indices: Neighbours ``[M]`` int32 or int64, both directions of each edge, no self loops.
        weights: ``[M]`` float64, or ``[0]`` where all are 1.
        strength: Sum of weights of each row ``[N]`` float64, or ``[0]`` where `weights` is empty.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32] | NDArray[np.int64]
    weights: NDArray[np.float64]
    strength: NDArray[np.float64]


class EdgeWeighting(NamedTuple):
    """How the weight of an edge follows from its two ends; multiplies the graph's own weight.

    Attributes:
        labels: Class of each node ``[N]`` int32, negative where unknown; ``[0]`` where labels are
            not used or come later (`label_missing`).
        target: The class that counts as label 1; every other known class is label 0.
        epsilon: Factor of an edge whose two labels are known and differ; 1 ignores labels.
        gamma: The factor ``exp(-gamma * |X_i - X_j|^2)``; negative: features are not used.
        dense: Features ``[N, D]`` float32, or ``[0, 0]``.
        row_start, column, value: Features as CSR (int64, int32, float32), or ``[0]`` each.
    """

    labels: NDArray[np.int32]
    target: int
    epsilon: float
    gamma: float
    dense: NDArray[np.float32]
    row_start: NDArray[np.int64]
    column: NDArray[np.int32]
    value: NDArray[np.float32]


class Subgraph(NamedTuple):
    """What a query has reached. Arrays are longer than what is used; `used` tells.

    A node is *touched* once it has a local number, *expanded* once its row is here. In a weighed
    row, neighbours whose label is the same or unknown come first.

    Attributes:
        table: Local number in each slot of a hash table, -1 where free, int32; its length is a
            power of two, or the number of nodes where each node has the slot of its own number.
        node: Node of the whole graph, per local number, int64.
        slot: Where it stands in the table, int64.
        degree: Sum of the graph's own weights at it (number of neighbours where it has none).
        label: 1, 0 or `UNKNOWN_LABEL`, int8.
        start: First entry of its row, or `NOT_EXPANDED`.
        split: First entry with a differing label, or `NOT_WEIGHED`.
        stop: End of its row; valid once expanded.
        weighted_degree: Sum of the row's weights after weighting; valid once weighed.
        neighbour: Local numbers, int32, row after row.
        weight: Weight of each entry, all factors included; ``[0]`` where it is 1 before `split`
            and epsilon after it.
        used: Nodes, edge entries, hash shift (-1: the slot is the node), expanded nodes; int64.
    """

    table: NDArray[np.int32]
    node: NDArray[np.int64]
    slot: NDArray[np.int64]
    degree: NDArray[np.float64]
    label: NDArray[np.int8]
    start: NDArray[np.int64]
    split: NDArray[np.int64]
    stop: NDArray[np.int64]
    weighted_degree: NDArray[np.float64]
    neighbour: NDArray[np.int32]
    weight: NDArray[np.float64]
    used: NDArray[np.int64]


def plain_weighting() -> EdgeWeighting:
    """Every edge keeps the graph's own weight."""
    return EdgeWeighting(
        labels=np.empty(0, np.int32), target=1, epsilon=1.0, gamma=-1.0,
        dense=np.empty((0, 0), np.float32), row_start=np.empty(0, np.int64),
        column=np.empty(0, np.int32), value=np.empty(0, np.float32),
    )  # fmt: skip


def empty_subgraph(n_nodes: int, *, weighted: bool) -> Subgraph:
    """A subgraph of nothing, for queries on a graph of `n_nodes` nodes; it grows as needed.

    Args:
        n_nodes: Of the whole graph.
        weighted: Whether the graph has weights of its own or features weigh the edges.
    """
    table, shift = _empty_table(2 * FIRST_NODES, n_nodes)
    length = FIRST_NODES
    return Subgraph(
        table=table, node=np.empty(length, np.int64), slot=np.empty(length, np.int64),
        degree=np.empty(length), label=np.empty(length, np.int8),
        start=np.empty(length, np.int64), split=np.empty(length, np.int64),
        stop=np.empty(length, np.int64), weighted_degree=np.empty(length),
        neighbour=np.empty(FIRST_EDGES, np.int32), weight=np.empty(FIRST_EDGES * weighted),
        used=np.array([0, 0, shift, 0], np.int64),
    )  # fmt: skip


def with_room(sub: Subgraph, n_nodes: int, *, more_nodes: int, more_edges: int) -> Subgraph:
    """The subgraph with room for so many more nodes and entries, its table at most half full.

    Lengths at least double, so that what is copied stays a constant share of what is reached.
    """
    # numba takes a second to import; a store is opened, or --help shown, without it
    from graphnoise.local_subgraph.compiled import rehash

    nodes = min(int(sub.used[NODES]) + more_nodes, n_nodes)
    edges = int(sub.used[EDGES]) + more_edges
    per_node = {key: getattr(sub, key) for key in PER_NODE}
    if nodes > len(sub.node):
        length = max(nodes, 2 * len(sub.node))
        per_node = {key: _longer(array, length) for key, array in per_node.items()}
    neighbour, weight = sub.neighbour, sub.weight
    if edges > len(neighbour):
        length = max(edges, 2 * len(neighbour))
        neighbour = _longer(neighbour, length)
        weight = _longer(weight, length) if len(weight) else weight
    table = sub.table
    if len(table) < min(2 * nodes, n_nodes):
        table, sub.used[SHIFT] = _empty_table(2 * nodes, n_nodes)
        rehash(table, per_node["node"], per_node["slot"], sub.used)
    return Subgraph(table=table, neighbour=neighbour, weight=weight, used=sub.used, **per_node)


def _empty_table(wanted: int, n_nodes: int) -> tuple[NDArray[np.int32], int]:
    bits = max(wanted - 1, 1).bit_length()
    if 1 << bits >= n_nodes:
        return np.full(n_nodes, -1, np.int32), -1
    return np.full(1 << bits, -1, np.int32), 64 - bits


def _longer(array: NDArray[Any], length: int) -> NDArray[Any]:
    made = np.empty(length, array.dtype)
    made[: len(array)] = array
    return made
