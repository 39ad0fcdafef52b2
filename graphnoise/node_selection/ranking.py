"""What selectors share: the nodes they may choose from, and the best of them by a score."""

import numpy as np
from numpy.typing import NDArray

from graphnoise.node_selection.base import Selected, Situation


def candidates(situation: Situation, budget: int) -> NDArray[np.int64]:
    """Nodes that may be chosen, ascending.

    Raises:
        ValueError: `budget` is below 1, or a field of the situation has another number of nodes
            than the graph.
    """
    if budget < 1:
        raise ValueError(f"budget must be at least 1 node, got {budget}")
    n_nodes = situation.graph.n_nodes
    for name in ("available", "prior", "probabilities", "labels", "reliability"):
        value = getattr(situation, name)
        if value is not None and len(value) != n_nodes:
            raise ValueError(f"{name} must have one entry per node, {n_nodes}, got {len(value)}")
    if situation.available.dtype != np.bool_:
        raise ValueError(f"available must be bool, got dtype {situation.available.dtype}")
    return np.flatnonzero(situation.available)


def ranked(
    nodes: NDArray[np.int64], scores: NDArray[np.floating], situation: Situation, budget: int
) -> Selected:
    """The `budget` nodes of largest score, largest first.

    Equal scores are put in an order drawn from the seed: files are often sorted by class, and on
    a graph of equal degrees the first nodes would all be of one.

    Args:
        nodes: Candidates ``[M]``.
        scores: One each ``[M]``, not NaN.
        situation: Gives seed and number of nodes.
        budget: Most nodes to keep.
    """
    values = np.asarray(scores, dtype=np.float64)
    tie = np.random.default_rng(situation.seed).permutation(situation.graph.n_nodes)
    order = np.lexsort((tie[nodes], -values))[:budget]
    return Selected(nodes[order], values[order])


def required(
    value: NDArray[np.floating] | None, argument: str, selector: str
) -> NDArray[np.float64]:
    """Evidence that a selector cannot do without, as float64.

    Raises:
        ValueError: It is missing or not finite.
    """
    if value is None:
        raise ValueError(f"selector {selector!r} needs {argument}, found None")
    array = np.asarray(value, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{argument} must be finite for selector {selector!r}")
    return array
