"""Where the labels of a query come from: arrays, mappings, functions, or a source of one's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from graphnoise.local_clusters.node_ids import id_positions
from graphnoise.local_clusters.query import LabelFunction, Labels, Query

if TYPE_CHECKING:
    from graphnoise.local_clusters.adjacency import Adjacency
    from graphnoise.local_clusters.base import Workspace

LARGEST = np.iinfo(np.int32).max
# a mapping that names a smaller share of the nodes is searched, not spread over the graph
DENSE_SHARE = 8


@runtime_checkable
class LabelSource(Protocol):
    """Makes the labels of each query; used by several threads at once."""

    def labels_for(
        self, adjacency: "Adjacency", query: Query, workspace: "Workspace"
    ) -> tuple[Labels, tuple[str, ...]]:
        """Labels of one query, and what the caller should know about them.

        Args:
            adjacency: The graph.
            query: Seeds, mass and budget; its labels are None.
            workspace: Free to use.

        Raises:
            ValueError: No labels can be made.
        """


@dataclass(frozen=True, eq=False)
class GivenLabels:
    """Labels known beforehand.

    Attributes:
        labels: With the class that counts as 1, unless the seeds decide.
        by_seeds: Whether the class that most seeds carry counts as 1.
        notes: Passed on to every answer.
    """

    labels: Labels
    by_seeds: bool = False
    notes: tuple[str, ...] = ()

    def labels_for(
        self, adjacency: "Adjacency", query: Query, workspace: "Workspace"
    ) -> tuple[Labels, tuple[str, ...]]:
        """See `LabelSource`.

        Raises:
            ValueError: The seeds have to name the class and none of them has a label.
        """
        if not self.by_seeds:
            return self.labels, self.notes
        of_seeds = self.labels.array[query.seeds]
        known = of_seeds[of_seeds >= 0]
        if not len(known):
            raise ValueError(
                "no seed has a label, so that the class of the cluster is not known; give"
                " target_label"
            )
        # the smallest of several that are equally frequent
        return replace(self.labels, target=int(np.bincount(known).argmax())), self.notes


def as_label_source(
    labels: Any, adjacency: "Adjacency", *, target_label: int | None = None
) -> LabelSource:
    """Bring labels into the form queries read; do it once where many queries share them.

    Args:
        labels: One of

            - an array ``[N]``, bool, or integers 1, 0 and -1 for unknown. Integers beyond 1 are
              classes: the one that counts is `target_label`, or the one most seeds carry;
            - a mapping (or pandas Series) of such labels by the caller's ids; other nodes are
              unknown;
            - a function of positions ``[n]`` int64, not ids, that gives their labels ``[n]``,
              asked for reached nodes only and once for each;
            - a `LabelSource` such as `LabelsFromExamples`, or `Labels`; returned as they are.
        adjacency: The graph.
        target_label: Class that counts as label 1; the others are label 0.

    Raises:
        TypeError: None of these.
        ValueError: Not one label per node, labels that are no integers, none that names a node.
    """
    if isinstance(labels, Labels):
        labels = GivenLabels(labels)
    if isinstance(labels, LabelSource):
        if target_label is not None:
            raise ValueError(
                f"target_label chooses among the classes of an array, a mapping or a function, not"
                f" of {type(labels).__name__}"
            )
        return labels
    if type(labels).__name__ == "Series":
        labels = labels.to_dict()
    if isinstance(labels, Mapping):
        return _from_mapping(labels, adjacency, target_label)
    if callable(labels):
        return GivenLabels(Labels(function=_checked(labels, target_label)))
    array = np.asarray(labels)
    if array.dtype == object:
        raise TypeError(
            f"labels must be an array, a mapping, a function or a LabelSource, got"
            f" {type(labels).__name__}"
        )
    if array.shape != (adjacency.n_nodes,):
        raise ValueError(
            f"labels must be [{adjacency.n_nodes}], one per node, got {list(array.shape)}"
        )
    classes = _classes(array)
    target, by_seeds = _target(array, target_label)
    return GivenLabels(Labels(classes, target), by_seeds)


def _classes(values: NDArray[Any]) -> NDArray[np.int32]:
    """Classes as compiled code reads them, writable."""
    if values.dtype.kind not in "biu":
        raise ValueError(
            f"labels must be bool or integers (-1 where unknown), got dtype {values.dtype}"
        )
    if values.size and values.dtype.itemsize > 4 and max(values.max(), -values.min()) > LARGEST:
        raise ValueError(f"labels must fit 32 bits, found {values.min()} .. {values.max()}")
    return np.require(values, np.int32, ["C", "W"])


def _target(values: NDArray[Any], target_label: int | None) -> tuple[int, bool]:
    """The class that counts as label 1, and whether the seeds shall decide instead."""
    if target_label is not None:
        if not (values == target_label).any():
            raise ValueError(
                f"target_label must be a class of the labels, found none {target_label}"
            )
        return int(target_label), False
    return 1, bool(values.max(initial=0) > 1)


def _from_mapping(
    labels: Mapping[Any, Any], adjacency: "Adjacency", target_label: int | None
) -> GivenLabels:
    positions = id_positions(adjacency, list(labels))
    values = np.asarray(list(labels.values()))
    classes = _classes(values if len(values) else np.empty(0, np.int32))
    found = positions >= 0
    if not found.any():
        raise ValueError(f"labels must name nodes of the graph, found none among {len(labels)} ids")
    n_nodes, n_found = adjacency.n_nodes, int(found.sum())
    notes = []
    if n_found < n_nodes:
        notes.append(f"{n_nodes - n_found} of {n_nodes} nodes have no label: unknown")
    if n_found < len(labels):
        notes.append(f"{len(labels) - n_found} labels are of no node of the graph: not used")
    positions, classes = positions[found], classes[found]
    target, by_seeds = _target(classes, target_label)
    if DENSE_SHARE * n_found >= n_nodes or by_seeds:
        array = np.full(n_nodes, -1, np.int32)
        array[positions] = classes
        return GivenLabels(Labels(array, target), by_seeds, tuple(notes))
    function = _search(positions, classes == target, classes < 0)
    return GivenLabels(Labels(function=function), notes=tuple(notes))


def _search(
    positions: NDArray[np.int64], inside: NDArray[np.bool_], unknown: NDArray[np.bool_]
) -> LabelFunction:
    order = np.argsort(positions)
    place, value = positions[order], np.where(unknown, -1, inside).astype(np.int8)[order]

    def look_up(nodes: NDArray[np.int64]) -> NDArray[np.int8]:
        at = np.minimum(np.searchsorted(place, nodes), len(place) - 1)
        return np.where(place[at] == nodes, value[at], np.int8(-1))

    return look_up


def _checked(function: Callable[[Any], Any], target_label: int | None) -> LabelFunction:
    target = 1 if target_label is None else target_label

    def ask(nodes: NDArray[np.int64]) -> NDArray[np.int8]:
        answer = np.asarray(function(nodes))
        if answer.shape != nodes.shape or answer.dtype.kind not in "biu":
            raise ValueError(
                f"a label function must give one bool or integer per node, [{len(nodes)}], got"
                f" {list(answer.shape)} of dtype {answer.dtype}"
            )
        if target_label is None and answer.max(initial=0) > 1:
            raise ValueError(
                f"a label function must give 1, 0 or -1 unless target_label is given, got"
                f" {answer.max()}"
            )
        signed = answer.astype(np.int64)
        return np.where(signed < 0, -1, signed == target).astype(np.int8)

    return ask
