"""Decisions as Parquet: one line per decision, readable without this package."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labelnoise.atomic_files import replacing
from labelnoise.audit.conversions import suggested_classes
from multimodal.export.settings import Exported, ExportSettings, chosen_shards
from multimodal.judged_shards import JudgedShard
from multimodal.run_folder import CleanedRun, write_table

if TYPE_CHECKING:
    import pyarrow as pa


def export_parquet(run: CleanedRun, out: Path, settings: ExportSettings) -> Exported:
    """Write the chosen rows: into one file where `out` ends in ``.parquet``, else one per shard.

    Columns: ``id``, ``source_id``, ``shard``, ``image``, ``title``, ``text``, ``given_label``,
    ``label`` (the name to use, null for none), ``label_number``, ``suggested_label``, ``verdict``,
    ``quality``, ``reason``, ``reason_text``, then the evidence.

    Raises:
        ValueError: `out` is a file where a folder is meant.
    """
    tables = (
        (shard.name, decision_table(shard, chosen))
        for shard, chosen in chosen_shards(run, settings)
    )
    if out.suffix == ".parquet":
        return Exported(out, _write_one(tables, out))
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out must be a folder or end in .parquet, {out} is a file")
    out.mkdir(parents=True, exist_ok=True)
    rows = 0
    for name, table in tables:
        write_table(table, out / f"{name}.parquet")
        rows += len(table)
    return Exported(out, rows)


def decision_table(shard: JudgedShard, chosen: NDArray[np.int64]) -> "pa.Table":
    """Some decisions of a shard beside their records."""
    import pyarrow as pa

    audit, records = shard.audit.select(chosen), shard.rows.take(shard.record_of[chosen])
    names = np.array([*audit.class_names, None], dtype=object)  # the last one answers for -1
    reasons = [audit.reasons[code] for code in audit.reason.tolist()]
    text = pa.string()
    columns: dict[str, Any] = {
        "id": pa.array(audit.ids.astype(str).tolist(), text),
        "source_id": records["source_id"],
        "shard": pa.array([shard.name] * len(audit), text),
        "image": records["image"],
        "title": records["title"],
        "text": records["text"],
        "given_label": pa.array(names[audit.given].tolist(), text),
        "label": pa.array(names[audit.label].tolist(), text),
        "label_number": pa.array(audit.label),
        "suggested_label": pa.array(names[suggested_classes(audit)].tolist(), text),
        "verdict": pa.array(audit.verdict.tolist(), text),
        "quality": pa.array(audit.quality.astype(np.float64)),
        "reason": pa.array(audit.reason.tolist(), text),
        "reason_text": pa.array(reasons, text),
    }
    columns |= {
        name: pa.array(column.astype(np.float64)) for name, column in audit.evidence.items()
    }
    return pa.table(columns)


def _write_one(tables: Iterator[tuple[str, "pa.Table"]], out: Path) -> int:
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = 0
    with _writer(out) as write:
        for _, table in tables:
            write(table)
            rows += len(table)
    return rows


@contextmanager
def _writer(out: Path) -> Iterator[Any]:
    """A function that adds tables to a file, which appears when all are in it."""
    import pyarrow.parquet as pq

    opened: list[Any] = []

    def write(table: "pa.Table") -> None:
        if not opened:
            opened.append(pq.ParquetWriter(temporary, table.schema, compression="zstd"))
        opened[0].write_table(table)

    with replacing(out) as temporary:
        try:
            yield write
        finally:
            for one in opened:
                one.close()
