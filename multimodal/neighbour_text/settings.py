"""Settings of the visual graph and of text smoothing, with the paper's values beside ours."""

from dataclasses import dataclass
from typing import Any

GRAPHS = ("cosine", "local", "global")
EDGE_WEIGHTS = ("similarity", "cosine", "distance")
DISTANCE_SCALES = ("fixed", "column_max")
SMALL_POOLS = ("error", "warn")
ZERO_ROWS = ("own_text", "zero")
EMPTY_TEXTS = ("missing", "blank")


def check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise ValueError, naming the argument, unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {list(allowed)}, got {value!r}")


def check_range(name: str, value: float, low: float, high: float | None = None) -> None:
    """Raise ValueError, naming the argument, unless ``low <= value <= high``."""
    if not value >= low or (high is not None and not value <= high):
        wanted = f"at least {low}" if high is None else f"in {low} .. {high}"
        raise ValueError(f"{name} must be {wanted}, got {value}")


@dataclass(frozen=True)
class GraphSettings:
    """How the visual neighbour graph is built.

    Defaults are ours; `GraphSettings.paper()` gives what was released with the paper, noted in
    brackets. Re-ranking helps matching, not the graph (measured on a simulated crawl), so the
    default takes the plain nearest neighbours.

    Args:
        graph: "cosine": the nearest by cosine. "local": the nearest `pool` by cosine, re-ranked
            per sample among themselves. "global": re-ranked by reciprocal neighbours in the whole
            corpus. [local]
        kept: Neighbours kept per sample. [5; 10 for multi-label]
        pool: Nearest by cosine that re-ranking chooses from. [20; 40 for multi-label]
        count_self: Whether `kept` and `pool` count the sample itself, which then stands twice in
            its local pool. [True]
        edge_weight: "similarity": ``max(0, 1 - d)``; "cosine": ``max(0, cos)``; "distance":
            ``d`` clipped to 0 .. 1, so that farther neighbours count more. ``d`` is the final
            re-ranked distance, ``1 - cos`` where nothing is re-ranked. [distance]
        k1: Reciprocal neighbours of re-ranking. [20]
        k2: Neighbours that a descriptor is averaged over. [6]
        trade_off: Share of the original distance in the final one. [0.3]
        distance_scale: "fixed": squared distance of unit rows / 4. "column_max": divided by the
            largest distance of its row, so that one outlier rescales. [column_max]
        small_pool: What to do when the pool of a local graph is smaller than ``2 * k1``, so that
            (almost) all of it are reciprocal neighbours: "error" or "warn". [warn]

    Raises:
        ValueError: A value outside these; or ``pool < 2 * k1`` when that is an error.

    Source:
        Qin et al., "CAPro", NeurIPS 2023; re-ranking of Zhong et al., CVPR 2017.
    """

    graph: str = "cosine"
    kept: int = 20
    pool: int = 40
    count_self: bool = False
    edge_weight: str = "similarity"
    k1: int = 20
    k2: int = 6
    trade_off: float = 0.3
    distance_scale: str = "fixed"
    small_pool: str = "error"

    def __post_init__(self) -> None:
        check_choice("graph", self.graph, GRAPHS)
        check_choice("edge_weight", self.edge_weight, EDGE_WEIGHTS)
        check_choice("distance_scale", self.distance_scale, DISTANCE_SCALES)
        check_choice("small_pool", self.small_pool, SMALL_POOLS)
        check_range("kept", self.kept, 1 + self.count_self)
        for name in ("k1", "k2"):
            check_range(name, getattr(self, name), 1)
        check_range("trade_off", self.trade_off, 0, 1)
        if self.graph != "cosine":
            check_range("pool", self.pool, self.kept)
            if self.pool_is_small and self.small_pool == "error":
                raise ValueError(f"pool must be at least 2 * k1 = {2 * self.k1}, got {self.pool}")
        if self.graph == "global" and self.distance_scale == "column_max":
            raise ValueError("distance_scale must be 'fixed' for graph 'global', got 'column_max'")

    @property
    def pool_is_small(self) -> bool:
        """Whether local re-ranking is asked for in a pool where reciprocity says nothing."""
        return self.graph == "local" and self.pool < 2 * self.k1

    @property
    def n_neighbours(self) -> int:
        """Real neighbours per sample that must be searched for."""
        wanted = (self.kept if self.graph == "cosine" else self.pool) - self.count_self
        return max(wanted, self.k1) if self.graph == "global" else wanted

    @classmethod
    def paper(cls, *, multi_label: bool = False) -> "GraphSettings":
        """What was released with the paper: WebVision and Google500, or NUS-WIDE."""
        pool, kept = (40, 10) if multi_label else (20, 5)
        released: dict[str, Any] = {
            "edge_weight": "distance",
            "distance_scale": "column_max",
            "small_pool": "warn",
        }
        return cls(graph="local", kept=kept, pool=pool, count_self=True, **released)


@dataclass(frozen=True)
class TextSettings:
    """How texts are smoothed over the visual graph.

    Args:
        own_text_weight: Weight of the sample's own text beside the mean over its neighbours,
            which has weight 1; in 0 .. 1. 0.3 ranks clean labels best in a simulated crawl. [0:
            the own text is replaced]
        zero_rows: A sample none of whose neighbours has weight: "own_text" gives it its own text
            alone, or no text evidence if it has none; "zero" a row of zeros unless the own text
            has weight. [zero]
        empty_text: "missing": an empty text has no weight anywhere. "blank": it counts as any
            other, with whatever vector the encoder gives it. [blank]

    Raises:
        ValueError: A value outside these.
    """

    own_text_weight: float = 0.3
    zero_rows: str = "own_text"
    empty_text: str = "missing"

    def __post_init__(self) -> None:
        check_range("own_text_weight", self.own_text_weight, 0, 1)
        check_choice("zero_rows", self.zero_rows, ZERO_ROWS)
        check_choice("empty_text", self.empty_text, EMPTY_TEXTS)

    @classmethod
    def paper(cls) -> "TextSettings":
        """What was released with the paper."""
        return cls(own_text_weight=0.0, zero_rows="zero", empty_text="blank")
