"""Finding the mass where nobody knows the size of the cluster: grow it, watch the conductance.

The support only grows with the mass, so every step starts from the last one's answer.
"""

from dataclasses import dataclass, replace

import numpy as np

from graphnoise.flow_diffusion import compiled
from graphnoise.flow_diffusion.engine import FlowRun
from graphnoise.flow_diffusion.feasibility import OverfullError
from graphnoise.local_clusters.cluster import Diffused


@dataclass(frozen=True)
class MassPath:
    """Which masses are tried, and when to stop.

    Attributes:
        least: First mass; at least 4 times the volume of the seeds.
        growth: Factor from one mass to the next.
        most: Share of the whole graph's volume beyond which no mass is tried.
        beyond: Stop once the mass is this many times that of the best support so far, so that the
            path costs a multiple of the cluster, whatever the graph. Around a seed conductance
            often rises tenfold in mass before it falls to that of the cluster (seen on Cora).
        explored: Never stop below this mass, which milliseconds can try.
        tolerance: Of each step.
    """

    least: float = 200.0
    growth: float = 1.5
    most: float = 0.7
    beyond: float = 16.0
    explored: float = 50_000.0
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        if not (self.least > 0 and self.growth > 1 and self.beyond >= 1):
            raise ValueError(f"least must be positive, growth above 1, beyond at least 1: {self}")
        if not (0 < self.most <= 1 and 0 < self.tolerance < 1):
            raise ValueError(f"most must be in (0, 1], tolerance in (0, 1): {self}")


def follow_path(run: FlowRun, path: MassPath) -> Diffused:
    """Try masses on a fresh run; the answer of smallest weighted conductance.

    Cut and volume of a support S are sums of the weights that the diffusion sees. Conductance is
    ``cut_w(S) / (vol_w(S) min(1, (vol(V) - vol(S)) / vol(S)))``: the weighted volume of the rest of
    the graph is not known without reading it, and taken as proportional to its volume.

    A component too small for the first mass is filled to `path.most` instead, and one that fills up
    on the way ends the path. A budget ends it too; the best step so far is the answer.

    Raises:
        ValueError: See `FlowRun`.
    """
    total = run.adjacency.total_volume
    mass = min(max(path.least, 4.0 * run.seed_volume), path.most * total)
    best, best_mass, best_x, stopped_by, tried = np.inf, mass, run.x.copy(), "", 0
    while not stopped_by and mass <= min(
        path.most * total, max(path.explored, path.beyond * best_mass)
    ):
        try:
            run.add_mass(mass - run.source_mass)
            stopped_by = run.solve(tolerance=path.tolerance)
        except OverfullError as full:
            if tried:
                break
            # what the component holds is known now
            run.restart(path.most * full.component.volume)
            stopped_by = run.solve(tolerance=path.tolerance)
            mass = np.inf
        tried += 1
        found = _conductance(run)
        if found < best or tried == 1:
            best, best_mass, best_x = found, run.source_mass, run.x.copy()
        mass *= path.growth
    run.restart(best_mass, x=best_x)
    if not stopped_by:
        stopped_by = run.solve()
    note = f"mass {best_mass:.6g} found by weighted conductance among {tried}"
    answer = run.diffused(notes=(note,))
    return replace(answer, stopped_by=stopped_by, converged=answer.converged and not stopped_by)


def _conductance(run: FlowRun) -> float:
    sub, total = run.subgraph, run.adjacency.total_volume
    volume, weighted_volume, cut = compiled.support_cut(run.x, sub, run.weighting.epsilon)
    rest = min(1.0, (total - volume) / volume) if volume > 0 else 0.0
    return cut / (weighted_volume * rest) if weighted_volume * rest > 0 else np.inf
