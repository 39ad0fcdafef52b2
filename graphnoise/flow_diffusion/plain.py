"""Flow diffusion with the graph's own edge weights."""

from dataclasses import dataclass

from graphnoise.flow_diffusion.settings import FlowSettings
from graphnoise.local_clusters.adjacency import Adjacency
from graphnoise.local_clusters.base import Workspace
from graphnoise.local_clusters.cluster import Diffused
from graphnoise.local_clusters.query import Query
from graphnoise.local_subgraph import plain_weighting


@dataclass(frozen=True)
class FlowDiffusion(FlowSettings):
    """Spread mass from the seeds along edges until no node holds more than its degree.

    Solves ``min_{x >= 0} 1/2 x'Lx + x'(T - Delta)`` with T the degrees and Delta the mass on the
    seeds; the cluster is where x > 0. Labels of the query are not read.

    Source:
        p-norm flow diffusion with p = 2: Fountoulakis, Wang, Yang, ICML 2020.
    """

    def diffuse(self, adjacency: Adjacency, query: Query, workspace: Workspace) -> Diffused:
        """See `LocalMethod.diffuse`.

        Raises:
            ValueError: A seed is isolated, or the mass is more than the seeds' component can hold.
        """
        # numba takes a second to import; settings are listed and printed without it
        from graphnoise.flow_diffusion.engine import answer

        return answer(adjacency, plain_weighting(), query, workspace, self, label_function=None)
