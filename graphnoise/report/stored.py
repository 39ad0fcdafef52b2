"""A finished run on disk: everything the page and `explain` need, without the data set."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.graph import UNLABELLED, LabelledGraph
from graphnoise.report.view import GraphView
from labelnoise.atomic_files import replacing, write_json
from labelnoise.audit import LabelAudit

AUDIT, PREDICTIONS, ADJACENCY = "audit.parquet", "predictions.parquet", "adjacency.npz"
HISTORY, RECORD = "history.json", "run.json"
# classes whose probability is kept per node; N x K would outgrow everything else
N_TOP = 5


@dataclass(frozen=True, eq=False)
class StoredRun:
    """What `read_run` finds.

    Attributes:
        audit: The label audit.
        view: Graph, labels and predictions.
        record: The content of ``run.json``: settings, seeds, noise, scores, versions, times.
        history: The content of ``history.json``: "rows", "best_epoch", "stopped_early"; empty
            for a method that trains nothing.
    """

    audit: LabelAudit
    view: GraphView
    record: Mapping[str, Any]
    history: Mapping[str, Any] = field(default_factory=dict)


def write_run(
    folder: Path,
    *,
    graph: LabelledGraph,
    probabilities: NDArray[np.float32],
    audit: LabelAudit,
    history: Mapping[str, Any],
    columns: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write everything but the record, each file atomically.

    Args:
        folder: An existing folder.
        graph: The graph as the method saw it, noise included.
        probabilities: The method's answer ``[N, K]``.
        audit: Its audit.
        history: Training history as plain values, or empty.
        columns: Further columns ``[N]`` of the predictions.
    """
    audit.write(folder / AUDIT)
    _write_predictions(folder / PREDICTIONS, graph, probabilities, columns or {})
    with replacing(folder / ADJACENCY) as temporary, temporary.open("wb") as file:
        sparse.save_npz(file, graph.adjacency)
    write_json(folder / HISTORY, history)


def read_run(folder: Path) -> StoredRun:
    """Read a finished run.

    Raises:
        ValueError: `folder` holds no finished run.
    """
    record = folder / RECORD
    if not record.is_file():
        unfinished = (folder / "job.json").is_file()
        why = "its run is not finished: run the same command again" if unfinished else "no run"
        raise ValueError(f"{folder} holds no finished run ({why})")
    audit = LabelAudit.read(folder / AUDIT)
    adjacency = sparse.csr_array(sparse.load_npz(folder / ADJACENCY))
    return StoredRun(
        audit=audit,
        view=_read_view(folder / PREDICTIONS, adjacency, audit.class_names),
        record=json.loads(record.read_text(encoding="utf-8")),
        history=json.loads((folder / HISTORY).read_text(encoding="utf-8")),
    )


def split_names(graph: LabelledGraph) -> NDArray[np.str_]:
    """Which mask each node is in ``[N]``: "train", "validation", "test" or ""."""
    masks = [graph.train, graph.validation, graph.test]
    return np.select(masks, ["train", "validation", "test"], default="")


def _write_predictions(
    path: Path,
    graph: LabelledGraph,
    probabilities: NDArray[np.float32],
    further: Mapping[str, NDArray[Any]],
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    top = np.argsort(-probabilities, axis=1, kind="stable")[:, :N_TOP]
    names = np.array([*graph.class_names, ""], dtype=object)
    predicted = top[:, 0]
    columns: dict[str, Any] = {
        "id": graph.ids,
        "split": split_names(graph),
        "given": graph.given,
        "given_name": names[graph.given],
        "predicted": predicted,
        "predicted_name": names[predicted],
        "probability": np.take_along_axis(probabilities, top, axis=1)[:, 0],
    }
    for rank in range(1, top.shape[1]):
        columns[f"class_{rank + 1}"] = top[:, rank]
        columns[f"probability_{rank + 1}"] = np.take_along_axis(probabilities, top, axis=1)[:, rank]
    if graph.truth is not None:
        columns["truth"] = graph.truth
    if graph.texts is not None:
        columns["text"] = np.array(graph.texts, dtype=object)
    columns |= further
    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    with replacing(path) as temporary:
        pq.write_table(table, temporary)


def _read_view(path: Path, adjacency: sparse.csr_array, names: tuple[str, ...]) -> GraphView:
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        table = pq.read_table(file)

    def column(name: str) -> NDArray[Any]:
        return table.column(name).to_numpy()

    has = set(table.column_names)
    return GraphView(
        adjacency=adjacency,
        ids=column("id"),
        split=column("split").astype(np.str_),
        given=column("given"),
        predicted=column("predicted"),
        confidence=column("probability"),
        class_names=names,
        truth=column("truth") if "truth" in has else None,
        texts=tuple(column("text").tolist()) if "text" in has else None,
    )


def known_truth(given: NDArray[np.int64], truth: NDArray[np.int64] | None) -> bool:
    """Whether the truth says anything about the given labels: it differs from at least one.

    A data set without injected noise calls its own labels the truth; comparing them with
    themselves would praise or blame an audit for nothing.
    """
    if truth is None:
        return False
    return bool(((given != UNLABELLED) & (truth != UNLABELLED) & (given != truth)).any())
