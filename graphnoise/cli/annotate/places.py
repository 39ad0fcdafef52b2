"""The files of an annotation run, and how its folder is looked at while it works."""

import json
from pathlib import Path
from typing import Any

from graphnoise.cli.folder import JOB, PAGES, PROGRESS, RunFolder
from graphnoise.report.stored import ADJACENCY, AUDIT, HISTORY, PREDICTIONS, RECORD

LABELS, ANSWERS = "labels.parquet", "answers.sqlite"
OUTPUTS = (RECORD, JOB, PROGRESS, AUDIT, PREDICTIONS, LABELS, ADJACENCY, HISTORY, *PAGES)
# what was paid for outlives --force
KEEPS = (f"{ANSWERS}*",)
KIND = "annotation"
BEGUN = ("command", "key", "budget", "data")
# without which a record is no record
NEEDED = {JOB: BEGUN, RECORD: (*BEGUN, "status", "answers", "usage")}


def annotation_folder(path: Path, key: str) -> RunFolder:
    """The folder of an annotation job."""
    return RunFolder(path, key, outputs=OUTPUTS, keeps=KEEPS)


def read_begun(folder: Path) -> tuple[dict[str, Any], bool]:
    """The commit record of a run, or the note it left when it began, and which of them it is.

    Returns:
        content: Of ``run.json`` or ``job.json``.
        finished: Whether it is the record.

    Raises:
        ValueError: The folder holds no annotation run, or a damaged one.
    """
    for name in (RECORD, JOB):
        content = read_json(folder / name)
        if content is not None:
            if content.get("kind") != KIND:
                raise ValueError(f"{folder} holds another kind of run: {content.get('command')}")
            if not set(NEEDED[name]) <= set(content):
                raise ValueError(f"{folder / name} is damaged")
            return content, name == RECORD
    raise ValueError(f"{folder} holds no run of `graphnoise annotate run`")


def read_json(path: Path) -> dict[str, Any] | None:
    """Content of a file, None where there is none.

    Raises:
        ValueError: It is damaged.
    """
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise ValueError(f"{path} is damaged") from None


def answers_of(folder: Path, begun: dict[str, Any]) -> Path:
    """Where the answers of a run are kept."""
    return Path(begun.get("cache") or folder / ANSWERS)
