"""Flow diffusion that prefers, at larger p, flows that no single edge carries too much of."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphnoise.flow_diffusion import compiled
from graphnoise.flow_diffusion.engine import FlowRun, FlowSettings
from graphnoise.flow_diffusion.labelled import check_epsilon, with_labels
from graphnoise.flow_diffusion.p_norm_steps.compiled import masses, push_rounds
from graphnoise.flow_diffusion.p_norm_steps.newton import N_STATE, newton_arrays
from graphnoise.flow_diffusion.p_norm_steps.newton.compiled import (
    CALM,
    FAILED,
    TOO_FAR,
    newton_round,
)
from graphnoise.local_clusters.adjacency import Adjacency
from graphnoise.local_clusters.base import Workspace
from graphnoise.local_clusters.cluster import Certificate, Diffused
from graphnoise.local_clusters.query import Query
from graphnoise.local_subgraph import plain_weighting

# the quadratic solution is a start and no more
QUADRATIC_TOLERANCE = 0.05
# from one norm to the next; larger steps leave conductances that are too far from the next ones
P_STEP, LEAST_STEP = 1.0, 0.1


@dataclass(frozen=True, kw_only=True)
class PNormFlowDiffusion:
    """Spread mass from the seeds so that no node keeps more than its degree, at least p-norm flow.

    Solves, with q = p / (p - 1), B the signed incidences, Delta the mass on the seeds, T degrees::

        primal  min_f   1/p sum_e |f_e|^p / w_e^(p-1)    s.t.  Delta + B'f <= T
        dual    min_x>=0  1/q sum_e w_e |x_u - x_v|^q + x'(T - Delta)
        flow    f = w sign(x_u - x_v) |x_u - x_v|^(q-1)

    by way of the quadratic solution: the norm is raised in steps, and for each Newton's method goes
    on from the flow of the last. Scores are x. Nodes of positive score have a volume of at most
    the mass over ``1 - tolerance``; during the run up to twice the mass may be read.

    Costs several times what the quadratic methods do at p = 3, and about twice that at p = 4. The
    larger p, the wider the range of what edges conduct: from about 6 on, a mass that fills
    thousands of nodes can be more than doubles resolve. The run then starts over by raising one x
    after the other, which settles small clusters and on large ones ends by the edge budget; so says
    the result. Where p = 2 is meant, `FlowDiffusion` does the same.

    Attributes:
        p: At least 2 and finite; 2 is quadratic flow diffusion. The source compares 2, 4 and 8.
        tolerance: In (0, 1): a node counts as full up to ``T_i (1 + tolerance)``, and as drained,
            where ``x_i > 0``, below ``T_i (1 - tolerance)``. Below ``1e-15 **
            (1 / (p - 1))`` doubles cannot tell x apart finely enough; such a run ends by its
            budget.
        epsilon: Factor of edges whose two labels are known and differ, in [0, 1]; the default 1
            reads no labels.

    Source:
        Fountoulakis, Wang, Yang, p-norm flow diffusion for local graph clustering, ICML 2020.
    """

    p: float = 3.0
    tolerance: float = 0.05
    epsilon: float = 1.0

    default_rounding: ClassVar[str] = "support"

    def __post_init__(self) -> None:
        if not 2 <= self.p < np.inf:
            raise ValueError(f"p must be at least 2 and finite, got {self.p}")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance must be in (0, 1), got {self.tolerance}")
        check_epsilon(self.epsilon)

    def diffuse(self, adjacency: Adjacency, query: Query, workspace: Workspace) -> Diffused:
        """See `LocalMethod.diffuse`.

        Raises:
            ValueError: No mass given, or more than the seeds' component can hold; no labels
                although `epsilon` is below 1; a seed without neighbours.
        """
        if query.mass is None:
            raise ValueError("mass is needed by p-norm flow diffusion, got None")
        weighting, function = plain_weighting(), None
        if self.epsilon < 1:
            if query.labels is None:
                raise ValueError(f"labels are needed where epsilon is {self.epsilon}, got None")
            weighting = with_labels(weighting, query, self.epsilon)
            function = query.labels.function
        run = _PNormRun(
            adjacency, weighting, workspace, query.seeds,
            settings=FlowSettings(tolerance=self.tolerance), label_function=function,
            budget=query.budget,
        )  # fmt: skip
        run.p = self.p
        run.add_mass(query.mass)
        run.solve()
        return run.diffused(notes=run.notes())


class _PNormRun(FlowRun):
    """A flow run that goes on from the quadratic solution to that of another norm."""

    p = 2.0
    # the norm that x solves, or is being solved for
    _now = 2.0
    # the last norm that nearly every condition held for
    _before = 2.0
    _by_pushes = False

    def notes(self) -> tuple[str, ...]:
        """What to know of a run that a budget ended before its norm was reached."""
        if self._now == self.p:
            return ()
        return (f"the budget ended the run on its way to p = {self.p:g}, at p = {self._now:g}",)

    def certificate(self) -> Certificate:
        """As of the quadratic flow: the gap is ``sum x_i (T_i - m_i)`` for every p."""
        self._counts[compiled.VISITS] += masses(
            1.0 / (self.p - 1.0), self.weighting.epsilon, self._counts[compiled.SEEDS], self._sub,
            self._flow,
        )  # fmt: skip
        found = compiled.conditions(self._flow.x, self._flow.mass, self._sub.degree, self._n)
        return Certificate("flow", *found)

    def _advance(self, tolerance: float, last_visit: int) -> int:
        if self._by_pushes:
            return self._push(tolerance, last_visit)
        if self._now > 2.0:
            return self._newton(tolerance, last_visit)
        enough = tolerance if self.p == 2.0 else max(tolerance, QUADRATIC_TOLERANCE)
        status = super()._advance(enough, last_visit)
        if status != compiled.DONE or self.p == 2.0:
            return status
        self._now = min(self._now + P_STEP, self.p)
        self._state = np.zeros(N_STATE, np.int64)
        return compiled.SLICE_USED

    def _newton(self, tolerance: float, last_visit: int) -> int:
        status = newton_round(
            self._now, tolerance, self.label_function is not None, last_visit,
            self.adjacency.arrays, self.weighting, self._sub, self._flow,
            newton_arrays(self._workspace, self._sub, self._state),
        )  # fmt: skip
        if status == TOO_FAR and self._now - self._before > LEAST_STEP:
            self._now = 0.5 * (self._before + self._now)
            return compiled.SLICE_USED
        if status in (TOO_FAR, FAILED):
            self.restart(self.source_mass)
            compiled.list_unsettled(tolerance, self._sub, self._flow)
            self._now, self._by_pushes = self.p, True
            return compiled.SLICE_USED
        if self._now == self.p:
            return compiled.SLICE_USED if status == CALM else int(status)
        if status in (CALM, compiled.DONE):
            self._before, self._now = self._now, min(self._now + P_STEP, self.p)
            return compiled.SLICE_USED
        return int(status)

    def _push(self, tolerance: float, last_visit: int) -> int:
        return int(
            push_rounds(
                1.0 / (self.p - 1.0), tolerance, self.label_function is not None, last_visit,
                self.adjacency.arrays, self.weighting, self._sub, self._flow,
            )
        )  # fmt: skip
