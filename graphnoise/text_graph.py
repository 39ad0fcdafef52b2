"""A graph with a text per node, a list of classes and no labels: what an LLM is asked about."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from graphnoise.graph import UNLABELLED, LabelledGraph, check_labels
from labelnoise.class_list import ClassList

if TYPE_CHECKING:
    from torch_geometric.data import Data


@dataclass(frozen=True, eq=False)
class TextGraph:
    """Nodes with texts, edges and classes. Arrays are shared, never modified.

    There are no given labels here, on purpose: nothing that selects, asks or trains can read one.

    Attributes:
        adjacency: Edge weights ``[N, N]`` float32 CSR: symmetric, no self loops, no duplicates.
        texts: One per node; "" where there is none.
        embedding: What networks and selectors read, ``[N, D]`` float32, rows of length 1 (a row
            without direction is zero): the embedded texts where an encoder is at hand.
        classes: Names, definitions and synonyms of the K classes.
        truth: Clean labels ``[N]``, for the final score and for annotators that play an LLM, else
            None; `UNLABELLED` where unknown.
        node_names: The caller's ids ``[N]``, int64 or str.
        name: Name of the data set.
        notes: What was done to the input, in words.
    """

    adjacency: sparse.csr_array
    texts: tuple[str, ...]
    embedding: NDArray[np.float32]
    classes: ClassList
    truth: NDArray[np.int64] | None = None
    node_names: NDArray[Any] | None = None
    name: str = "graph"
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        n = self.adjacency.shape[0]
        for argument in ("texts", "embedding", "truth", "node_names"):
            value = getattr(self, argument)
            if value is not None and len(value) != n:
                raise ValueError(f"{argument} must have one entry per node, {n}, got {len(value)}")
        if self.embedding.ndim != 2 or not np.isfinite(self.embedding).all():
            raise ValueError(f"embedding must be finite [{n}, D], got {self.embedding.shape}")
        if len(self.classes) < 2:
            raise ValueError(f"classes must be at least 2, got {len(self.classes)}")

    @property
    def n_nodes(self) -> int:
        """Number of nodes, N."""
        return int(self.adjacency.shape[0])

    @property
    def n_classes(self) -> int:
        """Number of classes, K."""
        return len(self.classes)

    @property
    def ids(self) -> NDArray[Any]:
        """The caller's node ids, or 0 .. N-1."""
        return np.arange(self.n_nodes) if self.node_names is None else self.node_names

    def labelled(self, labels: ArrayLike) -> LabelledGraph:
        """The same graph with labels ``[N]`` (-1: none), all of them for training.

        The truth stays behind: a method trained on the result cannot read it.

        Raises:
            ValueError: No label at all, or one out of range.
        """
        given = np.asarray(labels, dtype=np.int64)
        train = given != UNLABELLED
        if len(given) != self.n_nodes or not train.any():
            raise ValueError(f"labels must be [{self.n_nodes}] with at least one label")
        check_labels(given, train, self.n_classes)
        none = np.zeros(self.n_nodes, bool)
        return LabelledGraph(
            self.adjacency, self.embedding, given, train, none, none, self.classes.names,
            node_names=self.node_names, texts=self.texts, name=self.name,
        )  # fmt: skip


def unit_rows(matrix: ArrayLike) -> NDArray[np.float32]:
    """Rows ``[N, D]`` of length 1; rows without direction stay zero."""
    rows = np.asarray(matrix, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, np.where(lengths > 0, lengths, 1), dtype=np.float32)


def text_graph(
    data: "LabelledGraph | Data | str | Path",
    classes: "ClassList | Sequence[str] | str | Path | None" = None,
    *,
    embedding: ArrayLike | None = None,
    texts: Sequence[str] | None = None,
    root: Path | None = None,
) -> TextGraph:
    """Take the labels off a graph and keep what an annotator may see.

    Args:
        data: A name or path for `graphnoise.load_graph`, a `LabelledGraph` or PyG ``Data``.
        classes: The classes, their names, or a file for `labelnoise.class_list.read_classes`.
            None takes the names, and where there are some the definitions, the data set has.
        embedding: ``[N, D]``; None takes the graph's own features, which serves a graph network
            but tells an embedding annotator nothing: encode the texts
            (`graphnoise.annotators.text_encoding`).
        texts: One per node, where the data carry none.
        root: Folder of the data sets.

    Raises:
        ValueError: No texts, or classes that do not fit the truth.
    """
    from graphnoise.datasets import load_graph
    from labelnoise.class_list import read_classes

    if isinstance(data, str | Path):
        graph = load_graph(data, root=root, labels_required=False)
    elif isinstance(data, LabelledGraph):
        graph = data
    else:
        from graphnoise.pyg import as_graph

        graph = as_graph(data)
    found = graph.texts if texts is None else tuple(texts)
    if found is None:
        raise ValueError(f"graph {graph.name!r} has no texts: give texts=, or a column 'text'")
    if classes is None:
        if len(graph.class_names) < 2:
            raise ValueError(f"graph {graph.name!r} names no classes: give classes=")
        chosen = ClassList(graph.class_names, graph.class_definitions or ())
    elif isinstance(classes, ClassList):
        chosen = classes
    elif isinstance(classes, str | Path):
        chosen = read_classes(classes)
    else:
        chosen = ClassList(tuple(classes))
    features = graph.features
    if not isinstance(features, np.ndarray):
        features = features.toarray()
    truth = _renumbered(graph, chosen)
    return TextGraph(
        graph.adjacency, found, unit_rows(features if embedding is None else embedding), chosen,
        truth=truth, node_names=graph.node_names, name=graph.name, notes=graph.notes,
    )  # fmt: skip


def with_embedding(graph: TextGraph, embedding: ArrayLike) -> TextGraph:
    """The same graph seen through other rows ``[N, D]``."""
    return replace(graph, embedding=unit_rows(embedding))


def _renumbered(graph: LabelledGraph, classes: ClassList) -> NDArray[np.int64] | None:
    """The truth in the numbers of `classes`; None where the graph knows none."""
    if graph.truth is None:
        return None
    numbers = [classes.index_of(name) for name in graph.class_names]
    used = np.unique(graph.truth[graph.truth != UNLABELLED])
    missing = [graph.class_names[k] for k in used if numbers[k] is None]
    if missing:
        raise ValueError(f"classes must hold the classes of the data, missing {missing[:5]}")
    table = np.array([*(UNLABELLED if k is None else k for k in numbers), UNLABELLED])
    return table[graph.truth]
