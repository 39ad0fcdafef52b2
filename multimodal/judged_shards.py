"""A run shard by shard: the verdicts beside the records they speak of."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import LabelAudit
from multimodal.engine.entries import pairs_of_entries
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
        ids, records = self.audit.ids.astype(np.str_).tolist(), self.texts("id")
        # as many decisions as records may still be two about one and none about another
        if ids == records:
            return np.arange(len(records))
        try:
            return pairs_of_entries(ids, records)
        except ValueError as error:
            raise ValueError(f"shard {self.name!r}: {error}") from None

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
