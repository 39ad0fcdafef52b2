"""One query from the caller's ids to the caller's ids: the way in to every local method."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from math import isfinite
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from graphnoise.local_clusters import CLUSTER_METHODS, ROUNDINGS
from graphnoise.local_clusters.adjacency import Adjacency, as_adjacency
from graphnoise.local_clusters.base import LocalMethod, Workspace
from graphnoise.local_clusters.cluster import Cluster, Diffused
from graphnoise.local_clusters.label_sources import LabelSource, as_label_source
from graphnoise.local_clusters.node_ids import known_positions, names_of
from graphnoise.local_clusters.query import Budget, Labels, Query
from graphnoise.local_clusters.rounding import Rounded, round_cluster
from graphnoise.local_clusters.warming import warm_up
from graphnoise.local_subgraph import NODES

WITHOUT_LABELS, WITH_LABELS = "flow_diffusion", "refined_flow_diffusion"
# graphs that one thread keeps memory for; a program rarely goes back and forth among more
HELD_WORKSPACES = 4


def local_cluster(
    graph: Any,
    seeds: Any,
    *,
    labels: Any = None,
    method: str | LocalMethod | None = None,
    rounding: str | None = None,
    mass: float | None = None,
    budget: Budget | None = None,
    target_label: int | None = None,
    workspace: Workspace | None = None,
) -> Cluster:
    """The cluster around one or more seed nodes.

    The work depends on the cluster, not on the graph, once the graph is an `Adjacency` or a store;
    other kinds are converted at every call (see `as_adjacency`), and so are arrays and mappings of
    labels (see `as_label_source`). Memory is kept per thread and graph from call to call.

    Args:
        graph: See `as_adjacency`.
        seeds: The caller's id of a node, or a sequence of ids; the graph's own numbers 0 .. N-1
            where it came without ids. Distinct, none isolated.
        labels: Believed membership of nodes, perhaps wrong; see `as_label_source`.
        method: A name of `CLUSTER_METHODS`, or one of its classes with settings of one's own; by
            default "refined_flow_diffusion" with labels, "flow_diffusion" without.
        rounding: "support" (all nodes of positive score), "labels" (those of label 1 among them)
            or "sweep" (the prefix of smallest conductance); by default the method's own.
        mass: How much is put on the seeds, in units of volume (sum of degrees), shared among them
            by degree; about twice the volume of the cluster one expects. By default the method
            finds one.
        budget: Where to stop early; then `Cluster.converged` is False and the best so far is
            returned.
        target_label: Class of `labels` that counts as 1.
        workspace: Memory to work in, in place of what is kept for this thread and graph.

    Raises:
        TypeError: A graph, labels or method of a kind that is not known.
        ValueError: A seed that is unknown, isolated or repeated, a mass that the component of the
            seeds cannot hold, labels that do not fit, a method or rounding that does not exist.
    """
    search = prepare_search(
        graph, labels=labels, method=method, rounding=rounding, mass=mass, budget=budget,
        target_label=target_label,
    )  # fmt: skip
    return search.cluster(seeds, workspace)


@dataclass(frozen=True, eq=False)
class Search:
    """A graph and the settings of queries on it, checked; safe to use from several threads.

    Attributes:
        adjacency: The graph.
        method: What diffuses.
        rounding: Of `ROUNDINGS`.
        labels: Where labels come from, or None.
        mass: In units of volume, or None.
        budget: Of each query.
        name, settings: Of the method, as they stand in every result.
    """

    adjacency: Adjacency
    method: LocalMethod
    rounding: str
    labels: LabelSource | None
    mass: float | None
    budget: Budget
    name: str
    settings: dict[str, Any] = field(default_factory=dict)

    def cluster(self, seeds: Any, workspace: Workspace | None = None) -> Cluster:
        """The cluster around one id, or a sequence of ids.

        Raises:
            ValueError: See `local_cluster`.
        """
        positions = known_positions(self.adjacency, seeds, "seeds")
        self._refuse_isolated(positions)
        warm_up(self)
        if workspace is not None:
            return self.answer(positions, workspace)
        with borrowed_workspace(self.adjacency) as held:
            return self.answer(positions, held)

    def answer(self, seeds: NDArray[np.int64], workspace: Workspace) -> Cluster:
        """The cluster around distinct positions ``[S]``, none isolated.

        Raises:
            ValueError: See `local_cluster`.
        """
        started = time.perf_counter()
        query, notes = Query(seeds, self.mass, None, self.budget), tuple[str, ...]()
        if self.labels is not None:
            labels, notes = self.labels.labels_for(self.adjacency, query, workspace)
            query = replace(query, labels=labels)
        diffused = self.method.diffuse(self.adjacency, query, workspace)
        if query.labels is not None:
            _label_unlabelled(diffused, query.labels)
        rounded = round_cluster(diffused, self.rounding, self.adjacency, n_seeds=len(seeds))
        return self._result(diffused, rounded, query, notes, started)

    def _result(
        self,
        diffused: Diffused,
        rounded: Rounded,
        query: Query,
        notes: tuple[str, ...],
        started: float,
    ) -> Cluster:
        members, sub = rounded.members, diffused.subgraph
        return Cluster(
            nodes=names_of(self.adjacency, sub.node[members]),
            score=diffused.score[members],
            seeds=names_of(self.adjacency, query.seeds),
            conductance=rounded.conductance,
            volume=rounded.volume,
            mass=diffused.source_mass,
            sweep=rounded.sweep,
            touched=max(int(sub.used[NODES]), diffused.touched_before),
            edges=diffused.edges,
            certificate=diffused.certificate,
            converged=diffused.converged,
            stopped_by=diffused.stopped_by,
            method=self.name,
            rounding=self.rounding,
            settings=self.settings,
            seconds=time.perf_counter() - started,
            labels=None if query.labels is None else sub.label[members],
            notes=(*notes, *diffused.notes),
        )

    def _refuse_isolated(self, positions: NDArray[np.int64]) -> None:
        indptr = self.adjacency.arrays.indptr
        isolated = positions[indptr[positions + 1] == indptr[positions]]
        if len(isolated):
            name = names_of(self.adjacency, isolated[:1])[0]
            raise ValueError(f"seeds must have neighbours, found none at {name!s}: it is isolated")


def prepare_search(
    graph: Any,
    *,
    labels: Any = None,
    method: str | LocalMethod | None = None,
    rounding: str | None = None,
    mass: float | None = None,
    budget: Budget | None = None,
    target_label: int | None = None,
) -> Search:
    """Check and convert everything that queries share; see `local_cluster` for the arguments.

    Raises:
        TypeError: See `local_cluster`.
        ValueError: See `local_cluster`.
    """
    if mass is not None and not (isfinite(mass) and mass > 0):
        raise ValueError(f"mass must be positive and finite, got {mass}")
    if labels is None and target_label is not None:
        raise ValueError(
            f"target_label is a class of labels, and there are none; got {target_label}"
        )
    if rounding is not None and rounding not in ROUNDINGS:
        raise ValueError(f"rounding must be one of {list(ROUNDINGS)}, got {rounding!r}")
    if rounding == "labels" and labels is None:
        raise ValueError("rounding 'labels' needs labels, got none")
    chosen = _chosen_method(method, with_labels=labels is not None)
    adjacency = as_adjacency(graph)
    source = None
    if labels is not None:
        source = as_label_source(labels, adjacency, target_label=target_label)
    rounding = rounding or str(getattr(chosen, "default_rounding", "support"))
    return Search(
        adjacency, chosen, rounding, source, mass, budget or Budget(),
        name=_method_name(chosen), settings=asdict(chosen),
    )  # fmt: skip


def _chosen_method(method: Any, *, with_labels: bool) -> Any:
    if method is None:
        method = WITH_LABELS if with_labels else WITHOUT_LABELS
    if isinstance(method, str):
        return CLUSTER_METHODS.load(method)()
    if isinstance(method, type) or not (is_dataclass(method) and hasattr(method, "diffuse")):
        raise TypeError(
            "method must be a name of CLUSTER_METHODS or a frozen dataclass with diffuse(), got"
            f" {method!r}"
        )
    return method


def _label_unlabelled(diffused: Diffused, labels: Labels) -> None:
    """Labels of the scored nodes, after a method that reads none."""
    sub = diffused.subgraph
    if (sub.label[: len(diffused.score)] >= 0).any():
        return
    scored = np.flatnonzero(diffused.score > 0)
    if labels.function is not None:
        sub.label[scored] = labels.function(sub.node[scored])
    else:
        found = labels.array[sub.node[scored]]
        sub.label[scored] = np.where(found < 0, -1, found == labels.target)


def _method_name(method: Any) -> str:
    """Its name in the registry, else that of its class."""
    target = f"{type(method).__module__}:{type(method).__qualname__}"
    return next(
        (name for name, entry in CLUSTER_METHODS.items() if entry.target == target),
        type(method).__qualname__,
    )


class _Held(threading.local):
    """What each thread keeps; a graph that is gone takes its workspace along."""

    def __init__(self) -> None:
        self.workspaces: WeakKeyDictionary[Adjacency, Workspace] = WeakKeyDictionary()


_held = _Held()


@contextmanager
def borrowed_workspace(adjacency: Adjacency) -> Iterator[Workspace]:
    """This thread's memory for a graph, for as long as the block runs.

    While it is lent, a query from inside the block (a label function that asks for clusters) gets
    memory of its own.
    """
    held = _held.workspaces
    workspace = held.pop(adjacency, None) or Workspace(adjacency.n_nodes)
    try:
        yield workspace
    finally:
        # the last used comes last, so that the first is the one to give up
        held[adjacency] = workspace
        while len(held) > HELD_WORKSPACES:
            held.pop(next(iter(held)))
