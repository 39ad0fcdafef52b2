"""The end of a run: rows for what failed, leftovers removed, everything counted and hashed."""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from labelnoise.audit import NO_LABEL, LabelAudit
from multimodal.engine.commits import read_commit
from multimodal.engine.context import Setup
from multimodal.engine.layout import LAYOUT
from multimodal.engine.schedule import Schedule
from multimodal.engine.steps import WHOLE
from multimodal.engine.table import UNKNOWN_QUALITY
from multimodal.records import PROBLEMS
from multimodal.run_folder import (
    DECISIONS,
    NEIGHBOURS,
    ROWS,
    STATS,
    WORK,
    rows_table,
    table_hash,
    write_table,
)


def finish_run(setup: Setup, schedule: Schedule) -> dict[str, Any]:
    """What ``run.json`` says of the data, after making the tables complete.

    Shards that failed get tables of one rejected row, so that nothing is missing without a word.
    """
    refused = _refused(setup)
    tables = {name: read_commit(setup.folder, setup.step("table"), name) for name in setup.shards}
    like = next(name for name, commit in tables.items() if commit is not None)
    _remove_stale(setup, {name for name, commit in tables.items() if commit is not None})
    shards, verdicts, reasons, problems = [], Counter[str](), Counter[str](), Counter[str]()
    for name, commit in tables.items():
        if commit is None:
            step, why = schedule.failed[name]
            reason: str | None = f"{step}: {why}"
            stats = _write_failed(setup, name, f"{step}: {why}", like)
        else:
            stats, reason = commit.stats, refused.get(name) or None
        shards.append(
            {
                "name": name, "rows": stats["rows"], "usable": stats["usable"], "failed": reason,
                # a refused shard would be refused again, one that failed may do better
                "retry": commit is None,
            }
        )  # fmt: skip
        verdicts.update(stats["verdicts"])
        reasons.update(stats["reasons"])
        problems.update(stats["problems"])
    return {
        "rows": sum(shard["rows"] for shard in shards),
        "usable": sum(shard["usable"] for shard in shards),
        "decisions": sum(verdicts.values()),
        "verdicts": dict(verdicts),
        "reasons": dict(reasons.most_common()),
        "problems": dict(problems.most_common()),
        "encoders": _encoders(setup),
        "table_hash": table_hash(decisions(setup)),
        "shards": shards,
        "steps": {
            name: {
                "units": count.total, "done": count.done, "rows": count.rows,
                "seconds": round(count.seconds, 3),
            }
            for name, count in schedule.counts.items()
        },
    }  # fmt: skip


def decisions(setup: Setup) -> Iterator[LabelAudit]:
    """Tables of all shards, in order, one at a time."""
    for name in setup.shards:
        yield LabelAudit.read(setup.folder / DECISIONS / f"{name}.parquet")


def _write_failed(setup: Setup, shard: str, reason: str, like: str) -> Mapping[str, Any]:
    """Tables of one rejected row that stands for a shard."""
    name = f"shard:{shard}"
    row = {
        "id": name, "source_id": "", "image": "", "text": "", "title": "", "labels": [],
        "problem": "shard_failed", "detail": reason, "usable": False,
    }  # fmt: skip
    template = LabelAudit.read(setup.folder / DECISIONS / f"{like}.parquet")
    audit = replace(
        template,
        ids=np.array([name]),
        given=np.array([NO_LABEL]),
        verdict=np.array(["reject"]),
        label=np.array([NO_LABEL]),
        quality=np.array([UNKNOWN_QUALITY]),
        reason=np.array(["shard_failed"]),
        evidence=dict.fromkeys(template.evidence, np.array([np.nan])),
        reasons={**template.reasons, **PROBLEMS},
    )
    write_table(
        rows_table({column: [value] for column, value in row.items()}),
        setup.folder / ROWS / f"{shard}.parquet",
    )
    audit.write(setup.folder / DECISIONS / f"{shard}.parquet")
    one = {"shard_failed": 1}
    return {
        "rows": 1, "usable": 0, "verdicts": audit.counts(), "reasons": one, "problems": one
    }  # fmt: skip


def _refused(setup: Setup) -> dict[str, str]:
    import pyarrow.parquet as pq

    columns = pq.read_table(setup.folder / WORK / "layout" / (WHOLE + LAYOUT)).to_pydict()
    return dict(zip(columns["shard"], columns["refused"], strict=True))


def _encoders(setup: Setup) -> Mapping[str, Any]:
    commit = read_commit(setup.folder, setup.step("layout"), WHOLE)
    assert commit is not None
    return {
        role: {"spec": setup.job.encoders[role], **told}
        for role, told in commit.stats["encoders"].items()
    }


def _remove_stale(setup: Setup, finished: set[str]) -> None:
    """Remove what steps and shards of other settings left."""
    steps = {step.name for step in setup.steps}
    for path in sorted((setup.folder / WORK).iterdir()):
        if path.is_dir() and path.name not in steps:
            shutil.rmtree(path)
    for folder, suffix in ((ROWS, ".parquet"), (DECISIONS, ".parquet"), (NEIGHBOURS, ".npy")):
        written = _written(setup, folder) if folder == NEIGHBOURS else None
        for path in (setup.folder / folder).glob(f"*{suffix}"):
            if path.stem not in setup.shards or (written is not None and path.name not in written):
                path.unlink()
    for path in setup.folder.glob(STATS.format("*")):
        if path.name not in {STATS.format(name) for name in finished}:
            path.unlink()


def _written(setup: Setup, folder: str) -> set[str]:
    """Files in a folder that the tables' records name."""
    found = set()
    for name in setup.shards:
        commit = read_commit(setup.folder, setup.step("table"), name)
        files = () if commit is None else commit.files
        found |= {Path(one).name for one in files if Path(one).parent.name == folder}
    return found
