"""Small pictures for the page: read again from the corpus, within a budget of bytes."""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from multimodal.pair_facts import PairFacts, Place

if TYPE_CHECKING:
    from multimodal.corpus.base import Corpus, Shard
    from multimodal.records import Record

# a photo of this side is told apart on a card; neighbours are smaller
CARD_SIDE, NEIGHBOUR_SIDE = 128, 56
# a picture above this is worth less than the three others in its place
MAX_BYTES = 24_000
# what a picture costs in the page: base64 and its place in the markup
OVERHEAD = 4 / 3


@dataclass(frozen=True)
class Pictures:
    """Encoded thumbnails by place and side, and why some are not there.

    Attributes:
        found: (place, side) -> JPEG.
        missing: Place -> a few words.
    """

    found: Mapping[tuple[Place, int], bytes]
    missing: Mapping[Place, str]


def read_pictures(
    corpus: "Corpus", facts: Mapping[Place, PairFacts], sides: Mapping[Place, Iterable[int]]
) -> Pictures:
    """Thumbnails of some pairs; each shard with such a pair is read once, up to the last of them.

    Args:
        corpus: The corpus of the run, opened again.
        facts: By place, at least for those in `sides`.
        sides: Place -> sides of the thumbnails wanted.
    """
    found: dict[tuple[Place, int], bytes] = {}
    missing = dict.fromkeys(sides, "not in the corpus any more")
    wanted: dict[str, dict[int, list[Place]]] = {}
    for place in sides:
        fact = facts[place]
        wanted.setdefault(fact.shard, {}).setdefault(fact.record, []).append(place)
    for shard in corpus.shards:
        records = wanted.pop(shard.name, {})
        try:
            for place, record in _records_at(shard, records):
                made = _thumbnails(record, facts[place].source_id, sides[place])
                if isinstance(made, str):
                    missing[place] = made
                else:
                    found |= {(place, side): data for side, data in made.items()}
                    missing.pop(place)
        except (OSError, ValueError) as error:
            unread = [place for places in records.values() for place in places if place in missing]
            missing |= dict.fromkeys(unread, f"shard cannot be read: {error}"[:80])
    return Pictures(found, missing)


def _records_at(
    shard: "Shard", places: Mapping[int, Sequence[Place]]
) -> Iterator[tuple[Place, "Record"]]:
    """Records by their number in the shard, up to the last one wanted."""
    if not places:
        return
    last = max(places)
    for number, record in enumerate(shard.records()):
        for place in places.get(number, ()):
            yield place, record
        if number >= last:
            return


def _thumbnails(record: "Record", wanted: str, sides: Iterable[int]) -> dict[int, bytes] | str:
    """Side -> JPEG, or why there is none."""
    from multimodal.corpus.images import ImageError, thumbnail

    if record.id != wanted:
        return "the corpus has changed since"
    if record.image is None:
        return "no image"
    try:
        return {side: thumbnail(record.image, side) for side in sides}
    except ImageError as error:
        return error.problem.code.replace("_", " ")


class Album:
    """Gives pictures out as data URIs until the budget is spent.

    Args:
        pictures: What there is.
        budget: Bytes of all data URIs together.
    """

    def __init__(self, pictures: Pictures, budget: int) -> None:
        self._pictures, self._left = pictures, budget
        self._uris: dict[tuple[Place, int], str] = {}
        self.left_out = 0

    @property
    def shown(self) -> int:
        """Different pictures given out."""
        return len(self._uris)

    def take(self, place: Place, side: int) -> str:
        """The data URI, or "" where there is no picture or no budget for it."""
        if (place, side) not in self._uris:
            data = self._pictures.found.get((place, side))
            if data is None:
                return ""
            cost = int(len(data) * OVERHEAD)
            if len(data) > MAX_BYTES or cost > self._left:
                self.left_out += 1
                return ""
            self._uris[place, side] = "data:image/jpeg;base64," + b64encode(data).decode()
        # a picture that is shown twice is in the file twice
        self._left -= len(self._uris[place, side])
        return self._uris[place, side]

    def why_not(self, place: Place) -> str:
        """Why there is no picture."""
        return self._pictures.missing.get(place, "left out to keep the page small")
