"""Loops over edges: symmetrising neighbour lists, and averaging text rows over neighbours."""

import numba
import numpy as np

# where a smoothed row comes from; see `multimodal.neighbour_text.smoothing.SOURCES`
MISSING, BOTH, NEIGHBOURS, OWN, ZERO = range(5)
# a mean of unit rows this short has cancelled out: its direction is rounding
LEAST_LENGTH = 1e-6


@numba.njit(cache=True, nogil=True)
def count_in_edges(ids, weights, starts):  # type: ignore[no-untyped-def]
    """Write into `starts` ``[N + 1]`` where the in-edges of each node begin."""
    starts[:] = 0
    for i in range(ids.shape[0]):
        for slot in range(ids.shape[1]):
            j = ids[i, slot]
            if j >= 0 and j != i and weights[i, slot] > 0:
                starts[j + 1] += 1
    for i in range(ids.shape[0]):
        starts[i + 1] += starts[i]


@numba.njit(cache=True, nogil=True)
def fill_in_edges(ids, weights, starts, sources, values):  # type: ignore[no-untyped-def]
    """Write source and weight of each in-edge, ascending by source within a node."""
    place = starts[:-1].copy()
    for i in range(ids.shape[0]):
        for slot in range(ids.shape[1]):
            j = ids[i, slot]
            if j >= 0 and j != i and weights[i, slot] > 0:
                sources[place[j]] = i
                values[place[j]] = weights[i, slot]
                place[j] += 1


@numba.njit(cache=True, nogil=True)
def merge_edges(ids, weights, starts, sources, values, indptr, neighbours, merged):  # type: ignore[no-untyped-def]
    """Rows of ``max(A, A^T)``, ascending, scaled to sum 1; only counted where `merged` is empty."""
    counting = len(merged) == 0
    own_ids = np.empty(ids.shape[1], np.int64)
    own_weights = np.empty(ids.shape[1], np.float32)
    indptr[0] = 0
    for i in range(ids.shape[0]):
        n_own = 0
        for slot in range(ids.shape[1]):
            j = ids[i, slot]
            if j >= 0 and j != i and weights[i, slot] > 0:
                # insertion keeps the short list sorted
                place = n_own
                while place > 0 and own_ids[place - 1] > j:
                    own_ids[place] = own_ids[place - 1]
                    own_weights[place] = own_weights[place - 1]
                    place -= 1
                own_ids[place] = j
                own_weights[place] = weights[i, slot]
                n_own += 1
        a, b, end, out = 0, starts[i], starts[i + 1], indptr[i]
        while a < n_own or b < end:
            j = own_ids[a] if a < n_own else sources[b]
            if b < end:
                j = min(j, np.int64(sources[b]))
            weight = np.float32(0)
            # an id that stands in a list twice is one neighbour
            while a < n_own and own_ids[a] == j:
                weight = max(weight, own_weights[a])
                a += 1
            while b < end and sources[b] == j:
                weight = max(weight, values[b])
                b += 1
            if not counting:
                neighbours[out] = j
                merged[out] = weight
            out += 1
        if counting:
            indptr[i + 1] = out
        else:
            total = 0.0
            for edge in range(indptr[i], out):
                total += merged[edge]
            for edge in range(indptr[i], out):
                merged[edge] = merged[edge] / total


@numba.njit(cache=True, nogil=True)
def add_neighbours(  # type: ignore[no-untyped-def]
    indptr, neighbours, weights, has_text, piece, first, halves, place, totals, mass
):
    """Add the weighted rows of neighbours that lie in one piece, ``first`` being its first row.

    `place` ``[n]`` is the next edge of each sample. Neighbours ascend, and so do pieces: whatever
    the cut, a sum is formed in the order of its edges. Rows without text are never read. `halves`
    is empty, or the float32 value of each of the 65536 bit patterns of a float16 piece.
    """
    last = first + len(piece)
    for i in range(len(place)):
        edge = place[i]
        while edge < indptr[i + 1] and neighbours[edge] < last:
            j = neighbours[edge]
            if has_text[j]:
                weight, row, total = np.float64(weights[edge]), piece[j - first], totals[i]
                mass[i] += weight
                if len(halves):
                    for d in range(len(row)):
                        total[d] += weight * halves[np.intp(row[d])]
                else:
                    for d in range(len(row)):
                        total[d] += weight * row[d]
            edge += 1
        place[i] = edge


@numba.njit(cache=True, nogil=True)
def finish_rows(  # type: ignore[no-untyped-def]
    totals, mass, own_texts, own_has_text, own_weight, lone_own, smoothed, source
):
    """Means from sums over neighbours, plus the own rows, scaled to length 1."""
    for i in range(len(totals)):
        total, reached = totals[i], mass[i] > 0
        if reached:
            total /= mass[i]
        mixed = own_has_text[i] and own_weight > 0
        if mixed:
            for d in range(len(total)):
                total[d] += own_weight * own_texts[i, d]
        length = _length(total)
        if reached and length > LEAST_LENGTH:
            source[i] = BOTH if mixed else NEIGHBOURS
        else:
            total[:] = 0.0
            if own_has_text[i] and (lone_own or (mixed and not reached)):
                total[:] = own_texts[i]
            length = _length(total)
            if length > LEAST_LENGTH:
                source[i] = OWN
            else:
                total[:] = 0.0
                length = 1.0
                source[i] = ZERO if own_has_text[i] or reached else MISSING
        for d in range(len(total)):
            smoothed[i, d] = total[d] / length


@numba.njit(cache=True, nogil=True)
def _length(row):  # type: ignore[no-untyped-def]
    total = 0.0
    for value in row:
        total += value * value
    return np.sqrt(total)
