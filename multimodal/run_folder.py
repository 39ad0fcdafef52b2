"""The folder that ``multimodal clean`` leaves: how its tables are written and read back.

```
job.json                 what was begun; there from the first second
run.json                 the commit record: written last, so a folder with it is finished
rows/SHARD.parquet       one line per record in the order of the source, refused ones included
decisions/SHARD.parquet  a `LabelAudit` of the same rows
neighbours/SHARD.npy     for methods that leave them: neighbours of the usable rows
SHARD_stats.json         commit record of a shard's tables
work/                    what the steps leave for each other
```
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labelnoise.atomic_files import replacing

if TYPE_CHECKING:
    import pyarrow as pa

    from labelnoise.audit import LabelAudit
    from multimodal.corpus.base import Corpus

FORMAT = 1
JOB, RECORD = "job.json", "run.json"
ROWS, DECISIONS, NEIGHBOURS, WORK = "rows", "decisions", "neighbours", "work"
STATS = "{}_stats.json"
TEXT_COLUMNS = ("id", "source_id", "image", "text", "title")


def rows_table(columns: Mapping[str, Sequence[Any]]) -> "pa.Table":
    """Columns of ``rows/SHARD.parquet`` as a table of fixed types.

    Args:
        columns: ``id`` unique in the run and as in the audit, ``source_id`` as the source has it,
            ``image`` where the image came from, ``text`` as cleaned for people, ``title``,
            ``labels`` lists of text as written, ``problem`` a code of `PROBLEMS` or None,
            ``detail`` text, ``usable`` whether a method saw the row. All of one length.
    """
    import pyarrow as pa

    text = pa.string()
    schema = pa.schema(
        [(name, text) for name in TEXT_COLUMNS]
        + [("labels", pa.list_(text)), ("problem", text), ("detail", text), ("usable", pa.bool_())]
    )
    return pa.table({name: list(columns[name]) for name in schema.names}, schema=schema)


def write_table(table: "pa.Table", path: Path) -> None:
    """Write a Parquet file, all of it or nothing."""
    import pyarrow.parquet as pq

    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


@dataclass(frozen=True)
class CleanedRun:
    """A finished run, read from its folder as needed; nothing is held but the record.

    Attributes:
        path: The folder.
        record: ``run.json``: command, method, settings, counts, times, `table_hash`, shards.
    """

    path: Path
    record: Mapping[str, Any]

    @property
    def shards(self) -> tuple[str, ...]:
        """Names in the order of the source, failed ones included."""
        return tuple(shard["name"] for shard in self.record["shards"])

    @property
    def table_hash(self) -> str:
        """SHA-256 over all decisions in order; equal runs have equal hashes."""
        return str(self.record["table_hash"])

    @property
    def failed(self) -> Mapping[str, str]:
        """Shards that could not be finished -> why. Each is one rejected row in the tables."""
        return {
            shard["name"]: shard["failed"] for shard in self.record["shards"] if shard["failed"]
        }

    def decisions(self, shard: str) -> "LabelAudit":
        """Verdicts on the records of a shard, in its order.

        Rows are those of `rows`; for a method that judges each label of a pair, they are grouped
        by pair and the ids say which.
        """
        from labelnoise.audit import LabelAudit

        return LabelAudit.read(self._file(DECISIONS, shard, ".parquet"))

    def rows(self, shard: str) -> "pa.Table":
        """Texts, labels as written and problems of the records of a shard, in its order."""
        import pyarrow.parquet as pq

        return pq.read_table(self._file(ROWS, shard, ".parquet"))

    def neighbours(self, shard: str) -> NDArray[np.int64] | None:
        """Nearest others ``[n_usable, k]`` of the usable rows of a shard, where the method says.

        They are numbers of usable rows of the whole run, counted over the shards in order; -1
        where there is none.
        """
        path = self._file(NEIGHBOURS, shard, ".npy")
        return np.load(path, mmap_mode="r", allow_pickle=False) if path.exists() else None

    def audit(self) -> "LabelAudit":
        """All decisions in one table; millions of rows fit, they are a few hundred bytes each."""
        from labelnoise.audit import LabelAudit

        return LabelAudit.merge([self.decisions(shard) for shard in self.shards])

    def find(self, wanted: str) -> tuple[str, int]:
        """Shard and row of an id: as in the decisions, else the first with this id in the source.

        Raises:
            ValueError: No row has it.
        """
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        for column in ("id", "source_id"):
            for shard in self.shards:
                path = self._file(ROWS, shard, ".parquet")
                row = pc.index(pq.read_table(path, columns=[column])[column], wanted).as_py()
                if row >= 0:
                    return shard, int(row)
        raise ValueError(f"no row with id {wanted!r} in {self.path}")

    @cached_property
    def usable_starts(self) -> NDArray[np.int64]:
        """``[n_shards + 1]``: number of the first usable row of each shard, then their total."""
        return np.cumsum([0, *(shard["usable"] for shard in self.record["shards"])])

    def corpus(self) -> "Corpus":
        """The corpus that was cleaned, opened again; its images are where they were.

        Raises:
            ValueError: It was handed over as an object, or its files have moved.
        """
        job = self.record["job"]
        if job["source"] is None:
            raise ValueError(f"{self.path} was made from a corpus object, not from files")
        from multimodal.corpus import ColumnNames, ImageLimits, open_corpus

        columns = dict(job.get("columns", {}))
        columns["embeddings"] = tuple(columns.get("embeddings", ()))
        # the same columns and cuts, or ids and shards would be others
        return open_corpus(
            job["source"],
            format=job["format"],
            columns=ColumnNames(**columns),
            limits=ImageLimits(**job.get("limits", {})),
            rows_per_shard=job.get("rows_per_shard", 10_000),
        )

    def _file(self, folder: str, shard: str, suffix: str) -> Path:
        if shard not in self.shards:
            raise ValueError(f"{self.path} has no shard {shard!r}")
        return self.path / folder / (shard + suffix)


def open_run(path: str | Path) -> CleanedRun:
    """A finished run of ``multimodal clean``.

    Raises:
        ValueError: The folder holds none, or one that is not finished.
    """
    folder = Path(path)
    record = read_json(folder / RECORD)
    if record is None:
        if read_json(folder / JOB) is not None:
            raise ValueError(f"the run in {folder} is not finished: run the same command again")
        raise ValueError(f"{folder} holds no run of `multimodal clean` (no {RECORD})")
    if record.get("format") != FORMAT:
        raise ValueError(f"{folder / RECORD} has format {record.get('format')!r}, want {FORMAT}")
    return CleanedRun(folder, record)


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where there is no such file.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        return dict(json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError):
        raise ValueError(f"{path} is damaged; remove it and run the command again") from None


def table_hash(audits: Iterable["LabelAudit"]) -> str:
    """SHA-256 over all decisions in order: ids, labels, verdicts, reasons, qualities, evidence.

    It is over the content, not the files, and the same however the rows are cut into shards.
    """
    columns: dict[str, Any] = {}
    for audit in audits:
        parts: dict[str, NDArray[Any]] = {
            "given": audit.given,
            "label": audit.label,
            "quality": audit.quality.astype(np.float64),
        }
        for name in ("ids", "verdict", "reason"):
            encoded = [str(one).encode() for one in getattr(audit, name).tolist()]
            parts[name] = np.frombuffer(b"".join(encoded), np.uint8)
            parts[f"{name} lengths"] = np.array([len(one) for one in encoded], np.int64)
        for name, column in audit.evidence.items():
            # every NaN is written the same way
            parts[f"evidence {name}"] = np.where(np.isnan(column), np.nan, column.astype(float))
        for name, part in parts.items():
            columns.setdefault(name, hashlib.sha256()).update(part.tobytes())
    total = hashlib.sha256()
    for name in sorted(columns):
        total.update(f"{name}\0{columns[name].hexdigest()}\0".encode())
    return total.hexdigest()
