"""Newton's method for p-norm flow diffusion, on the nodes that a run has expanded."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphnoise.local_clusters.base import Workspace
from graphnoise.local_subgraph import Subgraph

# places in `NewtonArrays.state`
SOLVING, ENTRIES, ACTIVE, STEPS, ROUNDS, N_STATE = range(6)


class NewtonArrays(NamedTuple):
    """State of the method, with the system of the active nodes, numbered 0 .. a-1.

    Attributes:
        along: Flow along each entry of the subgraph, float64.
        conducts: What each entry conducts in the present round, float64.
        active: Local number of each active node, int32.
        place: Active number of each touched node, -1 where it is not active, int32.
        first: Start of each row of the system, which has the entries after the diagonal, int64.
        column, value, factor: Active number of each such entry, int32; what it conducts; and that
            of the incomplete factors, float64.
        whole, pivot, wanted, residual, direction, product, scaled: float64 over active nodes;
            `wanted` is the x that the system is solved for.
        norm: One number, the residual's squared norm, float64.
        state: Whether a system is unfinished, entries whose flow is set, active nodes, steps in
            the system, rounds made; int64.
    """

    along: NDArray[np.float64]
    conducts: NDArray[np.float64]
    active: NDArray[np.int32]
    place: NDArray[np.int32]
    first: NDArray[np.int64]
    column: NDArray[np.int32]
    value: NDArray[np.float64]
    factor: NDArray[np.float64]
    whole: NDArray[np.float64]
    pivot: NDArray[np.float64]
    wanted: NDArray[np.float64]
    residual: NDArray[np.float64]
    direction: NDArray[np.float64]
    product: NDArray[np.float64]
    scaled: NDArray[np.float64]
    norm: NDArray[np.float64]
    state: NDArray[np.int64]


def newton_arrays(workspace: Workspace, sub: Subgraph, state: NDArray[np.int64]) -> NewtonArrays:
    """Room enough for every node and entry that fits the subgraph; keeps what they hold."""
    nodes, entries, vector = len(sub.node), len(sub.neighbour), workspace.vector
    return NewtonArrays(
        along=vector("along", entries), conducts=vector("conducts", entries),
        active=vector("active", nodes, np.int32), place=vector("place", nodes, np.int32),
        first=vector("row first", nodes + 1, np.int64),
        # one longer, the name is shared with the systems of p = 2
        column=vector("column", entries + 1, np.int32), value=vector("newton value", entries),
        factor=vector("factor", entries), whole=vector("whole", nodes),
        pivot=vector("pivot", nodes), wanted=vector("wanted", nodes),
        residual=vector("residual", nodes), direction=vector("direction", nodes),
        product=vector("product", nodes), scaled=vector("scaled", nodes),
        norm=vector("norm", 1), state=state,
    )  # fmt: skip
