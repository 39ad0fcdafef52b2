"""Folds that depend on what a row is called and not on where it stands."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from multimodal.stable_order import shuffled_keys, stable_keys

NO_LABEL = -1


@dataclass(frozen=True, eq=False)
class RowFolds:
    """Which fold each row belongs to, and the order in which rows are read for training.

    Attributes:
        fold: ``[N]`` int64 in ``0 .. n_folds - 1``.
        key: ``[N]`` uint64, distinct for distinct rows: training rows are read, and the rows of
            large classes chosen, in its order, so that renumbering the rows changes nothing.
        n_folds: Number of folds F, at least 2.
    """

    fold: NDArray[np.int64]
    key: NDArray[np.uint64]
    n_folds: int

    def __post_init__(self) -> None:
        if self.n_folds < 2:
            raise ValueError(f"n_folds must be at least 2, got {self.n_folds}")
        if self.fold.shape != self.key.shape or self.fold.ndim != 1:
            raise ValueError(
                f"fold and key must both be [N], got {self.fold.shape} and {self.key.shape}"
            )
        if len(self.fold) and not 0 <= self.fold.min() <= self.fold.max() < self.n_folds:
            raise ValueError(f"fold must lie in 0 .. {self.n_folds - 1}")

    def __len__(self) -> int:
        return len(self.fold)


def row_keys(ids: ArrayLike, *, seed: int = 0) -> NDArray[np.uint64]:
    """A 64-bit hash of each id ``[N]`` (text or whole numbers) and the seed."""
    return shuffled_keys(stable_keys(np.asarray(ids).tolist()), seed)


def stratified_folds(
    labels: NDArray[np.int64],
    n_folds: int = 5,
    *,
    ids: ArrayLike | None = None,
    groups: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> RowFolds:
    """Spread the rows of each class evenly over folds, by the hash of their ids.

    Args:
        labels: Class ``[N]``, -1 for none; rows without a class are spread like a class.
        n_folds: Number of folds F, at least 2. 5: each model learns from four fifths.
        ids: Ids ``[N]``, text or whole numbers, unique; row numbers by default.
        groups: Rows that must share a fold ``[N]`` int64, such as near-duplicates, which would
            otherwise vouch for each other; -1: a row on its own. A group counts for the class of
            its first labelled row, in the order of the hashes.
        seed: Changes all folds.

    Raises:
        ValueError: `n_folds` below 2, or lengths that differ.

    Example:
        >>> folds = stratified_folds(np.array([0, 0, 0, 0]), 2, ids=["a", "b", "c", "d"])
        >>> np.bincount(folds.fold).tolist()
        [2, 2]
    """
    labels = np.asarray(labels)
    key = row_keys(np.arange(len(labels)) if ids is None else ids, seed=seed)
    if len(key) != len(labels) or (groups is not None and len(groups) != len(labels)):
        raise ValueError(f"ids and groups must have {len(labels)} rows like labels")
    leader = np.arange(len(labels)) if groups is None else _leaders(labels, groups, key)
    leads = np.flatnonzero(leader == np.arange(len(labels)))
    order = leads[np.lexsort((key[leads], labels[leads]))]
    _, first, size = np.unique(labels[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(first, size)
    # classes start at different folds, lest the first fold get all classes of one row
    fold = np.zeros(len(labels), dtype=np.int64)
    fold[order] = (rank + labels[order] + 1) % max(n_folds, 1)
    return RowFolds(fold[leader], key, n_folds)


def _leaders(
    labels: NDArray[np.int64], groups: NDArray[np.int64], key: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """The row that stands for each row's group ``[N]``."""
    rows = np.arange(len(labels))
    leader = rows.copy()
    grouped = np.flatnonzero(groups >= 0)
    order = grouped[np.lexsort((key[grouped], labels[grouped] < 0, groups[grouped]))]
    _, first, place = np.unique(groups[order], return_index=True, return_inverse=True)
    leader[order] = order[first][place]
    return leader
