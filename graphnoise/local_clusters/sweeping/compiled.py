"""One pass over the rows of the nodes in an order."""

import numba
import numpy as np

from graphnoise.local_subgraph import NODES, NOT_EXPANDED, SHIFT
from graphnoise.local_subgraph.compiled import find_slot


@numba.njit(cache=True, nogil=True)
def grow_prefixes(  # type: ignore[no-untyped-def]
    order, indptr, indices, weights, table, node, degree, start, stop, neighbour, used, volume, cut,
):  # fmt: skip
    """Fill `volume` and `cut` ``[k]`` for each prefix of the local numbers `order` ``[k]``.

    Rows come from the subgraph where they are there and carry no weights of the graph's own; the
    graph's own rows serve otherwise, because those of the subgraph hold further factors.
    """
    inside = np.zeros(used[NODES], np.uint8)
    total, boundary = 0.0, 0.0
    for s in range(len(order)):
        i = order[s]
        shared = 0.0
        if len(weights) == 0 and start[i] != NOT_EXPANDED:
            count = 0
            for e in range(start[i], stop[i]):
                count += inside[neighbour[e]]
            shared = np.float64(count)
        else:
            for e in range(indptr[node[i]], indptr[node[i] + 1]):
                j = table[find_slot(table, node, used[SHIFT], np.int64(indices[e]))]
                if j >= 0 and inside[j] == 1:
                    shared += weights[e] if len(weights) else 1.0
        inside[i] = 1
        total += degree[i]
        boundary += degree[i] - 2.0 * shared
        volume[s], cut[s] = total, boundary
