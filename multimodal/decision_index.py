"""The decisions of a whole run in a few bytes per row, found by id."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import VERDICTS, LabelAudit
from multimodal.judged_shards import judged_shards
from multimodal.pair_facts import Place
from multimodal.run_folder import CleanedRun
from multimodal.stable_order import stable_keys


@dataclass(frozen=True, eq=False)
class DecisionIndex:
    """N decisions, sorted by the hash of their id; 35 bytes each.

    Two ids share a hash with a probability of N^2 / 2^65 (3e-6 for ten million).

    Attributes:
        keys: Hash of each id ``[N]`` uint64, ascending, unique.
        verdict: Number of the verdict in `VERDICTS` ``[N]`` int8.
        given, label: Classes ``[N]`` int32, -1 for none.
        quality: ``[N]`` float32.
        reason: Number of the reason in `reasons` ``[N]`` int16.
        shard, row: Where the decision stands ``[N]`` int32.
        reasons: Codes.
        class_names: K names.
    """

    keys: NDArray[np.uint64]
    verdict: NDArray[np.int8]
    given: NDArray[np.int32]
    label: NDArray[np.int32]
    quality: NDArray[np.float32]
    reason: NDArray[np.int16]
    shard: NDArray[np.int32]
    row: NDArray[np.int32]
    reasons: tuple[str, ...]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, ids: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        """Number ``[M]`` of each id's decision, -1 where there is none."""
        if not len(self):
            return np.full(len(ids), -1)
        wanted = stable_keys(ids)
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self) - 1)
        return np.where(self.keys[place] == wanted, place, -1)

    def place(self, number: int) -> Place:
        """Shard and row of a decision."""
        return int(self.shard[number]), int(self.row[number])


def index_of_run(run: CleanedRun, *, source_ids: bool = False) -> DecisionIndex:
    """Index of a run; reads it shard by shard.

    Args:
        run: The run.
        source_ids: Find decisions by the ids of the source, not those of the decisions; where the
            source has an id twice, the first one answers.
    """
    parts = (
        (shard.index, shard.audit, shard.source_ids if source_ids else shard.audit.ids)
        for shard in judged_shards(run)
    )
    return _index(parts)


def index_of_audit(audit: LabelAudit) -> DecisionIndex:
    """Index of an audit; ids that are numbers are found as numbers or as text."""
    return _index([(0, audit, audit.ids)])


def _index(parts: Iterable[tuple[int, LabelAudit, NDArray[Any]]]) -> DecisionIndex:
    codes: dict[str, int] = {}
    columns: dict[str, list[NDArray[Any]]] = {}
    names: tuple[str, ...] = ()
    for index, audit, ids in parts:
        names = names or audit.class_names
        found, place = np.unique(audit.reason, return_inverse=True)
        numbers = np.array([codes.setdefault(str(code), len(codes)) for code in found], np.int16)
        found_columns: dict[str, NDArray[Any]] = {
            "keys": stable_keys(ids.tolist()),
            "verdict": _verdict_numbers(audit),
            "given": audit.given.astype(np.int32),
            "label": audit.label.astype(np.int32),
            "quality": audit.quality.astype(np.float32),
            "reason": numbers[place] if len(numbers) else np.zeros(0, np.int16),
            "shard": np.full(len(audit), index, np.int32),
            "row": np.arange(len(audit), dtype=np.int32),
        }
        for name, column in found_columns.items():
            columns.setdefault(name, []).append(column)
    stacked = {name: np.concatenate(pieces) for name, pieces in columns.items()}
    # the first of equal ids in the order of the run
    _, first = np.unique(stacked["keys"], return_index=True)
    sorted_columns = {name: column[first] for name, column in stacked.items()}
    return DecisionIndex(**sorted_columns, reasons=tuple(codes), class_names=names)


def _verdict_numbers(audit: LabelAudit) -> NDArray[np.int8]:
    numbers = np.zeros(len(audit), np.int8)
    for i, name in enumerate(VERDICTS):
        numbers[audit.verdict == name] = i
    return numbers
