"""What counts as done: a record beside the files of a unit, written after them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelnoise.atomic_files import write_json
from multimodal.engine.steps import Step
from multimodal.run_folder import STATS, WORK


@dataclass(frozen=True)
class Commit:
    """One finished unit.

    Attributes:
        key: Of the step and all its inputs.
        files: Path below the run folder -> bytes, of every file the unit wrote.
        stats: What the function returned.
        seconds: How long it took.
    """

    key: str
    files: Mapping[str, int]
    stats: Mapping[str, Any]
    seconds: float


def step_folder(folder: Path, step: Step) -> Path:
    """Where a step leaves its files: those of a public one are the product itself."""
    return folder if step.public else folder / WORK / step.name


def record_path(folder: Path, step: Step, unit: str) -> Path:
    """Where the record of a unit lies."""
    return step_folder(folder, step) / STATS.format(unit)


def write_commit(folder: Path, step: Step, unit: str, commit: Commit) -> None:
    """Declare a unit done; its files are there already."""
    path = record_path(folder, step, unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(
        path,
        {
            "step": step.name, "key": commit.key, "files": dict(commit.files),
            "seconds": round(commit.seconds, 3), "stats": dict(commit.stats),
        },
    )  # fmt: skip


def read_commit(folder: Path, step: Step, unit: str) -> Commit | None:
    """The record of a unit if it is whole and its files are there at their size, else None."""
    try:
        found = json.loads(record_path(folder, step, unit).read_bytes())
        commit = Commit(found["key"], found["files"], found["stats"], float(found["seconds"]))
        whole = all((folder / name).stat().st_size == size for name, size in commit.files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return commit if whole else None


def remove_commit(folder: Path, step: Step, unit: str) -> None:
    """Declare a unit not done; its files stop counting at once and are replaced later."""
    record_path(folder, step, unit).unlink(missing_ok=True)


def remove_temporary(folder: Path) -> None:
    """Remove what writers that were killed left half written."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)
