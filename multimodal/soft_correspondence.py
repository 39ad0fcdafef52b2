"""How far image and text of a pair sit alike among trusted pairs; the two need no common space."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from labelnoise.kernels.nearest_neighbours import nearest_neighbours
from multimodal.rows import Rows

# values of one block of differences: 16 MB of float32
BLOCK_VALUES = 1 << 22


@dataclass(frozen=True, eq=False)
class Correspondence:
    """Soft correspondence of pairs.

    Attributes:
        image_to_text: r_it ``[N]`` in 0..1: around the nearest anchors of the image, how near to
            1 the ratio of image distance and text distance is.
        text_to_image: r_ti ``[N]``: the same around the nearest anchors of the text.
    """

    image_to_text: NDArray[np.float64]
    text_to_image: NDArray[np.float64]

    @property
    def soft(self) -> NDArray[np.float64]:
        """``(r_it + r_ti) / 2`` ``[N]``; NaN where a side has no vector or no anchor."""
        return (self.image_to_text + self.text_to_image) / 2


@dataclass(frozen=True, eq=False)
class Anchors:
    """Trusted pairs, both sides in memory.

    Attributes:
        rows: Their row numbers ``[A]``; a pair is never its own anchor.
        image: ``[A, D]`` unit rows.
        text: ``[A, E]`` unit rows.
    """

    rows: NDArray[np.int64]
    image: NDArray[np.float32]
    text: NDArray[np.float32]

    @classmethod
    def of(cls, image: Rows, text: Rows, rows: NDArray[np.int64]) -> "Anchors":
        """The anchors at the given rows; none of them zeros.

        Raises:
            ValueError: No row, or one of zeros.
        """
        found = cls(np.asarray(rows, np.int64), image.gather(rows), text.gather(rows))
        if not len(rows):
            raise ValueError("anchors must have at least one row, got none")
        empty = ~(found.image.any(axis=1) & found.text.any(axis=1))
        if empty.any():
            raise ValueError(f"anchors must have an image and a text, row {rows[empty][0]} has not")
        return found


def inverse_ratio(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """``min(first / second, second / first)`` of distances, 1 where both are 0.

    Example:
        >>> inverse_ratio([1.0, 4.0, 0.0, 0.0], [2.0, 1.0, 0.0, 3.0]).tolist()
        [0.5, 0.25, 1.0, 0.0]
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    larger = np.maximum(a, b)
    return np.divide(np.minimum(a, b), larger, out=np.ones_like(larger), where=larger > 0)


def soft_correspondence(
    image: Rows,
    text: Rows,
    anchors: Anchors,
    *,
    k: int = 5,
    image_rows: NDArray[np.int64] | None = None,
    text_rows: NDArray[np.int64] | None = None,
) -> Correspondence:
    """BiCro's ratios over a whole corpus.

    For the image's nearest anchors p: ``r_it = min(d_img(i,p)/d_txt(i,p), its inverse)``, and for
    the text's nearest anchors q the same with the sides swapped; Euclidean distances of unit rows,
    averaged over the k nearest. In a pair that belongs together what is near in one space is as
    near in the other. Copies of an anchor on one side alone give 0: remove duplicates first.

    Args:
        image: Unit rows ``[N, D]``.
        text: Unit rows ``[N, E]``, zeros where there is none.
        anchors: Trusted pairs.
        k: Anchors averaged over, at least 1; 1 as published, 5 steadies the ratio.
        image_rows: Row ``[N]`` of the corpus each image is, which is no anchor of its own;
            ``0 .. N - 1`` by default.
        text_rows: The same for the texts: other than `image_rows` for mixed-up pairs.

    Raises:
        ValueError: Lengths disagree or k is below 1.

    Source: BiCro, CVPR 2023, its Euclidean form; there per batch and with one anchor.
    """
    if len(image) != len(text):
        raise ValueError(f"image and text must have as many rows, got {len(image)}, {len(text)}")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    numbers = np.arange(len(image))
    image_rows = numbers if image_rows is None else image_rows
    text_rows = numbers if text_rows is None else text_rows
    found = Correspondence(np.full(len(image), np.nan), np.full(len(image), np.nan))
    size = max(1, BLOCK_VALUES // (k * max(image.shape[1], text.shape[1])))
    for start, a in image.blocks(size):
        block = slice(start, start + len(a))
        b = text.read(start, start + len(a))
        # a pair may sit with either of its sides in the anchors when pairs are mixed up
        own = np.stack([image_rows[block], text_rows[block]], axis=1)
        by_image = _nearest(a, anchors.image, anchors.rows, own, k)
        by_text = _nearest(b, anchors.text, anchors.rows, own, k)
        full = a.any(axis=1) & b.any(axis=1)
        for places, ratios in ((by_image, found.image_to_text), (by_text, found.text_to_image)):
            ratios[block] = np.where(full, _mean_ratio(a, b, anchors, places), np.nan)
    return found


def _nearest(
    queries: NDArray[np.float32],
    anchors: NDArray[np.float32],
    rows: NDArray[np.int64],
    own: NDArray[np.int64],
    k: int,
) -> NDArray[np.int64]:
    """Places ``[n, k]`` of the nearest anchors other than the pair's own; -1 for none."""
    _, found = nearest_neighbours(
        torch.from_numpy(np.ascontiguousarray(queries)), k + own.shape[1],
        candidates=torch.from_numpy(anchors), normalise=False,
    )  # fmt: skip
    places = found.numpy()
    unwanted = (places < 0) | (rows[places][:, :, None] == own[:, None, :]).any(axis=2)
    order = np.argsort(unwanted, axis=1, kind="stable")[:, :k]
    return np.where(
        np.take_along_axis(unwanted, order, 1), -1, np.take_along_axis(places, order, 1)
    )


def _mean_ratio(
    a: NDArray[np.float32], b: NDArray[np.float32], anchors: Anchors, places: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean over the anchors at `places` ``[n, k]``; NaN where there is none."""
    there = places >= 0
    ratios = inverse_ratio(
        np.linalg.norm(a[:, None, :] - anchors.image[places], axis=2),
        np.linalg.norm(b[:, None, :] - anchors.text[places], axis=2),
    )
    counts = there.sum(axis=1)
    sums = np.where(there, ratios, 0).sum(axis=1)
    return np.divide(sums, counts, out=np.full(len(a), np.nan), where=counts > 0)
