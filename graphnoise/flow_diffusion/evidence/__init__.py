"""Evidence for membership, shared among the nodes that a diffusion has reached."""

import numpy as np
from numpy.typing import NDArray

from graphnoise.local_subgraph import NODES, Subgraph


def share_evidence(
    subgraph: Subgraph, evidence: NDArray[np.float64], *, own: float, steps: int, epsilon: float
) -> NDArray[np.float64]:
    """``z <- own * s + (1 - own) * mean of z over the neighbours``, `steps` times from ``z = s``.

    By the graph's own weights: what labels made of them would let a wrong label keep out the
    neighbours that could correct it. A neighbour that was not reached counts as the node's own
    evidence does; a mean over those alone that were would pull the rim towards the seed. So do,
    with ``epsilon = 0``, a weighted graph's edges between differing labels: their weight is lost.

    Args:
        subgraph: What was reached, weighed.
        evidence: ``s`` ``[n]`` of the touched nodes; 0 where nothing is known.
        own: Weight of a node's own evidence, in [0, 1].
        steps: How often nodes look at their neighbours.
        epsilon: The label factor within ``subgraph.weight``.

    Returns:
        ``z`` ``[n]`` float64.
    """
    from graphnoise.flow_diffusion.evidence.compiled import average_neighbours

    n = int(subgraph.used[NODES])
    degree = subgraph.degree[:n]
    shared = np.array(evidence, np.float64)
    total, known = np.empty(n), np.empty(n)
    for _ in range(steps):
        average_neighbours(
            shared, subgraph.start[:n], subgraph.split, subgraph.stop, subgraph.neighbour,
            subgraph.weight, epsilon, total, known,
        )  # fmt: skip
        mean = (total + (degree - known) * evidence) / degree
        shared = own * evidence + (1 - own) * mean
    return shared
