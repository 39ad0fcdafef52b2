"""The one checked form in which every method sees a graph: CSR, features, given labels."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

UNLABELLED = -1
# below this share of non-zeros a CSR product is cheaper than a dense one on every machine we tried
SPARSE_DENSITY = 0.2

Features: TypeAlias = NDArray[np.float32] | sparse.csr_array


@dataclass(frozen=True, eq=False)
class LabelledGraph:
    """A graph whose given labels may be wrong. Arrays are shared, never modified.

    Attributes:
        adjacency: Edge weights ``[N, N]`` float32 CSR: symmetric, no self loops, no duplicates.
        features: ``[N, F]`` float32, a CSR matrix where few entries are non-zero.
        given: Label as given ``[N]`` int64; `UNLABELLED` where there is none.
        train, validation, test: Masks ``[N]`` bool, pairwise disjoint. Nodes of the first two
            carry a given label, and both are as noisy as the labels are.
        class_names: One name per class; its length is the number of classes.
        truth: Clean labels ``[N]`` where known (benchmarks, simulated noise), else None. Methods
            read them only under ``selection="clean_validation"``.
        node_names: The caller's ids ``[N]``, int64 or str.
        texts: A text per node for reports, or None.
        name: Name of the data set.
        notes: What was done to the input, in words (symmetrised, self loops removed, ...).
    """

    adjacency: sparse.csr_array
    features: Features
    given: NDArray[np.int64]
    train: NDArray[np.bool_]
    validation: NDArray[np.bool_]
    test: NDArray[np.bool_]
    class_names: tuple[str, ...]
    truth: NDArray[np.int64] | None = None
    node_names: NDArray[Any] | None = None
    texts: tuple[str, ...] | None = None
    name: str = "graph"
    notes: tuple[str, ...] = field(default=())

    @property
    def n_nodes(self) -> int:
        """Number of nodes, N."""
        return int(self.adjacency.shape[0])

    @property
    def n_classes(self) -> int:
        """Number of classes, K."""
        return len(self.class_names)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Nodes ``[N]`` that carry a given label and are in train or validation."""
        return self.train | self.validation

    @property
    def ids(self) -> NDArray[Any]:
        """The caller's node ids, or 0 .. N-1."""
        return np.arange(self.n_nodes) if self.node_names is None else self.node_names

    def with_given(self, labels: ArrayLike) -> "LabelledGraph":
        """The same graph with other given labels ``[N]``; only labelled nodes take them.

        Raises:
            ValueError: Wrong shape or a label out of range.
        """
        new = np.where(self.labelled, np.asarray(labels), UNLABELLED).astype(np.int64)
        check_labels(new, self.labelled, self.n_classes)
        return replace(self, given=new)


def graph_from_arrays(
    edge_index: ArrayLike,
    features: Any,
    labels: ArrayLike,
    *,
    masks: Mapping[str, ArrayLike] | None = None,
    edge_weight: ArrayLike | None = None,
    class_names: tuple[str, ...] | None = None,
    seed: int = 0,
    name: str = "graph",
    truth: ArrayLike | None = None,
    node_names: NDArray[Any] | None = None,
    texts: tuple[str, ...] | None = None,
) -> LabelledGraph:
    """Check arrays and bring them into the form every method reads.

    A directed graph is made undirected (the larger weight of the two directions), self loops and
    duplicate edges are dropped, isolated nodes stay; each is recorded in `LabelledGraph.notes`. A
    class without a training node stays and is noted: no method can propose it.

    Args:
        edge_index: ``[2, E]`` integer end points.
        features: ``[N, F]``, an array or a scipy sparse matrix; finite.
        labels: ``[N]`` integers in ``0 .. K-1``, or `UNLABELLED`.
        masks: "train", "validation", "test" -> ``[N]`` bool. Without "train" every labelled node
            is in training; without "validation" a fifth of training, drawn per class, is held out.
        edge_weight: ``[E]`` non-negative, finite; 1 by default.
        class_names: Defaults to "0", "1", ... up to the largest label of `labels` and `truth`.
        seed: Of the hold-out draw.
        name: Name of the data set.
        truth: Clean labels ``[N]`` for scoring, where known.
        node_names: Ids ``[N]`` to report instead of positions.
        texts: Text of each node, shown in reports.

    Raises:
        ValueError: An end point, label, feature or weight out of range, a mask that selects
            nothing or an unlabelled node, overlapping masks, fewer than two classes.
    """
    labels = np.asarray(labels).reshape(-1).astype(np.int64)
    n_nodes = len(labels)
    notes: list[str] = []
    checked = check_features(features, n_nodes)
    adjacency = _symmetric_csr(np.asarray(edge_index), edge_weight, n_nodes, notes)
    known = labels if truth is None else np.concatenate([labels, np.asarray(truth)])
    largest = int(known.max(initial=UNLABELLED))
    names = class_names or tuple(str(k) for k in range(largest + 1))
    if len(names) < 2:
        raise ValueError(f"labels must name at least 2 classes, found {len(names)}")
    train, validation, test = _split(labels, masks or {}, seed, notes)
    check_labels(labels, train | validation, len(names))
    empty = np.setdiff1d(np.arange(len(names)), labels[train])
    if len(empty):
        notes.append(f"{len(empty)} classes have no training node: {[names[k] for k in empty[:5]]}")
    return LabelledGraph(
        adjacency, checked, np.where(train | validation, labels, UNLABELLED),
        train, validation, test, tuple(names),
        truth=None if truth is None else np.asarray(truth, dtype=np.int64),
        node_names=node_names, texts=texts, name=name, notes=tuple(notes),
    )  # fmt: skip


def check_features(features: Any, n_nodes: int) -> Features:
    """Features as float32, CSR where sparse pays.

    Raises:
        ValueError: Not ``[N, F]``, or a value is NaN or infinite (the first is named).
    """
    shape = tuple(features.shape)
    if len(shape) != 2 or shape[0] != n_nodes:
        raise ValueError(f"features must be [{n_nodes}, F], got {shape}")
    if sparse.issparse(features):
        matrix = sparse.csr_array(features, dtype=np.float32)
        rows = np.repeat(np.arange(n_nodes), np.diff(matrix.indptr))
        _refuse_non_finite(matrix.data, rows)
        dense_enough = matrix.nnz > SPARSE_DENSITY * np.prod(shape)
        return matrix.toarray() if dense_enough else matrix
    array = np.asarray(features, dtype=np.float32)
    _refuse_non_finite(array.sum(axis=1, dtype=np.float64), np.arange(n_nodes))
    few = np.count_nonzero(array) < SPARSE_DENSITY * array.size
    return sparse.csr_array(array) if few else array


def check_labels(labels: NDArray[np.int64], where: NDArray[np.bool_], n_classes: int) -> None:
    """Raise ValueError unless every label under the mask lies in ``0 .. n_classes - 1``."""
    bad = np.flatnonzero(where & ((labels < 0) | (labels >= n_classes)))
    if len(bad):
        raise ValueError(
            f"labels must lie in 0 .. {n_classes - 1}, found {labels[bad[0]]} at node {bad[0]}"
            f" ({len(bad)} such nodes)"
        )
    if labels.min(initial=UNLABELLED) < UNLABELLED:
        raise ValueError(f"labels below {UNLABELLED} have no meaning, found {labels.min()}")


def _refuse_non_finite(values: NDArray[Any], rows: NDArray[np.int64]) -> None:
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ValueError(f"features must be finite, found NaN or infinity at node {rows[bad[0]]}")


def _symmetric_csr(
    edges: NDArray[Any], weight: ArrayLike | None, n_nodes: int, notes: list[str]
) -> sparse.csr_array:
    if edges.ndim != 2 or edges.shape[0] != 2:
        raise ValueError(f"edge_index must be [2, E], got {tuple(edges.shape)}")
    if edges.size and (edges.min() < 0 or edges.max() >= n_nodes):
        raise ValueError(
            f"edge_index must lie in 0 .. {n_nodes - 1}, found {edges.min()} .. {edges.max()}"
        )
    source, target = edges.astype(np.int64)
    weights = np.ones(len(source), np.float32) if weight is None else np.asarray(weight, np.float32)
    if weights.shape != source.shape or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"edge_weight must be [{len(source)}], finite and non-negative")
    loops = source == target
    if loops.any():
        notes.append(f"{loops.sum()} self loops removed")
        source, target, weights = source[~loops], target[~loops], weights[~loops]
    directed = _keep_largest(source, target, weights, n_nodes)
    if directed.nnz < len(source):
        notes.append(f"{len(source) - directed.nnz} duplicate edges merged")
    adjacency = sparse.csr_array(directed.maximum(directed.T))
    if adjacency.nnz != directed.nnz:
        notes.append(f"made undirected: {adjacency.nnz - directed.nnz} reverse edges added")
    isolated = int((np.diff(adjacency.indptr) == 0).sum())
    if isolated:
        notes.append(f"{isolated} isolated nodes kept")
    adjacency.sort_indices()
    return adjacency


def _keep_largest(
    source: NDArray[np.int64], target: NDArray[np.int64], weights: NDArray[np.float32], n_nodes: int
) -> sparse.csr_array:
    # a COO constructor would add duplicates up; an edge said twice is still one edge
    order = np.lexsort((-weights, target, source))
    source, target, weights = source[order], target[order], weights[order]
    first = np.ones(len(source), bool)
    first[1:] = (source[1:] != source[:-1]) | (target[1:] != target[:-1])
    return sparse.csr_array(
        (weights[first], (source[first], target[first])), shape=(n_nodes, n_nodes)
    )


def _split(
    labels: NDArray[np.int64], masks: Mapping[str, ArrayLike], seed: int, notes: list[str]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    none = np.zeros(len(labels), bool)
    chosen = {key: np.asarray(mask, dtype=bool) for key, mask in masks.items()}
    for key, mask in chosen.items():
        if mask.shape != labels.shape:
            raise ValueError(f"{key} mask must be [{len(labels)}], got {mask.shape}")
    test = chosen.get("test", none)
    train = chosen.get("train", (labels != UNLABELLED) & ~test & ~chosen.get("validation", none))
    if not train.any():
        raise ValueError("the training mask selects no node")
    validation = chosen.get("validation", none)
    if not validation.any():
        validation = _hold_out(labels, train, seed)
        train = train & ~validation
        notes.append(f"{validation.sum()} training nodes held out for (noisy) validation")
    if (train & validation).any() or (test & (train | validation)).any():
        raise ValueError("masks must be disjoint, found a node in two of train, validation, test")
    return train, validation, test


def _hold_out(labels: NDArray[np.int64], train: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    rng, held = np.random.default_rng(seed), np.zeros(len(labels), bool)
    for label in np.unique(labels[train]):
        members = np.flatnonzero(train & (labels == label))
        held[rng.permutation(members)[: len(members) // 5]] = True
    return held
