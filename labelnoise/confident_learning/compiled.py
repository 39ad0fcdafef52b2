"""The loops over all probabilities: each value is read once, while its row is in cache."""

import numba
import numpy as np

NO_CLASS = -1
FEW = 16
BLOCK = 64
ROWS_AT_A_TIME = 8


@numba.njit(cache=True, nogil=True)
def scan_dense(labels, probs, cuts, confident, agrees):  # type: ignore[no-untyped-def]
    """Confident class and argmax agreement of each row of ``[N, K]``.

    Writes `confident` (the one class at or over its cut; the argmax if there are several; -1 if
    none) and `agrees` (no class is likelier than the given one). Returns the first row
    that holds a value outside 0..1 or NaN, or -1.
    """
    n_samples, n_classes = probs.shape
    first_bad = -1
    for i in range(n_samples):
        row = probs[i]
        own = row[labels[i]]
        # three integer counts without a branch: the compiler turns them into vector compares,
        # which it will not do for an argmax
        valid = over = above = 0
        for k in range(n_classes):
            value = row[k]
            valid += (value >= 0) & (value <= 1)
            over += value >= cuts[k]
            above += value > own
        if valid != n_classes and first_bad < 0:
            first_bad = i
        agrees[i] = above == 0
        if over == 0:
            confident[i] = NO_CLASS
        elif over == 1:
            for k in range(n_classes):
                if row[k] >= cuts[k]:
                    confident[i] = k
                    break
        else:
            confident[i] = np.argmax(row)
    return first_bad


@numba.njit(cache=True, nogil=True)
def scan_top(labels, index, value, given, cuts, confident, agrees):  # type: ignore[no-untyped-def]
    """The same from the top m of each row; the given label counts although it is not among them."""
    n_samples, m = index.shape
    for i in range(n_samples):
        label = labels[i]
        best, best_value, over, only = label, given[i], 0, NO_CLASS
        if given[i] >= cuts[label]:
            over, only = 1, label
        for j in range(m):
            k, p = index[i, j], value[i, j]
            if p > best_value or (p == best_value and k < best):
                best, best_value = k, p
            if k != label and p >= cuts[k]:
                over += 1
                only = k
        agrees[i] = given[i] >= best_value
        confident[i] = only if over < 2 else best


@numba.njit(cache=True, nogil=True)
def _nth_largest(values, n):  # type: ignore[no-untyped-def]
    if n > FEW:
        return np.partition(values, len(values) - n)[len(values) - n]
    # most cells want one or two rows: one compare per value with the least of the best so far
    best = np.full(n, -np.inf, values.dtype)
    for begin in range(0, len(values), BLOCK):
        block = values[begin : begin + BLOCK]
        least, above = best[0], 0
        # counting is turned into vector compares; most blocks hold nothing new
        for v in range(len(block)):
            above += block[v] > least
        if above:
            for v in range(len(block)):
                _insert(best, block[v])
    return best[0]


@numba.njit(cache=True, nogil=True)
def _insert(best, value):  # type: ignore[no-untyped-def]
    """Keep `value` among the ascending `best` if it is larger than the least of them."""
    if value > best[0]:
        place = 0
        while place + 1 < len(best) and best[place + 1] < value:
            best[place] = best[place + 1]
            place += 1
        best[place] = value


@numba.njit(cache=True, nogil=True)
def flag_cells(probs, own, order, starts, cells, counts, flagged, tied):  # type: ignore[no-untyped-def]
    """Flag, per cell (a, b), the `counts` rows of label a with the largest ``p_b - p_a``.

    Rows of label a are ``order[starts[a]:starts[a + 1]]``, `cells` ``[C, 2]`` the pairs (a, b).
    Where several rows tie for the last place, the cell is left alone and marked in `tied` ``[C]``.
    """
    first = 0
    while first < len(cells):
        label = cells[first, 0]
        last = first
        while last < len(cells) and cells[last, 0] == label:
            last += 1
        rows = order[starts[label] : starts[label + 1]]
        margins = _margins(probs, own, rows, cells[first:last, 1])
        for c in range(first, last):
            margin = margins[c - first]
            cut = _nth_largest(margin, min(counts[c], len(rows)))
            reached = 0
            for r in range(len(rows)):
                reached += margin[r] >= cut
            tied[c] = reached > counts[c]
            if not tied[c]:
                for r in range(len(rows)):
                    if margin[r] >= cut:
                        flagged[rows[r]] = True
        first = last


@numba.njit(cache=True, nogil=True)
def _margins(probs, own, rows, others):  # type: ignore[no-untyped-def]
    """``p_b - p_a`` ``[C, R]``: a few rows at a time, so that they stay in the nearest cache."""
    margins = np.empty((len(others), len(rows)), probs.dtype)
    for begin in range(0, len(rows), ROWS_AT_A_TIME):
        some = rows[begin : begin + ROWS_AT_A_TIME]
        for c in range(len(others)):
            other, margin = others[c], margins[c, begin : begin + ROWS_AT_A_TIME]
            for r in range(len(some)):
                margin[r] = probs[some[r], other] - own[some[r]]
    return margins
