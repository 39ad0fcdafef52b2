"""Coordinate steps of p-norm flow diffusion, each the root of one increasing function.

A node x_i sends ``w_ij sign(x_i - x_j) |x_i - x_j|^power`` along each edge, ``power = q - 1 = 1 /
(p - 1)``. It is pushed by raising x_i until what it keeps is its capacity.
"""

import numba
import numpy as np

from graphnoise.flow_diffusion.compiled import (
    CLOSED,
    DONE,
    JOINED,
    LEFT_OUT,
    LISTED,
    POSITION,
    SLICE_USED,
    TURN,
    VISITS,
    VOLUME_USED,
    is_closed,
    prepare,
)
from graphnoise.local_subgraph import EXPANDED, NODES, NOT_EXPANDED

# of an interpolated root; each second step halves the bracket at least
MOST_STEPS = 200
# a pushed node keeps up to this share of the tolerance above its capacity, and never less
INNER = 0.1


@numba.njit(cache=True, nogil=True)
def flow_along(weight, difference, power):  # type: ignore[no-untyped-def]
    """``weight sign(difference) |difference|^power``."""
    if power == 1.0:
        return weight * difference
    if difference < 0.0:
        return -weight * (-difference) ** power
    return weight * difference**power


@numba.njit(cache=True, nogil=True)
def sent_by(i, value, power, epsilon, x, start, split, stop, neighbour, weight):  # type: ignore[no-untyped-def]
    """Net mass that node `i` would send out at ``x_i = value``."""
    total = 0.0
    for e in range(start[i], stop[i]):
        factor = 1.0 if e < split[i] else epsilon
        if len(weight):
            factor = weight[e]
        total += flow_along(factor, value - x[neighbour[e]], power)
    return total


@numba.njit(cache=True, nogil=True)
def raised(  # type: ignore[no-untyped-def]
    i, more, slack, whole, power, epsilon, x, start, split, stop, neighbour, weight
):  # fmt: skip
    """The x_i, larger than now, at which `i` sends `more` beyond what it does, or `slack` less.

    Bracketed false position; an end that stays loses half its value (Illinois), and steps that do
    not halve the bracket are followed by bisection. Never beyond the root, so that x grows towards
    the answer from below.

    Returns:
        The value, and how often the row was gone through.
    """
    low, at_low, passes = x[i], -more, 1
    wanted = more + sent_by(i, low, power, epsilon, x, start, split, stop, neighbour, weight)
    step = (-at_low / whole) ** (1.0 / power)
    high, at_high = low, at_low
    while at_high < 0.0:
        low, at_low = high, at_high
        high = low + step
        step *= 2.0
        at_high = (
            sent_by(i, high, power, epsilon, x, start, split, stop, neighbour, weight) - wanted
        )
        passes += 1
    left, right, side = at_low, at_high, 0
    for k in range(MOST_STEPS):
        if at_low >= -slack:
            break
        middle = (low * right - high * left) / (right - left)
        if k % 3 == 2 or not low < middle < high:
            middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        here = sent_by(i, middle, power, epsilon, x, start, split, stop, neighbour, weight) - wanted
        passes += 1
        if here < 0.0:
            low, at_low, left = middle, here, here
            right = 0.5 * right if side < 0 else at_high
            side = -1
        else:
            high, at_high, right = middle, here, here
            left = 0.5 * left if side > 0 else at_low
            side = 1
    return low, passes


@numba.njit(cache=True, nogil=True)
def push_rounds(power, tolerance, ask, last_visit, graph, weighting, sub, flow):  # type: ignore[no-untyped-def]
    """As `flow_diffusion.compiled.push_rounds`, by p-norm steps and without over-relaxation."""
    counts, spent, used = flow.counts, flow.spent, sub.used
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
            current, following, n, power, tolerance, weighting.epsilon, last_visit, sub, flow
        )
        if counts[POSITION] < n:
            return SLICE_USED
        counts[TURN] = 1 - counts[TURN]
        counts[LISTED], counts[JOINED], counts[POSITION] = counts[JOINED], 0, 0
        if spent[LEFT_OUT] > 0.0:
            return VOLUME_USED
        if used[EXPANDED] == expanded and is_closed(sub, flow, weighting.epsilon):
            return CLOSED


@numba.njit(cache=True, nogil=True)
def push_round(current, following, n, power, tolerance, epsilon, last_visit, sub, flow):  # type: ignore[no-untyped-def]
    """Raise the listed nodes in order; those that they overfill join the next round."""
    counts, x, mass, listed = flow.counts, flow.x, flow.mass, flow.listed
    start, split, stop, neighbour, weight = (
        sub.start,
        sub.split,
        sub.stop,
        sub.neighbour,
        sub.weight,
    )
    degree, whole = sub.degree, sub.weighted_degree
    joined, visits, position = counts[JOINED], counts[VISITS], counts[POSITION]
    while position < n and visits < last_visit:
        i = np.int64(current[position])
        position += 1
        listed[i] = 0
        if start[i] == NOT_EXPANDED or whole[i] <= 0.0:
            continue
        if mass[i] <= degree[i] * (1.0 + tolerance):
            continue
        before = x[i]
        after, passes = raised(
            i, mass[i] - degree[i], INNER * tolerance * degree[i], whole[i], power, epsilon, x,
            start, split, stop, neighbour, weight,
        )  # fmt: skip
        visits += (passes + 1) * (stop[i] - start[i])
        x[i] = after
        for e in range(start[i], stop[i]):
            factor = 1.0 if e < split[i] else epsilon
            if len(weight):
                factor = weight[e]
            j = neighbour[e]
            gained = flow_along(factor, after - x[j], power)
            gained -= flow_along(factor, before - x[j], power)
            mass[j] += gained
            mass[i] -= gained
            if listed[j] == 0 and mass[j] > degree[j] * (1.0 + tolerance):
                listed[j] = 1
                following[joined] = j
                joined += 1
    counts[JOINED], counts[VISITS], counts[POSITION] = joined, visits, position


@numba.njit(cache=True, nogil=True)
def masses(power, epsilon, n_seeds, sub, flow):  # type: ignore[no-untyped-def]
    """Write the mass of every touched node, from x alone; returns the entries visited.

    An edge between two expanded nodes has an entry in both rows, one to a node that is not
    expanded only in one: then x is 0 at the other end.
    """
    x, mass, start, split, stop = flow.x, flow.mass, sub.start, sub.split, sub.stop
    visits = 0
    for i in range(sub.used[NODES]):
        mass[i] = flow.source[i] if i < n_seeds else 0.0
    for i in range(sub.used[NODES]):
        if start[i] == NOT_EXPANDED:
            continue
        visits += stop[i] - start[i]
        for e in range(start[i], stop[i]):
            j = sub.neighbour[e]
            factor = 1.0 if e < split[i] else epsilon
            if len(sub.weight):
                factor = sub.weight[e]
            # the higher end moves the mass of both
            if x[i] > x[j]:
                moved = flow_along(factor, x[i] - x[j], power)
                mass[i] -= moved
                mass[j] += moved
    return visits
