"""The two forms in which class probabilities come: dense rows, or the top few of each row."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# float32 or float64; what a caller hands in is kept
Dense = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class TopProbabilities:
    """The largest class probabilities of each sample, for when ``[N, K]`` does not fit.

    Attributes:
        index: Classes ``[N, m]`` int32 or int64, distinct within a row, in any order.
        value: Their probabilities ``[N, m]`` float32 or float64, in 0..1.
        given: Probability of the given label ``[N]``, whether or not it is among the m.
        n_classes: K.

    Raises:
        ValueError: Shapes disagree, or a class or probability is out of range.
    """

    index: NDArray[np.integer]
    value: Dense
    given: Dense
    n_classes: int

    def __post_init__(self) -> None:
        if self.index.ndim != 2 or self.value.shape != self.index.shape or not self.index.shape[1]:
            raise ValueError(
                f"want index and value [N, m], got {self.index.shape} and {self.value.shape}"
            )
        if self.given.shape != (len(self.index),):
            raise ValueError(f"given must be [{len(self.index)}], got {self.given.shape}")
        if self.index.dtype.kind not in "iu":
            raise ValueError(f"index must be integers, got {self.index.dtype}")
        if self.index.size and (self.index.min() < 0 or self.index.max() >= self.n_classes):
            raise ValueError(f"index must lie in 0 .. {self.n_classes - 1}")
        for name, array in (("value", self.value), ("given", self.given)):
            if not ((array >= 0) & (array <= 1)).all():
                raise ValueError(f"{name} must hold probabilities in 0 .. 1")

    def __len__(self) -> int:
        return len(self.index)


Probabilities = Dense | TopProbabilities


def top_probabilities(probs: ArrayLike, labels: ArrayLike, m: int) -> TopProbabilities:
    """The `m` largest entries of each dense row, and the given label's.

    Args:
        probs: ``[N, K]``.
        labels: Given labels ``[N]`` in ``0 .. K-1``.
        m: Entries to keep; at most K are.
    """
    if m < 1:
        raise ValueError(f"m must be at least 1, got {m}")
    dense = as_dense(probs)
    n_samples, n_classes = dense.shape
    given = checked_labels(labels, n_samples, n_classes)
    m = min(m, n_classes)
    index = np.argpartition(dense, n_classes - m, axis=1)[:, n_classes - m :].astype(np.int32)
    return TopProbabilities(
        index, np.take_along_axis(dense, index, 1), dense[np.arange(n_samples), given], n_classes
    )


def as_dense(probs: ArrayLike) -> Dense:
    """Probabilities ``[N, K]`` as a contiguous float32 or float64 array; values are not read.

    Raises:
        ValueError: Another number of dimensions, or no class.
    """
    dense = np.asarray(probs)
    if dense.ndim != 2 or not dense.shape[1]:
        raise ValueError(f"probs must be [N, K], got {dense.shape}")
    kept = dense.dtype if dense.dtype in (np.float32, np.float64) else np.float64
    return np.ascontiguousarray(dense, dtype=kept)


def checked_labels(labels: ArrayLike, n_samples: int, n_classes: int) -> NDArray[np.int64]:
    """Given labels ``[N]`` as int64 in ``0 .. K-1``; confident learning has no unlabelled samples.

    Raises:
        ValueError: Wrong length or type, or a label out of range (the first is named).
    """
    array = np.asarray(labels)
    if array.shape != (n_samples,):
        raise ValueError(f"labels must be [{n_samples}] like probs, got {array.shape}")
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, got {array.dtype}")
    array = array.astype(np.int64)
    if array.size and (array.min() < 0 or array.max() >= n_classes):
        row = np.flatnonzero((array < 0) | (array >= n_classes))[0]
        raise ValueError(f"labels must lie in 0 .. {n_classes - 1}, found {array[row]} at {row}")
    return array


def given_probability(labels: NDArray[np.int64], probs: Probabilities) -> Dense:
    """Probability of the given label ``[N]``, in the dtype of `probs`."""
    if isinstance(probs, TopProbabilities):
        return probs.given
    return probs[np.arange(len(labels)), labels]


def predicted_class(probs: Probabilities) -> NDArray[np.int64]:
    """Likeliest class ``[N]``; the lowest number wins a tie."""
    if not isinstance(probs, TopProbabilities):
        return probs.argmax(axis=1)
    largest = probs.value.max(axis=1, keepdims=True)
    return np.where(probs.value == largest, probs.index, probs.n_classes).min(axis=1)


def largest_probability(probs: Probabilities) -> Dense:
    """Probability of the likeliest class ``[N]``."""
    return (probs.value if isinstance(probs, TopProbabilities) else probs).max(axis=1)


def concatenated(parts: list[Probabilities]) -> Probabilities:
    """One set of rows from several of the same form; a single part is handed back as it is.

    Raises:
        ValueError: Dense and top parts are mixed, or there is no part.
    """
    if len(parts) == 1:
        return parts[0]
    tops = [part for part in parts if isinstance(part, TopProbabilities)]
    dense = [part for part in parts if not isinstance(part, TopProbabilities)]
    if bool(tops) == bool(dense):
        raise ValueError("want one or more parts, all dense or all top probabilities")
    if dense:
        return np.concatenate(dense)
    width = max(part.index.shape[1] for part in tops)
    if any(part.index.shape[1] != width for part in tops):
        raise ValueError("parts must keep the same number m of probabilities per row")
    return TopProbabilities(
        np.concatenate([part.index for part in tops]),
        np.concatenate([part.value for part in tops]),
        np.concatenate([part.given for part in tops]),
        tops[0].n_classes,
    )
