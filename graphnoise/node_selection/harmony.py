"""How sure a model is of a node and how well the node agrees with its neighbours.

Locle asks about nodes that are neither, and trusts its own answer where both hold.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from labelnoise.kernels.label_propagation import normalise

# below it a node agrees with its neighbours but for rounding
NO_DISHARMONY = 1e-9
SHARE = 0.1


def label_entropy(probabilities: ArrayLike) -> NDArray[np.float64]:
    """LE ``[N]``: ``- sum_j P_vj log P_vj``, in nats; 0 for a certain row.

    Args:
        probabilities: P ``[N, K]``, rows sum to 1.

    Source:
        Locle, arXiv 2412.11983, label entropy.
    """
    rows = _checked(probabilities)
    return -np.where(rows > 0, rows * np.log(np.where(rows > 0, rows, 1)), 0).sum(axis=1) + 0.0


def label_disharmonicity(
    probabilities: ArrayLike, adjacency: sparse.csr_array
) -> NDArray[np.float64]:
    """LH ``[N]``: ``|| P_v - mean of the neighbours' P ||_1``, in 0..2; 0 for isolated nodes.

    The mean is weighted by the edges, so that ``LH = (|L_rw P|) 1`` with
    ``L_rw = I - D^-1 A``.

    Args:
        probabilities: P ``[N, K]``, rows sum to 1.
        adjacency: ``[N, N]``, non-negative, symmetric, no self loops.

    Source:
        Locle, arXiv 2412.11983, label disharmonicity.
    """
    rows = _checked(probabilities)
    if adjacency.shape != (len(rows), len(rows)):
        raise ValueError(f"adjacency must be [{len(rows)}, {len(rows)}], got {adjacency.shape}")
    around = normalise(adjacency, "row", dtype=np.float64) @ rows
    apart = np.abs(rows - around).sum(axis=1)
    apart[np.diff(adjacency.indptr) == 0] = 0
    return apart


def confident_nodes(
    probabilities: ArrayLike,
    adjacency: sparse.csr_array,
    available: NDArray[np.bool_],
    p: int,
    *,
    share: float = SHARE,
) -> NDArray[np.int64]:
    """The `p` surest of the nodes that agree best with their neighbours, surest first.

    Among the available nodes: the `share` of smallest LH (all with LH < 1e-9 if those are more),
    and of these the `p` of smallest LE. Fewer where the set is smaller: agreement is not relaxed.
    Ties fall to the lower node.

    Args:
        probabilities: P ``[N, K]``.
        adjacency: ``[N, N]``.
        available: Nodes to choose from ``[N]`` bool.
        p: Most nodes, >= 0.
        share: In (0, 1]; Locle's .1.

    Raises:
        ValueError: A shape, `p` or `share` is out of range.

    Source:
        Locle, arXiv 2412.11983, confident nodes.
    """
    nodes = _checked_choice(available, p, share, len(np.asarray(probabilities)), "p")
    apart = label_disharmonicity(probabilities, adjacency)[nodes]
    unsure = label_entropy(probabilities)[nodes]
    count = max(_part_of(len(nodes), share), int((apart < NO_DISHARMONY).sum()))
    calm = np.argsort(apart, kind="stable")[:count]
    return nodes[calm[np.lexsort((calm, unsure[calm]))][:p]]


def critical_nodes(
    probabilities: ArrayLike,
    adjacency: sparse.csr_array,
    available: NDArray[np.bool_],
    m: int,
    *,
    share: float = SHARE,
) -> NDArray[np.int64]:
    """Exactly `m` distinct nodes that are unsure and at odds with their neighbours.

    Among the available nodes: the `share` of largest LH, and of these the `m` of largest LE. If g
    are missing, the ceil(g / 2) others of largest LH and the floor(g / 2) then left of largest
    LE follow. Fewer than `m` only where fewer are available. Ties fall to the lower node.

    Args:
        probabilities: P ``[N, K]``.
        adjacency: ``[N, N]``.
        available: Nodes to choose from ``[N]`` bool.
        m: Nodes, >= 0.
        share: In (0, 1]; Locle's .1.

    Raises:
        ValueError: A shape, `m` or `share` is out of range.

    Source:
        Locle, arXiv 2412.11983, critical nodes; exact number and distinctness are ours.
    """
    nodes = _checked_choice(available, m, share, len(np.asarray(probabilities)), "m")
    apart = label_disharmonicity(probabilities, adjacency)[nodes]
    unsure = label_entropy(probabilities)[nodes]
    restless = np.argsort(-apart, kind="stable")
    pool = restless[: _part_of(len(nodes), share)]
    chosen = pool[np.lexsort((pool, -unsure[pool]))][:m]
    missing = min(m, len(nodes)) - len(chosen)
    others = restless[~np.isin(restless, chosen)]
    by_apart = others[: (missing + 1) // 2]
    left = others[len(by_apart) :]
    by_entropy = left[np.lexsort((left, -unsure[left]))][: missing // 2]
    return nodes[np.concatenate([chosen, by_apart, by_entropy])]


def _part_of(count: int, share: float) -> int:
    return max(1, round(share * count)) if count else 0


def _checked(probabilities: ArrayLike) -> NDArray[np.float64]:
    rows = np.asarray(probabilities, dtype=np.float64)
    if rows.ndim != 2 or not np.isfinite(rows).all() or (rows < 0).any():
        raise ValueError(f"probabilities must be finite, >= 0 and [N, K], got {rows.shape}")
    return rows


def _checked_choice(
    available: NDArray[np.bool_], count: int, share: float, n_nodes: int, argument: str
) -> NDArray[np.int64]:
    if available.shape != (n_nodes,) or available.dtype != np.bool_:
        raise ValueError(f"available must be [{n_nodes}] bool, got {available.shape}")
    if count < 0:
        raise ValueError(f"{argument} must not be negative, got {count}")
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share}")
    return np.flatnonzero(available)
