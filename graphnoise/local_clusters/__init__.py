"""The cluster around a seed node, at a cost that depends on the cluster and not on the graph."""

from typing import TYPE_CHECKING

from labelnoise.lazy import lazy_names
from labelnoise.registry import Entry, Registry

if TYPE_CHECKING:
    from graphnoise.local_clusters.adjacency import Adjacency, as_adjacency
    from graphnoise.local_clusters.cluster import Certificate, Cluster, SweepProfile
    from graphnoise.local_clusters.query import Budget

CLUSTER_METHODS = Registry(
    "cluster method",
    {
        "flow_diffusion": Entry(
            "graphnoise.flow_diffusion.methods:FlowDiffusion",
            "spread mass from the seed until no node holds more than its degree",
            "Wang, Fountoulakis, Henzinger, Mahoney, Rao 2017; Fountoulakis et al. 2020",
        ),
    },
)
ROUNDINGS = ("support", "labels", "sweep")

_MODULES: dict[str, str] = {
    "Adjacency": "graphnoise.local_clusters.adjacency",
    "Budget": "graphnoise.local_clusters.query",
    "Certificate": "graphnoise.local_clusters.cluster",
    "Cluster": "graphnoise.local_clusters.cluster",
    "SweepProfile": "graphnoise.local_clusters.cluster",
    "as_adjacency": "graphnoise.local_clusters.adjacency",
}
__all__ = [
    "CLUSTER_METHODS",
    "ROUNDINGS",
    "Adjacency",
    "Budget",
    "Certificate",
    "Cluster",
    "SweepProfile",
    "as_adjacency",
]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
