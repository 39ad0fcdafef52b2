"""Two runs on the same pairs: what changed, how often, and for which pairs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import VERDICTS
from multimodal.decision_index import DecisionIndex, index_of_run
from multimodal.judged_shards import JudgedShard, judged_shards
from multimodal.pair_facts import PairFacts, Place, pair_facts
from multimodal.report.record_view import flattened
from multimodal.run_folder import CleanedRun

N_EXAMPLES = 6
# what differs between any two runs and explains nothing
NOT_SETTINGS = (
    "command",
    "key",
    "table_hash",
    "seconds",
    "rows_per_second",
    "peak_memory",
    "steps",
    "shards",
    "verdicts",
    "reasons",
    "problems",
    "rows",
    "usable",
    "decisions",
    "data",
    "finished",
)
FLAGGED = (VERDICTS.index("relabel"), VERDICTS.index("reject"))


@dataclass(frozen=True)
class Change:
    """Pairs that went from one verdict to another, or got another label; the biggest group first.

    Attributes:
        before, after: Verdicts; equal where only the label to use differs.
        rows: How many.
        examples: Those whose quality changed most, as (facts in A, facts in B).
        places: Where they stand in A.
    """

    before: str
    after: str
    rows: int
    examples: tuple[tuple[PairFacts, PairFacts], ...]
    places: tuple[Place, ...]


@dataclass(frozen=True)
class ClassChange:
    """One given class: pairs in both runs, kept and flagged in each, decided differently."""

    name: str
    rows: int
    kept_a: int
    kept_b: int
    flagged_a: int
    flagged_b: int
    changed: int


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare_runs` finds.

    Attributes:
        both, only_a, only_b: Decisions in both runs and in one.
        verdicts: ``[4][4]`` decisions by verdict in A (row) and B (column), as `VERDICTS`.
        same: Share with the same verdict and the same label.
        kappa: Cohen's kappa of "flagged" (relabel or reject): agreement beyond chance; None where
            it is not defined.
        rank_correlation: Spearman's of the qualities; None for fewer than two or equal ones.
        changes: Groups of changed decisions.
        classes: Given classes with a change, the most changed first.
        settings: Name -> (in A, in B) of what differs.
        class_names: Of A, then those only B has.
    """

    both: int
    only_a: int
    only_b: int
    verdicts: list[list[int]]
    same: float
    kappa: float | None
    rank_correlation: float | None
    changes: tuple[Change, ...]
    classes: tuple[ClassChange, ...]
    settings: Mapping[str, tuple[str, str]]
    class_names: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; examples by id."""
        return {
            "both": self.both,
            "only_a": self.only_a,
            "only_b": self.only_b,
            "verdicts": {
                before: dict(zip(VERDICTS, row, strict=True))
                for before, row in zip(VERDICTS, self.verdicts, strict=True)
            },
            "same": self.same,
            "kappa": self.kappa,
            "rank_correlation": self.rank_correlation,
            "changes": [
                {
                    "before": one.before,
                    "after": one.after,
                    "rows": one.rows,
                    "examples": [a.id for a, _ in one.examples],
                }
                for one in self.changes
            ],
            "classes": [vars(one) for one in self.classes],
            "settings": {name: list(pair) for name, pair in self.settings.items()},
        }


def compare_runs(a: CleanedRun, b: CleanedRun, *, n_examples: int = N_EXAMPLES) -> Comparison:
    """Join two runs by the ids of their decisions, shard by shard of the second.

    Holds 35 bytes per decision of `a` and 8 per common one. The runs may be of different methods,
    class lists and cuts into shards; classes are matched by name.

    Args:
        a: The earlier run, or the one to compare with.
        b: The other.
        n_examples: Pairs named per kind of change.

    Raises:
        ValueError: The runs have no pair in common.
    """
    index = index_of_run(a)
    join = _Join(index, n_examples)
    for shard in judged_shards(b):
        join.update(shard)
    if not join.both:
        raise ValueError(f"{a.path} and {b.path} have no id in common: are they of one corpus?")
    return Comparison(
        both=join.both,
        only_a=len(index) - join.both,
        only_b=join.only_b,
        verdicts=join.verdicts.tolist(),
        same=join.same / join.both,
        kappa=cohens_kappa(join.verdicts),
        rank_correlation=join.rank_correlation(),
        changes=join.changes(a, b),
        classes=join.classes(),
        settings=differing_settings(a, b),
        class_names=join.class_names,
    )


def cohens_kappa(verdicts: NDArray[np.int64]) -> float | None:
    """Agreement of two runs on what is flagged, beyond what their rates give by chance.

    Args:
        verdicts: ``[4, 4]`` counts by verdict.
    """
    total = verdicts.sum()
    both = verdicts[np.ix_(FLAGGED, FLAGGED)].sum()
    in_a, in_b = verdicts[list(FLAGGED)].sum(), verdicts[:, list(FLAGGED)].sum()
    agreed = (total - in_a - in_b + 2 * both) / total
    chance = (in_a * in_b + (total - in_a) * (total - in_b)) / total**2
    return None if chance == 1 else float((agreed - chance) / (1 - chance))


def differing_settings(a: CleanedRun, b: CleanedRun) -> dict[str, tuple[str, str]]:
    """What the two records say differently, as (in A, in B); a dash for what one lacks."""
    told = [
        flattened({name: one for name, one in run.record.items() if name not in NOT_SETTINGS})
        for run in (a, b)
    ]
    names = dict.fromkeys([*told[0], *told[1]])
    pairs = {name: (told[0].get(name, "–"), told[1].get(name, "–")) for name in names}
    found = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    # the job repeats the settings of the method
    return {
        k: v for k, v in found.items() if found.get(k.removeprefix("job.")) != v or "job." not in k
    }


class _Join:
    """What is counted while the second run comes by."""

    def __init__(self, index: DecisionIndex, n_examples: int) -> None:
        self.index, self.n_examples = index, n_examples
        self.class_names = index.class_names
        self.verdicts = np.zeros((len(VERDICTS), len(VERDICTS)), np.int64)
        self.both = self.only_b = self.same = 0
        self._qualities: list[NDArray[np.float32]] = []
        self._rows: dict[tuple[int, int], int] = {}
        # kind of change -> (|change of quality|, key, number in A, place in B), best first
        self._best: dict[tuple[int, int], list[tuple[float, int, int, Place]]] = {}
        self._classes = np.zeros((6, len(index.class_names)), np.int64)

    def update(self, shard: JudgedShard) -> None:
        """Join one shard of B."""
        audit, index = shard.audit, self.index
        found = index.find(audit.ids.tolist())
        rows = np.flatnonzero(found >= 0)
        mine = found[rows]
        self.both += len(rows)
        self.only_b += len(audit) - len(rows)
        if not len(rows):
            return
        label = self._translated(audit.class_names)[audit.label[rows]]
        before = index.verdict[mine].astype(np.int64)
        after = np.zeros(len(rows), np.int64)
        for i, name in enumerate(VERDICTS):
            after[audit.verdict[rows] == name] = i
        np.add.at(self.verdicts, (before, after), 1)
        changed = (before != after) | (index.label[mine] != label)
        self.same += int((~changed).sum())
        quality = audit.quality[rows].astype(np.float32)
        self._qualities.append(np.stack([index.quality[mine], quality]))
        self._count_classes(index.given[mine], before, after, changed)
        self._collect(shard.index, rows, mine, (before, after), changed, quality)

    def rank_correlation(self) -> float | None:
        """Spearman's correlation of the qualities."""
        from scipy.stats import rankdata

        first, second = np.concatenate(self._qualities, axis=1)
        if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
            return None
        return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])

    def changes(self, a: CleanedRun, b: CleanedRun) -> tuple[Change, ...]:
        """Groups of changes, with the facts of their examples."""
        best = [entry for entries in self._best.values() for entry in entries]
        in_a = pair_facts(a, [self.index.place(number) for _, _, number, _ in best])
        in_b = pair_facts(b, [place for _, _, _, place in best])
        made = []
        for kind, rows in sorted(self._rows.items(), key=lambda entry: (-entry[1], entry[0])):
            places = [(self.index.place(n), place) for _, _, n, place in self._best[kind]]
            made.append(
                Change(
                    VERDICTS[kind[0]],
                    VERDICTS[kind[1]],
                    rows,
                    tuple((in_a[first], in_b[second]) for first, second in places),
                    tuple(first for first, _ in places),
                )
            )
        return tuple(self._in_names_of_a(one, b) for one in made)

    def classes(self) -> tuple[ClassChange, ...]:
        """Classes with a change, the most changed first."""
        order = sorted(range(len(self.index.class_names)), key=lambda k: (-self._classes[5, k], k))
        return tuple(
            ClassChange(self.class_names[k], *(int(n) for n in self._classes[:, k]))
            for k in order
            if self._classes[5, k]
        )

    def _count_classes(
        self,
        given: NDArray[np.int32],
        before: NDArray[np.int64],
        after: NDArray[np.int64],
        changed: NDArray[np.bool_],
    ) -> None:
        masks = (
            np.ones(len(given), np.bool_),
            before == 0,
            after == 0,
            np.isin(before, FLAGGED),
            np.isin(after, FLAGGED),
            changed,
        )
        for i, mask in enumerate(masks):
            rows = mask & (given >= 0)
            self._classes[i] += np.bincount(given[rows], minlength=self._classes.shape[1])

    def _collect(
        self,
        shard: int,
        rows: NDArray[np.int64],
        mine: NDArray[np.int64],
        verdicts: tuple[NDArray[np.int64], NDArray[np.int64]],
        changed: NDArray[np.bool_],
        quality: NDArray[np.float32],
    ) -> None:
        """Keep the examples whose quality changed most; equal ones by the hash of their id."""
        size = np.abs(quality - self.index.quality[mine])
        kinds = verdicts[0] * len(VERDICTS) + verdicts[1]
        for code in np.unique(kinds[changed]).tolist():
            kind = divmod(code, len(VERDICTS))
            group = np.flatnonzero(changed & (kinds == code))
            self._rows[kind] = self._rows.get(kind, 0) + len(group)
            keys = self.index.keys[mine[group]]
            order = group[np.lexsort((keys, -size[group]))][: self.n_examples]
            entries = [
                (
                    -float(size[i]),
                    int(self.index.keys[mine[i]]),
                    int(mine[i]),
                    (shard, int(rows[i])),
                )
                for i in order
            ]
            self._best[kind] = sorted([*self._best.get(kind, []), *entries])[: self.n_examples]

    def _translated(self, names: tuple[str, ...]) -> NDArray[np.int64]:
        """Class of B -> class of A by name, new ones behind A's; the last entry answers for -1."""
        unknown = [name for name in names if name not in set(self.class_names)]
        self.class_names = (*self.class_names, *unknown)
        place = {name: k for k, name in enumerate(self.class_names)}
        return np.array([*(place[name] for name in names), -1], np.int64)

    def _in_names_of_a(self, change: Change, b: CleanedRun) -> Change:
        if not change.examples:
            return change
        table = self._translated(b.decisions(b.shards[0]).class_names)
        examples = tuple(
            (
                first,
                replace(
                    second,
                    given=int(table[second.given]),
                    label=int(table[second.label]),
                    suggested=int(table[second.suggested]),
                ),
            )
            for first, second in change.examples
        )
        return replace(change, examples=examples)
