"""Everything the tables say about single pairs, fetched by place."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit.conversions import suggested_classes
from multimodal.judged_shards import JudgedShard, judged_shards
from multimodal.run_folder import CleanedRun

# (number of the shard, number of the decision in it)
Place: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class PairFacts:
    """One decision and the pair it is about.

    Attributes:
        id: As in the decisions.
        source_id: As in the source.
        shard: Name of the shard.
        record: Number of the record in the shard.
        image: Where the image came from.
        title, text: Texts for people.
        labels: Labels as written in the source.
        given, label, suggested: Classes by number, -1 for none.
        verdict, quality, reason: The decision; `reason` is a code.
        evidence: Every column, NaN where it is silent.
        problem, detail: Why the record was refused, or "".
        neighbours: Numbers of the nearest usable pairs of the run.
    """

    id: str
    source_id: str
    shard: str
    record: int
    image: str
    title: str
    text: str
    labels: tuple[str, ...]
    given: int
    label: int
    suggested: int
    verdict: str
    quality: float
    reason: str
    evidence: dict[str, float]
    problem: str
    detail: str
    neighbours: tuple[int, ...]

    @property
    def best(self) -> int:
        """The class to show behind the arrow: the one to use, else the suggested one."""
        return self.label if self.label >= 0 else self.suggested


def pair_facts(run: CleanedRun, places: Iterable[Place]) -> dict[Place, PairFacts]:
    """Facts by place; reads only the shards that are asked for, one at a time."""
    by_shard: dict[int, list[int]] = defaultdict(list)
    for index, row in places:
        by_shard[index].append(row)
    names = [run.shards[index] for index in by_shard]
    found: dict[Place, PairFacts] = {}
    for shard in judged_shards(run, names):
        rows = np.unique(np.array(by_shard[shard.index], np.int64))
        facts = _facts(shard, rows, run.neighbours(shard.name))
        found |= {(shard.index, row): fact for row, fact in zip(rows.tolist(), facts, strict=True)}
    return found


def places_of_usable(run: CleanedRun, numbers: Iterable[int]) -> dict[int, Place]:
    """Where usable pairs, counted over the whole run, stand: number -> place of its decision."""
    wanted = np.unique(np.array([n for n in numbers if n >= 0], np.int64))
    shards = np.searchsorted(run.usable_starts, wanted, side="right") - 1
    places: dict[int, Place] = {}
    for shard in judged_shards(run, {run.shards[index] for index in shards.tolist()}):
        mine = wanted[shards == shard.index]
        records = np.flatnonzero(shard.usable)[mine - run.usable_starts[shard.index]]
        # where a pair has several decisions, its first one speaks for it
        decisions = np.searchsorted(shard.record_of, records)
        for number, decision in zip(mine.tolist(), decisions.tolist(), strict=True):
            places[number] = (shard.index, decision)
    return places


def _facts(
    shard: JudgedShard, decisions: NDArray[np.int64], neighbours: NDArray[np.int64] | None
) -> list[PairFacts]:
    audit, records = shard.audit.select(decisions), shard.record_of[decisions]
    rows = shard.rows.take(records).to_pylist()
    suggested = suggested_classes(audit)
    ordinal = np.cumsum(shard.usable) - 1
    facts = []
    for i, (record, row) in enumerate(zip(records.tolist(), rows, strict=True)):
        near: tuple[int, ...] = ()
        if neighbours is not None and row["usable"]:
            near = tuple(int(one) for one in neighbours[ordinal[record]] if one >= 0)
        facts.append(
            PairFacts(
                id=str(audit.ids[i]),
                source_id=row["source_id"] or "",
                shard=shard.name,
                record=record,
                image=row["image"] or "",
                title=row["title"] or "",
                text=row["text"] or "",
                labels=tuple(row["labels"] or ()),
                given=int(audit.given[i]),
                label=int(audit.label[i]),
                suggested=int(suggested[i]),
                verdict=str(audit.verdict[i]),
                quality=float(audit.quality[i]),
                reason=str(audit.reason[i]),
                evidence={name: float(column[i]) for name, column in audit.evidence.items()},
                problem=row["problem"] or "",
                detail=row["detail"] or "",
                neighbours=near,
            )
        )
    return facts
