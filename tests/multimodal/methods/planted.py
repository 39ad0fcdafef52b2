"""A small corpus with planted wrong labels and wrong pairs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal.embedded import EmbeddedCorpus
from multimodal.rows import Rows


@dataclass(frozen=True)
class Planted:
    corpus: EmbeddedCorpus
    truth: NDArray[np.int64]
    right_pair: NDArray[np.bool_]

    @property
    def right_label(self):
        return self.corpus.given == self.truth


def unit(rows):
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def planted(
    n=600, n_classes=4, *, d=16, spread=0.8, wrong_labels=0.25, wrong_pairs=0.25, seed=0,
    aligned=True,
):  # fmt: skip
    """Clusters with labels of which some are of another class and texts of which some are mixed.

    The text of an image is the image with noise (aligned) or a turned copy of it (not aligned).
    """
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % n_classes
    centres = unit(rng.normal(size=(n_classes, d)))
    detail = rng.normal(size=(n, d)) * spread / np.sqrt(d)
    image = unit(centres[truth] + detail)
    turn = np.eye(d) if aligned else np.linalg.qr(rng.normal(size=(d, d)))[0]
    text = unit((image + 0.3 / np.sqrt(d) * rng.normal(size=(n, d))) @ turn)
    mixed = np.flatnonzero(rng.random(n) < wrong_pairs)
    text[mixed] = text[np.roll(mixed, 1)]
    right_pair = np.ones(n, bool)
    right_pair[mixed] = False
    wrong = rng.random(n) < wrong_labels
    given = np.where(wrong, (truth + rng.integers(1, n_classes, n)) % n_classes, truth)
    corpus = EmbeddedCorpus(
        np.array([f"row{number}" for number in range(n)]),
        given,
        tuple(f"class {number}" for number in range(n_classes)),
        image=Rows([image]),
        text=Rows([text]),
        class_texts=unit(centres @ turn),
        aligned=aligned,
    )
    return Planted(corpus, truth, right_pair)


def renumbered(corpus, order):
    """The same corpus with its rows in another order and its matrices in two pieces."""
    half = len(order) // 3

    def moved(rows):
        return Rows([rows.gather(order[:half]), rows.gather(order[half:])])

    return EmbeddedCorpus(
        corpus.ids[order],
        corpus.given[order],
        corpus.class_names,
        image=moved(corpus.image),
        text=moved(corpus.text),
        class_texts=corpus.class_texts,
        aligned=corpus.aligned,
    )
