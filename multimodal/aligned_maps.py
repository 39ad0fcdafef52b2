"""A linear map from images to texts, for encoders that share no space: fitted, out of fold."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.rows import Rows

# tried as the ridge, in units of the mean variance of an image column
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)


@dataclass(frozen=True, eq=False)
class AlignedMap:
    """Maps of image rows into the texts' space, one per fold.

    Attributes:
        weights: W_f ``[F, D, E]``, fitted without fold f.
        image_mean: ``[F, D]`` of the rows each was fitted to.
        text_mean: ``[F, E]``.
        folds: Fold of each row ``[N]``.
        penalty: The chosen one, relative to the mean variance.
        explained: Share of the texts' variance that the maps explain out of fold; may be negative.
    """

    weights: NDArray[np.float32]
    image_mean: NDArray[np.float32]
    text_mean: NDArray[np.float32]
    folds: NDArray[np.int64]
    penalty: float
    explained: float

    def images(self, image: Rows) -> "MappedRows":
        """Unit rows ``[N, E]``: each image by the map that has not seen it."""
        return MappedRows(image, self.folds, self.image_mean, self.weights)

    def texts(self, text: Rows) -> "MappedRows":
        """Unit rows ``[N, E]``: texts around the mean the map starts from; zeros stay zeros."""
        return MappedRows(text, self.folds, self.text_mean, None)


def ridge_map(
    image: Rows,
    text: Rows,
    rows: NDArray[np.int64] | None = None,
    *,
    folds: NDArray[np.int64] | None = None,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> AlignedMap:
    """Ridge regression of texts on images, out of fold.

    ``W = argmin ||(V - mean) W - (S - mean)||^2 + penalty d ||W||^2`` with d the mean of the
    squared lengths per column; one pass makes a Gram matrix per fold, and sums of those give every
    fit and, for the choice of the penalty, every out-of-fold error. ``O(N D (D + E))`` and
    ``F D (D + E)`` numbers in float64.

    Args:
        image: Rows ``[N, D]``.
        text: Rows ``[N, E]``, zeros where a pair has no text: those are not fitted to.
        rows: Pairs presumed clean ``[n]`` that are fitted to; all by default.
        folds: Fold ``[N]`` of each row in ``0 .. F - 1``, F at least 2; by default `image_folds`,
            so that copies of one image are never on both sides.
        penalties: Tried; the one with the least out-of-fold error is taken.
        seed: Of the default folds.

    Raises:
        ValueError: Lengths differ, a fold has nothing to fit outside of it, or a penalty is not
            positive.
    """
    if len(image) != len(text):
        raise ValueError(f"image and text must have as many rows, got {len(image)}, {len(text)}")
    if not len(penalties) or min(penalties) <= 0:
        raise ValueError(f"penalties must be positive, got {list(penalties)}")
    folds = image_folds(image, seed=seed) if folds is None else np.asarray(folds, np.int64)
    fitted = np.zeros(len(image), bool)
    fitted[slice(None) if rows is None else rows] = True
    moments = _moments_by_fold(image, text, folds, fitted)
    outside = [_all_but(moments, fold) for fold in range(len(moments))]
    empty = [fold for fold, rest in enumerate(outside) if rest.count < 2]
    if empty:
        raise ValueError(f"fold {empty[0]} leaves fewer than 2 pairs to fit the map to")
    errors = np.zeros(len(penalties))
    solutions: list[list[NDArray[np.float64]]] = []
    for own, rest in zip(moments, outside, strict=True):
        solutions.append(rest.ridge(penalties))
        errors += [rest.error_on(own, weights) for weights in solutions[-1]]
    best = int(errors.argmin())
    variance = sum(
        rest.error_on(own, np.zeros_like(rest.cross))
        for own, rest in zip(moments, outside, strict=True)
    )
    return AlignedMap(
        weights=np.stack([weights[best] for weights in solutions]).astype(np.float32),
        image_mean=np.stack([rest.image / rest.count for rest in outside]).astype(np.float32),
        text_mean=np.stack([rest.text / rest.count for rest in outside]).astype(np.float32),
        folds=folds,
        penalty=float(penalties[best]),
        explained=float(1 - errors[best] / variance) if variance > 0 else 0.0,
    )


def image_folds(image: Rows, n_folds: int = 5, *, seed: int = 0) -> NDArray[np.int64]:
    """Fold ``[N]`` by a hash of the image's row: copies share a fold, however rows are numbered."""
    salt = np.int64(seed).tobytes()
    folds = np.empty(len(image), np.int64)
    for start, block in image.blocks():
        digests = b"".join(
            blake2b(row.tobytes(), digest_size=8, salt=salt).digest()
            for row in np.ascontiguousarray(block)
        )
        numbers = np.frombuffer(digests, dtype="<u8")
        folds[start : start + len(block)] = numbers % np.uint64(n_folds)
    return folds


class MappedRows(Rows):
    """Rows that are moved, mapped and scaled to unit length as they are read.

    Args:
        rows: ``[N, D]``.
        folds: Which of the F maps a row goes through ``[N]``.
        means: Subtracted first ``[F, D]``.
        weights: ``[F, D, E]``, or None to stay in the space.
    """

    def __init__(
        self,
        rows: Rows,
        folds: NDArray[np.int64],
        means: NDArray[np.float32],
        weights: NDArray[np.float32] | None,
    ) -> None:
        self._rows, self._folds, self._means, self._weights = rows, folds, means, weights

    @property
    def shape(self) -> tuple[int, int]:
        """``(N, E)``."""
        width = self._rows.shape[1] if self._weights is None else self._weights.shape[2]
        return len(self._rows), int(width)

    def __reduce__(self) -> tuple[Any, ...]:
        return MappedRows, (self._rows, self._folds, self._means, self._weights)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Mapped rows ``start .. stop - 1``, cut at N."""
        return self._mapped(self._rows.read(start, stop), self._folds[start:stop])

    def gather(self, numbers: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Mapped rows by number, in the order asked for."""
        return self._mapped(self._rows.gather(numbers), self._folds[numbers])

    def _mapped(self, block: NDArray[np.float32], folds: NDArray[np.int64]) -> NDArray[np.float32]:
        found = np.zeros((len(block), self.shape[1]), np.float32)
        for fold in np.unique(folds):
            rows = np.flatnonzero(folds == fold)
            moved = block[rows] - self._means[fold]
            found[rows] = moved if self._weights is None else moved @ self._weights[fold]
        found[~block.any(axis=1)] = 0
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return np.divide(found, lengths, out=found, where=lengths > 0)


@dataclass
class _Moments:
    """Sums over pairs: all that a ridge fit and its error on other pairs need."""

    count: int
    image: NDArray[np.float64]
    text: NDArray[np.float64]
    gram: NDArray[np.float64]
    cross: NDArray[np.float64]
    text_squares: float

    @classmethod
    def empty(cls, width: int, text_width: int) -> "_Moments":
        return cls(
            0, np.zeros(width), np.zeros(text_width), np.zeros((width, width)),
            np.zeros((width, text_width)), 0.0,
        )  # fmt: skip

    def add(self, v: NDArray[np.float64], s: NDArray[np.float64]) -> None:
        self.count += len(v)
        self.image += v.sum(axis=0)
        self.text += s.sum(axis=0)
        self.gram += v.T @ v
        self.cross += v.T @ s
        self.text_squares += float((s * s).sum())

    def merge(self, other: "_Moments") -> None:
        self.count += other.count
        self.image += other.image
        self.text += other.text
        self.gram += other.gram
        self.cross += other.cross
        self.text_squares += other.text_squares

    def around(
        self, image_mean: NDArray[np.float64], text_mean: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Gram, cross and squares of the same pairs after subtracting means."""
        gram = self.gram - np.outer(self.image, image_mean) - np.outer(image_mean, self.image)
        gram += self.count * np.outer(image_mean, image_mean)
        cross = self.cross - np.outer(self.image, text_mean) - np.outer(image_mean, self.text)
        cross += self.count * np.outer(image_mean, text_mean)
        squares = self.text_squares - 2 * self.text @ text_mean
        return gram, cross, float(squares + self.count * text_mean @ text_mean)

    def ridge(self, penalties: Sequence[float]) -> list[NDArray[np.float64]]:
        """W ``[D, E]`` for each penalty, from one eigendecomposition."""
        gram, cross, _ = self.around(self.image / self.count, self.text / self.count)
        values, vectors = np.linalg.eigh(gram)
        unit = max(float(np.trace(gram)) / len(gram), np.finfo(np.float64).tiny)
        turned = vectors.T @ cross
        return [
            vectors @ (turned / (np.maximum(values, 0) + penalty * unit)[:, None])
            for penalty in penalties
        ]

    def error_on(self, others: "_Moments", weights: NDArray[np.float64]) -> float:
        """Sum of squared errors on other pairs of W with this one's means."""
        gram, cross, squares = others.around(self.image / self.count, self.text / self.count)
        return (
            squares - 2 * float((weights * cross).sum()) + float((weights * (gram @ weights)).sum())
        )


def _moments_by_fold(
    image: Rows, text: Rows, folds: NDArray[np.int64], fitted: NDArray[np.bool_]
) -> list[_Moments]:
    n_folds = max(2, int(folds.max(initial=0)) + 1)
    moments = [_Moments.empty(image.shape[1], text.shape[1]) for _ in range(n_folds)]
    for start, v in image.blocks():
        s = text.read(start, start + len(v)).astype(np.float64)
        used = fitted[start : start + len(v)] & s.any(axis=1)
        for fold in range(n_folds):
            rows = used & (folds[start : start + len(v)] == fold)
            moments[fold].add(v[rows].astype(np.float64), s[rows])
    return moments


def _all_but(parts: list[_Moments], left_out: int) -> _Moments:
    """The sums of the other folds, added up: subtracting from a total would lose digits."""
    rest = _Moments.empty(len(parts[0].image), len(parts[0].text))
    for number, part in enumerate(parts):
        if number != left_out:
            rest.merge(part)
    return rest
