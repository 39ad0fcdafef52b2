"""The one protocol of local methods, and the memory they work in."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from graphnoise.local_clusters.adjacency import Adjacency
from graphnoise.local_clusters.cluster import Diffused
from graphnoise.local_clusters.query import Query
from graphnoise.local_subgraph import EdgeWeighting, Subgraph, empty_subgraph


class LocalMethod(Protocol):
    """A frozen dataclass of settings that answers queries; registered in `CLUSTER_METHODS`."""

    def diffuse(self, adjacency: Adjacency, query: Query, workspace: "Workspace") -> Diffused:
        """Scores over what the query reaches.

        Raises:
            ValueError: The query cannot be answered: mass beyond what the seeds' component can
                hold, labels missing that the method needs, and the like.
        """


class Workspace:
    """Memory that one thread keeps from query to query, so that a query allocates next to nothing.

    Args:
        n_nodes: Of the whole graph.
    """

    def __init__(self, n_nodes: int) -> None:
        self.n_nodes = n_nodes
        self._subgraphs: dict[bool, Subgraph] = {}
        self._vectors: dict[str, NDArray[Any]] = {}

    def begin(self, *, weighted: bool) -> Subgraph:
        """An empty subgraph, with the room that earlier queries needed.

        Args:
            weighted: Whether its entries carry weights; see `weighs_edges`.
        """
        from graphnoise.local_subgraph.compiled import clear

        sub = self._subgraphs.get(weighted)
        if sub is None:
            return self.keep(empty_subgraph(self.n_nodes, weighted=weighted))
        clear(sub.table, sub.slot, sub.used)
        return sub

    def keep(self, subgraph: Subgraph) -> Subgraph:
        """Remember a subgraph that had to grow; the old one is not used again."""
        self._subgraphs[len(subgraph.weight) > 0] = subgraph
        return subgraph

    def vector(self, name: str, length: int, dtype: Any = np.float64) -> NDArray[Any]:
        """A named array of at least this length; its content survives only if it was long enough.

        The part beyond what was asked for before is zero.
        """
        held = self._vectors.get(name)
        if held is None or len(held) < length:
            made = np.zeros(max(length, 0 if held is None else 2 * len(held)), dtype)
            if held is not None:
                made[: len(held)] = held
            self._vectors[name] = held = made
        return held


def weighs_edges(adjacency: Adjacency, weighting: EdgeWeighting) -> bool:
    """Whether a subgraph under this weighting stores a weight per entry."""
    return bool(len(adjacency.arrays.weights)) or weighting.gamma >= 0
