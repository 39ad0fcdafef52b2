"""A cluster on disk: JSON and Parquet hold all of it, CSV its members."""

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.atomic_files import replacing
from labelnoise.report.page import finite

if TYPE_CHECKING:
    from graphnoise.local_clusters.cluster import Cluster

FORMAT = 1
KEY = b"graphnoise.cluster"
KINDS = (".json", ".csv", ".parquet")
NUMBERS = ("conductance", "volume", "mass", "touched", "edges", "converged", "stopped_by")
CURVES = ("size", "volume", "cut", "conductance")


def cluster_row(cluster: "Cluster") -> dict[str, Any]:
    """What a query answers, as plain values: the same bytes whenever the same question is asked.

    Neither the time it took nor the sweep profile, which is as long as everything else together.
    """
    return {
        "seeds": cluster.seeds.tolist(),
        "size": len(cluster.nodes),
        **{name: getattr(cluster, name) for name in NUMBERS},
        "certificate": asdict(cluster.certificate),
        "method": cluster.method,
        "rounding": cluster.rounding,
        "notes": list(cluster.notes),
        "nodes": cluster.nodes.tolist(),
        "score": cluster.score.tolist(),
        "labels": None if cluster.labels is None else cluster.labels.tolist(),
    }


def cluster_record(cluster: "Cluster") -> dict[str, Any]:
    """Everything about a cluster as plain values, None for NaN."""
    row = cluster_row(cluster)
    head = {"format": FORMAT, "settings": dict(cluster.settings), "seconds": cluster.seconds}
    sweep = {name: getattr(cluster.sweep, name).tolist() for name in CURVES}
    return dict(finite({**head, **row, "sweep": sweep}))


def cluster_from_record(record: Mapping[str, Any]) -> "Cluster":
    """The cluster that `cluster_record` wrote down.

    Raises:
        ValueError: The record is of another kind or of a later format.
    """
    from graphnoise.local_clusters.cluster import Certificate, Cluster, SweepProfile

    if record.get("format") != FORMAT or "nodes" not in record:
        raise ValueError(f"no cluster of format {FORMAT}, got format {record.get('format')!r}")
    labels, sweep = record["labels"], record["sweep"]
    proof = {name: _real(value) for name, value in record["certificate"].items() if name != "kind"}
    return Cluster(
        nodes=np.array(record["nodes"]),
        score=np.array(record["score"], np.float64),
        seeds=np.array(record["seeds"]),
        **{name: _real(record[name]) for name in NUMBERS},
        sweep=SweepProfile(
            size=np.array(sweep["size"], np.int64),
            **{name: np.array([_real(v) for v in sweep[name]]) for name in CURVES[1:]},
        ),
        certificate=Certificate(kind=record["certificate"]["kind"], **proof),
        method=record["method"],
        rounding=record["rounding"],
        settings=record["settings"],
        seconds=_real(record["seconds"]),
        labels=None if labels is None else np.array(labels, np.int8),
        notes=tuple(record["notes"]),
    )


def write_cluster(cluster: "Cluster", path: Path) -> None:
    """Write a cluster; the suffix of `path` says how. A reader sees the old file or the whole new.

    Raises:
        ValueError: The suffix is none of ``.json``, ``.csv``, ``.parquet``.
    """
    writers = {".json": _write_json, ".csv": _write_csv, ".parquet": _write_parquet}
    if path.suffix not in writers:
        raise ValueError(
            f"--out must be a folder or end in one of {list(KINDS)}, got {path.name!r}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        writers[path.suffix](cluster, temporary)


def read_cluster(path: Path) -> "Cluster":
    """Read a ``.json`` or ``.parquet`` file that `write_cluster` wrote.

    Raises:
        OSError: No such file.
        ValueError: It holds no cluster.
    """
    if path.suffix == ".parquet":
        return _read_parquet(path)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(f"{path} holds no cluster: it is no JSON") from None
    if not isinstance(record, dict):
        raise ValueError(f"{path} holds no cluster")
    return cluster_from_record(record)


def as_json(cluster: "Cluster") -> str:
    """The record on one line."""
    return json.dumps(cluster_record(cluster), ensure_ascii=False, allow_nan=False)


def _write_json(cluster: "Cluster", path: Path) -> None:
    path.write_text(as_json(cluster) + "\n", encoding="utf-8")


def _write_csv(cluster: "Cluster", path: Path) -> None:
    labels = [""] * len(cluster.nodes)
    if cluster.labels is not None:
        labels = [str(label) if label >= 0 else "" for label in cluster.labels.tolist()]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "score", "label"])
        rows = zip(cluster.nodes.tolist(), cluster.score.tolist(), labels, strict=True)
        writer.writerows((name, repr(score), label) for name, score, label in rows)


def _write_parquet(cluster: "Cluster", path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    record = cluster_record(cluster)
    columns = {
        "id": pa.array(record.pop("nodes")),
        "score": pa.array(record.pop("score"), pa.float64()),
    }
    labels = record.pop("labels")
    record["labels"] = labels is not None
    if labels is not None:
        columns["label"] = pa.array(labels, pa.int8())
    table = pa.table(columns)
    metadata = {KEY: json.dumps(record, ensure_ascii=False, allow_nan=False).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)


def _read_parquet(path: Path) -> "Cluster":
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        try:
            table = pq.read_table(file)
        except (pa.ArrowInvalid, OSError) as error:
            raise ValueError(f"{path} holds no cluster: no Parquet file ({error})") from None
    stored = (table.schema.metadata or {}).get(KEY)
    if stored is None:
        raise ValueError(f"{path} holds no cluster: its schema carries none")
    record = json.loads(stored)
    columns = {"nodes": "id", "score": "score"} | ({"labels": "label"} if record["labels"] else {})
    record["labels"] = None
    return cluster_from_record(
        record | {key: table.column(name).to_pylist() for key, name in columns.items()}
    )


def _real(value: Any) -> Any:
    """NaN where JSON had to say nothing."""
    return float("nan") if value is None else value
