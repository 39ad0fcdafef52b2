"""Whether the nodes a diffusion can reach are able to hold its mass."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from graphnoise.local_subgraph import NODES, NOT_EXPANDED, Subgraph


@dataclass(frozen=True)
class Component:
    """Nodes joined by edges of positive weight, and the mass put on them."""

    mass: float
    volume: float
    n_nodes: int


class OverfullError(ValueError):
    """The seeds' component cannot hold the mass.

    Attributes:
        component: Which has how much.
    """

    def __init__(self, component: Component) -> None:
        self.component = component
        super().__init__(
            f"mass {component.mass:.6g} exceeds the volume {component.volume:.6g} of the seeds' "
            f"component ({component.n_nodes} nodes joined by edges of positive weight)"
        )


def overfull_component(
    sub: Subgraph, source: NDArray[np.float64], epsilon: float
) -> Component | None:
    """A wholly expanded component whose mass is more than its volume; None where there is none.

    Args:
        sub: What was reached; every expanded row is weighed.
        source: Mass put on the first local nodes, ``[S]`` or longer.
        epsilon: Factor of entries between differing labels.
    """
    n = int(sub.used[NODES])
    expanded = np.flatnonzero(sub.start[:n] != NOT_EXPANDED)
    stop = sub.stop if epsilon > 0 else sub.split
    rows = [np.arange(sub.start[i], stop[i]) for i in expanded]
    entries = np.concatenate(rows) if rows else np.empty(0, np.int64)
    owner = np.repeat(expanded, [len(row) for row in rows])
    if len(sub.weight):
        positive = sub.weight[entries] > 0
        entries, owner = entries[positive], owner[positive]
    links = sparse.csr_array(
        (np.ones(len(entries), np.int8), (owner, sub.neighbour[entries])), shape=(n, n)
    )
    _, member = csgraph.connected_components(links, directed=False)
    volume = np.bincount(member, sub.degree[:n])
    open_ended = np.bincount(member, sub.start[:n] == NOT_EXPANDED) > 0
    n_source = min(len(source), n)
    mass = np.bincount(member[:n_source], source[:n_source], minlength=len(volume))
    overfull = np.flatnonzero((mass > volume * (1 + 1e-12)) & ~open_ended)
    if not len(overfull):
        return None
    found = int(overfull[0])
    return Component(float(mass[found]), float(volume[found]), int(np.sum(member == found)))
