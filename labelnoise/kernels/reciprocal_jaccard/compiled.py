"""Numba on CPU: descriptors as sparse rows, from the lists only, on all threads.

Threads are plain Python threads over runs of rows (the loops release the GIL): safe to call from
several threads and after a fork, which numba's own thread layers are not.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelnoise.kernels.grouped_neighbours import grouped_neighbours
from labelnoise.kernels.reciprocal_jaccard.settings import Groups, Lists, Reranked, Reranking

# rows of one task: its working memory is a few MB
RUN_ROWS = 4096
# rows whose distances to their group are computed at once, for column maxima
BLOCK_ROWS = 1024


class _Graph(NamedTuple):
    """Lists as the loops want them; `rows` is empty where no vectors are at hand."""

    ids: NDArray[np.int32]
    distance: NDArray[np.float32]
    scale: NDArray[np.float32]
    rows: NDArray[np.float32]


class _SparseRows(NamedTuple):
    """Row i is ``columns[offsets[i] : offsets[i + 1]]``, ascending, and their weights."""

    offsets: NDArray[np.int64]
    columns: NDArray[np.int32]
    weights: NDArray[np.float32]


def reciprocal_jaccard(lists: Lists, settings: Reranking) -> Reranked:
    """See `labelnoise.kernels.reciprocal_jaccard`."""
    graph = _graph(lists, lists.scale.new_empty((0, 0)))
    descriptors, n_capped = _descriptors(graph, settings)
    distance = np.full(graph.ids.shape, np.inf, np.float32)

    def run(start: int, stop: int) -> None:
        _rerank_lists(graph, descriptors, settings.trade_off, distance, start, stop)

    _in_runs(run, len(distance))
    return Reranked(torch.from_numpy(distance), n_capped)


def reciprocal_query_distance(groups: Groups, settings: Reranking) -> Reranked:
    """See `labelnoise.kernels.reciprocal_jaccard`."""
    rows, offsets = groups.rows, groups.offsets
    score, ids = grouped_neighbours(rows, offsets, settings.k1, normalise=False)
    scale = _farthest(groups) if groups.column_max else torch.full((len(rows),), 4.0)
    graph = _graph(Lists(ids, 2 - 2 * score, scale), rows)
    descriptors, n_capped = _descriptors(graph, settings)
    distance = np.empty(len(rows), np.float32)
    bounds = offsets.numpy()

    def run(start: int, stop: int) -> None:
        _rerank_groups(graph, descriptors, settings.trade_off, bounds, distance, start, stop)

    _in_runs(run, len(bounds) - 1)
    in_gallery = torch.ones(len(rows), dtype=torch.bool)
    in_gallery[offsets[:-1]] = False
    return Reranked(torch.from_numpy(distance)[in_gallery], n_capped)


def _graph(lists: Lists, rows: Tensor) -> _Graph:
    return _Graph(
        lists.ids.int().contiguous().numpy(),
        lists.distance.float().clamp(min=0).contiguous().numpy(),
        lists.scale.float().contiguous().numpy(),
        rows.contiguous().numpy(),
    )


def _farthest(groups: Groups) -> Tensor:
    """Largest squared distance of each row inside its group ``[N]``, positive."""
    largest = groups.rows.new_empty(len(groups.rows))
    for start, stop in pairwise(groups.offsets.tolist()):
        group = groups.rows[start:stop]
        for first in range(start, stop, BLOCK_ROWS):
            block = slice(first, min(first + BLOCK_ROWS, stop))
            largest[block] = 2 - 2 * (groups.rows[block] @ group.T).amin(dim=1)
    return largest.clamp(min=torch.finfo(torch.float32).tiny)


def _descriptors(graph: _Graph, settings: Reranking) -> tuple[_SparseRows, int]:
    """Averaged descriptor of each row, and how many were longer than the cap."""
    n_rows, listed = graph.ids.shape
    k1, half = min(settings.k1, listed), min(settings.half, listed)
    mutual = np.empty((n_rows, k1), np.bool_)
    mutual_close = np.empty((n_rows, half), np.bool_)

    def find_mutual(start: int, stop: int) -> None:
        _find_mutual(graph.ids, mutual, start, stop)
        _find_mutual(graph.ids, mutual_close, start, stop)

    _in_runs(find_mutual, n_rows)
    longest = min(n_rows, 1 + k1 * (1 + half))

    def expand(start: int, stop: int) -> tuple[Any, ...]:
        return _expand(graph, mutual, mutual_close, longest, start, stop)

    plain = _stack(_in_runs(expand, n_rows))

    def average(start: int, stop: int) -> tuple[Any, ...]:
        return _average(graph.ids, plain, settings.k2, settings.cap, start, stop)

    parts = _in_runs(average, n_rows)
    return _stack(parts), sum(part[3] for part in parts)


def _stack(parts: list[tuple[Any, ...]]) -> _SparseRows:
    """Runs of (length of each row, columns, weights, ...) as one."""
    counts = np.concatenate([np.zeros(1, np.int64), *(part[0] for part in parts)])
    columns = np.concatenate([np.empty(0, np.int32), *(part[1] for part in parts)])
    weights = np.concatenate([np.empty(0, np.float32), *(part[2] for part in parts)])
    return _SparseRows(np.cumsum(counts), columns, weights)


def _in_runs(run: Callable[[int, int], Any], n_rows: int) -> list[Any]:
    """``run(start, stop)`` over consecutive runs of rows, on torch's number of threads."""
    starts = range(0, n_rows, RUN_ROWS)
    n_threads = min(torch.get_num_threads(), max(1, len(starts)))
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(lambda start: run(start, min(start + RUN_ROWS, n_rows)), starts))


@numba.njit(cache=True, nogil=True)
def _find_mutual(  # type: ignore[no-untyped-def]
    ids, mutual, start, stop
):
    """Whether each of the k first neighbours of a row has that row among its k first."""
    k = mutual.shape[1]
    for i in range(start, stop):
        for p in range(k):
            j = ids[i, p]
            mutual[i, p] = False
            if j >= 0:
                for other in range(k):
                    if ids[j, other] == i:
                        mutual[i, p] = True
                        break


@numba.njit(cache=True, nogil=True)
def _contains(values, size, wanted):  # type: ignore[no-untyped-def]
    for place in range(size):  # noqa: SIM110 (numba compiles no generator)
        if values[place] == wanted:
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _distance(graph, i, j):  # type: ignore[no-untyped-def]
    """Scaled distance: from the list of i, or of j, or the vectors, or as far as i's last."""
    if i == j:
        return 0.0
    ids, near, last = graph.ids, graph.distance, 0.0
    for p in range(ids.shape[1]):
        if ids[i, p] == j:
            return near[i, p] / graph.scale[i]
        if ids[i, p] >= 0:
            last = near[i, p]
    for p in range(ids.shape[1]):
        if ids[j, p] == i:
            return near[j, p] / graph.scale[i]
    if len(graph.rows):
        dot = 0.0
        for d in range(graph.rows.shape[1]):
            dot += graph.rows[i, d] * graph.rows[j, d]
        last = max(0.0, 2 - 2 * dot)
    return last / graph.scale[i]


@numba.njit(cache=True, nogil=True)
def _expand(  # type: ignore[no-untyped-def]
    graph, mutual, mutual_close, longest, start, stop
):
    """Descriptors of a run of rows before averaging."""
    ids = graph.ids
    counts = np.empty(stop - start, np.int64)
    columns = np.empty((stop - start) * longest, np.int32)
    weights = np.empty((stop - start) * longest, np.float32)
    members = np.empty(1 + mutual.shape[1], np.int32)
    found = np.empty(len(members) * (1 + mutual_close.shape[1]), np.int32)
    filled = 0
    for i in range(start, stop):
        members[0], n_members = i, 1
        for p in range(mutual.shape[1]):
            if mutual[i, p]:
                members[n_members] = ids[i, p]
                n_members += 1
        found[:n_members] = members[:n_members]
        size = n_members
        for m in range(1, n_members):
            j = members[m]
            total, inside, kept = 1, 1, size
            for p in range(mutual_close.shape[1]):
                if mutual_close[j, p]:
                    total += 1
                    if _contains(members, n_members, ids[j, p]):
                        inside += 1
                    elif not _contains(found, size, ids[j, p]):
                        found[kept] = ids[j, p]
                        kept += 1
            if 3 * inside > 2 * total:
                size = kept
        found[:size].sort()
        mass = 0.0
        first = filled
        for place in range(size):
            columns[filled] = found[place]
            weight = np.exp(-_distance(graph, i, found[place]))
            weights[filled] = weight
            mass += weight
            filled += 1
        for place in range(first, filled):
            weights[place] /= mass
        counts[i - start] = filled - first
    return counts, columns[:filled].copy(), weights[:filled].copy()


@numba.njit(cache=True, nogil=True)
def _average(  # type: ignore[no-untyped-def]
    ids, plain, k2, cap, start, stop
):
    """Mean of the descriptors of a row and its ``k2 - 1`` nearest, cut to `cap` entries."""
    counts = np.empty(stop - start, np.int64)
    columns = np.empty((stop - start) * cap, np.int32)
    weights = np.empty((stop - start) * cap, np.float32)
    place, end = np.empty(k2, np.int64), np.empty(k2, np.int64)
    filled, n_capped = 0, 0
    for i in range(start, stop):
        place[0], end[0], n_sources, room = plain.offsets[i], plain.offsets[i + 1], 1, 0
        for p in range(min(k2 - 1, ids.shape[1])):
            if ids[i, p] >= 0:
                place[n_sources] = plain.offsets[ids[i, p]]
                end[n_sources] = plain.offsets[ids[i, p] + 1]
                n_sources += 1
        for source in range(n_sources):
            room += end[source] - place[source]
        found, value, size = np.empty(room, np.int32), np.empty(room, np.float64), 0
        while True:
            lowest = -1
            for source in range(n_sources):
                if place[source] < end[source]:
                    column = plain.columns[place[source]]
                    if lowest < 0 or column < lowest:
                        lowest = column
            if lowest < 0:
                break
            total = 0.0
            for source in range(n_sources):
                if place[source] < end[source] and plain.columns[place[source]] == lowest:
                    total += plain.weights[place[source]]
                    place[source] += 1
            found[size], value[size] = lowest, total / n_sources
            size += 1
        kept = np.ones(size, np.bool_)
        mass = 1.0
        if size > cap:
            n_capped += 1
            # stable, so that of equal weights the lower column stays
            lightest = np.argsort(-value[:size], kind="mergesort")[cap:]
            kept[lightest] = False
            mass = value[:size][kept].sum()
        first = filled
        for slot in range(size):
            if kept[slot]:
                columns[filled], weights[filled] = found[slot], value[slot] / mass
                filled += 1
        counts[i - start] = filled - first
    return counts, columns[:filled].copy(), weights[:filled].copy(), n_capped


@numba.njit(cache=True, nogil=True)
def _jaccard(descriptors, i, j):  # type: ignore[no-untyped-def]
    offsets, columns, weights = descriptors
    a, b, end_a, end_b = offsets[i], offsets[j], offsets[i + 1], offsets[j + 1]
    overlap = 0.0
    while a < end_a and b < end_b:
        if columns[a] < columns[b]:
            a += 1
        elif columns[a] > columns[b]:
            b += 1
        else:
            overlap += min(weights[a], weights[b])
            a += 1
            b += 1
    return max(0.0, 1 - overlap / (2 - overlap))


@numba.njit(cache=True, nogil=True)
def _rerank_lists(  # type: ignore[no-untyped-def]
    graph, descriptors, trade_off, distance, start, stop
):
    for i in range(start, stop):
        for p in range(graph.ids.shape[1]):
            j = graph.ids[i, p]
            if j >= 0:
                plain = graph.distance[i, p] / graph.scale[i]
                jaccard = _jaccard(descriptors, i, j)
                distance[i, p] = (1 - trade_off) * jaccard + trade_off * plain


@numba.njit(cache=True, nogil=True)
def _rerank_groups(  # type: ignore[no-untyped-def]
    graph, descriptors, trade_off, bounds, distance, start, stop
):
    """Distance of every row to the first of its group."""
    for group in range(start, stop):
        query = bounds[group]
        for j in range(query, bounds[group + 1]):
            jaccard = _jaccard(descriptors, query, j)
            distance[j] = (1 - trade_off) * jaccard + trade_off * _distance(graph, query, j)
