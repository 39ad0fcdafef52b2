"""The corpora of the image-text cleaning study, as vectors, with the truth that only scores."""

import csv
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.flickr8k import (
    read_clip_pairs,
    read_flickr_captions,
    read_flickr_features,
    read_flickr_judgments,
)
from benchmarks.image_features import read_features
from benchmarks.simulated_crawl import ORDER, simulated_crawl
from labelnoise.audit import NO_LABEL
from labelnoise.class_list import ClassList, read_classes
from multimodal.embedded import EmbeddedCorpus
from multimodal.encoders import make_image_encoder, make_text_encoder
from multimodal.encoders.batches import encode_images, encode_texts
from multimodal.encoders.cache import EmbeddingCache, content_digest, open_cached
from multimodal.rows import Rows
from multimodal.text_cleaning import clean_text
from multimodal.text_prototypes import text_prototypes

if TYPE_CHECKING:
    from multimodal.encoders.base import TextEncoder

FASHION_CLASSES = Path(__file__).parents[1] / "classes" / "fashion.csv"
CIFAR_ROWS = 25_000
# a fifth of the rows is drawn once, before anything is cleaned or fitted
HELD_OUT_SHARE = 0.2
SPLIT_SEED = 0
# of the CLIP pairs, so many are drawn whose captions are mixed among each other
MIXED_SHARE = 0.3


@dataclass(frozen=True)
class Sources:
    """Where things lie: the real data sets, and a folder for embeddings made once."""

    data: Path
    cache: Path


@dataclass(frozen=True, eq=False)
class Task:
    """What is judged and by what the verdicts are scored.

    Attributes:
        corpus: All that a method sees.
        truth: True class ``[N]``, -1 for a stranger; None for pairs without labels.
        match: For pairs: 1 matches, 0 does not, NaN nobody judged ``[N]``.
        own: For pairs: whether the text was written for the image ``[N]``.
        held_out: Rows of the corpus ``[M]`` that a probe neither learns from nor, by their noisy
            labels, sees: it is scored on them by the truth. None: no probe.
    """

    corpus: EmbeddedCorpus
    truth: NDArray[np.int64] | None = None
    match: NDArray[np.float64] | None = None
    own: NDArray[np.bool_] | None = None
    held_out: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class DataSet:
    """One corpus of the study.

    Attributes:
        load: Makes it from the sources and a seed.
        seeds: Runs.
        drawn: Whether the seed draws the corpus; otherwise it is the same for all.
        large: Whether slow methods run once only.
        encodes: Whether texts or images are encoded when it is first made, which takes a while.
    """

    load: Callable[[Sources, int], Task]
    seeds: tuple[int, ...] = (0, 1, 2)
    drawn: bool = False
    large: bool = False
    encodes: bool = False


def find_sources(cache: Path | None = None) -> Sources:
    """The data folder, from the environment or beside the checkout, and the cache.

    Raises:
        FileNotFoundError: There are no data.
    """
    from graphnoise.datasets.places import cache_folder

    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    data = Path(os.environ.get("NOISE_DATA", beside))
    if not data.is_dir():
        raise FileNotFoundError(f"no data at {data}: set NOISE_DATA to their folder")
    return Sources(data, cache or cache_folder() / "image-text")


@dataclass(frozen=True, eq=False)
class FashionRows:
    """Fashion photos: file names, titles, labels read from titles, and the truth; all ``[N]``."""

    files: list[str]
    titles: list[str]
    given: NDArray[np.int64]
    truth: NDArray[np.int64]


def read_fashion(folder: Path, classes: ClassList) -> FashionRows:
    """Labels are what `ClassList.find_in_text` reads from the titles by the classes' names alone.

    Args:
        folder: ``fashion2k``.
        classes: All article types; their definitions are not read here.
    """
    files = json.loads((folder / "image_files.json").read_text(encoding="utf-8"))
    with (folder / "styles.csv").open(newline="", encoding="utf-8") as file:
        found = {row["id"]: row for row in csv.DictReader(file)}
    rows = [found[name.removesuffix(".jpg")] for name in files]
    titles = [row["productDisplayName"] or "" for row in rows]
    numbers = {name: number for number, name in enumerate(classes.names)}
    truth = np.array([numbers[row["articleType"]] for row in rows])
    read = (ClassList(classes.names).find_in_text(title) for title in titles)
    given = np.array([NO_LABEL if one is None else one for one in read])
    return FashionRows(files, titles, given, truth)


def fashion(sources: Sources, seed: int, *, images: str) -> Task:
    """Web-shop photos with titles. `images`: "clip" or "mobilenet"; the latter with early rows."""
    folder = sources.data / "fashion2k"
    classes = read_classes(FASHION_CLASSES)
    rows = read_fashion(folder, classes)
    encoder: TextEncoder = make_text_encoder("minilm")  # type: ignore[assignment]
    early = None
    if images == "clip":
        image = np.load(folder / "embeddings.npy", allow_pickle=False)
    else:
        names = json.loads((folder / "mobilenetv2_ids.json").read_text(encoding="utf-8"))
        place = {name: number for number, name in enumerate(names)}
        features = read_features(folder / "mobilenetv2_int8.npy", sources.data)
        image = features[[place[name] for name in rows.files]]
        early = _early_rows(sources, rows.files)
    corpus = EmbeddedCorpus(
        ids=np.array([name.removesuffix(".jpg") for name in rows.files]),
        given=rows.given,
        class_names=classes.names,
        image=Rows([image]),
        text=_text_rows(sources, [clean_text({"title": title}) for title in rows.titles]),
        class_texts=text_prototypes(classes.texts, encoder, class_text="chunks"),
        early=early,
    )
    return Task(corpus, rows.truth)


def cifar(sources: Sources, seed: int, *, labels: str) -> Task:
    """CIFAR-10N: all rows to clean; a probe learns from four fifths and is scored on a fifth."""
    folder = sources.data / "cifar10n"
    features = read_features(folder / "mobilenetv2_int8_first25000.npy", sources.data)
    with np.load(folder / "cifar10n_labels.npz", allow_pickle=False) as arrays:
        given, truth = (arrays[name][:CIFAR_ROWS] for name in (labels, "clean_label"))
    corpus = EmbeddedCorpus(
        ids=np.array([f"cifar-{row}" for row in range(CIFAR_ROWS)]),
        given=given.astype(np.int64),
        class_names=ORDER,
        image=Rows([features]),
    )
    return Task(corpus, truth.astype(np.int64), held_out=split_rows(CIFAR_ROWS)[1])


def split_rows(n_rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to learn from and rows held out, ascending; the same for every label set and method."""
    order = np.random.default_rng(SPLIT_SEED).permutation(n_rows)
    cut = round(HELD_OUT_SHARE * n_rows)
    return np.sort(order[cut:]), np.sort(order[:cut])


def crawl(sources: Sources, seed: int) -> Task:
    """The simulated crawl of a seed, where settings were chosen."""
    drawn = simulated_crawl(sources.data, seed=seed)
    return Task(drawn.corpus, drawn.truth)


def flickr_judged(sources: Sources, seed: int) -> Task:
    """Flickr8k's own captions and all pairs that people judged: encoders that share no space."""
    folder = sources.data / "flickr8k"
    names, features = read_flickr_features(folder, sources.data / "mobilenetv2" / "quant.json")
    captions, judged = read_flickr_captions(folder), read_flickr_judgments(folder)
    image_of = {name: number for number, name in enumerate(names)}
    text_of = {name: number for number, name in enumerate(captions)}
    verdict = dict(
        zip(zip(judged.image, judged.caption, strict=True), judged.match.tolist(), strict=True)
    )
    own = [(name.partition("#")[0], name) for name in captions]
    pairs = sorted({pair for pair in (*own, *verdict) if _known(pair, image_of, text_of)})
    texts = _text_rows(sources, list(captions.values()))
    corpus = EmbeddedCorpus(
        ids=np.array([f"{image} {caption}" for image, caption in pairs]),
        given=np.full(len(pairs), NO_LABEL),
        class_names=(),
        # half floats: 87,000 rows of 8,091 images
        image=Rows([features.astype(np.float16)[[image_of[image] for image, _ in pairs]]]),
        text=Rows([texts.gather(np.array([text_of[caption] for _, caption in pairs]))]),
    )
    return Task(
        corpus,
        match=np.array([float(verdict.get(pair, np.nan)) for pair in pairs]),
        own=np.array([image == caption.partition("#")[0] for image, caption in pairs]),
    )


def flickr_clip(sources: Sources, seed: int) -> Task:
    """500 pairs of CLIP's two towers; of a drawn share the captions are mixed."""
    names, image, text = read_clip_pairs(sources.data / "flickr8k")
    draw = np.random.default_rng(seed)
    mixed = np.flatnonzero(draw.random(len(image)) < MIXED_SHARE)
    order = np.arange(len(image))
    order[mixed] = draw.permutation(mixed)
    own = names[order] == names
    corpus = EmbeddedCorpus(
        ids=np.array([f"pair-{row}" for row in range(len(image))]),
        given=np.full(len(image), NO_LABEL),
        class_names=(),
        image=Rows([image]),
        text=Rows([text[order]]),
        aligned=True,
    )
    return Task(corpus, match=own.astype(np.float64), own=own)


DATA_SETS = {
    "fashion2k_clip": DataSet(partial(fashion, images="clip"), encodes=True),
    "fashion2k_mobilenet": DataSet(partial(fashion, images="mobilenet"), encodes=True),
    "simulated_crawl": DataSet(crawl, seeds=(1, 2), drawn=True),
    "flickr8k_clip": DataSet(flickr_clip, drawn=True),
    "flickr8k_judged": DataSet(flickr_judged, seeds=(0,), large=True, encodes=True),
    "cifar10n_worst": DataSet(partial(cifar, labels="worse_label"), large=True),
    "cifar10n_random1": DataSet(partial(cifar, labels="random_label1"), large=True),
    "cifar10n_aggre": DataSet(partial(cifar, labels="aggre_label"), large=True),
}


def _known(pair: tuple[str, str], images: dict[str, int], texts: dict[str, int]) -> bool:
    return pair[0] in images and pair[1] in texts


def _text_rows(sources: Sources, texts: Sequence[str]) -> Rows:
    encoder: TextEncoder = make_text_encoder("minilm")  # type: ignore[assignment]
    items = [text or None for text in texts]
    path = EmbeddingCache(sources.cache).get_or_make(
        encoder.key, content_digest(items), lambda: encode_texts(encoder, items)
    )
    return open_cached([path])


def _early_rows(sources: Sources, files: Sequence[str]) -> Rows:
    """An early layer of MobileNetV2 over the photos themselves."""
    weights = sources.data / "mobilenetv2" / "mobilenetv2_float32_from_ptq.npz"
    encoder = make_image_encoder(f"cnn:{weights}#early")
    photos = dict(_members(sources.data / "fashion2k" / "images.tar"))
    items = [photos[name] for name in files]
    path = EmbeddingCache(sources.cache).get_or_make(
        encoder.key,
        content_digest(items),
        lambda: encode_images(encoder, items),  # type: ignore[arg-type]
    )
    return open_cached([path])


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                yield Path(member.name).name, file.read()
