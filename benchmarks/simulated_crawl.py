"""A simulated crawl: real photos and features, real text encoder, invented captions and noise.

Settings are chosen here, so that the data sets of the tables are only reported on. Ten classes of
CIFAR-10; seven are searched for, pictures of the other three come along as strangers. Each picture
gets the label of the query that found it, and a caption of the kind people write.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.image_features import read_features
from multimodal.embedded import EmbeddedCorpus
from multimodal.encoders import make_text_encoder
from multimodal.encoders.base import TextEncoder
from multimodal.rows import Rows

QUERIES = ("airplane", "automobile", "bird", "cat", "dog", "horse", "ship")
STRANGERS = ("deer", "frog", "truck")
ORDER = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
WORDS = {
    "airplane": ("airplane", "plane", "jet", "airliner"),
    "automobile": ("car", "automobile", "sedan", "sports car"),
    "bird": ("bird", "sparrow", "little bird", "parrot"),
    "cat": ("cat", "kitten", "tabby", "kitty"),
    "deer": ("deer", "doe", "stag"),
    "dog": ("dog", "puppy", "terrier", "hound"),
    "frog": ("frog", "toad", "tree frog"),
    "horse": ("horse", "pony", "mare", "stallion"),
    "ship": ("ship", "boat", "ferry", "vessel"),
    "truck": ("truck", "lorry", "pickup"),
}
TEMPLATES = (
    "{0}", "a photo of a {0}", "my {0} last summer", "{0} for sale", "beautiful {0} in the evening",
    "old {0}, scanned from film", "free wallpaper {0} hd", "the {0} we saw on holiday",
    "close up of {0}", "{0} and friends", "img 2041 {0}", "look at this {0}!", "best {0} of 2012",
    "{0} clip art", "how to draw a {0}",
)  # fmt: skip
DEFINITIONS = {
    "airplane": "an aircraft with fixed wings and engines",
    "automobile": "a motor vehicle with four wheels for a few passengers",
    "bird": "a feathered animal with wings and a beak",
    "cat": "a small furry pet that purrs",
    "dog": "a domestic animal that barks and guards",
    "horse": "a large hoofed animal for riding",
    "ship": "a large vessel that travels on water",
}


@dataclass(frozen=True, eq=False)
class SimulatedCrawl:
    """The crawl and what is true of it.

    Attributes:
        corpus: Images, texts and query labels.
        truth: True class ``[N]`` among the queries, -1 for strangers.
    """

    corpus: EmbeddedCorpus
    truth: NDArray[np.int64]


def simulated_crawl(data: Path, *, seed: int, size: int = 6000) -> SimulatedCrawl:
    """Draw a crawl.

    Args:
        data: Folder of the real data sets.
        seed: Of pictures, labels and captions.
        size: Pictures N.
    """
    draw = np.random.default_rng(seed)
    features = read_features(data / "cifar10n" / "mobilenetv2_int8_first25000.npy", data)
    labels = np.load(data / "cifar10n" / "cifar10n_labels.npz")["clean_label"][: len(features)]
    rows = np.sort(draw.permutation(len(features))[:size])
    names = [ORDER[one] for one in labels[rows]]
    truth = np.array([QUERIES.index(one) if one in QUERIES else -1 for one in names])
    given = np.where(
        (truth < 0) | (draw.random(size) < 0.25), draw.integers(len(QUERIES), size=size), truth
    )
    encoder = cast("TextEncoder", make_text_encoder("minilm"))
    captions = [
        _caption(draw, name, QUERIES[label]) for name, label in zip(names, given, strict=True)
    ]
    for i in np.flatnonzero(draw.random(size) < 0.15):
        captions[i] = captions[draw.integers(size)]
    for i in np.flatnonzero(draw.random(size) < 0.30):
        captions[i] = ""
    unique = sorted(set(captions) - {""})
    vectors = dict(zip(unique, encoder.encode(unique), strict=True))
    missing = np.zeros(encoder.width, np.float32)
    texts = np.stack([vectors.get(caption, missing) for caption in captions])
    chunks = encoder.encode(list(QUERIES)) + encoder.encode([DEFINITIONS[q] for q in QUERIES])
    corpus = EmbeddedCorpus(
        ids=np.array([f"p{row}" for row in rows]),
        given=given,
        class_names=QUERIES,
        image=Rows([features[rows]]),
        text=Rows([texts]),
        class_texts=chunks / np.linalg.norm(chunks, axis=1, keepdims=True),
    )
    return SimulatedCrawl(corpus, truth)


def _caption(draw: np.random.Generator, name: str, query: str) -> str:
    """What people write: mostly about the picture, sometimes about what it was searched by."""
    about = query if draw.random() < 0.15 else name
    words = WORDS[about]
    return str(draw.choice(TEMPLATES)).format(words[draw.integers(len(words))])
