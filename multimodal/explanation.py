"""Everything a run knows about one pair: for ``explain``, and for scripts."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from heapq import nlargest

import numpy as np

from labelnoise.audit.conversions import suggested_classes
from multimodal.judged_shards import JudgedShard, judged_shards
from multimodal.pair_facts import PairFacts, pair_facts, places_of_usable
from multimodal.run_folder import CleanedRun

N_SIMILAR, N_NEAR = 5, 5
# ids around the wanted one in the order of the alphabet, per shard, that are compared with it
AROUND = 8


@dataclass(frozen=True)
class Explanation:
    """What `explain_pair` finds.

    Attributes:
        decisions: The pair's decisions; more than one where every label is judged by itself.
        sentence: What the reason of the first one means.
        neighbours: The nearest pairs.
        same: Decisions of the whole run with the same reason, given and suggested class.
        like: Ids of some of them in the same shard, nearest in quality.
        class_names: K names.
        method: Who decided.
    """

    decisions: tuple[PairFacts, ...]
    sentence: str
    neighbours: tuple[PairFacts, ...]
    same: int
    like: tuple[str, ...]
    class_names: tuple[str, ...]
    method: str


def explain_pair(run: CleanedRun, wanted: str) -> Explanation:
    """Look a pair up by its id in the decisions or in the source.

    Where every label is judged by itself, the id of one of these decisions gives that alone.

    Raises:
        ValueError: No pair has it; the message names the nearest ids.
    """
    name, record = _found(run, wanted)
    shard = next(judged_shards(run, [name]))
    about = shard.record_of == record
    alone = about & (shard.audit.ids.astype(np.str_) == wanted)
    rows = np.flatnonzero(alone if alone.any() else about)
    places = [(shard.index, int(row)) for row in rows]
    by_place = pair_facts(run, places)
    decisions = tuple(by_place[place] for place in places)
    near = places_of_usable(run, decisions[0].neighbours)
    near_facts = pair_facts(run, near.values())
    same, like = _same_problem(run, shard, int(rows[0]))
    return Explanation(
        decisions=decisions,
        sentence=shard.audit.reasons[decisions[0].reason],
        neighbours=tuple(near_facts[near[n]] for n in decisions[0].neighbours),
        same=same,
        like=like,
        class_names=shard.audit.class_names,
        method=shard.audit.method,
    )


def nearest_ids(run: CleanedRun, wanted: str, *, n: int = N_NEAR) -> list[str]:
    """Ids that are written most like `wanted`, best first; reads only the ids."""
    best: list[tuple[float, str]] = []
    for name in run.shards:
        ids = sorted(set(run.rows(name).select(["id"])["id"].to_pylist()))
        place = int(np.searchsorted(ids, wanted)) if ids else 0
        around = ids[max(0, place - AROUND) : place + AROUND]
        holding = [one for one in ids if wanted and wanted.casefold() in one.casefold()][:AROUND]
        best = nlargest(n, {*best, *_likeness(wanted, {*around, *holding})})
    return [one for _, one in best]


def _likeness(wanted: str, ids: Iterable[str]) -> list[tuple[float, str]]:
    return [(SequenceMatcher(None, wanted, one).ratio(), one) for one in ids]


def _found(run: CleanedRun, wanted: str) -> tuple[str, int]:
    try:
        return run.find(wanted)
    except ValueError:
        for shard in judged_shards(run):
            entry = np.flatnonzero(shard.audit.ids.astype(np.str_) == wanted)
            if len(entry):
                return shard.name, int(shard.record_of[entry[0]])
        near = ", ".join(repr(one) for one in nearest_ids(run, wanted))
        hint = f"; the nearest are {near}" if near else ""
        raise ValueError(f"no pair with id {wanted!r} in {run.path}{hint}") from None


def _same_problem(run: CleanedRun, home: JudgedShard, row: int) -> tuple[int, tuple[str, ...]]:
    """How many others share reason, given and suggested class, and some of them."""
    reason, given = home.audit.reason[row], home.audit.given[row]
    suggested = suggested_classes(home.audit)[row]
    total, like = 0, tuple[str, ...]()
    for shard in judged_shards(run):
        audit = shard.audit
        mask = (audit.reason == reason) & (audit.given == given)
        mask &= suggested_classes(audit) == suggested
        if shard.index == home.index:
            mask[row] = False
            others = np.flatnonzero(mask)
            distance = np.abs(audit.quality[others] - audit.quality[row])
            order = others[np.argsort(distance, kind="stable")][:N_SIMILAR]
            like = tuple(audit.ids[order].astype(str).tolist())
        total += int(mask.sum())
    return total, like
