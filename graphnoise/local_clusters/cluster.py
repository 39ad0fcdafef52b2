"""What a local query returns, and the proof that comes with it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from graphnoise.local_subgraph import Subgraph


@dataclass(frozen=True)
class Certificate:
    """How far an answer can be from the exact one; recomputed from the answer, never carried over.

    Attributes:
        kind: "flow" (optimality conditions of a diffusion) or "pagerank" (residual of a push).
        excess: Largest relative violation of a capacity, ``max (m_i - T_i)+ / T_i``; for
            "pagerank" the largest ``|r_i| / d_i``, which bounds the error of every ``p_i / d_i``.
        slack: Largest ``|m_i - T_i| / T_i`` over nodes with ``x_i > 0``; 0 for "pagerank".
        negative: Largest ``-x_i``; 0 where the answer is non-negative, as it must be.
        gap: Primal minus dual objective, signed; meaningful with `excess` only. NaN where the
            method has none.
    """

    kind: str
    excess: float
    slack: float
    negative: float
    gap: float

    def within(self, tolerance: float) -> bool:
        """Whether every condition holds to the tolerance."""
        return max(self.excess, self.slack, self.negative) <= tolerance


@dataclass(frozen=True, eq=False)
class SweepProfile:
    """Conductance of each prefix of the nodes in descending order of score.

    Attributes:
        size, volume, cut, conductance: ``[k]``; entry s belongs to the first s + 1 nodes.
    """

    size: NDArray[np.int64]
    volume: NDArray[np.float64]
    cut: NDArray[np.float64]
    conductance: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Diffused:
    """What a diffusion hands to the rounding: scores over the subgraph it has reached.

    Valid until the workspace serves the next query. Every node of positive score is expanded.

    Attributes:
        subgraph: Reached nodes, their rows and labels.
        score: ``[n]`` float64 over its ``n = used[NODES]`` nodes, not negative; what nodes are
            ranked by.
        mass: ``[n]`` float64, the mass at each node at the end.
        source_mass: What was put on the seeds, in units of volume; 1 for PageRank.
        certificate: Of this answer.
        edges: Edge visits, repeated ones counted.
        converged: Whether the tolerance was reached within the budget.
        stopped_by: "", or the budget that ended the run: "max_volume", "max_edges", "timeout".
        notes: What the caller should know, in words.
        touched_before: Nodes that an earlier run for the same query had reached.
    """

    subgraph: "Subgraph"
    score: NDArray[np.float64]
    mass: NDArray[np.float64]
    source_mass: float
    certificate: Certificate
    edges: int
    converged: bool
    stopped_by: str = ""
    notes: tuple[str, ...] = ()
    touched_before: int = 0


@dataclass(frozen=True, eq=False)
class Cluster:
    """The cluster around a seed.

    Attributes:
        nodes: The caller's ids ``[c]``, highest score first.
        score: ``[c]`` float64; larger is closer to the seed. 0 for members that only their
            labels brought in.
        seeds: The caller's ids ``[S]``.
        conductance: ``cut / min(volume, total volume - volume)`` of `nodes`, by the graph's own
            weights; NaN where the cluster is the whole graph.
        volume: Sum of degrees of `nodes`.
        mass: Source mass, in units of volume.
        sweep: Profile over all scored nodes.
        touched: Nodes whose number or degree was read, by the run that read most of them.
        edges: Edge visits, repeated ones counted.
        certificate: How exact the diffusion is.
        converged: False where a budget ended the run; the cluster is then the best so far.
        stopped_by: Which budget, or "".
        method, rounding: What made it.
        settings: Of the method.
        seconds: Wall time of the query, compilation excluded.
        labels: Label of each member ``[c]`` int8: 1, 0, -1 unknown; None where none were used.
        notes: What the caller should know: labels that may hurt, mass that was lowered, ...
    """

    nodes: NDArray[Any]
    score: NDArray[np.float64]
    seeds: NDArray[Any]
    conductance: float
    volume: float
    mass: float
    sweep: SweepProfile
    touched: int
    edges: int
    certificate: Certificate
    converged: bool
    stopped_by: str
    method: str
    rounding: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = float("nan")
    labels: NDArray[np.int8] | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        seeds = ", ".join(repr(seed) for seed in self.seeds[:3].tolist())
        more = ", ..." if len(self.seeds) > 3 else ""
        state = "converged" if self.converged else f"stopped by {self.stopped_by or 'tolerance'}"
        return (
            f"Cluster({len(self.nodes)} nodes around {seeds}{more}; {self.method}, conductance"
            f" {self.conductance:.4g}, {state})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as lists, numbers and strings; None for what is not a finite number."""
        found: dict[str, Any] = {}
        for key, value in vars(self).items():
            if isinstance(value, Certificate):
                value = asdict(value)
            elif isinstance(value, SweepProfile):
                value = vars(value)
            found[key] = _plain(value)
        return found

    def to_json(self) -> str:
        """`to_dict` as JSON; ids that JSON does not know are written as text."""
        return json.dumps(self.to_dict(), allow_nan=False, default=str)

    def to_frame(self) -> "pd.DataFrame":
        """One row per member, highest score first: ``id``, ``score``, and ``label`` if known."""
        import pandas as pd

        frame = pd.DataFrame({"id": self.nodes, "score": self.score})
        if self.labels is not None:
            frame["label"] = self.labels
        return frame


def _plain(value: Any) -> Any:
    """Containers and arrays as lists and dicts, floats that JSON cannot hold as None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not isfinite(value) else value
