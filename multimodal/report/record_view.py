"""What ``run.json`` says about a run, in words for a page."""

from collections.abc import Mapping
from typing import Any

from labelnoise.report.page import count, decimal
from multimodal.report.gallery import shortened
from multimodal.run_folder import CleanedRun

HASH_LETTERS = 12
# lists of words are settings too, and nobody reads them here; run.json has them whole
MAX_VALUE = 160
SHOWN_ELSEWHERE = ("source", "classes", "method", "settings", "encoders", "seed", "n_classes")


def tiles(run: CleanedRun) -> list[tuple[str, str, str]]:
    """Label, value and note of the tiles about the run itself; what is not recorded is left out."""
    record, found = run.record, []
    seconds = float(record.get("seconds", 0))
    if seconds:
        speed = record.get("rows_per_second")
        found.append(
            ("Time", duration(seconds), f"{count(round(speed))} pairs per second" if speed else "")
        )
    memory = record.get("peak_memory")
    if memory:
        found.append(("Memory", f"{decimal(memory / 1e9, 1)} GB", "at the most, per worker"))
    n_failed, n_shards = len(run.failed), len(run.shards)
    note = "none failed" if not n_failed else f"{count(n_failed)} failed"
    found.append(("Shards", count(n_shards), note))
    key = str(record.get("key", ""))
    if key:
        found.append(("Settings", key[:HASH_LETTERS], "hash of input, settings and models"))
    return found


def provenance(run: CleanedRun, settings: Mapping[str, Any]) -> dict[str, str]:
    """Name -> value of all that is needed to run it again; empty values are left out.

    Args:
        run: The run.
        settings: Of the method, as in the audit.
    """
    record = run.record
    job = record.get("job", {})
    facts = {
        "Command": record.get("command", ""),
        "Source": listed(job.get("source") or ""),
        "Classes": job.get("classes") or "",
        "Method": record.get("method", ""),
        "Settings": listed(settings),
        "Encoders": listed(record.get("encoders", {})),
        "Input": listed({key: value for key, value in job.items() if key not in SHOWN_ELSEWHERE}),
        "Seed": record.get("seed", ""),
        "Key of input and settings": record.get("key", ""),
        "Hash of the decisions": record.get("table_hash", ""),
        "Steps": listed({name: f"{one['seconds']} s" for name, one in steps(record).items()}),
        "Versions": listed(record.get("versions", {})),
    }
    return {name: str(value) for name, value in facts.items() if value != ""}


def listed(values: Any) -> str:
    """Names and values on one line, nested ones with dots; a plain value as it is."""
    told = {name: shortened(value, MAX_VALUE) for name, value in flattened(values).items()}
    return ", ".join(f"{name} = {value}" if name else value for name, value in told.items())


def flattened(values: Any, prefix: str = "") -> dict[str, str]:
    """Leaves of nested mappings by their dotted name; empty ones are left out."""
    if not isinstance(values, Mapping):
        return {prefix: _short(values)} if values not in (None, "", [], {}) else {}
    found: dict[str, str] = {}
    for name, value in values.items():
        found |= flattened(value, f"{prefix}.{name}" if prefix else str(name))
    return found


def steps(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Name -> what was done in it; empty where it is not recorded."""
    return record.get("steps", {})


def duration(seconds: float) -> str:
    """Seconds in the unit people use."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < 6000:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
