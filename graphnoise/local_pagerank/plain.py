"""Personalised PageRank by the graph's own edge weights."""

from dataclasses import dataclass

from graphnoise.local_clusters.adjacency import Adjacency
from graphnoise.local_clusters.base import Workspace
from graphnoise.local_clusters.cluster import Diffused
from graphnoise.local_clusters.query import Query
from graphnoise.local_pagerank.pushing import PushRun, PushSettings


@dataclass(frozen=True, kw_only=True)
class PageRank(PushSettings):
    """Push PageRank from the seeds until no node holds residual of epsilon per degree.

    Scores are ``p_i / d_i``; see the package for the walk and its conversion to others' alpha.
    Labels of the query are not read.

    Source: Andersen, Chung, Lang 2006, algorithm ApproximatePageRank, first in first out.
    """

    def diffuse(self, adjacency: Adjacency, query: Query, workspace: Workspace) -> Diffused:
        """See `LocalMethod.diffuse`.

        Raises:
            ValueError: The query names a mass.
        """
        return PushRun(adjacency, query, workspace, settings=self).answer()
