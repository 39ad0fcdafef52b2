"""What a page shows, gathered from the tables of a run one shard at a time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelnoise.report import AuditNumbers, AuditTally
from labelnoise.report.numbers import ClassRow
from labelnoise.report.page import count
from multimodal.judged_shards import judged_shards
from multimodal.pair_facts import PairFacts, Place, pair_facts, places_of_usable
from multimodal.report.gallery import MAX_NEIGHBOURS
from multimodal.report.reasons import ReasonCount
from multimodal.report.selection import CardPicker, places_of, shown_shards
from multimodal.report.thumbnails import (
    CARD_SIDE,
    NEIGHBOUR_SIDE,
    Album,
    Pictures,
    read_pictures,
)
from multimodal.report.truth import Truth
from multimodal.run_folder import CleanedRun


@dataclass(frozen=True)
class PageSettings:
    """How much is shown.

    Attributes:
        classes: Classes with pictures, the worst ones first.
        cards: Cards per group of a class (exemplars, kept, relabelled, ...).
        thumbnails: Whether pictures are read from the corpus.
        max_megabytes: Size of the file; what would make it larger goes without a picture. Mail
            servers take 20 to 25 MB, of which encoding needs a third.
        picture_shards: Shards the cards are drawn from. Pictures mean reading a shard again; the
            numbers of the page are always over all shards.

    Raises:
        ValueError: A number is below 1 (0 for the classes and the size).
    """

    classes: int = 24
    cards: int = 6
    thumbnails: bool = True
    max_megabytes: float = 12.0
    picture_shards: int = 32

    def __post_init__(self) -> None:
        for name, least in (("classes", 0), ("cards", 1), ("picture_shards", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not self.max_megabytes > 0:
            raise ValueError(f"max_megabytes must be positive, got {self.max_megabytes}")


@dataclass(frozen=True, eq=False)
class Counted:
    """What one pass over all shards leaves.

    Attributes:
        numbers: Every number of the page.
        moved_here: Relabelled pairs per class they were moved to ``[K]``, those without a given
            label included.
        threshold: Quality between kept and flagged labels.
        reasons: The reason table.
        sentences: Codes of reasons and what they mean.
        settings, method: Of the method.
    """

    numbers: AuditNumbers
    moved_here: NDArray[np.int64]
    threshold: float
    reasons: ReasonCount
    sentences: Mapping[str, str]
    settings: Mapping[str, Any]
    method: str

    @property
    def has_classes(self) -> bool:
        """Whether any pair has a label, given or proposed."""
        return self.numbers.labelled > 0 or bool(self.moved_here.any())


@dataclass(frozen=True, eq=False)
class Shown:
    """The pairs of the gallery, with their pictures.

    Attributes:
        classes: In the order of the page.
        picked: Class -> group -> places of its cards.
        facts: Cards and neighbours by place.
        neighbours: Number of a usable pair -> its place.
        pictures: Thumbnails.
        notes: What the reader must know about what is not shown.
    """

    classes: Sequence[ClassRow]
    picked: Mapping[int, Mapping[str, Sequence[Place]]]
    facts: Mapping[Place, PairFacts]
    neighbours: Mapping[int, Place]
    pictures: Pictures
    notes: tuple[str, ...]


def count_run(run: CleanedRun, class_names: Sequence[str], truth: Truth | None) -> Counted:
    """One pass over all decisions of a run; holds one shard at a time."""
    tally, reasons = AuditTally(class_names), ReasonCount()
    sentences: dict[str, str] = {}
    settings: Mapping[str, Any] = {}
    method, moved_here = "", np.zeros(len(class_names), np.int64)
    for shard in judged_shards(run):
        known = None if truth is None else truth.of(shard.source_ids)
        tally.update(shard.audit, truth=known, judged=~shard.refused)
        reasons.update(shard)
        moved = shard.audit.label[shard.audit.verdict == "relabel"]
        moved_here += np.bincount(moved, minlength=len(class_names))
        sentences |= shard.audit.reasons
        settings, method = settings or shard.audit.settings, method or shard.audit.method
    numbers = tally.numbers()
    return Counted(
        numbers=numbers,
        moved_here=moved_here,
        threshold=tally.decision_threshold(),
        reasons=reasons,
        sentences=sentences,
        settings=settings,
        method=method,
    )


def gather_pairs(run: CleanedRun, counted: Counted, settings: PageSettings) -> Shown:
    """Choose the cards, fetch what the tables say of them and their neighbours, and pictures."""
    all_classes = [*most_doubtful(counted.numbers.classes), *_proposed_only(counted)]
    classes = all_classes[: settings.classes]
    names = shown_shards(run.shards, settings.picture_shards)
    picker = CardPicker(
        [row.index for row in classes],
        len(counted.numbers.class_names),
        n_cards=settings.cards,
        threshold=counted.threshold,
    )
    for shard in judged_shards(run, names):
        picker.update(shard)
    picked = picker.picked()
    cards = places_of(picked)
    facts = pair_facts(run, cards)
    neighbours = places_of_usable(
        run, [n for fact in facts.values() for n in fact.neighbours[:MAX_NEIGHBOURS]]
    )
    facts |= pair_facts(run, [place for place in neighbours.values() if place not in facts])
    notes = []
    left = len(all_classes) - len(classes)
    if left:
        notes.append(
            f"{count(left)} further classes with fewer doubtful labels are without pictures."
        )
    if len(names) < len(run.shards):
        notes.append(
            f"The cards are drawn from {count(len(names))} of {count(len(run.shards))} shards;"
            " all numbers are over all of them."
        )
    if not settings.thumbnails:
        pictures = Pictures({}, {})
    else:
        pictures, problem = _pictures(run, facts, cards, neighbours.values(), names)
        if problem:
            notes.append(problem)
    return Shown(classes, picked, facts, neighbours, pictures, tuple(notes))


def _pictures(
    run: CleanedRun,
    facts: Mapping[Place, PairFacts],
    cards: Sequence[Place],
    neighbours: Iterable[Place],
    names: Sequence[str],
) -> tuple[Pictures, str]:
    """Pictures of the cards, and of neighbours in the same shards; and why there are none."""
    try:
        corpus = run.corpus()
    except (OSError, ValueError, ImportError) as error:
        return Pictures({}, {}), f"No pictures: the corpus cannot be opened again ({error})."
    sides: dict[Place, set[int]] = {place: {CARD_SIDE} for place in cards}
    open_shards = set(names)
    for place in neighbours:
        if facts[place].shard in open_shards:
            sides.setdefault(place, set()).add(NEIGHBOUR_SIDE)
    return read_pictures(corpus, facts, sides), ""


def picture_notes(album: Album, shown: Shown, settings: PageSettings) -> list[str]:
    """Sentences about pictures that are not on the page."""
    notes = []
    if album.left_out:
        notes.append(
            f"{count(album.left_out)} pictures are left out to keep the page below"
            f" {settings.max_megabytes:g} MB."
        )
    if shown.pictures.missing:
        notes.append(f"{count(len(shown.pictures.missing))} pictures could not be read again.")
    return notes


def most_doubtful(classes: Sequence[ClassRow]) -> list[ClassRow]:
    """Classes by the number of labels believed wrong, the sum of one minus their quality.

    By mean quality alone the first ones would be classes of a single label.
    """
    return sorted(classes, key=lambda row: (-row.rows * (1 - row.quality), row.index))


def _proposed_only(counted: Counted) -> list[ClassRow]:
    """Classes that no pair was given but some were moved to, the most frequent first."""
    given = {row.index for row in counted.numbers.classes}
    order = np.argsort(-counted.moved_here, kind="stable").tolist()
    names = counted.numbers.class_names
    return [
        ClassRow(k, names[k], 0, 0, 0, 0, 0, float("nan"), None, 0, None)
        for k in order
        if counted.moved_here[k] and k not in given
    ]


def truth_of(facts: Mapping[Place, PairFacts], truth: Truth | None) -> dict[Place, int]:
    """Right class of each place whose truth is known."""
    if truth is None:
        return {}
    places = list(facts)
    known = truth.of([facts[place].source_id for place in places])
    return {place: int(k) for place, k in zip(places, known, strict=True) if k >= 0}
