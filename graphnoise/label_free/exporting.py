"""Labels of an annotation run in the forms other tools take."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graphnoise.label_free.stored import StoredAnnotation, label_origins, read_annotation
from graphnoise.report.stored import PREDICTIONS
from labelnoise.atomic_files import replacing

if TYPE_CHECKING:
    import pyarrow as pa

WHAT = ("labels", "predictions", "audit", "cleanlab")
SUFFIXES = (".csv", ".parquet", ".npz")
# of `labels.parquet`: what the label of a node rests on
PROVENANCE_FIRST = (
    "rung", "reason", "confidence", "confidence_source", "reliability", "weight",
)  # fmt: skip
# "why" is the reason of the verdict
RENAMED = {"reason": "abstention", "seconds": "annotator_seconds", "created": "annotator_time"}
SKIPPED = ("id", "node", "label", "label_name", "trained_label", "ranked")


def export_annotation(folder: Path, path: Path, *, what: str = "labels") -> int:
    """Write one row per node.

    Args:
        folder: Of a finished run.
        path: A ``.csv`` or ``.parquet`` file, or ``.npz`` for PyG: ``y`` (label to use, -1 for
            none), ``label_mask``, ``annotator_y``, ``annotator_mask``, ``predicted``,
            ``confidence``, ``quality``, ``class_names``, ``node_names``; read without pickle.
        what: "labels" (label to use with verdict, quality and provenance), "predictions" (of the
            classifier), "audit" (every column of the audit), "cleanlab" (in cleanlab's names).

    Returns:
        Number of nodes.

    Raises:
        ValueError: No finished run, another suffix or another `what`.
    """
    if what not in WHAT:
        raise ValueError(f"--what must be one of {list(WHAT)}, got {what!r}")
    if path.suffix not in SUFFIXES:
        raise ValueError(f"--out must end in one of {list(SUFFIXES)}, got {path.name!r}")
    stored = read_annotation(folder)
    if path.suffix == ".npz":
        if what != "labels":
            raise ValueError("--out .npz holds labels, predictions and masks: leave --what out")
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **pyg_arrays(stored))
        return len(stored.run.view.ids)
    table = _table(stored, folder, what)
    _write(table, path)
    return int(table.num_rows)


def pyg_arrays(stored: StoredAnnotation) -> dict[str, NDArray[Any]]:
    """Labels and masks in the order of the nodes, as PyG's ``Data`` takes them."""
    view, audit = stored.run.view, stored.run.audit
    rows = _rows_of_nodes(stored)
    label = audit.label[rows]
    return {
        "y": label,
        "label_mask": label >= 0,
        "annotator_y": view.given,
        "annotator_mask": view.given >= 0,
        "predicted": view.predicted,
        "confidence": view.confidence,
        "quality": audit.quality[rows].astype(np.float64),
        "class_names": np.array(view.class_names),
        "node_names": view.ids if view.ids.dtype.kind in "iu" else view.ids.astype(np.str_),
    }


def label_rows(stored: StoredAnnotation) -> dict[str, Sequence[Any]]:
    """Label to use, verdict, quality, reason and provenance of every node, column by column."""
    view, audit = stored.run.view, stored.run.audit
    rows, names = _rows_of_nodes(stored), np.array([*view.class_names, ""], dtype=object)
    given = audit.given[rows]
    columns: dict[str, Sequence[Any]] = {
        "id": view.ids.tolist(),
        "label": names[audit.label[rows]].tolist(),
        "verdict": audit.verdict[rows].tolist(),
        "quality": audit.quality[rows].astype(float).tolist(),
        "why": audit.reason[rows].tolist(),
        "origin": label_origins(audit)[rows].tolist(),
        "annotator_label": names[given].tolist(),
        "predicted": names[view.predicted].tolist(),
        "probability": view.confidence.astype(float).tolist(),
    }
    for name, column in _provenance(stored.labels).items():
        cells: list[Any] = [None] * len(view.ids)
        for node, cell in zip(stored.labels["node"], column, strict=True):
            cells[node] = cell
        columns[RENAMED.get(name, name)] = cells
    return columns


def _provenance(labels: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    further = [name for name in labels if name not in (*PROVENANCE_FIRST, *SKIPPED)]
    return {name: labels[name] for name in (*PROVENANCE_FIRST, *further) if name in labels}


def _rows_of_nodes(stored: StoredAnnotation) -> NDArray[np.int64]:
    """Row of the audit of each node ``[N]``."""
    audit, ids = stored.run.audit, stored.run.view.ids
    order = np.argsort(audit.ids, kind="stable")
    return order[np.searchsorted(audit.ids[order], ids)]


def _table(stored: StoredAnnotation, folder: Path, what: str) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    if what == "labels":
        return pa.table({name: pa.array(cells) for name, cells in label_rows(stored).items()})
    if what == "audit":
        return stored.run.audit.to_arrow()
    if what == "cleanlab":
        return pa.Table.from_pandas(stored.run.audit.to_cleanlab_frame().reset_index())
    with (folder / PREDICTIONS).open("rb") as file:
        return pq.read_table(file)


def _write(table: "pa.Table", path: Path) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            pq.write_table(table, temporary)
            return
        # CSV knows no dictionaries
        for place, one in enumerate(table.schema):
            if pa.types.is_dictionary(one.type):
                plain = table.column(place).cast(one.type.value_type)
                table = table.set_column(place, one.name, plain)
        pa.csv.write_csv(table, temporary)
