"""One pass over the rows of a subgraph."""

import numba

from graphnoise.local_subgraph import NOT_EXPANDED


@numba.njit(cache=True, nogil=True)
def average_neighbours(  # type: ignore[no-untyped-def]
    value, start, split, stop, neighbour, weight, epsilon, total, known,
):  # fmt: skip
    """Sum of reached neighbours' values, `total` ``[n]``, and of edge weights, `known` ``[n]``.

    Each edge with an expanded end serves both of its ends once.
    """
    total[:] = 0.0
    known[:] = 0.0
    for i in range(len(start)):
        if start[i] == NOT_EXPANDED:
            continue
        for e in range(start[i], stop[i]):
            j = neighbour[e]
            own = 1.0
            if len(weight):
                own = weight[e]
                if e >= split[i]:
                    own = own / epsilon if epsilon > 0.0 else 0.0
            total[i] += own * value[j]
            known[i] += own
            # the row of an expanded neighbour holds this edge too
            if start[j] == NOT_EXPANDED:
                total[j] += own * value[i]
                known[j] += own
