"""Learning with noisy labels on graphs."""

from typing import TYPE_CHECKING

from labelnoise.lazy import lazy_names

if TYPE_CHECKING:
    from graphnoise.annotators import ANNOTATORS
    from graphnoise.annotators.choosing import make_annotator
    from graphnoise.annotators.options import AnnotatorOptions
    from graphnoise.datasets import DATASETS, load_graph
    from graphnoise.graph import LabelledGraph, graph_from_arrays
    from graphnoise.graph_store import GraphStore, build_store, open_store
    from graphnoise.label_free import RECIPES
    from graphnoise.label_free.classifier import LabelFreeClassifier
    from graphnoise.local_clusters import CLUSTER_METHODS
    from graphnoise.local_clusters.batch import cluster_many
    from graphnoise.local_clusters.cluster import Cluster
    from graphnoise.local_clusters.query import Budget
    from graphnoise.local_clusters.searching import local_cluster
    from graphnoise.methods import METHODS
    from graphnoise.methods.base import NodeClassifier, Run
    from graphnoise.methods.erase import Erase, EraseSettings
    from graphnoise.methods.prototype_mixture import (
        PrototypeMixtureClassifier,
        PrototypeMixtureSettings,
    )
    from graphnoise.node_selection import SELECTORS
    from graphnoise.noise import with_noise
    from graphnoise.pyg import as_graph, to_data
    from graphnoise.text_graph import TextGraph
    from graphnoise.transforms import InjectLabelNoise, ScoreLabels

_MODULES: dict[str, str] = {
    "ANNOTATORS": "graphnoise.annotators",
    "AnnotatorOptions": "graphnoise.annotators.options",
    "Budget": "graphnoise.local_clusters.query",
    "CLUSTER_METHODS": "graphnoise.local_clusters",
    "Cluster": "graphnoise.local_clusters.cluster",
    "DATASETS": "graphnoise.datasets",
    "Erase": "graphnoise.methods.erase",
    "EraseSettings": "graphnoise.methods.erase",
    "GraphStore": "graphnoise.graph_store",
    "InjectLabelNoise": "graphnoise.transforms",
    "LabelFreeClassifier": "graphnoise.label_free.classifier",
    "LabelledGraph": "graphnoise.graph",
    "METHODS": "graphnoise.methods",
    "NodeClassifier": "graphnoise.methods.base",
    "PrototypeMixtureClassifier": "graphnoise.methods.prototype_mixture",
    "PrototypeMixtureSettings": "graphnoise.methods.prototype_mixture",
    "RECIPES": "graphnoise.label_free",
    "Run": "graphnoise.methods.base",
    "SELECTORS": "graphnoise.node_selection",
    "ScoreLabels": "graphnoise.transforms",
    "TextGraph": "graphnoise.text_graph",
    "as_graph": "graphnoise.pyg",
    "build_store": "graphnoise.graph_store",
    "cluster_many": "graphnoise.local_clusters.batch",
    "graph_from_arrays": "graphnoise.graph",
    "load_graph": "graphnoise.datasets",
    "local_cluster": "graphnoise.local_clusters.searching",
    "make_annotator": "graphnoise.annotators.choosing",
    "open_store": "graphnoise.graph_store",
    "to_data": "graphnoise.pyg",
    "with_noise": "graphnoise.noise",
}

__all__ = [
    "ANNOTATORS",
    "CLUSTER_METHODS",
    "DATASETS",
    "METHODS",
    "RECIPES",
    "SELECTORS",
    "AnnotatorOptions",
    "Budget",
    "Cluster",
    "Erase",
    "EraseSettings",
    "GraphStore",
    "InjectLabelNoise",
    "LabelFreeClassifier",
    "LabelledGraph",
    "NodeClassifier",
    "PrototypeMixtureClassifier",
    "PrototypeMixtureSettings",
    "Run",
    "ScoreLabels",
    "TextGraph",
    "as_graph",
    "build_store",
    "cluster_many",
    "graph_from_arrays",
    "load_graph",
    "local_cluster",
    "make_annotator",
    "open_store",
    "to_data",
    "with_noise",
]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
