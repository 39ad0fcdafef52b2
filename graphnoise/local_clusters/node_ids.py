"""The caller's ids of nodes, held in memory, and the seeds that name some of them."""

from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from graphnoise.local_clusters.adjacency import Adjacency

SHOWN = 5


class NamedNodes:
    """Distinct hashable ids, one per node.

    Args:
        names: In the order of positions; strings, integers, tuples, anything hashable.

    Raises:
        ValueError: An id appears twice.
    """

    def __init__(self, names: Iterable[Hashable]) -> None:
        listed = list(names)
        self._names = id_array(listed)
        self._positions = {name: position for position, name in enumerate(listed)}
        if len(self._positions) < len(listed):
            twice = next(name for at, name in enumerate(listed) if self._positions[name] != at)
            raise ValueError(f"node ids must be distinct, found {twice!r} repeated")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, Hashable) and name in self._positions

    def positions(self, ids: NDArray[Any]) -> NDArray[np.int64]:
        """Position of each id ``[n]``; -1 where there is no such node."""
        found = [self._positions.get(name, -1) for name in ids.tolist()]
        return np.array(found, np.int64)

    def names(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """Id of each position ``[n]``."""
        return self._names[positions]


def id_array(ids: Sequence[Any]) -> NDArray[Any]:
    """Ids ``[n]`` as integers or strings where all are, else as objects (tuples stay tuples)."""
    if all(isinstance(name, int | np.integer) and not isinstance(name, bool) for name in ids):
        return np.array(ids, np.int64)
    if all(isinstance(name, str) for name in ids):
        return np.array(ids)
    made = np.empty(len(ids), object)
    for position, name in enumerate(ids):
        made[position] = name
    return made


def id_positions(adjacency: "Adjacency", ids: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
    """Position of each of the caller's ids ``[n]``; -1 where the graph has no such node."""
    array = ids if isinstance(ids, np.ndarray) else id_array(list(ids))
    if not array.size:
        return np.empty(0, np.int64)
    if adjacency.ids is not None:
        return adjacency.ids.positions(array)
    if array.dtype.kind not in "iu":
        return np.full(len(array), -1, np.int64)
    position = array.astype(np.int64)
    return np.where((position >= 0) & (position < adjacency.n_nodes), position, -1)


def known_positions(adjacency: "Adjacency", ids: Any, argument: str) -> NDArray[np.int64]:
    """Positions ``[n]`` of distinct ids that the graph must have.

    Args:
        adjacency: The graph.
        ids: One id, or a sequence or array of them.
        argument: What to call them in an error.

    Raises:
        ValueError: None given, an id without a node, or an id given twice.
    """
    listed = _listed(adjacency, ids)
    positions = id_positions(adjacency, listed)
    if not len(positions):
        raise ValueError(f"{argument} must name at least one node, got none")
    unknown = np.flatnonzero(positions < 0)
    if len(unknown):
        shown = [listed[int(at)] for at in unknown[:SHOWN]]
        raise ValueError(
            f"{argument} must be nodes of the graph ({_which(adjacency)}), found no node"
            f" {', '.join(map(repr, shown))} ({len(unknown)} unknown)"
        )
    if len(positions) > 1 and len(np.unique(positions)) < len(positions):
        order = positions.tolist()
        twice = next(at for at, position in enumerate(order) if position in order[:at])
        raise ValueError(f"{argument} must be distinct, found {listed[twice]!r} twice")
    return positions


def names_of(adjacency: "Adjacency", positions: NDArray[np.int64]) -> NDArray[Any]:
    """The caller's ids of positions ``[n]``; a new array."""
    if adjacency.ids is None:
        return positions.astype(np.int64)
    return adjacency.ids.names(positions)


def _listed(adjacency: "Adjacency", ids: Any) -> list[Any]:
    if isinstance(ids, np.ndarray):
        return list(np.atleast_1d(ids).tolist())
    # a tuple may itself be the id of a node, as in networkx's grids
    is_one = isinstance(adjacency.ids, NamedNodes) and ids in adjacency.ids
    if is_one or isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        return [ids.item() if isinstance(ids, np.generic) else ids]
    return [name.item() if isinstance(name, np.generic) else name for name in ids]


def _which(adjacency: "Adjacency") -> str:
    if adjacency.ids is None:
        return f"0 .. {adjacency.n_nodes - 1}"
    first = names_of(adjacency, np.arange(min(3, adjacency.n_nodes))).tolist()
    return f"{adjacency.n_nodes} ids such as {', '.join(map(repr, first))}"
