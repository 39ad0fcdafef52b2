"""The pairs of a class as a person judges them: picture, text, verdict, reason, neighbours."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from labelnoise.report.numbers import ClassRow
from multimodal.evidence_words import in_words, known, short_name, shown_scores
from multimodal.pair_facts import PairFacts, Place
from multimodal.records import PROBLEMS
from multimodal.report.selection import GROUPS
from multimodal.report.thumbnails import CARD_SIDE, NEIGHBOUR_SIDE, Album

# letters of a caption on a card, of the whole text behind the click, and of a neighbour's
MAX_CAPTION, MAX_TEXT, MAX_NEIGHBOUR = 140, 1500, 70
MAX_NEIGHBOURS = 5
# they would turn the direction of what follows them, or be invisible
CONTROLS = ("Cc", "Cf", "Cs", "Co")


@dataclass(frozen=True)
class NeighbourCard:
    """A pair that looks alike: what it is called and what became of it."""

    id: str
    caption: str
    given: str
    verdict: str
    best: str
    picture: str


@dataclass(frozen=True)
class Card:
    """Everything that is shown of one pair.

    Attributes:
        id: Of the decision.
        caption: Beginning of the text, one line.
        text: More of it, or "" where the caption is all.
        image: Where the image came from.
        given, best: Names of the given class and of the one to use or suggested; "" for none.
        verdict, quality, reason: The decision; `reason` is a sentence.
        code: The reason's code.
        scores: Names and values of the scores beside the quality.
        truth: Name of the right class, or "".
        evidence: All columns that say something, as (name, value).
        picture: Data URI, or "".
        no_picture: Why not.
        neighbours: The nearest pairs.
    """

    id: str
    caption: str
    text: str
    image: str
    given: str
    best: str
    verdict: str
    quality: float
    reason: str
    code: str
    scores: tuple[tuple[str, str], ...]
    truth: str
    evidence: tuple[tuple[str, str], ...]
    picture: str
    no_picture: str
    neighbours: tuple[NeighbourCard, ...]


@dataclass(frozen=True)
class CardGroup:
    """Cards under one heading; `rows` is how many there are of them in all."""

    key: str
    title: str
    note: str
    rows: int | None
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class ClassGallery:
    """A class with its cards."""

    numbers: ClassRow
    groups: tuple[CardGroup, ...]

    @property
    def n_cards(self) -> int:
        """Cards of all groups."""
        return sum(len(group.cards) for group in self.groups)


@dataclass(frozen=True, eq=False)
class CardMaker:
    """What cards are made of.

    Attributes:
        facts: Cards and neighbours by place.
        neighbours: Place of every neighbour by its number.
        class_names: K names.
        reasons: Codes and sentences.
        truth: Right class by place, where known.
        album: Gives out pictures.
    """

    facts: Mapping[Place, PairFacts]
    neighbours: Mapping[int, Place]
    class_names: Sequence[str]
    reasons: Mapping[str, str]
    truth: Mapping[Place, int]
    album: Album

    def card(self, place: Place) -> Card:
        """The card of a pair, without its neighbours."""
        fact = self.facts[place]
        evidence = known(fact.evidence)
        names = tuple(self.class_names)
        picture = self.album.take(place, CARD_SIDE)
        words = wording(fact)
        caption = shortened(words, MAX_CAPTION)
        return Card(
            id=fact.id,
            caption=caption,
            text="" if caption == words else shortened(words, MAX_TEXT),
            image=fact.image,
            given=self._name(fact.given),
            best=self._name(fact.best),
            verdict=fact.verdict,
            quality=fact.quality,
            reason=self.reasons.get(fact.reason) or PROBLEMS.get(fact.reason, ""),
            code=fact.reason,
            scores=tuple(
                (short_name(name), in_words(name, evidence[name], names))
                for name in shown_scores(evidence)
            ),
            truth=self._name(self.truth.get(place, -1)),
            evidence=tuple(
                (short_name(name), in_words(name, value, names)) for name, value in evidence.items()
            ),
            picture=picture,
            no_picture="" if picture else self.album.why_not(place),
            neighbours=(),
        )

    def neighbour(self, place: Place) -> NeighbourCard:
        """A pair as somebody else's neighbour."""
        fact = self.facts[place]
        return NeighbourCard(
            id=fact.id,
            caption=shortened(wording(fact), MAX_NEIGHBOUR),
            given=self._name(fact.given),
            verdict=fact.verdict,
            best=self._name(fact.best),
            picture=self.album.take(place, NEIGHBOUR_SIDE),
        )

    def with_neighbours(self, card: Card, place: Place) -> Card:
        """The card with the pairs that look alike."""
        near = [self.neighbours[n] for n in self.facts[place].neighbours[:MAX_NEIGHBOURS]]
        return replace(card, neighbours=tuple(self.neighbour(one) for one in near))

    def _name(self, k: int) -> str:
        return self.class_names[k] if k >= 0 else ""


def class_galleries(
    maker: CardMaker,
    classes: Sequence[ClassRow],
    picked: Mapping[int, Mapping[str, Sequence[Place]]],
    moved_here: NDArray[np.int64],
) -> list[ClassGallery]:
    """The galleries of some classes.

    All cards get their pictures before any neighbour does: where the budget ends, a neighbour is
    the first to go without.
    """
    places = {
        (row.index, key): list(places)
        for row in classes
        for key, places in picked[row.index].items()
    }
    cards = {slot: [maker.card(place) for place in found] for slot, found in places.items()}
    galleries = []
    for row in classes:
        totals = {
            "kept": row.keep, "relabelled": row.relabel, "rejected": row.reject,
            "moved_here": int(moved_here[row.index]),
        }  # fmt: skip
        groups = []
        for group in GROUPS:
            slot = (row.index, group.key)
            done = tuple(
                maker.with_neighbours(card, place)
                for card, place in zip(cards[slot], places[slot], strict=True)
            )
            if done:
                rows = totals.get(group.key)
                groups.append(CardGroup(group.key, group.title, group.note, rows, done))
        galleries.append(ClassGallery(row, tuple(groups)))
    return galleries


def wording(fact: PairFacts) -> str:
    """Title and text of a pair on one line, without saying anything twice."""
    title, text = one_line(fact.title), one_line(fact.text)
    if title and text and not text.casefold().startswith(title.casefold()):
        return f"{title} · {text}"
    return text or title


def one_line(text: str) -> str:
    """The text on one line, without characters that are not seen but turn the others about."""
    kept = (
        " " if letter.isspace() else letter
        for letter in text
        # the joiner holds emoji together
        if letter.isspace() or letter == "\u200d" or unicodedata.category(letter) not in CONTROLS
    )
    return " ".join("".join(kept).split())


def shortened(text: str, limit: int) -> str:
    """The text, cut at a word where it is longer than `limit`."""
    return text if len(text) <= limit else text[: limit - 1].rsplit(" ", 1)[0] + "…"
