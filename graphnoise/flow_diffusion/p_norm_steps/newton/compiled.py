"""Rounds of Newton's method for the flow of least p-norm, and the systems they solve.

The flow f is kept next to x. Linearising ``(f / w)^(p-1) = x_u - x_v`` at f gives conductances
``c = w (|f| / w)^(2-p)`` and, with ``power = 1 / (p - 1)``::

    f  <-  (1 - power) f + power c (x_u - x_v)

whose divergence is to fill every active node exactly: a linear system in x. That is Newton's method
on the primal objective, smooth for p > 2; on the dual one, whose slope has roots of differences of
x, it overshoots and cycles. Nodes of negative x are left to the next round as inactive, nodes that
overflow join it.
"""

import numba
import numpy as np

from graphnoise.flow_diffusion.compiled import (
    DONE,
    LEFT_OUT,
    MASS,
    SEEDS,
    SLICE_USED,
    VISITS,
    VOLUME_USED,
    prepare,
)
from graphnoise.flow_diffusion.p_norm_steps.compiled import flow_along, masses
from graphnoise.flow_diffusion.p_norm_steps.newton import ACTIVE, ENTRIES, ROUNDS, SOLVING, STEPS
from graphnoise.local_subgraph import EDGES as SUBGRAPH_EDGES
from graphnoise.local_subgraph import NODES, NOT_EXPANDED, NOT_WEIGHED

# why a round came back, besides the reasons of `graphnoise.flow_diffusion.compiled`
CALM, FAILED, TOO_FAR = 10, 11, 12
# flows below this share of the tolerance, per weight, count as that large: less cannot matter
FLOOR = 2.0
# a node joins above this share of the tolerance, and a system is solved to that one
JOIN_SHARE, SYSTEM_SHARE = 0.5, 0.3
# a round is calm once no larger share of the nodes breaks its condition
CALM_SHARE = 0.1
# beyond these the method is taken to have failed: steps of a system with more than one in 16 nodes
# unsolved, rounds, and active volume in units of the mass, which exact solutions keep below 1
MOST_STEPS, UNSOLVED_SHIFT, MOST_ROUNDS, MOST_VOLUME = 500, 4, 80, 2.0
# pivots of the incomplete factors stay above this share of the diagonal
LEAST_PIVOT = 1e-12
# incomplete factors look at every pair of an earlier and a later neighbour of a node; where hubs
# make these so many times the entries, only pivots are computed, which look at none
MOST_WEDGES = 100


@numba.njit(cache=True, nogil=True)
def newton_round(p, tolerance, ask, last_visit, graph, weighting, sub, flow, work):  # type: ignore[no-untyped-def]
    """One round at norm `p`; a system that outlasts the slice is gone on with at the next call.

    Returns:
        DONE, every condition holds; CALM, nearly all do; SLICE_USED, call again; FAILED; TOO_FAR,
        the system could not be solved and nothing has changed; or a reason of
        `graphnoise.flow_diffusion.compiled`.
    """
    counts, state, epsilon = flow.counts, work.state, weighting.epsilon
    if state[SOLVING] == 0:
        joining, volume = list_overflowing(JOIN_SHARE * tolerance, sub, flow)
        if volume > MOST_VOLUME * flow.spent[MASS] or state[ROUNDS] >= MOST_ROUNDS:
            return FAILED
        status = prepare(flow.first, joining, ask, graph, weighting, sub, flow)
        if status != DONE:
            return status
        # without a round made, x is that of p = 2
        begin_flows(1.0 / (p - 1.0) if state[ROUNDS] else 1.0, epsilon, sub, flow, work)
        build_system(p, tolerance, epsilon, sub, flow, work)
        state[SOLVING], state[STEPS] = 1, 0
        state[ROUNDS] += 1
    unsolved = conjugate_steps(
        state[ACTIVE], SYSTEM_SHARE * tolerance, last_visit, sub.degree, work.active, work.first,
        work.column, work.value, work.factor, work.whole, work.pivot, work.wanted, work.residual,
        work.direction, work.product, work.scaled, work.norm, state, counts,
    )  # fmt: skip
    if unsolved and state[STEPS] < MOST_STEPS:
        return SLICE_USED
    state[SOLVING] = 0
    if unsolved > state[ACTIVE] >> UNSOLVED_SHIFT:
        return TOO_FAR
    take(p, sub, flow, work)
    counts[VISITS] += masses(1.0 / (p - 1.0), epsilon, counts[SEEDS], sub, flow)
    far, positive = broken(tolerance, flow.x, flow.mass, sub.degree, sub.used[NODES])
    if far == 0:
        return DONE
    if flow.spent[LEFT_OUT] > 0.0:
        return VOLUME_USED
    return CALM if far <= CALM_SHARE * positive else SLICE_USED


@numba.njit(cache=True, nogil=True)
def broken(tolerance, x, mass, degree, n):  # type: ignore[no-untyped-def]
    """How many nodes break their condition, and how many have a positive x."""
    far, positive = 0, 0
    for i in range(n):
        over = mass[i] - degree[i]
        positive += x[i] > 0.0
        far += over > tolerance * degree[i] or (x[i] > 0.0 and over < -tolerance * degree[i])
    return far, positive


@numba.njit(cache=True, nogil=True)
def list_overflowing(share, sub, flow):  # type: ignore[no-untyped-def]
    """List overflowing nodes without a row; returns how many, and the volume that is active."""
    x, mass, degree, joining, volume = flow.x, flow.mass, sub.degree, 0, 0.0
    for i in range(sub.used[NODES]):
        over = mass[i] > degree[i] * (1.0 + share)
        if over or x[i] > 0.0:
            volume += degree[i]
        # a row may have been copied and still wait for labels
        if over and (sub.start[i] == NOT_EXPANDED or sub.split[i] == NOT_WEIGHED):
            flow.first[joining] = i
            joining += 1
    return joining, volume


@numba.njit(cache=True, nogil=True)
def begin_flows(power, epsilon, sub, flow, work):  # type: ignore[no-untyped-def]
    """Set the flow of x along the entries of new rows, and along those that lead to them."""
    known, entries, x = work.state[ENTRIES], sub.used[SUBGRAPH_EDGES], flow.x
    if known == entries:
        return
    for i in range(sub.used[NODES]):
        for e in range(sub.start[i], sub.stop[i] if sub.start[i] != NOT_EXPANDED else -1):
            j = sub.neighbour[e]
            if e < known and sub.start[j] < known:
                continue
            factor = 1.0 if e < sub.split[i] else epsilon
            if len(sub.weight):
                factor = sub.weight[e]
            work.along[e] = flow_along(factor, x[i] - x[j], power)
    flow.counts[VISITS] += entries
    work.state[ENTRIES] = entries


@numba.njit(cache=True, nogil=True)
def build_system(p, tolerance, epsilon, sub, flow, work):  # type: ignore[no-untyped-def]
    """Write the system of the active nodes, its residual at x, and its incomplete factors."""
    conduct(p, tolerance, epsilon, sub, work)
    order_active(tolerance, sub, flow, work)
    x, start, active, kept, at = flow.x, sub.start, work.active, 1.0 - 1.0 / (p - 1.0), 0
    wedges = 0
    for k in range(work.state[ACTIVE]):
        i = active[k]
        left, whole = -sub.degree[i], 0.0
        if i < flow.counts[SEEDS]:
            left += flow.source[i]
        work.first[k] = at
        for e in range(start[i], sub.stop[i]):
            j, c = sub.neighbour[e], work.conducts[e]
            whole += c
            left -= kept * work.along[e] + c * (x[i] - x[j])
            if work.place[j] > k:
                work.column[at], work.value[at], work.factor[at] = work.place[j], c, c
                at += 1
        later = at - work.first[k]
        wedges += later * (sub.stop[i] - start[i] - later)
        work.whole[k], work.pivot[k] = whole, whole
        work.wanted[k], work.residual[k] = x[i], left
    work.first[work.state[ACTIVE]] = at
    flow.counts[VISITS] += 2 * sub.used[SUBGRAPH_EDGES] + factorise(
        work.state[ACTIVE], wedges <= MOST_WEDGES * sub.used[SUBGRAPH_EDGES], work.first,
        work.column, work.factor, work.whole, work.pivot,
    )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def conduct(p, tolerance, epsilon, sub, work):  # type: ignore[no-untyped-def]
    """Write ``power w (|f| / w)^(2-p)`` of every entry.

    Flows per weight below the tolerance count as that large: they cannot matter, and would conduct
    without bound.
    """
    power = 1.0 / (p - 1.0)
    for i in range(sub.used[NODES]):
        for e in range(sub.start[i], sub.stop[i] if sub.start[i] != NOT_EXPANDED else -1):
            factor = 1.0 if e < sub.split[i] else epsilon
            if len(sub.weight):
                factor = sub.weight[e]
            work.conducts[e] = 0.0
            if factor > 0.0:
                along = max(abs(work.along[e]) / factor, tolerance)
                work.conducts[e] = power * factor * along ** (2.0 - p)


@numba.njit(cache=True, nogil=True)
def order_active(tolerance, sub, flow, work):  # type: ignore[no-untyped-def]
    """Number the active nodes by the sum of their conductances, the smallest first.

    What the seeds' few edges carry has conductances many orders of magnitude below the others.
    Where such a node is eliminated late, its weak ties drown in what was dropped before.
    """
    n, over = 0, 1.0 + JOIN_SHARE * tolerance
    for i in range(sub.used[NODES]):
        work.place[i] = -1
        if sub.start[i] == NOT_EXPANDED or sub.weighted_degree[i] <= 0.0:
            continue
        if flow.x[i] > 0.0 or flow.mass[i] > sub.degree[i] * over:
            whole = 0.0
            for e in range(sub.start[i], sub.stop[i]):
                whole += work.conducts[e]
            work.whole[n], work.active[n] = whole, i
            n += 1
    work.state[ACTIVE] = n
    work.active[:n] = work.active[:n][np.argsort(work.whole[:n])]
    for k in range(n):
        work.place[work.active[k]] = k


@numba.njit(cache=True, nogil=True)
def factorise(n, fill, first, column, factor, whole, pivot):  # type: ignore[no-untyped-def]
    """Incomplete ``L D L'`` on the entries there are; only the pivots unless `fill`.

    Args:
        first, column, factor: Entries after the diagonal, as negated; `factor` is overwritten.
        whole, pivot: The diagonal; `pivot` becomes D.

    Returns:
        Entries visited.
    """
    visits, at = np.int64(0), np.full(n, -1, np.int64)
    for k in range(n):
        pivot[k] = max(pivot[k], LEAST_PIVOT * whole[k])
        for e in range(first[k], first[k + 1] if fill else first[k]):
            at[column[e]] = e
        for e in range(first[k], first[k + 1]):
            i = column[e]
            share = factor[e] / pivot[k]
            pivot[i] -= factor[e] * share
            if not fill:
                continue
            visits += first[i + 1] - first[i]
            for g in range(first[i], first[i + 1]):
                if at[column[g]] >= 0:
                    factor[g] += share * factor[at[column[g]]]
        for e in range(first[k], first[k + 1]):
            at[column[e]] = -1
    return visits + 3 * first[n]


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def conjugate_steps(  # type: ignore[no-untyped-def]
    n, tolerance, last_visit, degree, active, first, column, value, factor, whole, pivot, wanted,
    residual, direction, product, scaled, norm, state, counts,
):  # fmt: skip
    """Conjugate gradients, preconditioned by the incomplete factors.

    Returns:
        How many nodes are not yet within the tolerance; 0, it is solved.
    """
    while True:
        unsolved = 0
        for k in range(n):
            unsolved += abs(residual[k]) > tolerance * degree[active[k]]
        if unsolved == 0 or state[STEPS] >= MOST_STEPS or counts[VISITS] >= last_visit:
            return unsolved
        for k in range(n):
            scaled[k] = residual[k]
        for k in range(n):
            total = scaled[k] / pivot[k]
            for e in range(first[k], first[k + 1]):
                scaled[column[e]] += factor[e] * total
        now = 0.0
        for k in range(n - 1, -1, -1):
            total = scaled[k]
            for e in range(first[k], first[k + 1]):
                total += factor[e] * scaled[column[e]]
            scaled[k] = total / pivot[k]
            now += residual[k] * scaled[k]
        turn = now / norm[0] if state[STEPS] else 0.0
        for k in range(n):
            direction[k] = scaled[k] + (turn * direction[k] if state[STEPS] else 0.0)
            product[k] = whole[k] * direction[k]
        norm[0], curvature = now, 0.0
        for k in range(n):
            here, total = direction[k], product[k]
            for e in range(first[k], first[k + 1]):
                total -= value[e] * direction[column[e]]
                product[column[e]] -= value[e] * here
            product[k] = total
            curvature += total * here
        counts[VISITS] += 3 * first[n]
        state[STEPS] += 1
        # a component closed in itself has a flat direction, and rounding can make one
        if not curvature > 0.0:
            state[STEPS] = MOST_STEPS
            return unsolved
        length = now / curvature
        for k in range(n):
            wanted[k] += length * direction[k]
            residual[k] -= length * product[k]


@numba.njit(cache=True, nogil=True)
def take(p, sub, flow, work):  # type: ignore[no-untyped-def]
    """Move x to the solution, not below 0, and the flow with it."""
    x, along, place, kept = flow.x, work.along, work.place, 1.0 - 1.0 / (p - 1.0)
    for i in range(sub.used[NODES]):
        x[i] = max(0.0, work.wanted[place[i]]) if place[i] >= 0 else 0.0
    for i in range(sub.used[NODES]):
        for e in range(sub.start[i], sub.stop[i] if sub.start[i] != NOT_EXPANDED else -1):
            j = sub.neighbour[e]
            if place[i] < 0 and place[j] < 0:
                along[e] = 0.0
            else:
                along[e] = kept * along[e] + work.conducts[e] * (x[i] - x[j])
    flow.counts[VISITS] += sub.used[SUBGRAPH_EDGES]
