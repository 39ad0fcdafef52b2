"""Conjugate gradients on the nodes that a flow diffusion has expanded."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphnoise.local_clusters.base import Workspace
from graphnoise.local_subgraph import Subgraph


class ConjugateArrays(NamedTuple):
    """Room for the system of the active nodes, numbered 0 .. a-1.

    Attributes:
        active: Local number of each active node, int32.
        place: Active number of each touched node, -1 where it is not active, int32.
        first, middle: Start of each row and of its part between differing labels, int64.
        column: Active numbers, row after row, int32.
        value: Weight of each entry; ``[0]`` where the subgraph stores none.
        whole, inverse, allowed, shift, residual, direction, product: float64 over active nodes.
        kept: x before the steps, over touched nodes.
    """

    active: NDArray[np.int32]
    place: NDArray[np.int32]
    first: NDArray[np.int64]
    middle: NDArray[np.int64]
    column: NDArray[np.int32]
    value: NDArray[np.float64]
    whole: NDArray[np.float64]
    inverse: NDArray[np.float64]
    allowed: NDArray[np.float64]
    shift: NDArray[np.float64]
    residual: NDArray[np.float64]
    direction: NDArray[np.float64]
    product: NDArray[np.float64]
    kept: NDArray[np.float64]


def conjugate_arrays(workspace: Workspace, sub: Subgraph) -> ConjugateArrays:
    """Room enough for every node and entry that fits the subgraph."""
    nodes, entries, vector = len(sub.node), len(sub.neighbour), workspace.vector
    return ConjugateArrays(
        active=vector("active", nodes, np.int32), place=vector("place", nodes, np.int32),
        first=vector("row first", nodes + 1, np.int64),
        middle=vector("row middle", nodes, np.int64),
        # an entry is written before it is known to belong, so one more than fit
        column=vector("column", entries + 1, np.int32),
        value=vector("value", entries + 1) if len(sub.weight) else np.empty(0),
        whole=vector("whole", nodes), inverse=vector("inverse", nodes),
        allowed=vector("allowed", nodes), shift=vector("shift", nodes),
        residual=vector("residual", nodes), direction=vector("direction", nodes),
        product=vector("product", nodes), kept=vector("kept", nodes),
    )  # fmt: skip
