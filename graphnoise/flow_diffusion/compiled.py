"""The loops of flow diffusion over the subgraph a query has reached.

Every loop works in rounds: the rows that a round needs are copied in one go, labels that are asked
from a function are asked in one go, and only then is anything spent. A round of pushes in the order
in which nodes joined it is the same as a first-in-first-out queue.
"""

import numba
import numpy as np

from graphnoise.local_subgraph import EDGES as SUBGRAPH_EDGES
from graphnoise.local_subgraph import EXPANDED, NODES, NOT_EXPANDED, NOT_WEIGHED
from graphnoise.local_subgraph.compiled import copy_rows, touch, weigh_rows

# why a loop came back
DONE, NEED_ROOM, NEED_LABELS, SLICE_USED, VOLUME_USED, CLOSED = 0, 1, 2, 3, 4, 5
# places in `counts`
LISTED, POSITION, JOINED, TURN, VISITS, LABELLED, SEEDS, BLOCKED, CLOSED_AT = range(9)
ALLOWED, PATIENCE, CHECKED_AT, SETTLED, N_COUNTS = 9, 10, 11, 12, 13
# places in `spent`
VOLUME, MAX_VOLUME, LEFT_OUT, MASS = range(4)


@numba.njit(cache=True, nogil=True)
def touch_seeds(seeds, graph, weighting, sub, flow):  # type: ignore[no-untyped-def]
    """Give the seeds the local numbers 0 .. S-1, without mass."""
    for s in range(len(seeds)):
        touch(
            seeds[s], graph.indptr, graph.strength, weighting.labels, weighting.target,
            sub.table, sub.node, sub.slot, sub.degree, sub.label, sub.start, sub.split, sub.used,
        )  # fmt: skip
        flow.x[s], flow.mass[s], flow.listed[s], flow.source[s] = 0.0, 0.0, 0, 0.0


@numba.njit(cache=True, nogil=True)
def prepare(nodes, n, ask, graph, weighting, sub, flow):  # type: ignore[no-untyped-def]
    """Expand and weigh the first `n` of `nodes`; safe to repeat after room or labels were made."""
    used, counts, x, mass, listed = sub.used, flow.counts, flow.x, flow.mass, flow.listed
    before, entries = used[NODES], used[SUBGRAPH_EDGES]
    reached = copy_rows(
        nodes, n, counts[SEEDS], flow.spent, graph.indptr, graph.indices, graph.weights,
        graph.strength, weighting.labels, weighting.target, sub.table, sub.node, sub.slot,
        sub.degree, sub.label, sub.start, sub.split, sub.stop, sub.neighbour, sub.weight, used,
    )  # fmt: skip
    for j in range(before, used[NODES]):
        x[j], mass[j], listed[j] = 0.0, 0.0, 0
    counts[VISITS] += used[SUBGRAPH_EDGES] - entries
    if reached < n:
        counts[BLOCKED] = nodes[reached]
        return NEED_ROOM
    if ask and counts[LABELLED] < used[NODES]:
        return NEED_LABELS
    weigh_rows(
        nodes, n, weighting.epsilon, weighting.gamma, weighting.dense, weighting.row_start,
        weighting.column, weighting.value, sub.node, sub.label, sub.start, sub.split, sub.stop,
        sub.weighted_degree, sub.neighbour, sub.weight,
    )  # fmt: skip
    return DONE


@numba.njit(cache=True, nogil=True)
def push_rounds(  # type: ignore[no-untyped-def]
    omega, tolerance, pull_back, ask, last_visit, graph, weighting, sub, flow
):
    """Push every node that holds more than its capacity, round after round, until none does.

    Args:
        omega: Over-relaxation; 1 leaves a pushed node exactly full.
        tolerance: A node is pushed above ``T_i (1 + tolerance)``.
        pull_back: Also relax nodes of positive x below ``T_i (1 - tolerance)``; needed unless
            omega is 1 and x was never above the answer.
        ask: Whether labels come from a function.
        last_visit: Come back once so many entries were visited.

    Returns:
        Why it came back.
    """
    counts, spent, used = flow.counts, flow.spent, sub.used
    low = 1.0 - tolerance if pull_back else -1.0
    while True:
        current, following = flow.first, flow.second
        if counts[TURN]:
            current, following = flow.second, flow.first
        n, expanded = counts[LISTED], used[EXPANDED]
        if counts[POSITION] == 0:
            if n == 0:
                return CLOSED if is_closed(sub, flow, weighting.epsilon) else DONE
            status = prepare(current, n, ask, graph, weighting, sub, flow)
            if status != DONE:
                return status
        push_round(
            current, following, n, omega, 1.0 + tolerance, low, weighting.epsilon, last_visit,
            flow.x, flow.mass, flow.listed, sub.degree, sub.weighted_degree, sub.start, sub.split,
            sub.stop, sub.neighbour, sub.weight, counts,
        )  # fmt: skip
        if counts[POSITION] < n:
            return SLICE_USED
        counts[TURN] = 1 - counts[TURN]
        counts[LISTED], counts[JOINED], counts[POSITION] = counts[JOINED], 0, 0
        if spent[LEFT_OUT] > 0.0:
            return VOLUME_USED
        if used[EXPANDED] == expanded and is_closed(sub, flow, weighting.epsilon):
            return CLOSED


@numba.njit(cache=True, nogil=True)
def push_round(  # type: ignore[no-untyped-def]
    current, following, n, omega, high, low, epsilon, last_visit,
    x, mass, listed, degree, weighted_degree, start, split, stop, neighbour, weight, counts,
):  # fmt: skip
    """Relax the listed nodes in order; those they overfill or underfill join the next round."""
    joined, visits, position = counts[JOINED], counts[VISITS], counts[POSITION]
    has_weights = len(weight) > 0
    while position < n and visits < last_visit:
        i = np.int64(current[position])
        position += 1
        listed[i] = 0
        whole, full = weighted_degree[i], degree[i]
        if start[i] == NOT_EXPANDED or whole <= 0.0:
            continue
        if mass[i] <= full * high and (x[i] <= 0.0 or mass[i] >= full * low):
            continue
        step = omega * (mass[i] - full) / whole
        if step < -x[i]:
            step = -x[i]
        x[i] += step
        mass[i] -= whole * step
        visits += stop[i] - start[i]
        share, first, last = step, start[i], split[i]
        for _ in range(2):
            for e in range(first, last):
                if has_weights:
                    share = weight[e] * step
                j = neighbour[e]
                now = mass[j] + share
                mass[j] = now
                # written whether or not it joins, which costs less than a wrong guess
                following[joined] = j
                if step > 0.0:
                    joins = (listed[j] == 0) & (now > degree[j] * high)
                else:
                    joins = (listed[j] == 0) & (x[j] > 0.0) & (now < degree[j] * low)
                listed[j] |= joins
                joined += joins
            share, first, last = epsilon * step, last, stop[i]
        # an over-relaxed node overshoots its own capacity, up or down
        over = mass[i] > full * high
        if listed[i] == 0 and (over or (x[i] > 0.0 and mass[i] < full * low)):
            listed[i] = 1
            following[joined] = i
            joined += 1
    counts[JOINED], counts[VISITS], counts[POSITION] = joined, visits, position


@numba.njit(cache=True, nogil=True)
def is_closed(sub, flow, epsilon):  # type: ignore[no-untyped-def]
    """Whether mass can go nowhere new although the expanded nodes may not hold it all."""
    counts, used = flow.counts, sub.used
    if flow.spent[VOLUME] >= flow.spent[MASS] or counts[CLOSED_AT] == used[EXPANDED]:
        return False
    if used[EXPANDED] == 0:
        return False
    start, split, stop, neighbour, weight = (
        sub.start,
        sub.split,
        sub.stop,
        sub.neighbour,
        sub.weight,
    )
    for i in range(used[NODES] - 1, -1, -1):
        if start[i] == NOT_EXPANDED:
            continue
        if split[i] == NOT_WEIGHED:
            return False
        last = stop[i] if epsilon > 0.0 else split[i]
        for e in range(start[i], last):
            if start[neighbour[e]] == NOT_EXPANDED and (len(weight) == 0 or weight[e] > 0.0):
                counts[CLOSED_AT] = used[EXPANDED]
                return False
    return True


@numba.njit(cache=True, nogil=True)
def masses(x, source, n_seeds, mass, epsilon, sub):  # type: ignore[no-untyped-def]
    """Write the mass ``Delta - L x`` of every touched node; returns the entries visited."""
    used, start, split, stop = sub.used, sub.start, sub.split, sub.stop
    neighbour, weight, weighted_degree = sub.neighbour, sub.weight, sub.weighted_degree
    has_weights, visits = len(weight) > 0, 0
    for i in range(used[NODES]):
        mass[i] = source[i] if i < n_seeds else 0.0
    for i in range(used[NODES]):
        value = x[i]
        if value == 0.0:
            continue
        mass[i] -= weighted_degree[i] * value
        visits += stop[i] - start[i]
        if has_weights:
            for e in range(start[i], stop[i]):
                mass[neighbour[e]] += weight[e] * value
            continue
        for e in range(start[i], split[i]):
            mass[neighbour[e]] += value
        value *= epsilon
        for e in range(split[i], stop[i]):
            mass[neighbour[e]] += value
    return visits


@numba.njit(cache=True, nogil=True)
def conditions(x, mass, degree, n):  # type: ignore[no-untyped-def]
    """Largest excess, slack and negative x, and the gap ``sum x_i (T_i - m_i)``."""
    excess, slack, negative, gap = 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        over = mass[i] - degree[i]
        excess = max(excess, over / degree[i])
        negative = max(negative, -x[i])
        if x[i] > 0.0:
            slack = max(slack, abs(over) / degree[i])
        gap -= x[i] * over
    return excess, slack, negative, gap


@numba.njit(cache=True, nogil=True)
def list_unsettled(tolerance, sub, flow):  # type: ignore[no-untyped-def]
    """Start a new round with every node that breaks its condition."""
    counts, x, mass, listed, degree = flow.counts, flow.x, flow.mass, flow.listed, sub.degree
    current = flow.second if counts[TURN] else flow.first
    n = 0
    for i in range(sub.used[NODES]):
        over = mass[i] - degree[i]
        far = tolerance * degree[i]
        listed[i] = over > far or (x[i] > 0.0 and over < -far)
        if listed[i]:
            current[n] = i
            n += 1
    counts[LISTED], counts[POSITION], counts[JOINED] = n, 0, 0
    return n


@numba.njit(cache=True, nogil=True)
def support_cut(x, sub, epsilon):  # type: ignore[no-untyped-def]
    """Volume, weighted volume and weighted cut of the nodes where x is positive."""
    start, split, stop, neighbour, weight = (
        sub.start,
        sub.split,
        sub.stop,
        sub.neighbour,
        sub.weight,
    )
    volume, weighted_volume, cut = 0.0, 0.0, 0.0
    for i in range(len(x)):
        if x[i] <= 0.0:
            continue
        volume += sub.degree[i]
        weighted_volume += sub.weighted_degree[i]
        for e in range(start[i], stop[i]):
            if x[neighbour[e]] <= 0.0:
                if len(weight):
                    cut += weight[e]
                else:
                    cut += 1.0 if e < split[i] else epsilon
    return volume, weighted_volume, cut
