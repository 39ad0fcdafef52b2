"""Locle's first selection: clusters among the leading singular vectors of smoothed texts."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.node_selection.base import Selected, Situation
from graphnoise.node_selection.k_means import KMeansSettings, k_means
from graphnoise.node_selection.quotas import best_of_each
from graphnoise.node_selection.ranking import candidates, ranked
from graphnoise.text_graph import unit_rows
from labelnoise.kernels.label_propagation import normalise, propagate

COLUMN_BLOCK, ROW_BLOCK = 128, 16384


@dataclass(frozen=True)
class Subspace:
    """Nodes nearest to k-means centres among rows of the leading left singular vectors.

    ``H = X + sum_{i <= steps} alpha^i W^i X``, ``W = D^-1 A``; the score of a node is
    ``1 / (1 + distance of its row of U_q to its centre)``. `paper` takes the best over the whole
    graph, and nodes of small leverage lie near a centre close to the origin, so that one dense
    cluster can take the whole budget; the default gives each cluster its share of the calls.
    The released code smooths by one hop only, which is not offered.

    Attributes:
        steps: t; 2 hops.
        alpha: Weight of a hop, >= 0; 1.
        rank: q, singular vectors; fewer where H has a smaller rank. 128 as for Cora.
        clusters_per_class: K is this times the number of classes; None takes K = budget.
        quota: Share the budget among clusters by size; False takes the best of the graph.
        normalise_rows: Rows of U_q to length 1. On Cora whole classes were then missed.
        clustering: Amount of work of k-means.

    Source:
        Locle, arXiv 2412.11983, initial node selection.
    """

    steps: int = 2
    alpha: float = 1.0
    rank: int = 128
    clusters_per_class: int | None = 1
    quota: bool = True
    normalise_rows: bool = False
    clustering: KMeansSettings = field(default_factory=KMeansSettings)
    name: str = field(default="subspace", init=False)

    def __post_init__(self) -> None:
        if self.steps < 0 or self.alpha < 0:
            raise ValueError(
                f"steps and alpha must not be negative, got {self.steps} and {self.alpha}"
            )
        for setting in ("rank", "clusters_per_class"):
            value = getattr(self, setting)
            if value is not None and value < 1:
                raise ValueError(f"{setting} must be at least 1, got {value}")

    @classmethod
    def paper(cls, *, rank: int = 128, clusters_per_class: int | None = 1) -> "Subspace":
        """The paper's intent: two hops, the best over the whole graph, no quota."""
        return cls(rank=rank, clusters_per_class=clusters_per_class, quota=False)

    def select(self, situation: Situation, budget: int) -> Selected:
        """The nodes nearest to their centres; the score says how near.

        Raises:
            ValueError: `budget` is below 1.
        """
        nodes, graph = candidates(situation, budget), situation.graph
        per_class = self.clusters_per_class
        wanted = budget if per_class is None else per_class * graph.n_classes
        rows = self._rows(graph.adjacency, graph.embedding)
        clusters = k_means(
            rows, min(wanted, graph.n_nodes), seed=situation.seed, settings=self.clustering
        )
        scores = 1 / (1 + clusters.distance.astype(np.float64))[nodes]
        if self.quota:
            part = clusters.cluster[nodes]
            kept = best_of_each(nodes, part, scores, budget, sizes=clusters.sizes)
            nodes, scores = nodes[kept], scores[kept]
        return ranked(nodes, scores, situation, budget)

    def _rows(
        self, adjacency: sparse.csr_array, embedding: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        smooth = smoothed(adjacency, embedding, steps=self.steps, alpha=self.alpha)
        vectors = left_singular_vectors(smooth, self.rank)
        return unit_rows(vectors) if self.normalise_rows else vectors


def smoothed(
    adjacency: sparse.csr_array, embedding: NDArray[np.float32], *, steps: int, alpha: float
) -> NDArray[np.float32]:
    """``X + sum_{i = 1 .. steps} alpha^i (D^-1 A)^i X`` ``[N, D]``."""
    walk = normalise(adjacency, "row", dtype=np.float32)
    summed = embedding.astype(np.float32, copy=True)
    term = embedding
    for power in range(1, steps + 1):
        term = propagate(walk, term, neighbour_weight=1.0, n_steps=1, class_block=COLUMN_BLOCK)
        summed += np.float32(alpha**power) * term
    return summed


def left_singular_vectors(rows: NDArray[np.float32], rank: int) -> NDArray[np.float32]:
    """Leading left singular vectors ``[N, q]``, q = min(rank, numerical rank), at least 1.

    By the eigenvectors of the ``[D, D]`` product of the columns, in float64: exact, and two
    passes over the rows. Vectors of a singular value below 1e-6 of the largest are left out: they
    are rounding.
    """
    product = np.zeros((rows.shape[1], rows.shape[1]))
    for first in range(0, len(rows), ROW_BLOCK):
        block = rows[first : first + ROW_BLOCK].astype(np.float64)
        product += block.T @ block
    values, vectors = np.linalg.eigh(product)
    values, vectors = np.sqrt(np.maximum(values[::-1], 0)), vectors[:, ::-1]
    kept = max(1, min(rank, len(rows), int((values > 1e-6 * values[0]).sum())))
    scaled = vectors[:, :kept] / np.where(values[:kept] > 0, values[:kept], 1)
    return rows @ scaled.astype(np.float32)
