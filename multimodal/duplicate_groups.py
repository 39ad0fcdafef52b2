"""Groups of near-duplicates: chains of rows whose cosine exceeds a threshold."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from multimodal.methods.base import Progress, silent
from multimodal.neighbour_index.equal_rows import find_equal_rows
from multimodal.neighbours import DEFAULTS, METHODS, SEARCH_ROWS, NeighbourSettings, build_index
from multimodal.rows import Rows

DEFAULT_THRESHOLD = 0.99
# rows compared with rows at once: similarities of 16 MB, and at worst 4 million pairs
TILE_ROWS = 2048
# cosines this near the threshold are taken again in one fixed order of additions, float64
DOUBT = 1e-5
# pairs compared again at once: 2 x 8192 rows of 512 columns in float64 are 64 MB
DOUBT_PAIRS = 8192
# pairs held before they are merged into groups: 16 bytes each
MOST_PAIRS = 4_000_000


def find_duplicate_groups(
    rows: Rows,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    method: str = "auto",
    neighbours: int = 32,
    settings: NeighbourSettings = DEFAULTS,
    progress: Progress = silent,
) -> NDArray[np.int64]:
    """The connected components of the graph that joins two rows if their cosine is above a
    threshold.

    Who is compared first, as in SemDeDup, does not matter here: the definition knows no order, so
    shards may be listed in any. The price: a chain a ~ b ~ c is one group though a and c alone
    would not be; a high threshold keeps chains short. Rows equal bit by bit are always together.

    Args:
        rows: Unit rows ``[N, D]``; a row of zeros is nobody's duplicate.
        threshold: Of the cosine, in -1..1. It belongs to the encoder: of 2,000 product photos
            0.95 joins 1 % under MobileNetV2 but 30 % under CLIP, whose chains run through whole
            kinds of products; 0.99 joins pairs only under both. Look at some groups first.
        method: "flat" compares all rows with all and is exact; "ivf" compares a row with its
            `neighbours` nearest that the inverted lists of `multimodal.neighbours` find, which may
            miss pairs, and which ones may depend on the order of the rows; "auto" chooses by
            `settings.flat_up_to`.
        neighbours: For "ivf"; where a row finds all of them above the threshold, it asks once
            more for four times as many.
        settings: For "ivf".
        progress: Told about the comparisons.

    Returns:
        Group of each row ``[N]`` int64: 0, 1, ... by first member, -1 for a row on its own. Such
        as `multimodal.clean_core` and `multimodal.probe.stratified_folds` take. Memory is bounded
        whatever N, but for about 40 bytes per row.

    Raises:
        ValueError: `threshold`, `method` or `neighbours` out of range, rows that are not finite.

    Source:
        SemDeDup (Abbas et al., 2023), re-derived: its k-means cells only bound the comparisons,
        its answer depends on which duplicate comes first.

    Example:
        >>> rows = Rows([np.array([[1, 0], [0, 1], [0.6, 0.8], [1, 0]], np.float32)])
        >>> find_duplicate_groups(rows).tolist()
        [0, -1, -1, 0]
    """
    if not -1 <= threshold <= 1 or neighbours < 1 or method not in METHODS:
        raise ValueError(
            f"want a threshold in -1 .. 1, neighbours of at least 1 and a method of {METHODS},"
            f" got {threshold}, {neighbours} and {method!r}"
        )
    if method == "auto":
        method = "flat" if len(rows) <= settings.flat_up_to else "ivf"
    groups = _Groups(len(rows))
    if method == "flat":
        equal = find_equal_rows(rows)
        groups.join(np.stack([equal.originals, equal.copies], axis=1))
        found = _pairs_of_all(rows, equal.first, threshold, progress)
    else:
        found = _pairs_of_lists(rows, threshold, neighbours, settings, progress)
    for pairs in found:
        groups.join(pairs)
    return groups.numbered()


class _Groups:
    """Components of a graph whose edges come in parts."""

    def __init__(self, n_rows: int) -> None:
        self.of = np.arange(n_rows)
        self.waiting: list[NDArray[np.int64]] = []
        self.n_waiting = 0

    def join(self, pairs: NDArray[np.int64]) -> None:
        """Put the two rows of each pair ``[p, 2]`` into one group."""
        self.waiting.append(pairs)
        self.n_waiting += len(pairs)
        if self.n_waiting > MOST_PAIRS:
            self._merge()

    def _merge(self) -> None:
        joined = np.concatenate([np.empty((0, 2), np.int64), *self.waiting])
        a, b = self.of[joined[:, 0]], self.of[joined[:, 1]]
        self.waiting, self.n_waiting = [], 0
        n_rows = len(self.of)
        graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(n_rows, n_rows))
        self.of = connected_components(graph, directed=False)[1].astype(np.int64)[self.of]

    def numbered(self) -> NDArray[np.int64]:
        """Groups of two and more by first member, -1 for the rest ``[N]``."""
        self._merge()
        _, first, place, size = np.unique(
            self.of, return_index=True, return_inverse=True, return_counts=True
        )
        shared = np.flatnonzero(size > 1)
        number = np.full(len(first), -1)
        number[shared[np.argsort(first[shared])]] = np.arange(len(shared))
        return number[place]


def _pairs_of_all(
    rows: Rows, searched: NDArray[np.int64], threshold: float, progress: Progress
) -> Iterator[NDArray[np.int64]]:
    """Pairs ``[p, 2]`` of the rows `searched` above the threshold, tile by tile."""
    import torch

    def tile(start: int) -> tuple[NDArray[np.int64], torch.Tensor]:
        numbers = searched[start : start + TILE_ROWS]
        return numbers, torch.from_numpy(np.require(rows.gather(numbers), requirements="W"))

    for first in range(0, len(searched), TILE_ROWS):
        mine, block = tile(first)
        for second in range(first, len(searched), TILE_ROWS):
            others, other = (mine, block) if second == first else tile(second)
            cosine = block @ other.T
            if second == first:
                cosine.masked_fill_(torch.ones_like(cosine, dtype=torch.bool).tril_(), -2.0)
            near = (cosine > threshold - DOUBT).nonzero()
            value = cosine[near[:, 0], near[:, 1]].numpy()
            places = near.numpy()
            pairs = np.stack([mine[places[:, 0]], others[places[:, 1]]], axis=1)
            yield pairs[_above(rows, pairs, value, threshold)]
        progress("comparing all rows", min(1.0, (first + TILE_ROWS) / len(searched)))


def _pairs_of_lists(
    rows: Rows, threshold: float, count: int, settings: NeighbourSettings, progress: Progress
) -> Iterator[NDArray[np.int64]]:
    """Pairs of rows and their nearest found through inverted lists."""
    index = build_index(rows, method="ivf", settings=settings, progress=progress)
    equal = index.equal
    yield np.stack([equal.originals, equal.copies], axis=1)
    for start, block in rows.blocks(SEARCH_ROWS):
        numbers = np.arange(start, start + len(block))
        k = min(count, max(1, len(rows) - 1))
        found = index.search(block, first_row=start, k=k)
        yield from _found_pairs(rows, numbers, found.ids, found.similarity, threshold)
        full = np.flatnonzero((found.ids[:, -1] >= 0) & (found.similarity[:, -1] > threshold))
        for first in np.unique(full // TILE_ROWS) * TILE_ROWS:
            part = slice(first, first + TILE_ROWS)
            more = index.search(
                block[part], first_row=start + int(first), k=min(4 * k, len(rows) - 1)
            )
            yield from _found_pairs(rows, numbers[part], more.ids, more.similarity, threshold)
        progress("comparing neighbours", (start + len(block)) / len(rows))


def _found_pairs(
    rows: Rows,
    numbers: NDArray[np.int64],
    ids: NDArray[np.int64],
    similarity: NDArray[np.float32],
    threshold: float,
) -> Iterator[NDArray[np.int64]]:
    near = (ids >= 0) & (similarity > threshold - DOUBT)
    at, place = np.nonzero(near)
    pairs = np.stack([numbers[at], ids[at, place]], axis=1)
    yield pairs[_above(rows, pairs, similarity[at, place], threshold)]


def _above(
    rows: Rows, pairs: NDArray[np.int64], value: NDArray[np.float32], threshold: float
) -> NDArray[np.bool_]:
    """Whether each pair's cosine exceeds the threshold; close ones are taken again in float64."""
    answer = value > threshold
    close = np.flatnonzero(np.abs(value - threshold) <= DOUBT)
    for start in range(0, len(close), DOUBT_PAIRS):
        part = close[start : start + DOUBT_PAIRS]
        answer[part] = cosines(rows, pairs[part]) > threshold
    return answer


def cosines(rows: Rows, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Inner products ``[p]`` of the two rows of each pair ``[p, 2]``, in float64."""
    answer = np.empty(len(pairs))
    for start in range(0, len(pairs), DOUBT_PAIRS):
        part = pairs[start : start + DOUBT_PAIRS]
        sides = (rows.gather(part[:, side]).astype(np.float64) for side in (0, 1))
        answer[start : start + len(part)] = np.multiply(*sides).sum(axis=1)
    return answer
