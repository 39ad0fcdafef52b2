"""Step: the tables of a shard, with the refused records put back in their place."""

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import NO_LABEL, LabelAudit
from multimodal.engine.context import StepContext
from multimodal.engine.entries import pairs_of_entries
from multimodal.engine.judge import AUDIT, NEIGHBOURS
from multimodal.engine.layout import read_layout
from multimodal.records import PROBLEMS
from multimodal.run_folder import DECISIONS, ROWS, rows_table, write_table
from multimodal.run_folder import NEIGHBOURS as NEIGHBOURS_FOLDER

# nothing speaks for a label outside the list; of a broken record's label nothing is known
QUALITY = {"unknown_label": 0.0}
UNKNOWN_QUALITY = 0.5


def table(context: StepContext, unit: str) -> Mapping[str, Any]:
    """Write ``rows/SHARD.parquet``, ``decisions/SHARD.parquet`` and the neighbours, if any."""
    rows = read_layout(context).table(unit).to_pydict()
    judged_by = context.settings["judged_by"]
    judged = LabelAudit.read(context.input(judged_by, unit, AUDIT))
    audit = with_refused(judged, rows)
    with context.output(".parquet", folder=ROWS) as path:
        write_table(rows_table(rows), path)
    with context.output(".parquet", folder=DECISIONS) as path:
        audit.write(path)
    neighbours = context.input(judged_by, unit, NEIGHBOURS)
    if neighbours.exists():
        with context.output(".npy", folder=NEIGHBOURS_FOLDER) as path:
            shutil.copyfile(neighbours, path)
    return {
        "rows": len(rows["id"]),
        "usable": int(sum(rows["usable"])),
        "decisions": len(audit),
        "verdicts": audit.counts(),
        "reasons": dict(sorted(Counter(audit.reason.tolist()).items())),
        "problems": dict(sorted(Counter(c for c in rows["problem"] if c).items())),
    }


def with_refused(judged: LabelAudit, rows: Mapping[str, list[Any]]) -> LabelAudit:
    """An audit of all records of a shard.

    Args:
        judged: Of the usable ones, in order; several rows of a record stand together.
        rows: Columns of the records.
    """
    refused = [row for row, usable in enumerate(rows["usable"]) if not usable]
    merged = LabelAudit.merge([judged, refused_audit(judged, rows, refused)])
    place = np.concatenate([_records_of(judged, rows), np.array(refused, np.int64)])
    return merged.select(np.argsort(place, kind="stable"))


def refused_audit(
    like: LabelAudit, rows: Mapping[str, list[Any]], refused: list[int]
) -> LabelAudit:
    """Rejections of records that no method saw, as an audit that merges with `like`."""
    codes = [rows["problem"][row] for row in refused]
    given = [rows["given"][row] for row in refused]
    nothing = np.full(len(refused), np.nan)
    return replace(
        like,
        ids=np.array([rows["id"][row] for row in refused], np.str_),
        given=np.array([one[0] if one else NO_LABEL for one in given], np.int64),
        verdict=np.full(len(refused), "reject"),
        label=np.full(len(refused), NO_LABEL),
        quality=np.array([QUALITY.get(code, UNKNOWN_QUALITY) for code in codes], np.float64),
        reason=np.array(codes, np.str_),
        evidence=dict.fromkeys(like.evidence, nothing),
        reasons={**like.reasons, **PROBLEMS},
    )


def _records_of(judged: LabelAudit, rows: Mapping[str, list[Any]]) -> NDArray[np.int64]:
    """Record that each row of the audit is about."""
    usable = np.flatnonzero(rows["usable"])
    names = [rows["id"][row] for row in usable]
    if judged.ids.tolist() == names:
        return usable
    return usable[pairs_of_entries(judged.ids.tolist(), names)]
