"""The running best of each query, in one pass over a tile of similarities."""

import numba


@numba.njit(cache=True, nogil=True)
def keep_best(found, queries, numbers, similarity, ids):  # type: ignore[no-untyped-def]
    """Put what is better into the lists of the queries: higher first, then the lower row.

    Args:
        found: Similarities ``[q, w]`` of some queries to some rows.
        queries: Place of each of these queries in the lists ``[q]``.
        numbers: Row of each column ``[w]``.
        similarity: The lists ``[n, c]``, descending; changed.
        ids: Their rows; changed.
    """
    count = ids.shape[1]
    for line in range(len(queries)):
        values, kept = similarity[queries[line]], ids[queries[line]]
        for column in range(len(numbers)):
            value, number = found[line, column], numbers[column]
            if value < values[count - 1]:
                continue
            if value == values[count - 1] and 0 <= kept[count - 1] < number:
                continue
            slot = count - 1
            while slot > 0 and (
                values[slot - 1] < value or (values[slot - 1] == value and kept[slot - 1] > number)
            ):
                values[slot], kept[slot] = values[slot - 1], kept[slot - 1]
                slot -= 1
            values[slot], kept[slot] = value, number
