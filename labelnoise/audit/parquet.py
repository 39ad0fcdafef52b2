"""Label audits on disk: one Parquet file, the metadata in its schema."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.atomic_files import replacing
from labelnoise.audit.summaries import metadata

if TYPE_CHECKING:
    from labelnoise.audit.table import LabelAudit

KEY = b"labelnoise.audit"
FORMAT = 1


def to_arrow(audit: "LabelAudit") -> Any:
    """A `pyarrow.Table`: id, given, verdict, label, quality, reason, then the evidence."""
    import pyarrow as pa

    columns = {
        "id": pa.array(audit.ids, type=pa.int64() if audit.ids.dtype.kind == "i" else pa.string()),
        "given": pa.array(audit.given),
        "verdict": pa.array(audit.verdict, type=pa.string()).dictionary_encode(),
        "label": pa.array(audit.label),
        "quality": pa.array(audit.quality),
        "reason": pa.array(audit.reason, type=pa.string()).dictionary_encode(),
        **{name: pa.array(column) for name, column in audit.evidence.items()},
    }
    stored = {"format": FORMAT, "evidence": list(audit.evidence), **metadata(audit)}
    return pa.table(columns).replace_schema_metadata({KEY: json.dumps(stored).encode()})


def write(audit: "LabelAudit", path: str | Path) -> None:
    """Write `audit` to `path`; a reader sees the old file or the whole new one."""
    import pyarrow.parquet as pq

    with replacing(path) as temporary:
        pq.write_table(to_arrow(audit), temporary)


def read(path: str | Path) -> "LabelAudit":
    """Read what `write` wrote.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is no label audit, or one of a later format.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with Path(path).open("rb") as file:  # one honest error for a folder or a missing file
        try:
            table = pq.read_table(file)
        except (pa.ArrowInvalid, OSError) as error:
            raise ValueError(f"{path} is no label audit: not a Parquet file ({error})") from None
    stored = (table.schema.metadata or {}).get(KEY)
    if stored is None:
        raise ValueError(f"{path} is no label audit: its schema carries no audit metadata")
    return _from_arrow(table, json.loads(stored), path)


def _from_arrow(table: Any, stored: dict[str, Any], path: str | Path) -> "LabelAudit":
    from labelnoise.audit.table import LabelAudit

    if stored.get("format") != FORMAT:
        raise ValueError(f"{path} has audit format {stored.get('format')!r}, want {FORMAT}")

    def column(name: str) -> Any:
        values = table.column(name).to_numpy()
        return values.astype(np.str_) if values.dtype == object else values

    transition = stored["transition"]
    return LabelAudit(
        ids=column("id"),
        given=column("given"),
        verdict=column("verdict"),
        label=column("label"),
        quality=column("quality"),
        reason=column("reason"),
        evidence={name: column(name) for name in stored["evidence"]},
        class_names=tuple(stored["class_names"]),
        method=stored["method"],
        reasons=stored["reasons"],
        settings=stored["settings"],
        seed=stored["seed"],
        versions=stored["versions"],
        transition=None if transition is None else np.array(transition, dtype=np.float64),
        noise_rate=stored["noise_rate"],
    )
