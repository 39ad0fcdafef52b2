"""The push of approximate personalised PageRank, and its residual from scratch.

The push works in rounds: the rows a round needs are copied in one go, labels that a function must
give are asked in one go, and only then is anything spent. Pushing each round's nodes in the order
in which they joined it is the same as a first-in-first-out queue.
"""

import numba
import numpy as np

from graphnoise.local_subgraph import NODES, NOT_EXPANDED
from graphnoise.local_subgraph.compiled import copy_rows, touch, weigh_rows

# what `push_rounds` returns
DONE, NEEDS_ROOM, NEEDS_LABELS, SLICE_USED, VOLUME_USED = 0, 1, 2, 3, 4
# places in `counts`: nodes in the round, how many are pushed already, nodes in the next round,
# which of the two lists is the round's, edge visits, labelled nodes, node without room, seeds
LISTED, POSITION, JOINED, TURN, VISITS, LABELLED, BLOCKED, SEEDS = range(8)
# places in `spent`
VOLUME, MAX_VOLUME, LEFT_OUT = range(3)


@numba.njit(cache=True, nogil=True)
def begin(  # type: ignore[no-untyped-def]
    seeds, epsilon, indptr, strength, labels, target,
    table, node, slot, degree, label, start, split, used, settled, residual, bar, first, counts,
):  # fmt: skip
    """Touch the seeds, spread the mass 1 over them by degree and list them."""
    total = 0.0
    for k in range(len(seeds)):
        i = touch(
            seeds[k], indptr, strength, labels, target,
            table, node, slot, degree, label, start, split, used,
        )  # fmt: skip
        total += degree[i]
    for i in range(len(seeds)):
        settled[i], residual[i], bar[i] = 0.0, degree[i] / total, epsilon * degree[i]
        if residual[i] >= bar[i]:
            first[counts[LISTED]] = i
            counts[LISTED] += 1
    counts[SEEDS] = len(seeds)


@numba.njit(cache=True, nogil=True)
def push_rounds(  # type: ignore[no-untyped-def]
    teleport, epsilon, label_epsilon, asks, last_visit,
    indptr, indices, weights, strength, labels, target, dense, row_start, column, value,
    table, node, slot, degree, label, start, split, stop, weighted_degree, neighbour, weight, used,
    settled, residual, bar, first, second, counts, spent,
):  # fmt: skip
    """Push every node at or above its bar, round after round, until there is none.

    Args:
        teleport: Share of a node's residual that settles there.
        epsilon: Bar per degree.
        label_epsilon: Factor of entries between differing labels.
        asks: Whether labels come from a function.
        last_visit: Come back once so many entries were visited.

    Returns:
        Why it came back; it can be entered again.
    """
    while True:
        current, following = first, second
        if counts[TURN]:
            current, following = second, first
        n = counts[LISTED]
        if n == 0:
            return DONE
        if counts[POSITION] == 0:
            touched = used[NODES]
            copied = copy_rows(
                current, n, counts[SEEDS], spent, indptr, indices, weights, strength, labels,
                target, table, node, slot, degree, label, start, split, stop, neighbour, weight,
                used,
            )  # fmt: skip
            for j in range(touched, used[NODES]):
                settled[j], residual[j], bar[j] = 0.0, 0.0, epsilon * degree[j]
            if copied < n:
                counts[BLOCKED] = current[copied]
                return NEEDS_ROOM
            if asks and counts[LABELLED] < used[NODES]:
                return NEEDS_LABELS
            weigh_rows(
                current, n, label_epsilon, -1.0, dense, row_start, column, value, node, label,
                start, split, stop, weighted_degree, neighbour, weight,
            )  # fmt: skip
        push_round(
            current, following, n, teleport, label_epsilon, last_visit, settled, residual, bar,
            start, split, stop, weighted_degree, neighbour, weight, counts,
        )  # fmt: skip
        if counts[POSITION] < n:
            return SLICE_USED
        counts[TURN] = 1 - counts[TURN]
        counts[LISTED], counts[JOINED], counts[POSITION] = counts[JOINED], 0, 0
        if spent[LEFT_OUT] > 0.0:
            return VOLUME_USED


@numba.njit(cache=True, nogil=True)
def push_round(  # type: ignore[no-untyped-def]
    current, following, n, teleport, label_epsilon, last_visit, settled, residual, bar,
    start, split, stop, weighted_degree, neighbour, weight, counts,
):  # fmt: skip
    """Push the listed nodes in order; those that they lift to their bar join the next round.

    A node joins when its residual rises from below its bar to or above it, so none joins twice. Its
    place in the list is always written and kept only then: nothing for the processor to mispredict.
    """
    joined, visits, position = counts[JOINED], counts[VISITS], counts[POSITION]
    has_weights = len(weight) > 0
    while position < n and visits < last_visit:
        i = np.int64(current[position])
        position += 1
        if start[i] == NOT_EXPANDED:
            continue
        held = residual[i]
        residual[i] = 0.0
        whole = weighted_degree[i]
        if whole <= 0.0:
            # the walk can go nowhere
            settled[i] += held
            continue
        settled[i] += teleport * held
        visits += stop[i] - start[i]
        share = (1.0 - teleport) * held / whole
        if has_weights:
            for e in range(start[i], stop[i]):
                j = neighbour[e]
                before = residual[j]
                after = before + share * weight[e]
                residual[j] = after
                following[joined] = j
                joined += (before < bar[j]) & (after >= bar[j])
            continue
        for e in range(start[i], split[i]):
            j = neighbour[e]
            before = residual[j]
            after = before + share
            residual[j] = after
            following[joined] = j
            joined += (before < bar[j]) & (after >= bar[j])
        share *= label_epsilon
        for e in range(split[i], stop[i]):
            j = neighbour[e]
            before = residual[j]
            after = before + share
            residual[j] = after
            following[joined] = j
            joined += (before < bar[j]) & (after >= bar[j])
    counts[JOINED], counts[VISITS], counts[POSITION] = joined, visits, position


@numba.njit(cache=True, nogil=True)
def measure_residual(  # type: ignore[no-untyped-def]
    n_seeds, teleport, label_epsilon, settled, residual,
    degree, start, split, stop, weighted_degree, neighbour, weight, used,
):  # fmt: skip
    """Write ``s - (p - (1 - teleport) P p) / teleport`` of the touched nodes, from p alone.

    Returns:
        Its largest size per degree.
    """
    total = 0.0
    for i in range(n_seeds):
        total += degree[i]
    for i in range(used[NODES]):
        residual[i] = (degree[i] / total if i < n_seeds else 0.0) - settled[i] / teleport
    onward = (1.0 - teleport) / teleport
    for i in range(used[NODES]):
        if settled[i] == 0.0:
            continue
        whole = weighted_degree[i]
        if whole <= 0.0:
            residual[i] += onward * settled[i]
            continue
        share = onward * settled[i] / whole
        if len(weight):
            for e in range(start[i], stop[i]):
                residual[neighbour[e]] += share * weight[e]
            continue
        for e in range(start[i], split[i]):
            residual[neighbour[e]] += share
        share *= label_epsilon
        for e in range(split[i], stop[i]):
            residual[neighbour[e]] += share
    largest = 0.0
    for i in range(used[NODES]):
        largest = max(largest, abs(residual[i]) / degree[i])
    return largest
