"""The cluster around a seed node, at a cost that depends on the cluster and not on the graph."""

from typing import TYPE_CHECKING

from labelnoise.lazy import lazy_names
from labelnoise.registry import Entry, Registry

if TYPE_CHECKING:
    from graphnoise.local_clusters.adjacency import Adjacency, as_adjacency
    from graphnoise.local_clusters.batch import Failure, cluster_many
    from graphnoise.local_clusters.cluster import Certificate, Cluster, SweepProfile
    from graphnoise.local_clusters.label_sources import LabelSource, as_label_source
    from graphnoise.local_clusters.learned_labels import LabelsFromExamples, LabelsFromSeed
    from graphnoise.local_clusters.query import Budget
    from graphnoise.local_clusters.ray_batch import cluster_many_ray
    from graphnoise.local_clusters.searching import local_cluster
    from graphnoise.local_clusters.smoothed_features import smooth_features

CLUSTER_METHODS = Registry(
    "cluster method",
    {
        "flow_diffusion": Entry(
            "graphnoise.flow_diffusion.plain:FlowDiffusion",
            "spread mass from the seed until no node holds more than its degree",
            "Wang, Fountoulakis, Henzinger, Mahoney, Rao 2017; Fountoulakis et al. 2020",
        ),
        "label_flow_diffusion": Entry(
            "graphnoise.flow_diffusion.labelled:LabelFlowDiffusion",
            "flow diffusion where edges between differing labels count little",
            "Local Graph Clustering with Noisy Labels, ICLR 2024",
        ),
        "attributed_flow_diffusion": Entry(
            "graphnoise.flow_diffusion.attributed:AttributedFlowDiffusion",
            "flow diffusion where the distance of features weighs an edge",
            "Weighted flow diffusion for local graph clustering with node attributes, ICML 2023",
        ),
        "refined_flow_diffusion": Entry(
            "graphnoise.flow_diffusion.refined:RefinedFlowDiffusion",
            "reach further, let reached nodes correct each other's labels, keep label 1",
            "this library, on Local Graph Clustering with Noisy Labels",
        ),
        "p_norm_flow_diffusion": Entry(
            "graphnoise.flow_diffusion.p_norm:PNormFlowDiffusion",
            "flow diffusion by a flow of least p-norm",
            "Fountoulakis, Wang, Yang, ICML 2020",
        ),
        "pagerank": Entry(
            "graphnoise.local_pagerank.plain:PageRank",
            "approximate personalised PageRank, pushed from the seeds",
            "Andersen, Chung, Lang, FOCS 2006",
        ),
        "label_pagerank": Entry(
            "graphnoise.local_pagerank.labelled:LabelPageRank",
            "PageRank of a walk that seldom crosses between differing labels",
            "Andersen, Chung, Lang 2006; weights of Local Graph Clustering with Noisy Labels",
        ),
    },
)
ROUNDINGS = ("support", "labels", "sweep")

_MODULES: dict[str, str] = {
    "Adjacency": "graphnoise.local_clusters.adjacency",
    "Budget": "graphnoise.local_clusters.query",
    "Certificate": "graphnoise.local_clusters.cluster",
    "Cluster": "graphnoise.local_clusters.cluster",
    "Failure": "graphnoise.local_clusters.batch",
    "LabelSource": "graphnoise.local_clusters.label_sources",
    "LabelsFromExamples": "graphnoise.local_clusters.learned_labels",
    "LabelsFromSeed": "graphnoise.local_clusters.learned_labels",
    "SweepProfile": "graphnoise.local_clusters.cluster",
    "as_adjacency": "graphnoise.local_clusters.adjacency",
    "as_label_source": "graphnoise.local_clusters.label_sources",
    "cluster_many": "graphnoise.local_clusters.batch",
    "cluster_many_ray": "graphnoise.local_clusters.ray_batch",
    "local_cluster": "graphnoise.local_clusters.searching",
    "smooth_features": "graphnoise.local_clusters.smoothed_features",
}
__all__ = [
    "CLUSTER_METHODS",
    "ROUNDINGS",
    "Adjacency",
    "Budget",
    "Certificate",
    "Cluster",
    "Failure",
    "LabelSource",
    "LabelsFromExamples",
    "LabelsFromSeed",
    "SweepProfile",
    "as_adjacency",
    "as_label_source",
    "cluster_many",
    "cluster_many_ray",
    "local_cluster",
    "smooth_features",
]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
