"""A synthetic crawl of any size that is embedded already: Parquet files, and titles in the cache.

Everything follows from the number of the file: a crawl of 500,000 pairs is the beginning of one of
two millions, and what is there is not written again.
"""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from labelnoise.atomic_files import replacing
from labelnoise.class_list import read_classes
from multimodal.encoders import make_text_encoder
from multimodal.encoders.base import TextEncoder
from multimodal.encoders.cache import EmbeddingCache, content_digest
from multimodal.engine.records import cleaned_texts
from multimodal.records import TEXT_FIELDS
from multimodal.text_cleaning import TextCleaning
from multimodal.text_prototypes import text_prototypes

FILE_ROWS, SHARD_ROWS = 50_000, 10_000
WIDTH, IMAGE_COLUMN, CLASSES = 512, "vector", "classes.csv"
# kinds of a class: a text of the class may show any of them
KINDS_PER_CLASS = 8
WRONG_LABELS, OTHER_TITLES, EMPTY_TITLES = 0.2, 0.1, 0.03
# lengths of what is added to unit rows: class to kind, kind to image, class text to title
KIND_NOISE, IMAGE_NOISE, TITLE_NOISE = 0.7, 0.9, 1.2
QUALITIES = (
    "red", "blue", "green", "wooden", "metal", "small", "large", "old", "modern", "striped",
    "leather", "glass", "folding", "electric", "painted", "toy", "antique", "portable", "stone",
    "plastic", "silver", "golden", "woollen", "broken", "wild",
)  # fmt: skip
THINGS = (
    "chair", "table", "lamp", "clock", "shoe", "hat", "bag", "boat", "bicycle", "car", "horse",
    "dog", "cat", "bird", "fish", "tree", "flower", "house", "bridge", "tower", "guitar", "piano",
    "drum", "camera", "phone", "radio", "knife", "spoon", "cup", "bottle", "basket", "box", "door",
    "window", "mirror", "carpet", "curtain", "ladder", "hammer", "bell",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class World:
    """What is behind the pairs.

    Attributes:
        names: Of K classes.
        kinds: Directions of the kinds of images ``[K, kinds, D]``.
        texts: Textual prototypes ``[K, E]``, those of the real encoder.
        shares: Of each class among the pairs ``[K]``.
    """

    names: tuple[str, ...]
    kinds: NDArray[np.float32]
    texts: NDArray[np.float32]
    shares: NDArray[np.float64]


def write_crawl(folder: Path, n_rows: int, n_classes: int) -> None:
    """Write class list, Parquet files and the cache of titles, as far as they are not there."""
    files = crawl_files(folder, n_rows, n_classes)
    folder = folder / str(n_classes)
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{quality} {thing}" for quality, thing in product(QUALITIES, THINGS)][:n_classes]
    (folder / CLASSES).write_text("name\n" + "".join(f"{name}\n" for name in names))
    missing = {path: number * FILE_ROWS for number, path in enumerate(files) if not path.exists()}
    if not missing:
        return
    encoder: TextEncoder = make_text_encoder("minilm")  # type: ignore[assignment]
    world = make_world(folder / CLASSES, encoder)
    cache = EmbeddingCache(folder / "cache")
    for path, start in missing.items():
        _write_file(path, start, min(FILE_ROWS, n_rows - start), world, cache, encoder.key)


def crawl_files(folder: Path, n_rows: int, n_classes: int) -> list[Path]:
    """The files of a crawl, whether they are there or not."""
    return [
        folder / str(n_classes) / f"part-{start:08d}-{min(FILE_ROWS, n_rows - start)}.parquet"
        for start in range(0, n_rows, FILE_ROWS)
    ]


def read_truth(folder: Path, n_rows: int, n_classes: int) -> NDArray[np.int64]:
    """True class of each pair ``[N]``."""
    paths = crawl_files(folder, n_rows, n_classes)
    return np.concatenate([np.load(path.with_suffix(".truth.npy")) for path in paths])


def make_world(classes: Path, encoder: TextEncoder) -> World:
    """Classes with kinds and sizes; the smallest class is a tenth of the largest."""
    listed, rng = read_classes(classes), np.random.default_rng(2024)
    n_classes = len(listed)
    centres = _unit(rng.standard_normal((n_classes, 1, WIDTH), np.float32))
    kinds = _noisy(rng, np.repeat(centres, KINDS_PER_CLASS, axis=1), KIND_NOISE)
    sizes = 10 ** -rng.random(n_classes)
    return World(listed.names, kinds, text_prototypes(listed.texts, encoder), sizes / sizes.sum())


def _write_file(
    path: Path, start: int, n_rows: int, world: World, cache: EmbeddingCache, key: str
) -> None:
    rng, n_classes = np.random.default_rng([2024, start]), len(world.names)
    truth = rng.choice(n_classes, n_rows, p=world.shares)
    images = _noisy(rng, world.kinds[truth, rng.integers(0, KINDS_PER_CLASS, n_rows)], IMAGE_NOISE)
    given, about = _moved(rng, truth, WRONG_LABELS, n_classes), truth.copy()
    about = _moved(rng, about, OTHER_TITLES, n_classes)
    empty = rng.random(n_rows) < EMPTY_TITLES
    numbers = range(start, start + n_rows)
    titles = [
        None if none else f"{world.names[one]} {number}"
        for none, one, number in zip(empty.tolist(), about.tolist(), numbers, strict=True)
    ]
    rows = np.where(empty[:, None], 0, _noisy(rng, world.texts[about], TITLE_NOISE))
    for first in range(0, n_rows, SHARD_ROWS):
        raw: dict[str, Any] = {
            name: [None] * len(titles[first : first + SHARD_ROWS]) for name in TEXT_FIELDS
        }
        raw["title"] = titles[first : first + SHARD_ROWS]
        digest = content_digest([text or None for text in cleaned_texts(raw, TextCleaning())])
        cache.put(key, digest, rows[first : first + SHARD_ROWS])
    np.save(path.with_suffix(".truth.npy"), truth)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(images.astype(np.float16).ravel()), WIDTH)
    table = pa.table({
        "id": [f"p{number:08d}" for number in numbers],
        "title": titles,
        "label": [world.names[one] for one in given.tolist()],
        IMAGE_COLUMN: vectors,
    })  # fmt: skip
    with replacing(path) as temporary:
        pq.write_table(table, temporary, row_group_size=SHARD_ROWS, compression="none",
                       use_dictionary=["label"])  # fmt: skip


def _moved(
    rng: np.random.Generator, classes: NDArray[np.int64], share: float, n_classes: int
) -> NDArray[np.int64]:
    """A share of the classes replaced by others: half by a class's neighbour, half by any."""
    near = rng.random(len(classes)) < 0.5
    shift = np.where(near, 1, rng.integers(1, n_classes, len(classes)))
    return np.where(rng.random(len(classes)) < share, (classes + shift) % n_classes, classes)


def _noisy(
    rng: np.random.Generator, rows: NDArray[np.float32], length: float
) -> NDArray[np.float32]:
    """Unit rows moved by noise of about this length, made unit rows again."""
    noise = rng.standard_normal(rows.shape, np.float32) * np.float32(length / rows.shape[-1] ** 0.5)
    return _unit(rows + noise)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)
