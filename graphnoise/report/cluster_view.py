"""What a picture of a local cluster needs: its top members and their neighbours outside.

A cluster of thousands of nodes is shown by its top part; only the rows of drawn nodes are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphnoise.local_clusters.adjacency import Adjacency
from graphnoise.local_clusters.cluster import Cluster
from graphnoise.local_clusters.query import LabelFunction

# more rows are scrolled past, not read; the files have all of them
MAX_LISTED = 200
# more marks and strokes than these make a carpet
MAX_DRAWN, MAX_OUTSIDE, MAX_STROKES = 42, 14, 500
UNKNOWN = -1


@dataclass(frozen=True)
class DrawnNode:
    """One node of the picture.

    Attributes:
        id: The caller's id, as text.
        score: 0 where the node is not in the cluster.
        label: 1, 0 or -1 (unknown, or no labels were used).
        degree: In the whole graph, by the graph's own weights.
        member, seed: Whether it is one.
    """

    id: str
    score: float
    label: int
    degree: float
    member: bool
    seed: bool


@dataclass(frozen=True)
class ClusterView:
    """The top of a cluster among its neighbours.

    Attributes:
        graph: Name of the graph.
        n_nodes: Nodes of the whole graph.
        size: Members of the cluster, drawn or not.
        listed: Its top members, highest score first.
        drawn: Members and neighbours that are drawn, members first.
        edges: Pairs of positions in `drawn`, smaller first.
        hidden_edges: Edges between drawn nodes beyond the cap.
    """

    graph: str
    n_nodes: int
    size: int
    listed: tuple[DrawnNode, ...]
    drawn: tuple[DrawnNode, ...]
    edges: tuple[tuple[int, int], ...]
    hidden_edges: int


def view_cluster(
    cluster: Cluster,
    adjacency: Adjacency,
    *,
    graph: str = "graph",
    label_of: LabelFunction | None = None,
) -> ClusterView:
    """Look around in the graph near a cluster.

    Args:
        cluster: The answer to a query.
        adjacency: The graph that was asked.
        graph: Its name.
        label_of: Labels of positions, for nodes outside the cluster; unknown without it.
    """
    listed = _positions(adjacency, cluster.nodes[:MAX_LISTED])
    seeds = _positions(adjacency, cluster.seeds).tolist()
    top = listed[:MAX_DRAWN].tolist()
    strangers = [seed for seed in seeds if seed not in top][:MAX_DRAWN]
    inner = [*top, *strangers]
    members = set(_positions(adjacency, cluster.nodes).tolist())
    outer = _outside(adjacency, inner, members)
    around = _described(np.array([*strangers, *outer], np.int64), adjacency, label_of)
    own = _described(listed, adjacency, None)
    scores, labels = cluster.score.tolist(), cluster.labels
    known = {
        position: DrawnNode(
            id=name,
            score=scores[rank],
            label=UNKNOWN if labels is None else int(labels[rank]),
            degree=degree,
            member=True,
            seed=position in seeds,
        )
        for rank, (position, name, _, degree) in enumerate(own)
    }
    for position, name, label, degree in around:
        known.setdefault(
            position,
            DrawnNode(name, 0.0, label, degree, position in members, position in strangers),
        )
    drawn = [*inner, *outer]
    edges = _edges_between(adjacency, drawn, len(inner))
    return ClusterView(
        graph=graph,
        n_nodes=adjacency.n_nodes,
        size=len(cluster.nodes),
        listed=tuple(known[position] for position in listed.tolist()),
        drawn=tuple(known[position] for position in drawn),
        edges=tuple(edges[:MAX_STROKES]),
        hidden_edges=max(0, len(edges) - MAX_STROKES),
    )


def _positions(adjacency: Adjacency, ids: NDArray[np.generic]) -> NDArray[np.int64]:
    if adjacency.ids is None:
        return np.asarray(ids, np.int64)
    return adjacency.ids.positions(ids)


def _described(
    positions: NDArray[np.int64], adjacency: Adjacency, label_of: LabelFunction | None
) -> list[tuple[int, str, int, float]]:
    """Position, id, label and degree of each."""
    arrays = adjacency.arrays
    names = positions if adjacency.ids is None else adjacency.ids.names(positions)
    degrees: NDArray[np.generic] = arrays.indptr[positions + 1] - arrays.indptr[positions]
    if len(arrays.strength):
        degrees = arrays.strength[positions]
    unknown = np.full(len(positions), UNKNOWN, np.int8)
    labels = unknown if label_of is None or not len(positions) else label_of(positions)
    columns = (positions.tolist(), np.asarray(names).tolist(), labels.tolist(), degrees.tolist())
    return [
        (position, str(name), int(label), float(degree))
        for position, name, label, degree in zip(*columns, strict=True)
    ]


def _row(adjacency: Adjacency, node: int) -> NDArray[np.int64]:
    first, last = adjacency.arrays.indptr[node : node + 2]
    return np.asarray(adjacency.arrays.indices[first:last], np.int64)


def _outside(adjacency: Adjacency, inner: Sequence[int], members: set[int]) -> list[int]:
    """Neighbours outside the cluster, those with most links to the drawn part first."""
    taken = np.fromiter(members.union(inner), np.int64)
    rows = [row[~np.isin(row, taken)] for row in (_row(adjacency, node) for node in inner)]
    found, links = np.unique(np.concatenate([*rows, np.empty(0, np.int64)]), return_counts=True)
    order = np.lexsort((found, -links))[:MAX_OUTSIDE]
    return [int(node) for node in found[order]]


def _edges_between(
    adjacency: Adjacency, drawn: Sequence[int], n_inner: int
) -> list[tuple[int, int]]:
    """Edges with an end among the first `n_inner`, those of the first nodes first."""
    place = {node: i for i, node in enumerate(drawn)}
    wanted = np.array(drawn, np.int64)
    edges = set()
    for i, node in enumerate(drawn[:n_inner]):
        row = _row(adjacency, node)
        for other in row[np.isin(row, wanted)].tolist():
            edges.add((min(i, place[other]), max(i, place[other])))
    return sorted(edges)
