"""Growing a subgraph row by row, inside the loops of a diffusion.

Arrays are passed one by one: bundles of arrays count references to each member at every call, which
costs ten times the work itself. No function makes room; a loop that finds too little returns to its
caller, which calls `with_room`.
"""

import math

import numba
import numpy as np

from graphnoise.local_subgraph import (
    EDGES,
    EXPANDED,
    NODES,
    NOT_EXPANDED,
    NOT_WEIGHED,
    SHIFT,
    UNKNOWN_LABEL,
)

# Fibonacci hashing: nodes with close numbers land far apart
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@numba.njit(cache=True, nogil=True)
def find_slot(table, node, shift, wanted):  # type: ignore[no-untyped-def]
    """Slot that holds node `wanted` of the whole graph, or the free one where it belongs."""
    if shift < 0:
        return wanted
    mask = len(table) - 1
    slot = np.int64((np.uint64(wanted) * MULTIPLIER) >> np.uint64(shift))
    while table[slot] >= 0 and node[table[slot]] != wanted:
        slot = (slot + 1) & mask
    return slot


@numba.njit(cache=True, nogil=True)
def touch(  # type: ignore[no-untyped-def]
    found, indptr, strength, labels, target,
    table, node, slot, degree, label, start, split, used,
):  # fmt: skip
    """Local number of node `found`, given now if it had none; there must be room."""
    at = find_slot(table, node, used[SHIFT], found)
    i = np.int64(table[at])
    if i < 0:
        i = used[NODES]
        used[NODES] = i + 1
        table[at] = i
        node[i], slot[i] = found, at
        start[i], split[i] = NOT_EXPANDED, NOT_WEIGHED
        if len(strength):
            degree[i] = strength[found]
        else:
            degree[i] = indptr[found + 1] - indptr[found]
        label[i] = UNKNOWN_LABEL
        if len(labels) and labels[found] >= 0:
            label[i] = labels[found] == target
    return i


@numba.njit(cache=True, nogil=True)
def copy_rows(  # type: ignore[no-untyped-def]
    nodes, n, always, spent, indptr, indices, weights, strength, labels, target,
    table, node, slot, degree, label, start, split, stop, neighbour, weight, used,
):  # fmt: skip
    """Copy the rows of those of `nodes` that lack one, and touch their neighbours.

    Args:
        nodes: Local numbers; those expanded already are passed over.
        n: How many of them.
        always: Local numbers below this one (seeds) are copied whatever the volume.
        spent: Volume expanded so far, the most allowed, and 1 once a node had to be left out.

    Returns:
        `n`, or the position of the first node for whose row there is too little room.
    """
    at, n_touched, shift = used[EDGES], used[NODES], used[SHIFT]
    mask, n_nodes, n_copied = len(table) - 1, len(indptr) - 1, 0
    reached = n
    for k in range(n):
        i = np.int64(nodes[k])
        if start[i] != NOT_EXPANDED:
            continue
        if i >= always and spent[0] + degree[i] > spent[1]:
            spent[2] = 1.0
            continue
        first, last = indptr[node[i]], indptr[node[i] + 1]
        wanted = n_touched + last - first
        if (
            at + last - first > len(neighbour)
            or (wanted > len(node) and len(node) < n_nodes)
            or (shift >= 0 and 2 * wanted > len(table))
        ):
            reached = k
            break
        spent[0] += degree[i]
        n_copied += 1
        start[i], stop[i] = at, at + last - first
        for e in range(first, last):
            found = np.int64(indices[e])
            place = found
            if shift >= 0:
                place = np.int64((np.uint64(found) * MULTIPLIER) >> np.uint64(shift))
                while table[place] >= 0 and node[table[place]] != found:
                    place = (place + 1) & mask
            j = np.int64(table[place])
            if j < 0:
                j = n_touched
                n_touched += 1
                table[place] = j
                node[j], slot[j] = found, place
                start[j], split[j] = NOT_EXPANDED, NOT_WEIGHED
                if len(strength):
                    degree[j] = strength[found]
                else:
                    degree[j] = indptr[found + 1] - indptr[found]
                label[j] = UNKNOWN_LABEL
                if len(labels) and labels[found] >= 0:
                    label[j] = labels[found] == target
            neighbour[at] = j
            at += 1
        if len(weight):
            for e in range(first, last):
                weight[at - last + e] = weights[e] if len(weights) else 1.0
    used[EDGES], used[NODES] = at, n_touched
    used[EXPANDED] += n_copied
    return reached


@numba.njit(cache=True, nogil=True)
def weigh_rows(  # type: ignore[no-untyped-def]
    nodes, n, epsilon, gamma, dense, row_start, column, value,
    node, label, start, split, stop, weighted_degree, neighbour, weight,
):  # fmt: skip
    """`weigh_row` for those of the first `n` of `nodes` that are expanded and not weighed."""
    for k in range(n):
        i = np.int64(nodes[k])
        if start[i] == NOT_EXPANDED or split[i] != NOT_WEIGHED:
            continue
        if len(weight) == 0 and (epsilon == 1.0 or label[i] < 0):
            # most rows of most queries; a call would cost more than this
            split[i] = stop[i]
            weighted_degree[i] = stop[i] - start[i]
            continue
        weigh_row(
            i, epsilon, gamma, dense, row_start, column, value,
            node, label, start, split, stop, weighted_degree, neighbour, weight,
        )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def weigh_row(  # type: ignore[no-untyped-def]
    i, epsilon, gamma, dense, row_start, column, value,
    node, label, start, split, stop, weighted_degree, neighbour, weight,
):  # fmt: skip
    """Order the row of `i` by label agreement, apply the factors and sum them up.

    The labels of `i` and of its neighbours must be in place.
    """
    first, last, own = start[i], stop[i], label[i]
    middle = last
    if own != UNKNOWN_LABEL and epsilon != 1.0:
        middle = first
        # swapped whether or not it belongs in front: labels are noise to a branch predictor
        for e in range(first, last):
            j = neighbour[e]
            other = label[j]
            neighbour[e], neighbour[middle] = neighbour[middle], j
            if len(weight):
                weight[e], weight[middle] = weight[middle], weight[e]
            middle += (other == own) | (other < 0)
    split[i] = middle
    if len(weight):
        weighted_degree[i] = _weigh_entries(
            i, first, middle, last, epsilon, gamma, dense, row_start, column, value,
            node, neighbour, weight,
        )  # fmt: skip
    else:
        weighted_degree[i] = (middle - first) + epsilon * (last - middle)


@numba.njit(cache=True, nogil=True)
def _weigh_entries(  # type: ignore[no-untyped-def]
    i, first, middle, last, epsilon, gamma, dense, row_start, column, value,
    node, neighbour, weight,
):  # fmt: skip
    total = 0.0
    for e in range(first, last):
        if gamma >= 0.0:
            far = squared_distance(
                node[i], node[neighbour[e]], dense, row_start, column, value
            )  # fmt: skip
            weight[e] *= math.exp(-gamma * far)
        if e >= middle:
            weight[e] *= epsilon
        total += weight[e]
    return total


@numba.njit(cache=True, nogil=True)
def squared_distance(u, v, dense, row_start, column, value):  # type: ignore[no-untyped-def]
    """``|X_u - X_v|^2`` of two nodes of the whole graph, from dense or CSR features."""
    total = 0.0
    if dense.shape[0]:
        for d in range(dense.shape[1]):
            difference = np.float64(dense[u, d]) - dense[v, d]
            total += difference * difference
        return total
    a, a_end = row_start[u], row_start[u + 1]
    b, b_end = row_start[v], row_start[v + 1]
    while a < a_end or b < b_end:
        difference = 0.0
        take_a = a < a_end and (b == b_end or column[a] <= column[b])
        take_b = b < b_end and (a == a_end or column[b] <= column[a])
        if take_a:
            difference += value[a]
            a += 1
        if take_b:
            difference -= value[b]
            b += 1
        total += difference * difference
    return total


@numba.njit(cache=True, nogil=True)
def clear(table, slot, used):  # type: ignore[no-untyped-def]
    """Forget everything, at the cost of what was reached; the room stays."""
    for i in range(used[NODES]):
        table[slot[i]] = -1
    used[NODES] = used[EDGES] = used[EXPANDED] = 0


@numba.njit(cache=True, nogil=True)
def rehash(table, node, slot, used):  # type: ignore[no-untyped-def]
    """Enter every touched node into an empty table; ``used`` holds the table's own shift."""
    for i in range(used[NODES]):
        at = find_slot(table, node, used[SHIFT], node[i])
        table[at] = i
        slot[i] = at
