"""The one checked form in which every method sees a graph: CSR, features, given labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

UNLABELLED = -1
SPLITS = ("train", "validation", "test")
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
        class_definitions: A sentence per class ("" for none) where the data set has them, for
            annotators that must know what a class means, else None.
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
    class_definitions: tuple[str, ...] | None = None

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
        array = _label_array("labels", labels)
        if len(array) != self.n_nodes:
            raise ValueError(f"labels must be [{self.n_nodes}], got [{len(array)}]")
        new = np.where(self.labelled, array, UNLABELLED)
        check_labels(new, self.labelled, self.n_classes)
        return replace(self, given=new)


def graph_from_arrays(
    edge_index: ArrayLike,
    features: Any,
    labels: ArrayLike,
    *,
    masks: Mapping[str, ArrayLike] | None = None,
    edge_weight: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    name: str = "graph",
    truth: ArrayLike | None = None,
    node_names: NDArray[Any] | None = None,
    texts: tuple[str, ...] | None = None,
    labels_required: bool = True,
) -> LabelledGraph:
    """Check arrays and bring them into the form every method reads.

    A directed graph is made undirected (the larger weight of the two directions); self loops,
    duplicate edges (the largest weight stays) and edges of weight 0 are dropped; isolated nodes
    stay. Each is recorded in `LabelledGraph.notes`. A class without a training node stays and is
    noted: no method can propose it.

    Args:
        edge_index: ``[2, E]`` integer end points.
        features: ``[N, F]``, an array or a scipy sparse matrix; finite.
        labels: ``[N]`` or ``[N, 1]`` integers in ``0 .. K-1``, or `UNLABELLED`.
        masks: "train", "validation", "test" -> ``[N]`` bool. Without "train" every labelled node
            is in training; without "validation" a fifth of training, drawn per class, is held out.
        edge_weight: ``[E]`` non-negative, finite; 1 by default.
        class_names: Defaults to "0", "1", ... up to the largest label of `labels` and `truth`.
        seed: Of the hold-out draw.
        name: Name of the data set.
        truth: Clean labels ``[N]`` for scoring, where known; `UNLABELLED` where not.
        node_names: Distinct ids ``[N]`` to report instead of positions.
        texts: Text of each node, shown in reports.
        labels_required: False for a graph that is still to be labelled: there may be no label and
            no class, `masks` are not read, and every label there is counts as training.

    Raises:
        ValueError: An end point, label, feature or weight out of range or not a number, a
            training or validation mask that selects nothing or an unlabelled node, overlapping
            masks, fewer than two classes, ids that repeat.
    """
    given = _label_array("labels", labels)
    clean = None if truth is None else _label_array("truth", truth)
    n_nodes, notes = len(given), list[str]()
    for key, array in (("truth", clean), ("node_names", node_names), ("texts", texts)):
        if array is not None and len(array) != n_nodes:
            raise ValueError(f"{key} must have one entry per label, {n_nodes}, got {len(array)}")
    checked = check_features(features, n_nodes)
    adjacency = _symmetric_csr(np.asarray(edge_index), edge_weight, n_nodes, notes)
    known = given if clean is None else np.concatenate([given, clean])
    names = _class_names(class_names, known, at_least=2 if labels_required else 0)
    check_labels(given, given != UNLABELLED, len(names))
    if clean is not None:
        check_labels(clean, clean != UNLABELLED, len(names))
    if node_names is not None:
        _refuse_repeated("node_names", np.asarray(node_names))
    if labels_required:
        train, validation, test = _split(given, masks or {}, seed, notes)
    else:
        train, validation, test = given != UNLABELLED, *np.zeros((2, n_nodes), bool)
    empty = np.setdiff1d(np.arange(len(names)), given[train]) if labels_required else ()
    if len(empty):
        notes.append(f"{len(empty)} classes have no training node: {[names[k] for k in empty[:5]]}")
    return LabelledGraph(
        adjacency, checked, np.where(train | validation, given, UNLABELLED),
        train, validation, test, names,
        truth=clean, node_names=node_names, texts=texts, name=name, notes=tuple(notes),
    )  # fmt: skip


def check_features(features: Any, n_nodes: int) -> Features:
    """Features as float32, CSR where sparse pays; the input is not modified.

    Raises:
        ValueError: Not numbers ``[N, F]``, or a value is NaN, infinite or beyond float32 (the
            first such node is named).
    """
    if not sparse.issparse(features):
        features = np.asarray(features)
    shape = tuple(features.shape)
    if len(shape) != 2 or shape[0] != n_nodes:
        raise ValueError(f"features must be [{n_nodes}, F], one row per label, got {shape}")
    if features.dtype.kind not in "biuf":
        raise ValueError(f"features must be real numbers, got dtype {features.dtype}")
    # a value too large for float32 becomes infinite here and is refused below
    with np.errstate(over="ignore"):
        if sparse.issparse(features):
            return _checked_csr(sparse.csr_array(features, dtype=np.float32, copy=True))
        array = features.astype(np.float32, copy=False)
    _refuse_non_finite(~np.isfinite(array).all(axis=1))
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


def _label_array(argument: str, labels: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{argument} must be [N], got {array.shape}")
    # NaN would turn into some integer without a word
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"{argument} must be integers, got dtype {array.dtype}")
    return array.astype(np.int64)


def _class_names(
    names: Sequence[str] | None, known: NDArray[np.int64], *, at_least: int = 2
) -> tuple[str, ...]:
    if names is None:
        names = [str(k) for k in range(int(known.max(initial=UNLABELLED)) + 1)]
    if len(names) < at_least:
        raise ValueError(f"labels must name at least 2 classes, found {len(names)}")
    _refuse_repeated("class_names", np.asarray(names))
    return tuple(names)


def _refuse_repeated(argument: str, values: NDArray[Any]) -> None:
    unique, count = np.unique(values, return_counts=True)
    if len(unique) < len(values):
        raise ValueError(f"{argument} must be distinct, found {unique[count > 1][0]!r} repeated")


def _checked_csr(matrix: sparse.csr_array) -> Features:
    matrix.sum_duplicates()
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    _refuse_non_finite(np.bincount(rows[~np.isfinite(matrix.data)], minlength=1) > 0)
    dense_enough = matrix.nnz > SPARSE_DENSITY * np.prod(matrix.shape)
    return matrix.toarray() if dense_enough else matrix


def _refuse_non_finite(rows: NDArray[np.bool_]) -> None:
    bad = np.flatnonzero(rows)
    if len(bad):
        raise ValueError(f"features must be finite, found NaN or infinity at node {bad[0]}")


def _symmetric_csr(
    edges: NDArray[Any], weight: ArrayLike | None, n_nodes: int, notes: list[str]
) -> sparse.csr_array:
    _check_ends(edges, n_nodes)
    source, target = edges.astype(np.int64)
    weights = _checked_weights(weight, len(source))
    useless = (source == target) | (weights == 0)
    if useless.any():
        loops = int((source == target).sum())
        notes.extend([f"{loops} self loops removed"] if loops else [])
        zeros = int(useless.sum()) - loops
        notes.extend([f"{zeros} edges of weight 0 removed"] if zeros else [])
        source, target, weights = source[~useless], target[~useless], weights[~useless]
    directed = _keep_largest(source, target, weights, n_nodes)
    if directed.nnz < len(source):
        notes.append(f"{len(source) - directed.nnz} duplicate edges merged")
    adjacency = sparse.csr_array(directed.maximum(directed.T))
    adjacency.sort_indices()
    if adjacency.nnz != directed.nnz:
        notes.append(f"made undirected: {adjacency.nnz - directed.nnz} reverse edges added")
    elif not np.array_equal(adjacency.data, directed.data):
        notes.append("made undirected: the larger weight of the two directions kept")
    isolated = int((np.diff(adjacency.indptr) == 0).sum())
    if isolated:
        notes.append(f"{isolated} isolated nodes kept")
    return adjacency


def _check_ends(edges: NDArray[Any], n_nodes: int) -> None:
    if edges.ndim != 2 or edges.shape[0] != 2:
        raise ValueError(f"edge_index must be [2, E], got {tuple(edges.shape)}")
    if not edges.size:
        return
    if edges.dtype.kind not in "iu":
        raise ValueError(f"edge_index must be integers, got dtype {edges.dtype}")
    if edges.min() < 0 or edges.max() >= n_nodes:
        raise ValueError(
            f"edge_index must lie in 0 .. {n_nodes - 1}, found {edges.min()} .. {edges.max()}"
        )


def _checked_weights(weight: ArrayLike | None, n_edges: int) -> NDArray[np.float32]:
    if weight is None:
        return np.ones(n_edges, np.float32)
    given = np.asarray(weight)
    if given.shape != (n_edges,):
        raise ValueError(f"edge_weight must be [{n_edges}], one per edge, got {given.shape}")
    if given.size and given.dtype.kind not in "biuf":
        raise ValueError(f"edge_weight must be real numbers, got dtype {given.dtype}")
    with np.errstate(over="ignore"):
        weights = given.astype(np.float32)
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise ValueError(
            f"edge_weight must be finite and non-negative, found {given[bad[0]]} at edge {bad[0]}"
        )
    return weights


def _keep_largest(
    source: NDArray[np.int64], target: NDArray[np.int64], weights: NDArray[np.float32], n_nodes: int
) -> sparse.csr_array:
    shape = (n_nodes, n_nodes)
    if not len(weights) or (weights == weights[0]).all():
        # no order is needed, and ten million edges are not sorted: equal weights are summed, reset
        matrix = sparse.csr_array((weights, (source, target)), shape=shape)
        matrix.data[:] = weights[:1] if len(weights) else 0
        matrix.sort_indices()
        return matrix
    # a COO constructor would add duplicates up; an edge said twice is still one edge
    order = np.lexsort((-weights, target, source))
    source, target, weights = source[order], target[order], weights[order]
    first = np.ones(len(source), bool)
    first[1:] = (source[1:] != source[:-1]) | (target[1:] != target[:-1])
    return sparse.csr_array((weights[first], (source[first], target[first])), shape=shape)


def _split(
    labels: NDArray[np.int64], masks: Mapping[str, ArrayLike], seed: int, notes: list[str]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    unknown = sorted(set(masks) - set(SPLITS))
    if unknown:
        raise ValueError(f"masks must be named among {list(SPLITS)}, got {unknown}")
    chosen = {key: _mask(key, mask, len(labels)) for key, mask in masks.items()}
    none = np.zeros(len(labels), bool)
    validation, test = chosen.get("validation", none), chosen.get("test", none)
    train = chosen.get("train", (labels != UNLABELLED) & ~test & ~validation)
    if (train & validation).any() or (test & (train | validation)).any():
        raise ValueError("masks must be disjoint, found a node in two of train, validation, test")
    for key, mask in (("train", train), ("validation", validation)):
        if not mask.any() and (key == "train" or key in chosen):
            raise ValueError(f"the {key} mask selects no node")
        bare = np.flatnonzero(mask & (labels == UNLABELLED))
        if len(bare):
            raise ValueError(
                f"the {key} mask selects node {bare[0]}, which has no label ({len(bare)} such)"
            )
    if "validation" not in chosen:
        validation = _hold_out(labels, train, seed)
        train = train & ~validation
        notes.append(f"{validation.sum()} training nodes held out for (noisy) validation")
    return train, validation, test


def _mask(key: str, mask: ArrayLike, n_nodes: int) -> NDArray[np.bool_]:
    array = np.asarray(mask)
    if array.shape != (n_nodes,):
        raise ValueError(f"{key} mask must be [{n_nodes}], got {array.shape}")
    # node positions in place of a mask would all read as True
    if array.dtype != bool and not np.isin(array, (0, 1)).all():
        raise ValueError(f"{key} mask must be boolean, got dtype {array.dtype}")
    return array.astype(bool)


def _hold_out(labels: NDArray[np.int64], train: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    rng, held = np.random.default_rng(seed), np.zeros(len(labels), bool)
    for label in np.unique(labels[train]):
        members = np.flatnonzero(train & (labels == label))
        held[rng.permutation(members)[: len(members) // 5]] = True
    return held
