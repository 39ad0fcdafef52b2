"""A run of the compiled push: room, labels, budgets and the certificate."""

import time
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphnoise.local_clusters.adjacency import Adjacency
from graphnoise.local_clusters.base import Workspace
from graphnoise.local_clusters.cluster import Certificate, Diffused
from graphnoise.local_clusters.query import Labels, Query
from graphnoise.local_subgraph import NODES, plain_weighting, with_room

# entries visited between two looks at the clock: some hundredths of a second
SLICE = 5_000_000
_NO_LABELS, _PLAIN = Labels(), plain_weighting()


@dataclass(frozen=True, kw_only=True)
class PushSettings:
    """Settings that both forms of PageRank share.

    Attributes:
        teleport: Chance to return to a seed at each step of the walk, in (0, 1).
        epsilon: Nodes with less residual than this per degree are left alone; positive. Cost grows
            as ``1 / epsilon``, and so does what can be found.
    """

    teleport: float = 0.1
    epsilon: float = 1e-5

    default_rounding: ClassVar[str] = "sweep"

    def __post_init__(self) -> None:
        if not 0 < self.teleport < 1:
            raise ValueError(f"teleport must be in (0, 1), got {self.teleport}")
        if not 0 < self.epsilon < np.inf:
            raise ValueError(f"epsilon must be positive and finite, got {self.epsilon}")


class PushArrays(NamedTuple):
    """State of a run, over local numbers; arrays are at least as long as those of the subgraph.

    Attributes:
        settled: p, float64.
        residual: r, float64.
        bar: ``epsilon d_i``, float64.
        first, second: Nodes of this round and of the next, int32; they take turns, and are one
            longer than there are nodes.
        counts, spent: See `compiled`.
    """

    settled: NDArray[np.float64]
    residual: NDArray[np.float64]
    bar: NDArray[np.float64]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    counts: NDArray[np.int64]
    spent: NDArray[np.float64]


class PushRun:
    """One query being answered.

    Args:
        adjacency: The graph.
        query: Its mass must be None.
        workspace: Of this thread.
        settings: Of the walk.
        label_epsilon: Factor of edges between differing labels; 1 reads no labels.
    """

    def __init__(
        self,
        adjacency: Adjacency,
        query: Query,
        workspace: Workspace,
        *,
        settings: PushSettings,
        label_epsilon: float = 1.0,
    ) -> None:
        if query.mass is not None:
            raise ValueError(f"mass must be None, PageRank always spreads 1; got {query.mass}")
        self._adjacency, self._query, self._workspace = adjacency, query, workspace
        self._graph = adjacency.arrays
        self._settings, self._label_epsilon = settings, label_epsilon
        self._labels = _NO_LABELS
        if query.labels is not None and label_epsilon < 1:
            self._labels = query.labels
        self._sub = workspace.begin(weighted=len(adjacency.arrays.weights) > 0)
        if 2 * len(query.seeds) > len(self._sub.node):
            self._make_room(len(query.seeds), 0)
        limit = np.inf if query.budget.max_volume is None else query.budget.max_volume
        self._push = self._vectors(np.zeros(8, np.int64), np.array([0.0, limit, 0.0]))

    def answer(self) -> Diffused:
        """Push to the end, or to the budget's, and measure what was reached."""
        from graphnoise.local_pagerank import compiled

        stopped_by = self._run()
        sub, push, settings = self._sub, self._push, self._settings
        n = int(sub.used[NODES])
        excess = compiled.measure_residual(
            len(self._query.seeds), settings.teleport, self._label_epsilon, push.settled,
            push.residual, sub.degree, sub.start, sub.split, sub.stop, sub.weighted_degree,
            sub.neighbour, sub.weight, sub.used,
        )  # fmt: skip
        mass = push.settled[:n].copy()
        return Diffused(
            subgraph=sub,
            score=mass / sub.degree[:n],
            mass=mass,
            source_mass=1.0,
            certificate=Certificate("pagerank", excess, 0.0, 0.0, float("nan")),
            edges=int(push.counts[compiled.VISITS]),
            converged=not stopped_by,
            stopped_by=stopped_by,
        )

    def _run(self) -> str:
        """Push until nothing is left to push; returns the budget that ended it early, or ""."""
        from graphnoise.local_pagerank import compiled

        budget = self._query.budget
        deadline = None if budget.timeout is None else time.monotonic() + budget.timeout
        self._begin()
        if not np.all(self._sub.degree[: len(self._query.seeds)] > 0):
            raise ValueError("a seed node must have neighbours, found one without")
        while True:
            status = self._push_rounds(budget.max_edges)
            counts, used = self._push.counts, self._sub.used
            if status == compiled.DONE:
                return ""
            if status == compiled.VOLUME_USED:
                return "max_volume"
            if budget.max_edges is not None and counts[compiled.VISITS] >= budget.max_edges:
                return "max_edges"
            if deadline is not None and time.monotonic() > deadline:
                return "timeout"
            if status == compiled.NEEDS_ROOM:
                node, indptr = self._sub.node[counts[compiled.BLOCKED]], self._graph.indptr
                row = int(indptr[node + 1] - indptr[node])
                self._make_room(row, row)
                self._push = self._vectors(counts, self._push.spent)
            elif status == compiled.NEEDS_LABELS:
                self._ask(int(counts[compiled.LABELLED]), int(used[NODES]))
                counts[compiled.LABELLED] = used[NODES]

    def _begin(self) -> None:
        from graphnoise.local_pagerank import compiled

        graph, sub, push = self._graph, self._sub, self._push
        compiled.begin(
            self._query.seeds, self._settings.epsilon, graph.indptr, graph.strength,
            self._labels.array, self._labels.target, sub.table, sub.node, sub.slot, sub.degree,
            sub.label, sub.start, sub.split, sub.used, push.settled, push.residual, push.bar,
            push.first, push.counts,
        )  # fmt: skip

    def _push_rounds(self, max_edges: int | None) -> int:
        from graphnoise.local_pagerank import compiled

        settings, labels, push = self._settings, self._labels, self._push
        asks = labels.function is not None
        last_visit = int(push.counts[compiled.VISITS]) + SLICE
        if max_edges is not None:
            last_visit = min(last_visit, max_edges)
        return compiled.push_rounds(
            settings.teleport, settings.epsilon, self._label_epsilon, asks, last_visit,
            *self._graph, labels.array, labels.target, _PLAIN.dense, _PLAIN.row_start,
            _PLAIN.column, _PLAIN.value, *self._sub, *push,
        )  # fmt: skip

    def _ask(self, first: int, last: int) -> None:
        """Ask the label function about the local nodes `first` .. `last`, not asked before."""
        assert self._labels.function is not None
        found = np.asarray(self._labels.function(self._sub.node[first:last].copy()))
        if found.shape != (last - first,):
            raise ValueError(
                f"the label function must return [{last - first}] labels, got {found.shape}"
            )
        self._sub.label[first:last] = np.where(found < 0, -1, found == 1)

    def _make_room(self, nodes: int, edges: int) -> None:
        grown = with_room(
            self._sub, self._adjacency.n_nodes, more_nodes=nodes, more_edges=edges
        )  # fmt: skip
        self._sub = self._workspace.keep(grown)

    def _vectors(self, counts: NDArray[np.int64], spent: NDArray[np.float64]) -> PushArrays:
        """The workspace's vectors, as long as the subgraph; what they hold is kept."""
        vector, length = self._workspace.vector, len(self._sub.node)
        return PushArrays(
            settled=vector("pagerank_settled", length),
            residual=vector("pagerank_residual", length),
            bar=vector("pagerank_bar", length),
            first=vector("pagerank_first", length + 1, np.int32),
            second=vector("pagerank_second", length + 1, np.int32),
            counts=counts,
            spent=spent,
        )
