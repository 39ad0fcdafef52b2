"""Nodes whose labels reach most others by trustworthy paths: greedy coverage."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.node_selection.base import Selected, Situation
from graphnoise.node_selection.ranking import candidates
from labelnoise.kernels.label_propagation import normalise

# products of one block of rows; bounds what is held before the threshold
BLOCK_PRODUCTS = 4_000_000


@dataclass(frozen=True)
class ReliableInfluence:
    """Greedy maximum coverage, after RIM: a node is reached by a label that weighs enough there.

    The influence of v on u is ``(M^2)_uv`` with ``M = D^-1 (A + I)``, the share of v in what two
    averaging layers give u. A label at v reaches u where ``reliability_v * influence`` exceeds
    the threshold; each next node is the one that reaches most nodes not reached yet, which is
    within 1 - 1/e of the best set. Labels bought before have reached theirs already. RIM learns
    the reliability of the oracle from the similarity of its labels; here it comes from outside.

    Attributes:
        threshold: Weight that reaches, in (0, 1); small ones let one label reach two full hops.
        oracle_accuracy: Reliability where none is known: of a candidate without prior, and of a
            bought label without estimate.
        use_prior: Take the largest prior probability of a node as its reliability before asking:
            a text that the second opinion finds easy, the LLM mostly gets right.

    Source:
        Zhang et al., "RIM: Reliable Influence-based Active Learning on Graphs", NeurIPS 2021.
    """

    threshold: float = 0.04
    oracle_accuracy: float = 0.7
    use_prior: bool = True
    name: str = field(default="reliable_influence", init=False)

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must lie in (0, 1), got {self.threshold}")
        if not 0 < self.oracle_accuracy <= 1:
            raise ValueError(f"oracle_accuracy must lie in (0, 1], got {self.oracle_accuracy}")

    def select(self, situation: Situation, budget: int) -> Selected:
        """Greedy cover; the score is the number of nodes newly reached.

        Nodes that reach equally many: the largest total influence first. That also ranks what is
        left once everything is reached.

        Raises:
            ValueError: `budget` is below 1.
        """
        nodes = candidates(situation, budget)
        reliability = self.reliability(situation)
        reach, total = influence_above(
            situation.graph.adjacency, self.threshold, reliability=reliability
        )
        reached = np.zeros(situation.graph.n_nodes, bool)
        if situation.labels is not None:
            reached |= np.asarray((reach @ (situation.labels >= 0).astype(np.int64)) > 0)
        return greedy_cover(reach, nodes, min(budget, len(nodes)), reached=reached, ties=total)

    def reliability(self, situation: Situation) -> NDArray[np.float64]:
        """Probability ``[N]`` that the oracle's label of a node is right."""
        found = np.full(situation.graph.n_nodes, self.oracle_accuracy)
        if self.use_prior and situation.prior is not None:
            found = np.asarray(situation.prior, dtype=np.float64).max(axis=1)
        if situation.labels is not None:
            bought = situation.labels >= 0
            found[bought] = self.oracle_accuracy
            if situation.reliability is not None:
                known = bought & ~np.isnan(situation.reliability)
                found[known] = situation.reliability[known]
        return found


def influence_above(
    adjacency: sparse.csr_array, threshold: float, *, reliability: NDArray[np.float64]
) -> tuple[sparse.csr_array, NDArray[np.float64]]:
    """Who reaches whom, and how much influence a node has in all.

    Args:
        adjacency: ``[N, N]``.
        threshold: Entries of ``reliability_v (M^2)_uv`` above it are kept: rows of M^2 sum to 1,
            so each node keeps at most ``1 / threshold`` and memory is linear in N.
        reliability: Of each sender v ``[N]``.

    Returns:
        ``[N, N]`` CSR of ones, row u: the nodes v that reach u; and the column sums of the
        weighted M^2 ``[N]``.
    """
    walk = normalise(adjacency, "row", self_loops=True, dtype=np.float64)
    degrees = np.diff(walk.indptr)
    work = np.cumsum(walk @ degrees * degrees)
    kept = []
    first = 0
    while first < len(degrees):
        done = work[first - 1] if first else 0.0
        last = max(first + 1, int(np.searchsorted(work, done + BLOCK_PRODUCTS, side="right")))
        block = sparse.csr_array((walk[first:last] @ walk).multiply(reliability[None, :]))
        # an exact tie with the threshold must not hang on the order of a sum
        block.data = (block.data > threshold * (1 + 1e-9)).astype(np.int8)
        block.eliminate_zeros()
        kept.append(block)
        first = last
    total = reliability * (walk.T @ (walk.T @ np.ones(len(degrees))))
    return sparse.csr_array(sparse.vstack(kept, format="csr")), total


def greedy_cover(
    reach: sparse.csr_array,
    nodes: NDArray[np.int64],
    budget: int,
    *,
    reached: NDArray[np.bool_],
    ties: NDArray[np.float64],
) -> Selected:
    """`budget` of `nodes`, each the one that reaches most not yet reached rows.

    Gains are kept exact: a row that is reached leaves the gain of all who reach it, once.

    Args:
        reach: ``[N, N]`` CSR, row u holds the nodes that reach u.
        nodes: Candidates ``[M]``, M >= `budget`.
        budget: Nodes to take.
        reached: Rows reached before ``[N]``; not modified.
        ties: Among equal gains the largest of these ``[N]`` wins, then the lower node.
    """
    covers = sparse.csr_array(reach.T)
    open_rows = ~reached
    gain = np.asarray(covers.astype(np.int64) @ open_rows.astype(np.int64), dtype=np.float64)
    bonus = np.round(ties / (1 + ties.max(initial=0)), 12)  # below 1: only parts ties
    free = np.zeros(len(gain), bool)
    free[nodes] = True
    chosen, scores = np.empty(budget, np.int64), np.empty(budget)
    for step in range(budget):
        node = int(np.where(free, gain + bonus, -1).argmax())
        chosen[step], scores[step], free[node] = node, gain[node], False
        rows = covers.indices[covers.indptr[node] : covers.indptr[node + 1]]
        new = rows[open_rows[rows]]
        open_rows[new] = False
        if len(new):
            gain -= np.asarray(reach[new].sum(axis=0), dtype=np.float64)
    return Selected(chosen, scores)
