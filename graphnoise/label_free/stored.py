"""An annotation run on disk: what a classifier learned from bought labels, and how each was got."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.annotators.base import ABSTAIN, Votes
from graphnoise.graph import LabelledGraph
from graphnoise.label_free.base import LabelFreeFit
from graphnoise.report.stored import PREDICTIONS, RECORD, StoredRun, read_run, write_run
from graphnoise.text_graph import TextGraph
from labelnoise.atomic_files import replacing
from labelnoise.audit import LabelAudit
from labelnoise.report.page import finite

LABELS = "labels.parquet"
# what `record["kind"]` of an annotation run says
KIND = "annotation"
# nodes per region where the recipe made none: enough of them to tell regions apart
NODES_PER_REGION, MAX_REGIONS = 60, 60
BLOCK = 8192
# columns of the nodes that a classifier of given labels does not have
NODE_COLUMNS = (
    "asked", "trained_label", "weight", "reliability", "zero_shot", "region", "map_x", "map_y",
    "exemplar",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class StoredAnnotation:
    """What `read_annotation` finds.

    Attributes:
        run: Audit, graph and record, as of any run on a graph; the given label of a node is the
            annotator's.
        nodes: Of every node ``[N]``, see `node_columns`.
        labels: A row per asked node, in the order they were asked, column by column.
    """

    run: StoredRun
    nodes: Mapping[str, NDArray[Any]]
    labels: Mapping[str, list[Any]]

    @property
    def asked(self) -> NDArray[np.int64]:
        """Nodes in the order they were asked ``[B]``."""
        order = self.nodes["asked"]
        nodes = np.flatnonzero(order >= 0)
        return nodes[np.argsort(order[nodes], kind="stable")]


def write_annotation(
    folder: Path,
    *,
    graph: TextGraph,
    fit: LabelFreeFit,
    audit: LabelAudit,
    prior: NDArray[np.float32] | None = None,
    seed: int = 0,
) -> None:
    """Write everything but the record, each file atomically.

    Args:
        folder: An existing folder.
        graph: What was asked about.
        fit: What the recipe learned.
        audit: A row per node.
        prior: Zero-shot class probabilities ``[N, K]``, a second opinion for the page.
        seed: Of the regions, where the recipe made none.
    """
    write_run(
        folder,
        graph=annotated_graph(graph, fit),
        probabilities=fit.probabilities,
        audit=audit,
        history=finite({"stages": [dict(stage) for stage in fit.stages]}),
        columns=node_columns(graph, fit, prior=prior, seed=seed),
    )
    _write_table(folder / LABELS, label_columns(graph, fit))


def is_annotation(folder: Path) -> bool:
    """Whether a folder holds the finished run of an annotator."""
    record = folder / RECORD
    content = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else None
    return isinstance(content, dict) and content.get("kind") == KIND


def read_annotation(folder: Path) -> StoredAnnotation:
    """Read a finished run.

    Raises:
        ValueError: `folder` holds no finished run of an annotator.
    """
    run = read_run(folder)
    if run.record.get("kind") != KIND:
        raise ValueError(f"{folder} holds no annotation: its run has no annotator")
    nodes = _read_table(folder / PREDICTIONS, NODE_COLUMNS)
    labels = _read_table(folder / LABELS)
    return StoredAnnotation(
        run,
        {name: column.to_numpy() for name, column in nodes.items()},
        {name: column.to_pylist() for name, column in labels.items()},
    )


def annotated_graph(graph: TextGraph, fit: LabelFreeFit) -> LabelledGraph:
    """The graph with the annotator's labels as the given ones; there may be none at all."""
    given = np.full(graph.n_nodes, ABSTAIN, np.int64)
    if fit.votes is not None:
        given[fit.asked] = fit.votes.labels
    none = np.zeros(graph.n_nodes, bool)
    return LabelledGraph(
        graph.adjacency, graph.embedding, given, given != ABSTAIN, none, none,
        graph.classes.names, truth=graph.truth, node_names=graph.node_names, texts=graph.texts,
        name=graph.name, notes=graph.notes,
    )  # fmt: skip


def node_columns(
    graph: TextGraph,
    fit: LabelFreeFit,
    *,
    prior: NDArray[np.float32] | None = None,
    seed: int = 0,
) -> dict[str, NDArray[Any]]:
    """What the page says of every node besides its labels, name -> ``[N]``.

    ``asked`` is the place in the order of questions, -1 where not asked; ``trained_label`` and
    ``weight`` are what the last network saw; ``reliability`` is the estimated chance that the
    annotator is right; ``zero_shot`` is the class of the prior, -1 for none; ``region``,
    ``map_x`` and ``map_y`` are its place, and ``exemplar`` marks the node next to the middle of
    its region.
    """
    asked = np.full(graph.n_nodes, -1, np.int64)
    asked[fit.asked] = np.arange(len(fit.asked))
    region = regions_of(graph, seed=seed) if fit.regions is None else fit.regions
    zero_shot = np.full(graph.n_nodes, -1, np.int64)
    if prior is not None:
        told = np.array([bool(text.strip()) for text in graph.texts])
        zero_shot[told] = prior[told].argmax(axis=1)
    place, exemplar = region_map(graph.embedding, region)
    return {
        "asked": asked,
        "trained_label": fit.label,
        "weight": fit.weight.astype(np.float32),
        "reliability": fit.reliability.astype(np.float64),
        "zero_shot": zero_shot,
        "region": region.astype(np.int64),
        "map_x": place[:, 0],
        "map_y": place[:, 1],
        "exemplar": exemplar,
    }


def label_origins(audit: LabelAudit) -> NDArray[np.str_]:
    """Where the label of each row comes from ``[N]``.

    "annotator" as it said, "other_evidence" in place of what it said, "classifier" where it was
    not asked or gave none, "none" where there is no label.
    """
    told = audit.given >= 0
    kinds = [audit.verdict == "keep", (audit.verdict == "relabel") & told, audit.label >= 0]
    return np.select(kinds, ["annotator", "other_evidence", "classifier"], default="none")


def regions_of(graph: TextGraph, *, seed: int) -> NDArray[np.int64]:
    """Regions of similar texts ``[N]``, where the recipe has none."""
    from graphnoise.node_selection.k_means import k_means

    count = int(np.clip(graph.n_nodes // NODES_PER_REGION, graph.n_classes, MAX_REGIONS))
    return k_means(graph.embedding, min(count, graph.n_nodes), seed=seed).cluster


def region_map(
    embedding: NDArray[np.float32], region: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Nodes on a plane in which the regions lie apart, and the most central node of each.

    The plane is spanned by the two main directions of the regions' centres, weighted by size: the
    mean of a region's nodes on the map is its centre on the map.

    Args:
        embedding: ``[N, D]``.
        region: Of each node ``[N]``; negative for none.

    Returns:
        place: ``[N, 2]`` float32.
        exemplar: ``[N]`` bool, one node per region: the nearest to its centre, the first of those.
    """
    inside = np.flatnonzero(region >= 0)
    if not len(inside):
        return np.zeros((len(region), 2), np.float32), np.zeros(len(region), bool)
    rows = embedding[inside]
    place = np.unique(region[inside], return_inverse=True)[1]
    size = np.bincount(place).astype(np.float64)
    member = sparse.csr_array((np.ones(len(place)), (place, np.arange(len(place)))))
    centres = (member @ rows) / size[:, None]
    middle = (size[:, None] * centres).sum(axis=0) / size.sum()
    spread = np.sqrt(size)[:, None] * (centres - middle)
    directions = np.zeros((2, embedding.shape[1]))
    found = np.linalg.svd(spread, full_matrices=False)[2][:2]
    # a direction and its opposite say the same: the largest entry is positive
    signs = np.sign(found[np.arange(len(found)), np.abs(found).argmax(axis=1)])
    directions[: len(found)] = found * np.where(signs == 0, 1, signs)[:, None]
    placed = (embedding @ directions.T - middle @ directions.T).astype(np.float32)
    distance = _squared_distances(rows, centres, place)
    order = np.lexsort((inside, distance, place))
    first = order[np.diff(place[order], prepend=-1) > 0]
    exemplar = np.zeros(len(region), bool)
    exemplar[inside[first]] = True
    return placed, exemplar


def _squared_distances(
    rows: NDArray[np.float32], centres: NDArray[np.float64], place: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Of each row to its own centre ``[M]``; in blocks, for the differences are as large."""
    starts = range(0, len(rows), BLOCK)
    parts = [
        ((rows[i : i + BLOCK] - centres[place[i : i + BLOCK]]) ** 2).sum(axis=1) for i in starts
    ]
    return np.concatenate(parts)


def label_columns(graph: TextGraph, fit: LabelFreeFit) -> dict[str, Sequence[Any]]:
    """A row per asked node with its answer and where it came from, column by column."""
    asked, votes = fit.asked, fit.votes
    if votes is None:
        return {"id": [], "node": []}
    names = [*graph.classes.names, ""]
    reliability = fit.reliability[asked]
    columns: dict[str, Sequence[Any]] = {
        "id": graph.ids[asked].tolist(),
        "node": asked.tolist(),
        "label": votes.labels.tolist(),
        "label_name": [names[k] for k in votes.labels],
        "ranked": [[int(k) for k in row if k >= 0] for row in votes.ranked],
        "confidence": _finite(votes.confidence),
        "confidence_source": votes.source.tolist(),
        "reliability": _finite(reliability),
        "trained_label": fit.label[asked].tolist(),
        "weight": fit.weight[asked].tolist(),
        "rung": votes.rung.tolist(),
        "reason": votes.reason.tolist(),
    }
    return columns | {
        name: column for name, column in record_columns(votes).items() if name not in columns
    }


def record_columns(votes: Votes) -> dict[str, list[Any]]:
    """The annotator's provenance, a column per name; what is no plain value is written as JSON."""
    names = list(dict.fromkeys(name for record in votes.records for name in record))
    columns = {}
    for name in names:
        cells = [record.get(name) for record in votes.records]
        kinds = {type(cell) for cell in cells if cell is not None}
        plain = kinds <= {str} or kinds <= {bool} or kinds <= {int, float}
        if kinds == {int, float}:
            cells = [None if cell is None else float(cell) for cell in cells]
        columns[name] = cells if plain else [_as_json(cell) for cell in cells]
    return columns


def _as_json(cell: Any) -> str | None:
    return None if cell is None else json.dumps(cell, ensure_ascii=False, sort_keys=True)


def _finite(values: NDArray[Any]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _write_table(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    with replacing(path) as temporary:
        pq.write_table(table, temporary)


def _read_table(path: Path, names: Sequence[str] | None = None) -> dict[str, Any]:
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        table = pq.read_table(file, columns=None if names is None else list(names))
    return {name: table.column(name) for name in table.column_names}
