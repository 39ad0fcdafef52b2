"""Step over the whole corpus: which records are usable, and the number of each among them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.corpus.duplicate_ids import mark_duplicates
from multimodal.engine.context import StepContext
from multimodal.engine.job import CleaningJob, Role
from multimodal.engine.records import ROWS
from multimodal.engine.steps import WHOLE
from multimodal.engine.vectors import save_rows
from multimodal.run_folder import write_table

if TYPE_CHECKING:
    import pyarrow as pa

LAYOUT = ".layout.parquet"
# labels outside the list and repeated ids are no damage
NOT_BROKEN = ("unknown_label", "duplicate_id")


def layout(context: StepContext, unit: str) -> Mapping[str, Any]:
    """Find duplicate ids, refuse shards that are mostly broken, number what is left.

    Files: ``.layout.parquet``, read by `read_layout`; for shards where not every sound record is
    usable, their rows and vectors again without the others.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    names = [n for n in context.units("records") if n in set(_embedded(context))]
    tables = [_Lazy(context.input("records", name, ROWS)) for name in names]
    repeated = mark_duplicates([table.ids for table in tables])
    columns: dict[str, list[Any]] = {name: [] for name in ("shard", "rows", "usable", "changed")}
    columns["refused"] = []
    several = 0
    for name, table, twice in zip(names, tables, repeated, strict=True):
        settled = Settled.of(table.read(), name, twice, context.job.max_bad_share)
        if settled.changed:
            _write_changed(context, name, settled)
        values = (name, len(settled.table), int(settled.usable.sum()), settled.changed)
        for column, value in zip(columns, (*values, settled.refused), strict=True):
            columns[column].append(value)
        lengths = pc.list_value_length(settled.table["given"]).to_numpy()
        several += int((lengths[settled.usable] > 1).sum())
    if not sum(columns["usable"]):
        raise ValueError(_why_none(context, names))
    with context.output(LAYOUT) as path:
        write_table(pa.table(columns), path)
    return {
        "rows": sum(columns["rows"]), "usable": sum(columns["usable"]),
        "several_labels": several, **_encoders(context, names),
    }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Settled:
    """The records of a shard with the last word on each.

    Attributes:
        table: Their rows.
        usable: Which a method sees ``[R]``.
        keep: Which sound records are usable ``[n_sound]``.
        changed: Whether anything is not as the step before left it.
        refused: Why the whole shard is refused, "" if it is not.
    """

    table: "pa.Table"
    usable: NDArray[np.bool_]
    keep: NDArray[np.bool_]
    changed: bool
    refused: str

    @classmethod
    def of(
        cls, table: "pa.Table", shard: str, repeated: NDArray[np.bool_], max_bad_share: float
    ) -> "Settled":
        """Settle a shard.

        Args:
            table: As left by the step "records".
            shard: Its name.
            repeated: Which ids stand earlier in the corpus ``[R]``.
            max_bad_share: Of its records; with more, none is used.
        """
        usable, sound = (_flags(table, name) for name in ("usable", "sound"))
        broken = int((~sound & ~_is_one_of(table, NOT_BROKEN)).sum())
        refused = ""
        if broken > max_bad_share * len(table):
            refused = f"{broken} of {len(table)} records are broken"
        still = usable & ~repeated & (not refused)
        changed = bool(repeated.any() or (still != sound).any())
        if changed:
            table = _marked(table, shard, repeated, refused)
        return cls(table, still, still[sound], changed, refused)


def _marked(table: "pa.Table", shard: str, repeated: NDArray[np.bool_], refused: str) -> "pa.Table":
    """The records with the problems that show only beside other records."""
    import pyarrow as pa

    columns = table.to_pydict()
    for row, twice in enumerate(repeated.tolist()):
        if twice:
            # ids of the run are unique, whatever is wrong with the record
            columns["id"][row] = f"{columns['id'][row]}#{shard}:{row}"
        if columns["problem"][row] is None and (twice or refused):
            columns["problem"][row] = "shard_failed" if refused else "duplicate_id"
            columns["detail"][row] = refused or columns["source_id"][row]
    columns["usable"] = [code is None for code in columns["problem"]]
    return pa.table(columns, schema=table.schema)


def _flags(table: "pa.Table", column: str) -> NDArray[np.bool_]:
    return np.asarray(table[column].to_numpy(), np.bool_)


def _is_one_of(table: "pa.Table", codes: Sequence[str]) -> NDArray[np.bool_]:
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.is_in(table["problem"], value_set=pa.array(codes, pa.string()))
    return np.asarray(found.to_numpy(), np.bool_)


class _Lazy:
    """Rows of a shard, read when asked for: those of all shards need not fit."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ids(self) -> list[str]:
        import pyarrow.parquet as pq

        found: list[str] = pq.read_table(self._path, columns=["id"])["id"].to_pylist()
        return found

    def read(self) -> "pa.Table":
        import pyarrow.parquet as pq

        return pq.read_table(self._path)


@dataclass(frozen=True, eq=False)
class Layout:
    """What `layout` found, and where the files of each shard lie.

    Attributes:
        context: Of a later step.
        shards: Names of those that take part, in order.
        rows: Records of each.
        usable: Usable records of each.
        changed: Whether a shard's files were written again.
        refused: Why a shard is refused as a whole, "" for the others.
    """

    context: StepContext
    shards: tuple[str, ...]
    rows: NDArray[np.int64]
    usable: NDArray[np.int64]
    changed: NDArray[np.bool_]
    refused: tuple[str, ...]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """``[n_shards + 1]``: number of the first usable record of each shard, then N."""
        return np.cumsum([0, *self.usable])

    @cached_property
    def number(self) -> Mapping[str, int]:
        """Shard -> its place among `shards`."""
        return {name: number for number, name in enumerate(self.shards)}

    def rows_path(self, shard: str) -> Path:
        """File of a shard's records."""
        return self._path(shard, "records", ROWS)

    def table(self, shard: str, columns: Sequence[str] | None = None) -> "pa.Table":
        """Records of a shard."""
        import pyarrow.parquet as pq

        return pq.read_table(self.rows_path(shard), columns=columns)

    def vectors_path(self, shard: str, role: Role) -> Path:
        """File of a shard's vectors ``[n_usable, D]``."""
        return self._path(shard, vector_step(self.context.job, role), f".{role}.npy")

    def _path(self, shard: str, step: str, suffix: str) -> Path:
        changed = self.changed[self.number[shard]]
        return self.context.input("layout" if changed else step, shard, suffix)


def read_layout(context: StepContext) -> Layout:
    """What the step "layout" found, for a step after it."""
    path = context.input("layout", WHOLE, LAYOUT)
    columns = _columns(path, path.stat().st_mtime_ns)
    return Layout(
        context,
        tuple(columns["shard"]),
        np.array(columns["rows"], np.int64),
        np.array(columns["usable"], np.int64),
        np.array(columns["changed"], np.bool_),
        tuple(columns["refused"]),
    )


@lru_cache(maxsize=1)
def _columns(path: Path, written: int) -> Mapping[str, list[Any]]:
    # a worker reads it once, not for every shard
    import pyarrow.parquet as pq

    columns: Mapping[str, list[Any]] = pq.read_table(path).to_pydict()
    return columns


def vector_step(job: CleaningJob, role: Role) -> str:
    """Step that leaves the vectors of a role."""
    return "embed-text" if role == "text" and job.encodes("text") else "ingest"


def _embedded(context: StepContext) -> tuple[str, ...]:
    return context.units("embed-text" if context.job.encodes("text") else "ingest")


def _write_changed(context: StepContext, shard: str, settled: Settled) -> None:
    with context.output(ROWS, unit=shard) as path:
        write_table(settled.table, path)
    for role in context.job.encoders:
        path = context.input(vector_step(context.job, role), shard, f".{role}.npy")
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
        save_rows(context, role, rows[settled.keep], unit=shard)


def _encoders(context: StepContext, shards: Sequence[str]) -> dict[str, Any]:
    """Role -> key and space; one model must have seen all shards."""
    found: dict[str, Any] = {}
    for shard in shards:
        for role in context.job.encoders:
            told = context.stats(vector_step(context.job, role), shard)[role]
            one = found.setdefault(role, {name: told[name] for name in ("key", "space")})
            if one["key"] != told["key"]:
                raise ValueError(
                    f"the {role} encoder is another one for shard {shard} than for {shards[0]}:"
                    " its weights changed while the run was stopped; add --force"
                )
    return {"encoders": found}


def _why_none(context: StepContext, shards: Sequence[str]) -> str:
    problems: dict[str, int] = {}
    for shard in shards:
        for code, count in context.stats("ingest", shard)["problems"].items():
            problems[code] = problems.get(code, 0) + count
    return f"no record can be used; found {problems or 'only labels outside the class list'}"
