"""Pushes find the support, conjugate gradients settle it, until every condition holds.

Repeated relaxation spreads mass over long distances slowly. Once a set of nodes is known to hold
mass, what remains on it is a linear system ``L_AA x_A = (Delta - T)_A``, which conjugate gradients
solve in the square root of the steps. The system only proposes an x: whether it is kept, and when
the run ends, is decided by the objective and by the optimality conditions.
"""

import numba
import numpy as np

from graphnoise.flow_diffusion.compiled import (
    ALLOWED,
    CLOSED,
    DONE,
    PATIENCE,
    SEEDS,
    SETTLED,
    SLICE_USED,
    VISITS,
    VOLUME_USED,
    is_closed,
    list_unsettled,
    masses,
    push_rounds,
)
from graphnoise.local_subgraph import EDGES as SUBGRAPH_EDGES
from graphnoise.local_subgraph import EXPANDED, NODES, NOT_EXPANDED

# between two systems, pushes visit this share of all entries: enough to bring in whole layers of
# new nodes, little enough to leave the spreading to the systems (0.15 to 1 differ by a tenth)
PUSHED_SHARE = 0.4
# while the set still grows a system need not be solved far: it is left once the square of its
# residual norm has fallen to this share of what it was, times the share of nodes that are new
GROWTH_SHARE, SQUARED_RESIDUAL_LEFT = 0.2, 0.1
# else once all but one in 16 nodes are within half the tolerance; pushes reach single nodes cheaper
TOLERANCE_SHARE, FAR_SHIFT = 0.5, 4
# steps of one system, and entries it may visit, so that the clock is looked at
MOST_STEPS, MOST_VISITS = 60, 5_000_000


@numba.njit(cache=True, nogil=True)
def settle(  # type: ignore[no-untyped-def]
    tolerance, ask, last_visit, limit, graph, weighting, sub, flow, work
):
    """Alternate pushes and systems until no node breaks its condition.

    Args:
        tolerance: Of the conditions, relative to the capacity.
        ask: Whether labels come from a function.
        last_visit: Come back after the phase in which so many entries were visited.
        limit: Start no step beyond so many visits.
        graph, weighting, sub, flow, work: The arrays.

    Returns:
        Why it came back; see `graphnoise.flow_diffusion.compiled`.
    """
    counts = flow.counts
    while True:
        # set once per phase: a return for room or labels in between must change nothing
        if counts[ALLOWED] == 0:
            share = PUSHED_SHARE * (1 << counts[PATIENCE])
            counts[ALLOWED] = counts[VISITS] + np.int64(share * sub.used[SUBGRAPH_EDGES]) + 1000
        stop_at = min(counts[ALLOWED], limit)
        status = push_rounds(1.0, tolerance, True, ask, stop_at, graph, weighting, sub, flow)
        if status == DONE or (status == SLICE_USED and counts[VISITS] >= limit):
            return status
        if status != SLICE_USED and status != VOLUME_USED:
            return status
        counts[ALLOWED] = 0
        if is_closed(sub, flow, weighting.epsilon):
            return CLOSED
        improve(tolerance, limit, weighting.epsilon, sub, flow, work)
        if list_unsettled(tolerance, sub, flow) == 0:
            return DONE
        if status == VOLUME_USED:
            return status
        if counts[VISITS] >= last_visit:
            return SLICE_USED


@numba.njit(cache=True, nogil=True)
def improve(tolerance, limit, epsilon, sub, flow, work):  # type: ignore[no-untyped-def]
    """Move x to what the system of the active nodes proposes, unless the objective gets worse."""
    counts, x, mass, source = flow.counts, flow.x, flow.mass, flow.source
    n, degree, n_seeds = sub.used[NODES], sub.degree, counts[SEEDS]
    before = objective(x, mass, source, n_seeds, degree, n)
    for i in range(n):
        work.kept[i] = x[i]
    n_active, entries = compact(
        x, mass, degree, sub.weighted_degree, sub.start, sub.split, sub.stop, sub.neighbour,
        sub.weight, n, work.active, work.place, work.first, work.middle, work.column, work.value,
    )  # fmt: skip
    affordable = min(MOST_VISITS, limit - counts[VISITS]) // (entries + 1)
    most = max(1, min(MOST_STEPS, affordable))
    grown = (sub.used[EXPANDED] - counts[SETTLED]) / max(1, sub.used[EXPANDED])
    counts[SETTLED] = sub.used[EXPANDED]
    left = min(SQUARED_RESIDUAL_LEFT, GROWTH_SHARE * grown)
    steps = conjugate_steps(
        n_active, most, TOLERANCE_SHARE * tolerance, left, epsilon, x, mass, degree,
        sub.weighted_degree, work.active, work.first, work.middle, work.column, work.value,
        work.whole, work.inverse, work.allowed, work.shift, work.residual, work.direction,
        work.product,
    )  # fmt: skip
    counts[VISITS] += sub.used[SUBGRAPH_EDGES] + steps * entries
    counts[VISITS] += masses(x, source, n_seeds, mass, epsilon, sub)
    after = objective(x, mass, source, n_seeds, degree, n)
    if after <= before:
        counts[PATIENCE] = 0
        return
    # clipping at zero spoilt it: push for longer before the next one
    for i in range(n):
        x[i] = work.kept[i]
    counts[VISITS] += masses(x, source, n_seeds, mass, epsilon, sub)
    counts[PATIENCE] = min(counts[PATIENCE] + 1, 10)


@numba.njit(cache=True, nogil=True)
def objective(x, mass, source, n_seeds, degree, n):  # type: ignore[no-untyped-def]
    """``1/2 x'Lx + x'(T - Delta)``, by way of ``Lx = Delta - m``."""
    total = 0.0
    for i in range(n):
        total += x[i] * (2.0 * degree[i] - mass[i])
    for i in range(n_seeds):
        total -= x[i] * source[i]
    return 0.5 * total


@numba.njit(cache=True, nogil=True)
def compact(  # type: ignore[no-untyped-def]
    x, mass, degree, weighted_degree, start, split, stop, neighbour, weight, n,
    active, place, first, middle, column, value,
):  # fmt: skip
    """Collect the nodes that may move, and their rows restricted to each other.

    A third of the entries leads to nodes that have not been expanded, and close numbers stay in
    cache: copying pays from about three steps on.
    """
    n_active, at, has_weights = 0, 0, len(weight) > 0
    for i in range(n):
        place[i] = -1
        if start[i] == NOT_EXPANDED or weighted_degree[i] <= 0.0:
            continue
        if x[i] > 0.0 or mass[i] > degree[i]:
            place[i] = n_active
            active[n_active] = i
            n_active += 1
    for k in range(n_active):
        i = active[k]
        first[k] = at
        for e in range(start[i], split[i]):
            column[at] = place[neighbour[e]]
            if has_weights:
                value[at] = weight[e]
            at += column[at] >= 0
        middle[k] = at
        for e in range(split[i], stop[i]):
            column[at] = place[neighbour[e]]
            if has_weights:
                value[at] = weight[e]
            at += column[at] >= 0
    first[n_active] = at
    return n_active, at


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def conjugate_steps(  # type: ignore[no-untyped-def]
    n, most, tolerance, enough, epsilon, x, mass, degree, weighted_degree, active, first, middle,
    column, value, whole, inverse, allowed, shift, residual, direction, product,
):  # fmt: skip
    """Conjugate gradients on the active nodes, scaled by weighted degree; updates x, not below 0.

    Returns:
        Steps made.
    """
    norm = 0.0
    for k in range(n):
        i = active[k]
        whole[k], inverse[k] = weighted_degree[i], 1.0 / weighted_degree[i]
        allowed[k], shift[k] = tolerance * degree[i], 0.0
        residual[k] = mass[i] - degree[i]
        direction[k] = residual[k] * inverse[k]
        norm += residual[k] * direction[k]
    enough, steps = enough * norm, 0
    while steps < most and norm > 0.0:
        curvature = multiply(n, first, middle, column, value, epsilon, whole, direction, product)
        # a component closed in itself has a flat direction
        if not curvature > 0.0:
            break
        steps += 1
        length, before, n_far = norm / curvature, norm, 0
        norm = 0.0
        for k in range(n):
            shift[k] += length * direction[k]
            left = residual[k] - length * product[k]
            residual[k] = left
            norm += left * left * inverse[k]
            n_far += abs(left) > allowed[k]
        if n_far <= n >> FAR_SHIFT or norm <= enough:
            break
        turn = norm / before
        for k in range(n):
            direction[k] = residual[k] * inverse[k] + turn * direction[k]
    for k in range(n):
        i = active[k]
        x[i] = max(0.0, x[i] + shift[k])
    return steps


@numba.njit(cache=True, nogil=True)
def multiply(  # type: ignore[no-untyped-def]
    n, first, middle, column, value, epsilon, whole, direction, product
):
    """Write ``L_AA d`` into `product`; returns ``d' L_AA d``."""
    curvature, has_weights = 0.0, len(value) > 0
    for k in range(n):
        total = 0.0
        if has_weights:
            for e in range(first[k], first[k + 1]):
                total += value[e] * direction[column[e]]
        else:
            for e in range(middle[k], first[k + 1]):
                total += direction[column[e]]
            total *= epsilon
            for e in range(first[k], middle[k]):
                total += direction[column[e]]
        product[k] = whole[k] * direction[k] - total
        curvature += direction[k] * product[k]
    return curvature
