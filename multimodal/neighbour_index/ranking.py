"""Candidates measured again, always in the same order of additions, and ranked by that."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.neighbour_index.equal_rows import EqualRows
from multimodal.rows import Rows

# vectors gathered at once: 64 MB of float32 at 512 columns
GATHERED_ROWS = 32768


def rank(
    rows: Rows,
    equal: EqualRows,
    queries: NDArray[np.float32],
    numbers: NDArray[np.int64],
    candidates: NDArray[np.int64],
    k: int,
    *,
    keys: NDArray[np.uint64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The `k` best of the candidates and their equals, without the query itself.

    Args:
        rows: What was searched.
        equal: Which of them are the same.
        queries: ``[n, D]``.
        numbers: Their rows ``[n]``.
        candidates: Rows of ``equal.first`` ``[n, c]``, -1 for none, in any order.
        k: How many to return.
        keys: ``[N]``, who comes first of equally near rows; None: the lower row.

    Returns:
        Ids and similarities ``[n, k]``: see `multimodal.neighbours.Neighbours`.
    """
    original = equal.original_of(numbers)
    candidates = np.where(candidates == original[:, None], -1, candidates)
    own = np.where(equal.has_copies(original), original, -1)
    candidates = np.concatenate([own[:, None], candidates], axis=1)
    similarity = _similarity(rows, queries, candidates)
    ids, best = _first(candidates, similarity, k, keys)
    for place in np.flatnonzero(equal.has_copies(candidates).any(axis=1)):
        found = candidates[place], similarity[place]
        spread = _with_equals(equal, *found, numbers[place], k)
        ids[place], best[place] = _first(*spread, k, keys)
    return ids, best


def _similarity(
    rows: Rows, queries: NDArray[np.float32], candidates: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Dot products ``[n, c]``, -inf for no candidate.

    Each is summed along its two vectors alone, so that it has the same bits in every search.
    """
    similarity = np.empty(candidates.shape, np.float32)
    step = max(1, GATHERED_ROWS // candidates.shape[1])
    for start in range(0, len(queries), step):
        block = slice(start, start + step)
        found = rows.gather(candidates[block].clip(min=0).reshape(-1))
        found = found.reshape(*candidates[block].shape, -1)
        np.einsum("nd,ncd->nc", queries[block], found, out=similarity[block], optimize=False)
    similarity[candidates < 0] = -np.inf
    return similarity


def _first(
    ids: NDArray[np.int64],
    similarity: NDArray[np.float32],
    k: int,
    keys: NDArray[np.uint64] | None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The `k` best along the last axis, filled up with nobody."""
    # nobody has a key either, and comes last by similarity
    rank: NDArray[Any] = ids if keys is None else keys[np.maximum(ids, 0)]
    order = np.lexsort((rank, -similarity), axis=-1)[..., :k]
    shape = (*ids.shape[:-1], k)
    best, best_similarity = np.full(shape, -1, np.int64), np.full(shape, -np.inf, np.float32)
    best[..., : order.shape[-1]] = np.take_along_axis(ids, order, axis=-1)
    best_similarity[..., : order.shape[-1]] = np.take_along_axis(similarity, order, axis=-1)
    return best, best_similarity


def _with_equals(
    equal: EqualRows,
    candidates: NDArray[np.int64],
    similarity: NDArray[np.float32],
    number: int,
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Candidates ``[c]`` of one query joined by their equals, the query itself taken out."""
    found = np.flatnonzero(candidates >= 0)
    # of one set, k others and the query are all that could be wanted
    sets = [np.append(original, equal.copies_of(original, k + 1)) for original in candidates[found]]
    ids = np.concatenate(sets)
    spread = np.repeat(similarity[found], [len(members) for members in sets])
    others = ids != number
    return ids[others], spread[others]
