"""Runs of a study, a JSON line each, appended as results come: what is there is not run again."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.speed.paired import machine


def read_runs(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(rows, heads of sessions) written so far; a line cut short by a crash is left out."""
    rows: list[dict[str, Any]] = []
    heads: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            found = json.loads(line)
        except json.JSONDecodeError:
            continue
        (heads if "versions" in found else rows).append(found)
    return rows, heads


def session_head() -> dict[str, Any]:
    """Commit, date, machine and versions that the rows after it belong to."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    date = time.strftime("%Y-%m-%d", time.gmtime())
    return {"commit": commit.stdout.strip(), "date": date, **machine()}
