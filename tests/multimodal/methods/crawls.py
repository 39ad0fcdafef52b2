"""A seeded crawl for CAPro: class-dependent noise, strangers, empty texts, duplicates; and files.

Images and texts are Gaussian rows around their concept. Texts are made-up words, so that the crawl
can be written to Parquet, and an encoder looks up the row of each word.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from labelnoise.class_list import ClassList
from labelnoise.registry import Entry
from labelnoise.text_encoders.unit_rows import unit_rows
from multimodal.cleaning_request import CleaningRequest
from multimodal.embedded import EmbeddedCorpus
from multimodal.encoders import ENCODERS
from multimodal.encoders.base import Family
from multimodal.methods.capro import Capro
from multimodal.methods.capro_multi_label import CaproMultiLabel
from multimodal.rows import Rows
from tests.multimodal.text_oracles import unit_rows as random_rows

NAMES = ("heron", "ibis", "jay", "kite", "lark")
K, D, E = len(NAMES), 16, 24
# P(given | true): labels of "heron" are mostly wrong, those of "kite" are nearly all right
MOSTLY_WRONG = 0
TRANSITION = np.array(
    [
        [0.80, 0.05, 0.05, 0.05, 0.05],
        [0.50, 0.40, 0.10, 0.00, 0.00],
        [0.30, 0.00, 0.70, 0.00, 0.00],
        [0.02, 0.02, 0.00, 0.96, 0.00],
        [0.00, 0.10, 0.15, 0.00, 0.75],
    ]
)


@dataclass(frozen=True, eq=False)
class Crawl:
    """Corpus and truth; a true class of K or more is outside the list."""

    corpus: EmbeddedCorpus
    truth: NDArray[np.int64]

    @property
    def right(self):
        return self.corpus.given == self.truth

    @property
    def empty(self):
        return ~self.corpus.text.read(0, len(self.truth)).any(axis=1)

    def changed(self, **parts):
        """Parts of the corpus replaced; arrays become rows."""
        wrapped = {n: Rows([p]) if n in ("image", "text") else p for n, p in parts.items()}
        return replace(self, corpus=replace(self.corpus, **wrapped))

    def take(self, order):
        """The same pairs in another order, the matrices in two pieces."""
        old, half = self.corpus, len(order) // 3
        moved = {
            name: Rows([getattr(old, name).gather(part) for part in (order[:half], order[half:])])
            for name in ("image", "text")
        }
        corpus = replace(old, ids=old.ids[order], given=old.given[order], **moved)
        return replace(self, corpus=corpus, truth=self.truth[order])


def crawl(n=900, seed=0, *, strangers=0.06, empty=0.25, mixed_up=0.15, spread=0.4) -> Crawl:
    """Pairs of K classes and two more concepts; 3 % are copies of other images, with other texts.

    Args:
        n: Pairs.
        seed: Of everything.
        strangers: Share of images of no class.
        empty: Share without a text.
        mixed_up: Share with the text of another image.
        spread: Length of the noise beside a concept's direction in an image.
    """
    draw = np.random.default_rng(seed)
    looks, words = random_rows(draw, K + 2, D), random_rows(draw, K + 2, E)
    truth = draw.integers(0, K, n)
    given = np.array([draw.choice(K, p=TRANSITION[c]) for c in truth])
    truth = np.where(draw.random(n) < strangers, K + draw.integers(0, 2, n), truth)
    image = random_rows(draw, n, D, around=looks[truth], spread=spread)
    told = np.where(draw.random(n) < mixed_up, draw.permutation(truth), truth)
    text = random_rows(draw, n, E, around=words[told], spread=0.6)
    text[draw.random(n) < empty] = 0
    # copies carry labels and texts of their own
    copies, originals = draw.permutation(n)[: 2 * (n // 33)].reshape(2, -1)
    image[copies], truth[copies] = image[originals], truth[originals]
    ids = np.array([f"pair {number:05d}" for number in range(n)])
    corpus = EmbeddedCorpus(
        ids, given, NAMES, image=Rows([image.astype(np.float32)]),
        text=Rows([text.astype(np.float32)]), class_texts=words[:K].astype(np.float32),
    )  # fmt: skip
    return Crawl(corpus, truth)


def word(number):
    """A word of letters for a number."""
    return "w" + "".join(chr(ord("a") + int(digit)) for digit in f"{number:06d}")


def write_crawl(made, folder, *, shards=4, order=None, labels=None, unusable=()):
    """Parquet files of a crawl; returns their folder.

    Args:
        made: The crawl; rows of its texts go to ``words.npz`` beside the folder.
        folder: Of the files.
        shards: Files.
        order: Of the pairs in the files; None: as they are.
        labels: Names per pair, instead of the given one.
        unusable: Shards whose labels are outside the list.
    """
    corpus, n = made.corpus, len(made.truth)
    text, empty = corpus.text.read(0, n), made.empty
    words = [word(number) for number in range(n)] + list(NAMES)
    folder.mkdir(parents=True)
    np.savez(folder.parent / "words.npz", words=words, rows=np.vstack([text, corpus.class_texts]))
    image = corpus.image.read(0, n)
    order = np.arange(n) if order is None else order
    for shard, rows in enumerate(np.array_split(order, shards)):
        given = [NAMES[corpus.given[row]] for row in rows]
        given = given if labels is None else [labels[row] for row in rows]
        table = {
            "id": [str(corpus.ids[row]) for row in rows],
            "caption": ["" if empty[row] else word(row) for row in rows],
            "label": ["dodo"] * len(rows) if shard in unusable else given,
            "vector": list(image[rows]),
        }
        pq.write_table(pa.table(table), folder / f"{shard:03d}.parquet")
    return folder


@cache
def _stored(path):
    with np.load(path) as stored:
        places = {text: place for place, text in enumerate(stored["words"].tolist())}
        return places, stored["rows"]


class WordRows:
    """A text encoder that looks up rows by the text."""

    width, batch_size = E, 64

    def __init__(self, path):
        self.path = path
        self.key = self.space = "word-rows"

    def encode(self, items):
        places, rows = _stored(self.path)
        return unit_rows(rows[[places[item] for item in items]])


# worker processes import this module with the methods below, and so know the family too
FAMILY = Family(text=lambda path, settings: WordRows(path))
ENCODERS._entries.setdefault("words", Entry("tests.multimodal.methods.crawls:FAMILY", "", ""))


@dataclass(frozen=True)
class CrawlCapro(Capro):
    """CAPro, from this module."""


@dataclass(frozen=True)
class CrawlCaproMultiLabel(CaproMultiLabel):
    """Likewise."""

    name: ClassVar[str] = "capro_multi_label"


def crawl_request(folder, *settings, method=None, **options):
    """CAPro over the files of `write_crawl`."""
    given = {
        "image_encoder": "column:vector",
        "text_encoder": f"words:{Path(folder).parent / 'words.npz'}",
        **options,
    }
    return CleaningRequest(str(folder), ClassList(NAMES), method or CrawlCapro(), settings, **given)
