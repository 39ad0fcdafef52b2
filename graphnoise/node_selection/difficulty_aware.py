"""Central and typical nodes, after which unsure ones: sums of percentiles."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from graphnoise.node_selection.base import Selected, Situation
from graphnoise.node_selection.density import density
from graphnoise.node_selection.harmony import label_entropy
from graphnoise.node_selection.k_means import KMeansSettings
from graphnoise.node_selection.pagerank import pagerank
from graphnoise.node_selection.ranking import candidates, ranked, required


@dataclass(frozen=True)
class DifficultyAware:
    """``(1 - a) percentile(density) + a percentile(PageRank)``: easy for the LLM and well placed.

    Where a model has answered, AGE's third term joins: ``(1 - e)`` of the sum above
    ``+ e percentile(entropy)``.

    Attributes:
        centrality_weight: a; LLM-GNN's .33.
        entropy_weight: e, once probabilities are given; a third, as AGE's terms weigh on average.
        n_clusters: Of the density; None takes as many as there are classes.
        clustering: Amount of work of its k-means.

    Source:
        LLM-GNN, arXiv 2310.04668, difficulty-aware selection; AGE, arXiv 1705.05085.
    """

    centrality_weight: float = 0.33
    entropy_weight: float = 1 / 3
    n_clusters: int | None = None
    clustering: KMeansSettings = field(default_factory=KMeansSettings)
    name: str = field(default="difficulty_aware", init=False)

    def __post_init__(self) -> None:
        for setting in ("centrality_weight", "entropy_weight"):
            if not 0 <= getattr(self, setting) <= 1:
                raise ValueError(f"{setting} must lie in [0, 1], got {getattr(self, setting)}")

    def select(self, situation: Situation, budget: int) -> Selected:
        """The nodes of largest sum; the score is the sum, in (0, 1].

        Raises:
            ValueError: `budget` is below 1.
        """
        nodes, a = candidates(situation, budget), self.centrality_weight
        typical = percentile(density(situation, self.n_clusters, self.clustering)[nodes])
        central = percentile(pagerank(situation.graph.adjacency)[nodes])
        scores = (1 - a) * typical + a * central
        if situation.probabilities is not None:
            rows = required(situation.probabilities, "probabilities", self.name)
            e = self.entropy_weight
            scores = (1 - e) * scores + e * percentile(label_entropy(rows)[nodes])
        return ranked(nodes, scores, situation, budget)


def percentile(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of values that are no larger, in (0, 1]; equal values share their mean place."""
    # equal to 12 digits is equal: sums in another order must not part a tie
    rounded = np.round(values / max(float(np.abs(values).max(initial=0)), 1e-300), 12)
    return np.asarray(rankdata(rounded) / max(len(values), 1), dtype=np.float64)
