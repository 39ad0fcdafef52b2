"""The inner loops of building a store. A key is the row in its upper 32 bits, the column below."""

import numba
import numpy as np

COLUMN_BITS = np.uint64(32)


@numba.njit(cache=True, nogil=True)
def scatter(source, target, weight, shift, counts, keys, values):  # type: ignore[no-untyped-def]
    """Both directions of each edge as keys, ordered by ``row >> shift``; returns the dropped ones.

    Args:
        source, target: Positions ``[n]`` int64.
        weight: ``[n]`` float64, or ``[0]`` where all are 1.
        shift: Rows that share ``row >> shift`` share a range.
        counts: ``[ranges]`` int64; set to the keys of each.
        keys: ``[2 n]`` uint64; within a range in the order of the edges.
        values: The weights beside them, or ``[0]``.

    Returns:
        Self loops, and edges of weight 0.
    """
    loops, zeros = 0, 0
    counts[:] = 0
    weighted = len(values) > 0
    for i in range(len(source)):
        if source[i] == target[i]:
            loops += 1
        elif weighted and weight[i] == 0:
            zeros += 1
        else:
            counts[source[i] >> shift] += 1
            counts[target[i] >> shift] += 1
    place = np.zeros(len(counts), np.int64)
    for k in range(1, len(counts)):
        place[k] = place[k - 1] + counts[k - 1]
    for i in range(len(source)):
        if source[i] == target[i] or (weighted and weight[i] == 0):
            continue
        u, v = np.uint64(source[i]), np.uint64(target[i])
        at = place[source[i] >> shift]
        place[source[i] >> shift] = at + 1
        keys[at] = (u << COLUMN_BITS) | v
        to = place[target[i] >> shift]
        place[target[i] >> shift] = to + 1
        keys[to] = (v << COLUMN_BITS) | u
        if weighted:
            values[at] = weight[i]
            values[to] = weight[i]
    return loops, zeros


@numba.njit(cache=True, nogil=True)
def keep_distinct(keys):  # type: ignore[no-untyped-def]
    """Move the distinct ones of sorted keys to the front; returns how many there are."""
    n = 0
    for i in range(len(keys)):
        if n == 0 or keys[i] != keys[n - 1]:
            keys[n] = keys[i]
            n += 1
    return n


@numba.njit(cache=True, nogil=True)
def merge_equal(keys, values, add):  # type: ignore[no-untyped-def]
    """As `keep_distinct`; the values of equal keys are added up in their order, or the largest."""
    n = 0
    for i in range(len(keys)):
        if n == 0 or keys[i] != keys[n - 1]:
            keys[n] = keys[i]
            values[n] = values[i]
            n += 1
        elif add:
            values[n - 1] += values[i]
        else:
            values[n - 1] = max(values[n - 1], values[i])
    return n


@numba.njit(cache=True, nogil=True)
def row_starts(keys, at, first_row, before, out):  # type: ignore[no-untyped-def]
    """Where rows ``first_row ..`` begin in the whole graph; returns where to go on from.

    Args:
        keys: Sorted and distinct.
        at: Keys before it belong to rows below `first_row`.
        first_row: Row of ``out[0]``.
        before: Entries of the graph before ``keys[0]``.
        out: ``[rows]`` int64.
    """
    for j in range(len(out)):
        bound = np.uint64(first_row + j) << COLUMN_BITS
        while at < len(keys) and keys[at] < bound:
            at += 1
        out[j] = before + at
    return at


@numba.njit(cache=True, nogil=True)
def row_sums(keys, values, at, first_row, carry, out):  # type: ignore[no-untyped-def]
    """Sum of the values of each row ``first_row ..``, in order; returns where to go on from.

    Args:
        keys, values: Sorted and distinct keys and what belongs to them.
        at: First key of `first_row` or above.
        first_row: Row of ``out[0]``.
        carry: What earlier keys of `first_row` sum to.
        out: ``[rows]`` float64.
    """
    for j in range(len(out)):
        row = np.uint64(first_row + j)
        total = carry if j == 0 else 0.0
        while at < len(keys) and keys[at] >> COLUMN_BITS == row:
            total += values[at]
            at += 1
        out[j] = total
    return at


@numba.njit(cache=True, nogil=True)
def find_texts(offsets, text, wanted_offsets, wanted, found):  # type: ignore[no-untyped-def]
    """Rank of each wanted text in a sorted table of texts, by bytes; -1 where it is not there."""
    for i in range(len(found)):
        first, size = wanted_offsets[i], wanted_offsets[i + 1] - wanted_offsets[i]
        low, high = 0, len(offsets) - 1
        found[i] = -1
        while low < high:
            middle = (low + high) // 2
            start, length = offsets[middle], offsets[middle + 1] - offsets[middle]
            k, shorter = 0, min(size, length)
            while k < shorter and text[start + k] == wanted[first + k]:
                k += 1
            if k == size and k == length:
                found[i] = middle
                break
            if k == length or (k < size and text[start + k] < wanted[first + k]):
                low = middle + 1
            else:
                high = middle
