"""What is asked of a local method, and what it may spend."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

# nodes of the graph [n] int64 -> label of each [n]: 1, 0 or -1 for unknown
LabelFunction: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.int8]]
# nodes of the graph [n] int64 -> evidence for label 1 of each [n]: its sign is the label
EvidenceFunction: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Budget:
    """Where a query stops early; it then returns the best so far and says so.

    Attributes:
        max_volume: Sum of degrees of the nodes that have spent mass.
        max_edges: Edge visits, repeated ones counted.
        timeout: Seconds of wall time.
    """

    max_volume: float | None = None
    max_edges: int | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        for key in ("max_volume", "max_edges", "timeout"):
            value = getattr(self, key)
            if value is not None and not value > 0:
                raise ValueError(f"{key} must be positive, got {value}")


@dataclass(frozen=True, eq=False)
class Labels:
    """Believed membership of nodes: an array over the graph, or a function asked for reached ones.

    Attributes:
        array: Class of each node ``[N]`` int32, negative where unknown; ``[0]`` with a function.
        target: The class of `array` that counts as label 1.
        function: Asked at most once for each node that is reached, in batches; or None.
        evidence: How strongly each label is meant, on one scale for all nodes, such as log-odds;
            None where labels are all there is.
    """

    array: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    target: int = 1
    function: LabelFunction | None = None
    evidence: EvidenceFunction | None = None


@dataclass(frozen=True, eq=False)
class Query:
    """One question, in positions of the graph, not in the caller's ids.

    Attributes:
        seeds: Distinct positions ``[S]`` int64, none isolated.
        mass: Source mass in units of volume, shared among the seeds by degree; None: the method
            finds one.
        labels: Or None.
        budget: What it may spend.
    """

    seeds: NDArray[np.int64]
    mass: float | None = None
    labels: Labels | None = None
    budget: Budget = field(default_factory=Budget)
