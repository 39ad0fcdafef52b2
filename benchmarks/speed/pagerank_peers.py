"""Personalised PageRank of other libraries on one graph, each called as its users would.

All are asked for the vector ``p = t s + (1 - t) A D^-1 p`` of teleport probability t. The push
algorithms stop once every residual is below epsilon times the degree, which bounds the error of
every ``p_i / d_i`` by epsilon; the others iterate over the whole graph.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


@dataclass(frozen=True)
class Peer:
    """A way to compute the vector.

    Attributes:
        call: Seed -> whatever the library returns; this is what is timed.
        vector: That -> nodes and values; None where the library returns a cluster instead.
    """

    call: Callable[[int], Any]
    vector: Callable[[Any], tuple[NDArray[Any], NDArray[Any]]] | None


def exact_pagerank(matrix: sparse.csr_array, seed: int, *, teleport: float) -> NDArray[np.float64]:
    """The vector ``[N]`` to 1e-14, by power iteration."""
    walk = matrix.astype(np.float64) @ sparse.diags_array(1 / matrix.sum(axis=0, dtype=float))
    found = start = np.zeros(matrix.shape[0])
    start[seed] = teleport
    for _ in range(int(np.ceil(np.log(1e-14) / np.log1p(-teleport)))):
        found = start + (1 - teleport) * (walk @ found)
    return found


def largest_error(
    found: tuple[NDArray[Any], NDArray[Any]], exact: NDArray[np.float64], degree: NDArray[Any]
) -> float:
    """``max |p_i - p*_i| / d_i`` over all nodes; nodes that are not named have p_i = 0."""
    filled = np.zeros_like(exact)
    filled[found[0]] = found[1]
    return float((np.abs(filled - exact) / degree).max())


def push_peers(matrix: sparse.csr_array, *, teleport: float, epsilon: float) -> dict[str, Peer]:
    """Local algorithms with the same guarantee as ours."""
    return _pyg(matrix, teleport, epsilon) | _networkit(matrix, teleport, epsilon)


def not_installed() -> dict[str, str]:
    """Peers that cannot be measured here."""
    return {name: "not installed" for name in ("networkit", "sknetwork") if find_spec(name) is None}


def _pyg(matrix: sparse.csr_array, teleport: float, epsilon: float) -> dict[str, Peer]:
    import torch
    from torch_geometric import EdgeIndex
    from torch_geometric.utils import get_ppr

    n_nodes = matrix.shape[0]
    coo = matrix.tocoo()
    plain = torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64))
    # sorted and with its row pointers known: nothing of size M is left to do in a call
    ready = EdgeIndex(plain, sparse_size=(n_nodes, n_nodes), sort_order="row")
    ready.get_csr()

    def call(edges: Any) -> Callable[[int], Any]:
        return lambda seed: get_ppr(
            edges, teleport, epsilon, target=torch.tensor([seed]), num_nodes=n_nodes
        )

    def vector(found: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        return found[0][1].numpy(), found[1].numpy()

    return {
        "pyg_get_ppr": Peer(call(plain), vector),
        "pyg_get_ppr_sorted": Peer(call(ready), vector),
    }


def _networkit(matrix: sparse.csr_array, teleport: float, epsilon: float) -> dict[str, Peer]:
    if find_spec("networkit") is None:
        return {}
    import networkit as nk

    nk.setNumberOfThreads(1)
    upper = sparse.coo_array(sparse.triu(matrix))
    # 32-bit ends have crashed the process
    ends = (upper.row.astype(np.uint64), upper.col.astype(np.uint64))
    graph = nk.GraphFromCoo(ends, n=matrix.shape[0])
    # its walk is lazy: it stays with probability 1/2
    loop = teleport / (2 - teleport)

    def vector(found: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        nodes, values = zip(*found, strict=True)
        return np.array(nodes), np.array(values)

    return {
        "networkit_approximate_pagerank": Peer(
            lambda seed: nk.scd.ApproximatePageRank(graph, loop, epsilon).run(seed), vector
        ),
        "networkit_pagerank_nibble_with_sweep": Peer(
            lambda seed: nk.scd.PageRankNibble(graph, loop, epsilon).expandOneCommunity(seed), None
        ),
    }


def global_peers(matrix: sparse.csr_array, *, teleport: float) -> dict[str, Peer]:
    """Whole-graph solvers, at their own tolerances."""
    if find_spec("sknetwork") is None:
        return {}
    from sknetwork.ranking import PageRank

    graph = sparse.csr_matrix(matrix).astype(bool)
    nodes = np.arange(matrix.shape[0])

    def call(solver: str) -> Callable[[int], Any]:
        def rank(seed: int) -> Any:
            return PageRank(1 - teleport, solver=solver).fit_predict(graph, {seed: 1})

        return rank

    return {
        f"sknetwork_{solver}": Peer(call(solver), lambda found: (nodes, found))
        for solver in ("piteration", "push")
    }
