"""Flow diffusion where the features of its ends weigh an edge."""

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from scipy import sparse

from graphnoise.flow_diffusion.labelled import check_epsilon, with_labels
from graphnoise.flow_diffusion.settings import FlowSettings
from graphnoise.local_clusters.adjacency import Adjacency
from graphnoise.local_clusters.base import Workspace
from graphnoise.local_clusters.cluster import Diffused
from graphnoise.local_clusters.query import Query
from graphnoise.local_subgraph import EdgeWeighting, plain_weighting

# scipy keeps both index arrays in one type, compiled code wants two; converted once per graph
_CONVERTED: WeakKeyDictionary[Adjacency, dict[str, Any]] = WeakKeyDictionary()


@dataclass(frozen=True)
class AttributedFlowDiffusion(FlowSettings):
    """Flow diffusion where an edge weighs ``exp(-gamma |X_i - X_j|^2)`` times its own weight.

    Weights are computed on the edges that are reached. Capacities stay the degrees of the graph
    itself. Features are taken as they are; `smooth_features` makes such that gamma fits.

    Attributes:
        gamma: Not negative. The default was chosen on Cora for rows of unit length made by
            `smooth_features`; the method's authors used 0.02 for features of their own.
        epsilon: Further factor of an edge between two known, differing labels, where the query
            has labels; 1, the default, does not read them.

    Source:
        Weighted flow diffusion for local graph clustering with node attributes, ICML 2023.
    """

    gamma: float = 4.0
    epsilon: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_epsilon(self.epsilon)
        if not (self.gamma >= 0 and np.isfinite(self.gamma)):
            raise ValueError(f"gamma must be finite and not negative, got {self.gamma}")

    def diffuse(self, adjacency: Adjacency, query: Query, workspace: Workspace) -> Diffused:
        """See `LocalMethod.diffuse`.

        Raises:
            ValueError: The graph has no features, labels are missing though epsilon is below 1,
                a seed is isolated, or the mass is more than the seeds' component can hold.
        """
        # numba takes a second to import; settings are listed and printed without it
        from graphnoise.flow_diffusion.engine import answer

        weighting, function = with_features(adjacency, self.gamma), None
        if self.epsilon < 1.0:
            if query.labels is None:
                raise ValueError(f"epsilon={self.epsilon} needs labels; epsilon=1 does not")
            weighting = with_labels(weighting, query, self.epsilon)
            function = query.labels.function
        return answer(adjacency, weighting, query, workspace, self, label_function=function)


def with_features(adjacency: Adjacency, gamma: float) -> EdgeWeighting:
    """Weights by the distance of features.

    Raises:
        ValueError: The graph has none.
    """
    if adjacency.features is None:
        raise ValueError("attributed flow diffusion needs node features; the graph has none")
    if adjacency not in _CONVERTED:
        _CONVERTED[adjacency] = _converted(adjacency.features)
    return plain_weighting()._replace(gamma=float(gamma), **_CONVERTED[adjacency])


def _converted(features: Any) -> dict[str, Any]:
    if not sparse.issparse(features):
        return {"dense": features if features.dtype == np.float32 else np.float32(features)}
    rows = features.tocsr()
    if not rows.has_sorted_indices:
        rows = rows.sorted_indices()
    return {
        "row_start": rows.indptr.astype(np.int64, copy=False),
        "column": rows.indices.astype(np.int32, copy=False),
        "value": rows.data.astype(np.float32, copy=False),
    }
