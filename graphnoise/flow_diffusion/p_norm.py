"""Flow diffusion that prefers, at larger p, flows that no single edge carries too much of."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphnoise.flow_diffusion.engine import FlowRun, FlowSettings
from graphnoise.flow_diffusion.labelled import check_epsilon, with_labels
from graphnoise.local_clusters.adjacency import Adjacency
from graphnoise.local_clusters.base import Workspace
from graphnoise.local_clusters.cluster import Certificate, Diffused
from graphnoise.local_clusters.query import Query
from graphnoise.local_subgraph import plain_weighting


@dataclass(frozen=True, kw_only=True)
class PNormFlowDiffusion:
    """Spread mass from the seeds so that no node keeps more than its degree, at least p-norm flow.

    Solves, with q = p / (p - 1), B the signed incidences, Delta the mass on the seeds, T degrees::

        primal  min_f   1/p sum_e |f_e|^p / w_e^(p-1)    s.t.  Delta + B'f <= T
        dual    min_x>=0  1/q sum_e w_e |x_u - x_v|^q + x'(T - Delta)
        flow    f = w sign(x_u - x_v) |x_u - x_v|^(q-1)

    by raising, first in first out, each x_i whose node holds more than T_i until it holds T_i.
    Scores are x. Nodes of positive score have a volume of at most the mass.

    The larger p, the slower: nodes whose x are close exchange mass almost freely, and then no step
    of a single one gets far. A mass that fills thousands of nodes takes 50 times as long at p = 3
    as the quadratic methods do, and at p = 4 often ends by the edge budget, unsettled; so says the
    result. Where p = 2 is meant, `FlowDiffusion` is faster.

    Attributes:
        p: At least 2 and finite; 2 is quadratic flow diffusion. The source compares 2, 4 and 8.
        tolerance: In (0, 1): a node counts as full up to ``T_i (1 + tolerance)``. Below ``1e-15 **
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
            settings=FlowSettings(tolerance=self.tolerance, order="fifo"),
            label_function=function, budget=query.budget,
        )  # fmt: skip
        run.power = 1.0 / (self.p - 1.0)
        run.add_mass(query.mass)
        run.solve()
        return run.diffused()


class _PNormRun(FlowRun):
    """A flow run whose steps and masses are those of another norm."""

    power = 1.0

    def certificate(self) -> Certificate:
        """As of the quadratic flow: the gap is ``sum x_i (T_i - m_i)`` for every p."""
        from graphnoise.flow_diffusion import compiled
        from graphnoise.flow_diffusion.p_norm_steps.compiled import masses

        self._counts[compiled.VISITS] += masses(
            self.power, self.weighting.epsilon, self._counts[compiled.SEEDS], self._sub, self._flow
        )
        found = compiled.conditions(self._flow.x, self._flow.mass, self._sub.degree, self._n)
        return Certificate("flow", *found)

    def _advance(self, tolerance: float, last_visit: int) -> int:
        from graphnoise.flow_diffusion.p_norm_steps.compiled import push_rounds

        return int(
            push_rounds(
                self.power, tolerance, self.label_function is not None, last_visit,
                self.adjacency.arrays, self.weighting, self._sub, self._flow,
            )
        )  # fmt: skip
