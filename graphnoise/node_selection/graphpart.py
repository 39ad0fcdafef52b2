"""Medoids of every part of the graph: no community is left without a question."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from graphnoise.node_selection.base import Selected, Situation
from graphnoise.node_selection.communities import communities
from graphnoise.node_selection.k_means import KMeansSettings, k_means
from graphnoise.node_selection.medoids import medoids_of, propagated
from graphnoise.node_selection.quotas import proportional_quota
from graphnoise.node_selection.ranking import candidates


@dataclass(frozen=True)
class GraphPart:
    """Communities by modularity, then medoids of propagated features in each, by its size.

    The paper cuts by greedy modularity and gives each part the same number of calls; parts here
    come from Louvain, and calls in proportion to size. Communities smaller than a call's fair
    share (isolated nodes, mostly) are taken together as one part.

    Attributes:
        steps: Powers of A_hat that smooth the features; 2.
        resolution: Of modularity; larger values make smaller parts.
        clustering: Amount of work of k-means.

    Source:
        Ma et al., "Partition-Based Active Learning for Graph Neural Networks", TMLR 2023.
    """

    steps: int = 2
    resolution: float = 1.0
    clustering: KMeansSettings = field(default_factory=KMeansSettings)
    name: str = field(default="graphpart", init=False)

    def select(self, situation: Situation, budget: int) -> Selected:
        """Medoids of all parts, those of large clusters first; the score is the cluster's size.

        Raises:
            ValueError: `budget` is below 1.
        """
        nodes, graph = candidates(situation, budget), situation.graph
        budget = min(budget, len(nodes))
        if budget == 0:
            return Selected(nodes, np.zeros(0))
        part = self._parts(situation, budget)
        sizes = np.bincount(part)
        quota = proportional_quota(sizes, np.bincount(part[nodes], minlength=len(sizes)), budget)
        rows = propagated(graph.adjacency, graph.embedding, self.steps)
        # one sort instead of a search of all nodes per part
        members = np.split(np.argsort(part, kind="stable"), np.cumsum(sizes)[:-1])
        found = [
            self._medoids(rows, members[number], situation, int(quota[number]))
            for number in np.flatnonzero(quota)
        ]
        chosen = np.concatenate([one.nodes for one in found])
        scores = np.concatenate([one.scores for one in found])
        order = np.lexsort((chosen, -scores))
        return Selected(chosen[order], scores[order])

    def _parts(self, situation: Situation, budget: int) -> NDArray[np.int64]:
        adjacency = situation.graph.adjacency
        part = communities(adjacency, seed=situation.seed, resolution=self.resolution)
        sizes = np.bincount(part)
        small = sizes < len(part) / budget
        merged = np.where(small[part], -1, part)
        return np.unique(merged, return_inverse=True)[1]

    def _medoids(
        self, rows: NDArray[np.float32], members: NDArray[np.int64], situation: Situation, n: int
    ) -> Selected:
        inside = rows[members]
        clusters = k_means(inside, n, seed=situation.seed, settings=self.clustering)
        free = np.flatnonzero(situation.available[members])
        chosen = medoids_of(inside, clusters, free, n)
        return Selected(members[chosen.nodes], chosen.scores)
