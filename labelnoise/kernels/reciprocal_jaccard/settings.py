"""Settings and results of the re-ranking, and its arguments as backends receive them."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


@dataclass(frozen=True)
class Reranking:
    """How neighbour lists are re-ranked; the values of Zhong et al. and CAPro.

    Attributes:
        k1: Neighbours, self not counted, among which reciprocity is asked. At least 1.
        k2: Nearest rows, self counted, whose descriptors are averaged; 1 leaves them as they are.
        trade_off: Share of the plain distance in the result, ``[0, 1]``; the rest is Jaccard.
        cap: Most entries of a descriptor; of more, the heaviest stay and are scaled to sum 1.
            Bounds memory at 8 bytes an entry; raise it where `Reranked.n_capped` says it bites.
    """

    k1: int = 20
    k2: int = 6
    trade_off: float = 0.3
    cap: int = 64

    def __post_init__(self) -> None:
        for name in ("k1", "k2", "cap"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.trade_off <= 1:
            raise ValueError(f"trade_off must lie in [0, 1], got {self.trade_off}")

    @property
    def half(self) -> int:
        """``round(k1 / 2)``, the neighbours of a neighbour that may be taken in."""
        return round(self.k1 / 2)


class Reranked(NamedTuple):
    """Re-ranked distances, and how many rows had a descriptor longer than the cap."""

    distance: Tensor
    n_capped: int


class Lists(NamedTuple):
    """Neighbour lists: `ids` ``[N, k]`` int64, self left out, -1 where there is none, nearest
    first; their `distance` ``[N, k]`` float; `scale` ``[N]`` float32, divides a row's distances.
    """

    ids: Tensor
    distance: Tensor
    scale: Tensor


class Groups(NamedTuple):
    """Rows ``[G + N, D]`` of length 1: each group is its query, then its gallery.

    `offsets` ``[G + 1]`` int64 are those of the groups so joined.
    """

    rows: Tensor
    offsets: Tensor
    column_max: bool
