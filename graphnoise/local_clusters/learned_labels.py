"""Labels learned from examples, or from the seed alone, and asked for reached nodes only."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.local_clusters.linear_labels import LinearModel, fit_linear, unit_rows
from graphnoise.local_clusters.node_ids import known_positions
from graphnoise.local_clusters.query import Labels, Query
from graphnoise.local_subgraph import NODES

if TYPE_CHECKING:
    from graphnoise.local_clusters.adjacency import Adjacency
    from graphnoise.local_clusters.base import LocalMethod, Workspace

# draws of a random node outside, per node wanted, before the nodes outside are listed
DRAWS_PER_NODE = 4


@dataclass(frozen=True, eq=False)
class LabelsFromExamples:
    """Labels of a logistic regression on features, from nodes known to be inside or outside.

    Fitted once per graph and reused for every seed and thread; a node's label is computed when a
    query reaches it, never for the whole graph. Examples get the predicted label too.

    Attributes:
        positives: The caller's ids of nodes inside the cluster wanted.
        negatives: Ids of nodes outside; random nodes will do where clusters are small.
        regularisation: Weight of ``|w|^2 / 2`` against the sum of log losses: 1 / C of
            scikit-learn. Small, because rows have length 1; chosen on Cora, where it hardly
            matters.
        unit_rows: Whether the features of each node are first divided by their length, so that
            nodes with few attributes count as much as nodes with many.

    Raises:
        ValueError: When a query asks: no examples of one kind, one of both kinds, an id without a
            node, a graph without features.
    """

    positives: Sequence[Any] | NDArray[Any]
    negatives: Sequence[Any] | NDArray[Any]
    regularisation: float = 0.01
    unit_rows: bool = True

    def __post_init__(self) -> None:
        if not self.regularisation > 0:
            raise ValueError(f"regularisation must be positive, got {self.regularisation}")

    def labels_for(
        self, adjacency: "Adjacency", query: Query, workspace: "Workspace"
    ) -> tuple[Labels, tuple[str, ...]]:
        """See `LabelSource`."""
        model = self.model(adjacency)
        return _predicted(adjacency, model, self.unit_rows), _warning(model)

    def model(self, adjacency: "Adjacency") -> LinearModel:
        """The fitted classifier, from memory after the first call for a graph."""
        with _fitting:
            of_graphs = _fitted.setdefault(self, WeakKeyDictionary())
            model = of_graphs.get(adjacency)
            if model is None:
                inside = known_positions(adjacency, self.positives, "positives")
                outside = known_positions(adjacency, self.negatives, "negatives")
                both = np.intersect1d(inside, outside)
                if len(both):
                    raise ValueError(
                        f"positives and negatives must not share a node, found {len(both)} in both"
                    )
                model = _fit(adjacency, inside, outside, self.regularisation, self.unit_rows)
                of_graphs[adjacency] = model
        return model


@dataclass(frozen=True, eq=False)
class LabelsFromSeed:
    """Labels from nothing but the seeds: diffuse, take the nodes of highest score for inside.

    A plain flow diffusion of the query's mass is run; the positives are its `n_examples` nodes of
    highest score, the negatives as many random nodes outside its support. A logistic regression on
    features, fitted to them, labels what the query then reaches. Negatives are drawn from the whole
    graph without reading it, by a generator of `seed` and the query's seeds: the same query gets
    the same labels in any batch.

    Attributes:
        n_examples: Of each kind; fewer where the support or what is outside is smaller.
        seed: Of the draw.
        regularisation, unit_rows: See `LabelsFromExamples`.
        diffusion: The method of the first step, `FlowDiffusion` by default.

    Source: "Local Graph Clustering with Noisy Labels" (arXiv 2310.08031), the setting without
    ground-truth labels; how the examples are chosen is ours.
    """

    n_examples: int = 100
    seed: int = 0
    regularisation: float = 0.01
    unit_rows: bool = True
    diffusion: "LocalMethod | None" = None

    def __post_init__(self) -> None:
        if self.n_examples < 1:
            raise ValueError(f"n_examples must be at least 1, got {self.n_examples}")
        if not self.regularisation > 0:
            raise ValueError(f"regularisation must be positive, got {self.regularisation}")

    def labels_for(
        self, adjacency: "Adjacency", query: Query, workspace: "Workspace"
    ) -> tuple[Labels, tuple[str, ...]]:
        """See `LabelSource`.

        Raises:
            ValueError: No features, or the diffusion covers the whole graph.
        """
        inside, outside = self.examples(adjacency, query, workspace)
        model = _fit(adjacency, inside, outside, self.regularisation, self.unit_rows)
        return _predicted(adjacency, model, self.unit_rows), _warning(model)

    def examples(
        self, adjacency: "Adjacency", query: Query, workspace: "Workspace"
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of the positives and of the negatives, each ``[<= n_examples]``."""
        _require_features(adjacency)
        method = self.diffusion
        if method is None:
            from graphnoise.flow_diffusion.plain import FlowDiffusion

            method = FlowDiffusion()
        diffused = method.diffuse(adjacency, replace(query, labels=None), workspace)
        node = diffused.subgraph.node[: diffused.subgraph.used[NODES]]
        # a budget can end before anything is spread; seeds are inside all the same
        within = (diffused.score > 0) | np.isin(node, query.seeds)
        # equal scores by position: the order in which nodes were reached is nobody's business
        order = np.lexsort((node, -diffused.score, ~within))[: self.n_examples]
        inside = node[order[within[order]]]
        support = np.sort(node[within])
        rng = np.random.default_rng([self.seed, *np.sort(query.seeds).tolist()])
        return inside, draw_outside(rng, adjacency.n_nodes, support, self.n_examples)


def draw_outside(
    rng: np.random.Generator, n_nodes: int, support: NDArray[np.int64], wanted: int
) -> NDArray[np.int64]:
    """Distinct random positions outside a sorted support, in the order drawn.

    Raises:
        ValueError: There are none.
    """
    outside = n_nodes - len(support)
    if outside < 1:
        raise ValueError(
            "labels from the seed need nodes outside the diffusion, it reached them all"
        )
    if outside <= DRAWS_PER_NODE * wanted or DRAWS_PER_NODE * outside <= n_nodes:
        # most draws would repeat or fall inside; the support is then as large as the graph
        rest = np.setdiff1d(np.arange(n_nodes), support, assume_unique=True)
        return rng.permutation(rest)[:wanted]
    drawn = np.empty(0, np.int64)
    while len(drawn) < wanted:
        more = rng.integers(n_nodes, size=DRAWS_PER_NODE * wanted)
        at = np.minimum(np.searchsorted(support, more), len(support) - 1)
        fresh = np.concatenate([drawn, more[support[at] != more]])
        _, first = np.unique(fresh, return_index=True)
        drawn = fresh[np.sort(first)]
    return drawn[:wanted]


# models of each source for each graph; not in the source, which travels to other processes
_fitted: WeakKeyDictionary[LabelsFromExamples, "WeakKeyDictionary[Adjacency, LinearModel]"] = (
    WeakKeyDictionary()
)
_fitting = threading.Lock()


def _require_features(adjacency: "Adjacency") -> Any:
    if adjacency.features is None:
        raise ValueError("labels are learned from features, and the graph has none")
    return adjacency.features


def feature_rows(features: Any, nodes: NDArray[np.int64]) -> Any:
    """Rows of features on disk; scipy's own selection may copy all column numbers first."""
    if not sparse.issparse(features):
        return features[nodes]
    parts = [slice(features.indptr[node], features.indptr[node + 1]) for node in nodes.tolist()]
    lengths = [part.stop - part.start for part in parts]
    column = np.concatenate([features.indices[part] for part in parts])
    value = np.concatenate([features.data[part] for part in parts])
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    return sparse.csr_array((value, column, indptr), shape=(len(nodes), features.shape[1]))


def _fit(
    adjacency: "Adjacency",
    inside: NDArray[np.int64],
    outside: NDArray[np.int64],
    regularisation: float,
    scaled: bool,
) -> LinearModel:
    nodes = np.concatenate([inside, outside])
    rows = feature_rows(_require_features(adjacency), nodes)
    rows = unit_rows(rows) if scaled else rows
    return fit_linear(rows, np.arange(len(nodes)) < len(inside), regularisation)


def _predicted(adjacency: "Adjacency", model: LinearModel, scaled: bool) -> Labels:
    from graphnoise.local_clusters.compiled import score_dense, score_sparse

    features: Any = adjacency.features
    weight, intercept = model.weight, model.intercept

    def log_odds(nodes: NDArray[np.int64]) -> NDArray[np.float64]:
        out = np.empty(len(nodes))
        if sparse.issparse(features):
            start, column, value = features.indptr, features.indices, features.data
            score_sparse(nodes, start, column, value, weight, intercept, scaled, out)
        else:
            score_dense(nodes, features, weight, intercept, scaled, out)
        return out

    def label(nodes: NDArray[np.int64]) -> NDArray[np.int8]:
        return (log_odds(nodes) > 0).astype(np.int8)

    return Labels(function=label, evidence=log_odds)


def _warning(model: LinearModel) -> tuple[str, ...]:
    if not model.may_hurt:
        return ()
    return (
        f"labels may hurt: left out in turn, {model.right_inside:.0%} of the positives and"
        f" {model.right_outside:.0%} of the negatives are labelled right",
    )
