"""A run shard by shard: the verdicts beside the records they speak of."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import LabelAudit
from multimodal.run_folder import CleanedRun

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, eq=False)
class JudgedShard:
    """Decisions and records of one shard.

    Attributes:
        index: Number of the shard in the run.
        name: Its name.
        audit: D decisions.
        rows: R records, in the order of the source. D = R unless the method judges every label
            of a pair by itself.
    """

    index: int
    name: str
    audit: LabelAudit
    rows: "pa.Table"

    @cached_property
    def record_of(self) -> NDArray[np.int64]:
        """Record ``[D]`` each decision is about."""
        if len(self.audit) == len(self.rows):
            return np.arange(len(self.rows))
        return _records_of(self.audit.ids.tolist(), self.texts("id"), self.name)

    @cached_property
    def refused(self) -> NDArray[np.bool_]:
        """Decisions ``[D]`` on records that could not be read: no method judged those."""
        return ~self.usable[self.record_of]

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """Records ``[R]`` that a method saw."""
        return np.asarray(self.rows["usable"].to_pylist(), dtype=np.bool_)

    @cached_property
    def source_ids(self) -> NDArray[np.str_]:
        """The source's own id of each decision ``[D]``."""
        return np.asarray(self.texts("source_id"), dtype=np.str_)[self.record_of]

    def texts(self, column: str) -> list[str]:
        """A column of text, empty for null."""
        return [one or "" for one in self.rows[column].to_pylist()]


def judged_shards(run: CleanedRun, names: Iterable[str] | None = None) -> Iterator[JudgedShard]:
    """The shards of a run in order, or those of `names`; one at a time is in memory."""
    wanted = None if names is None else set(names)
    for index, name in enumerate(run.shards):
        if wanted is None or name in wanted:
            yield JudgedShard(index, name, run.decisions(name), run.rows(name))


def _records_of(ids: list[Any], records: list[str], shard: str) -> NDArray[np.int64]:
    """Several decisions per record stand together, and each id begins with its record's."""
    found, at = np.empty(len(ids), np.int64), 0
    for i, one in enumerate(ids):
        while at < len(records) and not str(one).startswith(records[at]):
            at += 1
        if at == len(records):
            raise ValueError(f"decision {one!r} of shard {shard!r} belongs to no record")
        # of two records where one id begins with the other, the next may fit better
        if (
            at + 1 < len(records)
            and len(records[at + 1]) > len(records[at])
            and str(one).startswith(records[at + 1])
        ):
            at += 1
        found[i] = at
    return found
