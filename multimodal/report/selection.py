"""Which pairs of each class are shown: the same ones on every machine, whatever the shards."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit.conversions import suggested_classes
from multimodal.judged_shards import JudgedShard
from multimodal.pair_facts import Place
from multimodal.stable_order import stable_keys

# labels this close to the line between kept and flagged are shown as unsure
NEAR_THE_LINE = 0.05
IN_CORE = "in_core"


@dataclass(frozen=True)
class Group:
    """A row of cards of a class.

    Attributes:
        key: Its name in report.json.
        title: Its heading.
        note: How its cards were chosen.
    """

    key: str
    title: str
    note: str


# in the order of the page; a pair is shown once, in the first group of `PRECEDENCE` that wants it
GROUPS = (
    Group("exemplars", "Exemplars", "the most certain of the class"),
    Group("kept", "Kept", "drawn by chance"),
    Group("relabelled", "Relabelled", "given this class, moved elsewhere; most doubted first"),
    Group("moved_here", "Moved here", "given another class, moved here; drawn by chance"),
    Group("rejected", "Rejected", "most doubted first"),
    Group("unsure", "Unsure", "abstained, or nearest to the line between kept and flagged"),
)
PRECEDENCE = ("exemplars", "relabelled", "moved_here", "rejected", "unsure", "kept")


@dataclass(frozen=True)
class _Candidates:
    """Best pairs of one group so far, per class: class, key (small is good), tie-breaker, place."""

    classes: NDArray[np.int64]
    keys: NDArray[np.float64]
    ties: NDArray[np.uint64]
    shards: NDArray[np.int64]
    rows: NDArray[np.int64]

    def best(self, n: int) -> "_Candidates":
        """The first `n` of each class."""
        order = np.lexsort((self.ties, self.keys, self.classes))
        classes = self.classes[order]
        rank = np.arange(len(order)) - np.searchsorted(classes, classes)
        return self.take(order[rank < n])

    def take(self, chosen: NDArray[np.int64]) -> "_Candidates":
        """These, in this order."""
        return _Candidates(
            self.classes[chosen],
            self.keys[chosen],
            self.ties[chosen],
            self.shards[chosen],
            self.rows[chosen],
        )

    def joined(self, other: "_Candidates") -> "_Candidates":
        """Both."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return _Candidates(*(np.concatenate(pair) for pair in pairs))


class CardPicker:
    """Chooses cards while shards come by; remembers a few rows per class and group.

    Args:
        classes: Classes that are shown.
        n_classes: K.
        n_cards: Cards per group.
        threshold: Quality between kept and flagged labels.
    """

    def __init__(
        self, classes: Sequence[int], n_classes: int, *, n_cards: int, threshold: float
    ) -> None:
        self._classes = list(classes)
        self._shown = np.zeros(n_classes + 1, np.bool_)  # the last one answers for class -1
        self._shown[self._classes] = True
        self._n_cards, self._threshold = n_cards, threshold
        self._found: dict[str, _Candidates] = {}

    def update(self, shard: JudgedShard) -> None:
        """Look at the decisions of one more shard."""
        audit = shard.audit
        quality = audit.quality.astype(np.float64)
        keep, relabel, reject, abstain = (
            (audit.verdict == name) & ~shard.refused
            for name in ("keep", "relabel", "reject", "abstain")
        )
        core = keep
        if IN_CORE in audit.evidence:
            core = keep & (audit.evidence[IN_CORE] == 1)
        none = np.zeros(len(audit))
        distance = np.abs(quality - self._threshold)
        # abstained rows come before all that are only near the line
        unsure = np.where(abstain, distance, 1 + distance)
        near = abstain | ((keep | relabel | reject) & (distance <= NEAR_THE_LINE))
        home = np.where(audit.given >= 0, audit.given, suggested_classes(audit))
        for key, mask, classes, order in (
            ("exemplars", core, audit.given, -quality),
            ("kept", keep, audit.given, none),
            ("relabelled", relabel, audit.given, quality),
            ("moved_here", relabel, audit.label, none),
            ("rejected", reject, audit.given, quality),
            ("unsure", near, home, unsure),
        ):
            self._add(key, shard, mask & self._shown[classes], classes, order)

    def picked(self) -> dict[int, dict[str, list[Place]]]:
        """Class -> group -> places, each place once in a class; groups in the order of the page."""
        by_class: dict[int, dict[str, list[Place]]] = {k: {} for k in self._classes}
        for k in self._classes:
            seen: set[Place] = set()
            for key in PRECEDENCE:
                wanted = [place for place in self._of(key, k) if place not in seen]
                by_class[k][key] = wanted[: self._n_cards]
                seen.update(by_class[k][key])
        order = [group.key for group in GROUPS]
        return {k: {key: groups[key] for key in order} for k, groups in by_class.items()}

    def _add(
        self,
        key: str,
        shard: JudgedShard,
        mask: NDArray[np.bool_],
        classes: NDArray[np.int64],
        order: NDArray[np.float64],
    ) -> None:
        rows = np.flatnonzero(mask)
        if not len(rows):
            return
        found = _Candidates(
            classes[rows],
            order[rows],
            stable_keys(shard.audit.ids[rows].tolist()),
            np.full(len(rows), shard.index),
            rows,
        )
        if key in self._found:
            found = self._found[key].joined(found)
        # the groups before may take some of these: as many more as there are groups
        self._found[key] = found.best(self._n_cards * len(GROUPS))

    def _of(self, key: str, k: int) -> list[Place]:
        if key not in self._found:
            return []
        found = self._found[key]
        mine = found.classes == k
        return list(zip(found.shards[mine].tolist(), found.rows[mine].tolist(), strict=True))


def shown_shards(names: Sequence[str], limit: int) -> tuple[str, ...]:
    """At most `limit` shards whose pictures are read, chosen by the hash of their names."""
    if len(names) <= limit:
        return tuple(names)
    chosen = set(np.argsort(stable_keys(names), kind="stable")[:limit].tolist())
    return tuple(name for i, name in enumerate(names) if i in chosen)


def places_of(picked: Mapping[int, Mapping[str, Iterable[Place]]]) -> list[Place]:
    """All places, in the order of the page, each once."""
    return list(
        dict.fromkeys(
            place for groups in picked.values() for places in groups.values() for place in places
        )
    )
