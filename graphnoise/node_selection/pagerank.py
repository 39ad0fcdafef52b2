"""The nodes a random surfer is met at most often."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.node_selection.base import Selected, Situation
from graphnoise.node_selection.ranking import candidates, ranked
from labelnoise.kernels.label_propagation import normalise

TOLERANCE, MOST_STEPS = 1e-10, 1000


@dataclass(frozen=True)
class PageRank:
    """Largest global PageRank first.

    Attributes:
        damping: Probability of following an edge; .85 as usual.

    Source:
        The selector "PageRank" of LLM-GNN, arXiv 2310.04668.
    """

    damping: float = 0.85
    name: str = field(default="pagerank", init=False)

    def select(self, situation: Situation, budget: int) -> Selected:
        """The nodes of largest PageRank; the score is that.

        Raises:
            ValueError: `budget` is below 1, or `damping` is out of range.
        """
        nodes = candidates(situation, budget)
        scores = pagerank(situation.graph.adjacency, self.damping)
        return ranked(nodes, scores[nodes], situation, budget)


def pagerank(adjacency: sparse.csr_array, damping: float = 0.85) -> NDArray[np.float64]:
    """PageRank ``[N]`` by power iteration, to 1e-10 in L1; sums to 1.

    ``x = damping (A D^-1 x + share of isolated nodes, spread evenly) + (1 - damping) / N``. Not
    personalised: for one seed there is `graphnoise.local_pagerank`.

    Args:
        adjacency: ``[N, N]``, non-negative, symmetric.
        damping: In ``[0, 1)``.

    Raises:
        ValueError: `damping` is out of range.
    """
    if not 0 <= damping < 1:
        raise ValueError(f"damping must lie in [0, 1), got {damping}")
    n_nodes = adjacency.shape[0]
    step = normalise(adjacency, "column", dtype=np.float64)
    isolated = np.diff(adjacency.indptr) == 0
    rank = np.full(n_nodes, 1 / n_nodes)
    for _ in range(MOST_STEPS):
        after = damping * (step @ rank + rank[isolated].sum() / n_nodes) + (1 - damping) / n_nodes
        moved, rank = float(np.abs(after - rank).sum()), after
        if moved < TOLERANCE:
            break
    return rank
