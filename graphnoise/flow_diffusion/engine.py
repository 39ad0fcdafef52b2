"""One run of flow diffusion: mass goes in, is spread until nothing overflows, and can be added to.

The run orchestrates; the loops are compiled, release the interpreter's lock, and come back when
they need room or labels, and every few hundredths of a second to look at the clock.
"""

import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphnoise.flow_diffusion import compiled
from graphnoise.flow_diffusion.conjugate import conjugate_arrays
from graphnoise.flow_diffusion.conjugate.compiled import settle
from graphnoise.flow_diffusion.feasibility import OverfullError, overfull_component
from graphnoise.flow_diffusion.settings import FlowSettings
from graphnoise.local_clusters.adjacency import Adjacency
from graphnoise.local_clusters.base import Workspace, weighs_edges
from graphnoise.local_clusters.cluster import Certificate, Diffused
from graphnoise.local_clusters.query import Budget, LabelFunction, Query
from graphnoise.local_subgraph import EDGES, EXPANDED, NODES, EdgeWeighting, Subgraph, with_room

__all__ = ["FlowArrays", "FlowRun", "FlowSettings", "answer"]

# entries visited between two looks at the clock, some hundredths of a second: so many, or fewer
# while the subgraph is small and most of the time goes elsewhere
SLICE, FIRST_SLICE, SLICE_PER_ENTRY = 5_000_000, 100_000, 50
# a mass that only just fits makes mass crawl from end to end; without a budget of the caller's own
# a run ends after this many visits, and this many per unit of mass
SAFETY_VISITS, SAFETY_VISITS_PER_MASS = 20_000_000, 2_000


class FlowArrays(NamedTuple):
    """State of a run, over local numbers; arrays are as long as those of the subgraph.

    Attributes:
        x: Dual variable, not negative, float64.
        mass: ``Delta - L x``, float64.
        listed: 1 for nodes listed for this round or the next, int8.
        first, second: The two lists, int32, one longer than the others; they take turns.
        source: Mass put on each seed; seeds have the lowest local numbers.
        counts: See `compiled`.
        spent: See `compiled`.
    """

    x: NDArray[np.float64]
    mass: NDArray[np.float64]
    listed: NDArray[np.int8]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    source: NDArray[np.float64]
    counts: NDArray[np.int64]
    spent: NDArray[np.float64]


class FlowRun:
    """A diffusion in progress. Serves until its workspace begins another query.

    Args:
        adjacency: The graph.
        weighting: What factors its edges get; `labels` of it are the array form of labels.
        workspace: Of this thread.
        seeds: Distinct positions ``[S]`` int64.
        settings: How to solve; None: as `FlowSettings` has it.
        label_function: Asked for the labels of reached nodes, at most once for each, in batches.
        budget: For the run as a whole, from now on.

    Raises:
        ValueError: A seed has no neighbours.
    """

    def __init__(
        self,
        adjacency: Adjacency,
        weighting: EdgeWeighting,
        workspace: Workspace,
        seeds: NDArray[np.int64],
        *,
        settings: FlowSettings | None = None,
        label_function: LabelFunction | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.adjacency, self.weighting = adjacency, weighting
        self.settings = settings or FlowSettings()
        self.label_function, self.budget = label_function, budget or Budget()
        self._workspace = workspace
        timeout = self.budget.timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._sub = workspace.begin(weighted=weighs_edges(adjacency, weighting))
        if len(seeds) > len(self._sub.node) // 2:
            self._make_room(len(seeds), 0)
        self._counts = np.zeros(compiled.N_COUNTS, np.int64)
        self._counts[[compiled.SEEDS, compiled.CLOSED_AT, compiled.CHECKED_AT]] = len(seeds), -1, -1
        limit = np.inf if self.budget.max_volume is None else self.budget.max_volume
        self._spent = np.array([0.0, limit, 0.0, 0.0])
        self._flow = self._vectors(len(seeds))
        compiled.touch_seeds(seeds, adjacency.arrays, weighting, self._sub, self._flow)
        degree = self._sub.degree[: len(seeds)]
        if not np.all(degree > 0):
            raise ValueError(
                f"a seed must have neighbours; node {int(seeds[np.argmin(degree)])} has none"
            )
        self._stopped_by = ""
        self._may_exceed = False

    @property
    def subgraph(self) -> Subgraph:
        """What the run has reached."""
        return self._sub

    @property
    def x(self) -> NDArray[np.float64]:
        """The dual variable ``[n]`` of the touched nodes."""
        return self._flow.x[: self._n]

    @property
    def mass(self) -> NDArray[np.float64]:
        """Mass ``[n]`` at the touched nodes."""
        return self._flow.mass[: self._n]

    @property
    def source_mass(self) -> float:
        """All mass put in so far."""
        return float(self._spent[compiled.MASS])

    @property
    def seed_volume(self) -> float:
        """Sum of the seeds' degrees."""
        return float(self._sub.degree[: self._counts[compiled.SEEDS]].sum())

    @property
    def edges(self) -> int:
        """Edge entries visited so far: copied, pushed along, multiplied, checked."""
        return int(self._counts[compiled.VISITS])

    def add_mass(self, amount: float) -> None:
        """Put more mass on the seeds, shared by degree.

        Raises:
            ValueError: Not positive and finite, or more in all than the whole graph can hold.
        """
        if not (amount > 0 and np.isfinite(amount)):
            raise ValueError(f"mass must be positive and finite, got {amount}")
        if self.source_mass + amount > self.adjacency.total_volume:
            raise ValueError(
                f"mass {self.source_mass + amount:.6g} exceeds the volume "
                f"{self.adjacency.total_volume:.6g} of the whole graph"
            )
        n_seeds = int(self._counts[compiled.SEEDS])
        degree = self._sub.degree[:n_seeds]
        share = amount * degree / degree.sum()
        self._flow.source[:n_seeds] += share
        self._flow.mass[:n_seeds] += share
        self._spent[compiled.MASS] += amount
        self._counts[[compiled.CLOSED_AT, compiled.CHECKED_AT]] = -1

    def restart(self, mass: float, *, x: NDArray[np.float64] | None = None) -> None:
        """Put another mass on the seeds, on the subgraph as it stands.

        Args:
            mass: Instead of all that was put in before.
            x: Where to start from, ``[k]`` over the first k touched nodes, zero beyond; None: from
                nothing.
        """
        n_seeds = int(self._counts[compiled.SEEDS])
        degree = self._sub.degree[:n_seeds]
        self._flow.source[:n_seeds] = mass * degree / degree.sum()
        self._spent[compiled.MASS] = mass
        self._counts[[compiled.CLOSED_AT, compiled.CHECKED_AT, compiled.ALLOWED]] = -1, -1, 0
        self.x[:] = 0.0
        if x is not None:
            self.x[: len(x)] = x
            self._may_exceed = True
        self._refresh()

    def solve(self, *, tolerance: float | None = None) -> str:
        """Spread until every node is settled.

        Args:
            tolerance: Instead of that of the settings.

        Returns:
            "", or the budget that ended the run; the state is then the best so far.

        Raises:
            ValueError: The seeds' component cannot hold the mass; or the label function answered
                with the wrong number of labels.
        """
        tolerance = self.settings.tolerance if tolerance is None else tolerance
        compiled.list_unsettled(tolerance, self._sub, self._flow)
        self._stopped_by = self._run(tolerance)
        return self._stopped_by

    def certificate(self) -> Certificate:
        """How far x is from optimal, by masses computed afresh from it."""
        self._refresh()
        found = compiled.conditions(self._flow.x, self._flow.mass, self._sub.degree, self._n)
        return Certificate("flow", *found)

    def diffused(self, *, tolerance: float | None = None, notes: tuple[str, ...] = ()) -> Diffused:
        """The answer as it stands, with its certificate."""
        certificate = self.certificate()
        tolerance = self.settings.tolerance if tolerance is None else tolerance
        # masses summed afresh differ from carried ones by rounding
        settled = certificate.within(tolerance * (1 + 1e-6) + 1e-12)
        return Diffused(
            subgraph=self._sub, score=self.x, mass=self.mass, source_mass=self.source_mass,
            certificate=certificate, edges=self.edges,
            converged=settled and not self._stopped_by, stopped_by=self._stopped_by, notes=notes,
        )  # fmt: skip

    def _refresh(self) -> None:
        """Compute every mass from x."""
        self._counts[compiled.VISITS] += compiled.masses(
            self._flow.x, self._flow.source, self._counts[compiled.SEEDS], self._flow.mass,
            self.weighting.epsilon, self._sub,
        )  # fmt: skip

    @property
    def _limit(self) -> int:
        if self.budget.max_edges is not None:
            return self.budget.max_edges
        return SAFETY_VISITS + int(SAFETY_VISITS_PER_MASS * self.source_mass)

    @property
    def _n(self) -> int:
        return int(self._sub.used[NODES])

    def _run(self, tolerance: float) -> str:
        limit = self._limit
        while True:
            if self.edges >= limit:
                self._refuse_overfull()
                return "max_edges"
            if self._deadline is not None and time.monotonic() > self._deadline:
                return "timeout"
            expanded, entries = self._sub.used[EXPANDED], self._sub.used[EDGES]
            a_while = min(SLICE, FIRST_SLICE + SLICE_PER_ENTRY * int(entries))
            status = self._advance(tolerance, min(limit, self.edges + a_while))
            if status == compiled.DONE:
                return ""
            if status == compiled.VOLUME_USED:
                return "max_volume"
            if status == compiled.CLOSED:
                self._refuse_overfull()
                self._counts[compiled.CLOSED_AT] = self._sub.used[EXPANDED]
            # one component may be overfull while another still grows, or is at rest half full
            if status == compiled.SLICE_USED and self._sub.used[EXPANDED] == expanded:
                self._refuse_overfull()
            if status == compiled.NEED_ROOM:
                self._make_row_room()
            if status == compiled.NEED_LABELS:
                self._ask_labels()

    def _advance(self, tolerance: float, last_visit: int) -> int:
        ask = self.label_function is not None
        graph, weighting, sub, flow = (
            self.adjacency.arrays, self.weighting, self._sub, self._flow,
        )  # fmt: skip
        if self.settings.order in ("auto", "conjugate"):
            work = conjugate_arrays(self._workspace, sub)
            return int(
                settle(tolerance, ask, last_visit, self._limit, graph, weighting, sub, flow, work)
            )
        omega = 1.0 if self.settings.order == "fifo" else self._omega()
        # a first-in-first-out run stays below the answer and has nothing to pull back
        pull_back = omega != 1.0 or self._may_exceed
        return int(
            compiled.push_rounds(
                omega, tolerance, pull_back, ask, last_visit, graph, weighting, sub, flow
            )
        )

    def _omega(self) -> float:
        if self.settings.omega == "auto":
            return 1.5 if self.weighting.epsilon < 1.0 else 1.25
        return float(self.settings.omega)

    def _ask_labels(self) -> None:
        assert self.label_function is not None
        first, last = int(self._counts[compiled.LABELLED]), self._n
        found = np.asarray(self.label_function(self._sub.node[first:last].copy()))
        if found.shape != (last - first,):
            raise ValueError(
                f"the label function must return [{last - first}] labels, got {found.shape}"
            )
        self._sub.label[first:last] = np.where(found < 0, -1, found == 1)
        self._counts[compiled.LABELLED] = last

    def _refuse_overfull(self) -> None:
        """Raise if the nodes that positive weights connect to the seeds cannot hold the mass."""
        if self._counts[compiled.CHECKED_AT] == self._sub.used[EXPANDED]:
            return
        self._counts[compiled.CHECKED_AT] = self._sub.used[EXPANDED]
        found = overfull_component(self._sub, self._flow.source, self.weighting.epsilon)
        if found is not None:
            raise OverfullError(found)

    def _make_row_room(self) -> None:
        node = self._sub.node[self._counts[compiled.BLOCKED]]
        row = int(self.adjacency.arrays.indptr[node + 1] - self.adjacency.arrays.indptr[node])
        self._make_room(row, row)

    def _make_room(self, more_nodes: int, more_edges: int) -> None:
        self._sub = with_room(
            self._sub, self.adjacency.n_nodes, more_nodes=more_nodes, more_edges=more_edges
        )
        self._workspace.keep(self._sub)
        if hasattr(self, "_flow"):
            self._flow = self._vectors(int(self._counts[compiled.SEEDS]))

    def _vectors(self, n_seeds: int) -> FlowArrays:
        length, vector = len(self._sub.node), self._workspace.vector
        return FlowArrays(
            x=vector("x", length), mass=vector("mass", length),
            listed=vector("listed", length, np.int8),
            first=vector("first list", length + 1, np.int32),
            second=vector("second list", length + 1, np.int32),
            source=vector("source", n_seeds),
            counts=self._counts, spent=self._spent,
        )  # fmt: skip


def answer(
    adjacency: Adjacency,
    weighting: EdgeWeighting,
    query: Query,
    workspace: Workspace,
    settings: FlowSettings,
    *,
    label_function: LabelFunction | None,
) -> Diffused:
    """Answer a query; what the methods share.

    Raises:
        ValueError: See `FlowRun`.
    """
    run = FlowRun(
        adjacency, weighting, workspace, query.seeds, settings=settings,
        label_function=label_function, budget=query.budget,
    )  # fmt: skip
    if query.mass is None:
        from graphnoise.flow_diffusion.mass_path import MassPath, follow_path

        return follow_path(run, MassPath())
    run.add_mass(query.mass)
    run.solve()
    return run.diffused()
