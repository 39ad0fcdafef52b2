"""What the labels of the nearest neighbours say about a label, each class by its share."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from multimodal.neighbour_votes import compiled

# keeps the division by the size of an empty class finite
SMALLEST_CLASS = 1e-9


@dataclass(frozen=True, eq=False)
class Votes:
    """Votes of k neighbours, as shares ``c_k / sum c`` of the balanced votes of all classes.

    Attributes:
        given: Share of the given class ``[N]``; NaN without a given label or a voter.
        best: Class with the most votes ``[N]``, the lowest of equals; -1 where nobody votes.
        best_share: Its share ``[N]``.
        second_share: Share of the class after it ``[N]``; 0 where all vote for one.
    """

    given: NDArray[np.float64]
    best: NDArray[np.int64]
    best_share: NDArray[np.float64]
    second_share: NDArray[np.float64]

    def ratio(self) -> NDArray[np.float64]:
        """SSR's ``c(y) / max_k c(k)`` ``[N]``: 1 where no class has more votes than the given."""
        with np.errstate(invalid="ignore"):
            return self.given / self.best_share

    def quality(self) -> NDArray[np.float64]:
        """``c(y) / (c(y) + max over other k of c(k))`` ``[N]``, NaN as `given`.

        In the order of the ratio where that is below 1 (0.5 there), and it goes on above.
        """
        with np.errstate(invalid="ignore"):
            other = np.where(self.given < self.best_share, self.best_share, self.second_share)
            return self.given / (self.given + other)

    def lead(self) -> NDArray[np.float64]:
        """``c(best) / (c(best) + c(second))`` ``[N]``: 0.5 for a tie, 1 if all agree; NaN: none."""
        with np.errstate(invalid="ignore"):
            return self.best_share / (self.best_share + self.second_share)


def count_votes(
    neighbours: NDArray[np.int64],
    labels: NDArray[np.int64],
    n_classes: int,
    *,
    similarity: NDArray[np.float32] | None = None,
    given: NDArray[np.int64] | None = None,
    balanced: bool = True,
    prior_samples: float = 0.0,
) -> Votes:
    """Votes of the neighbours' labels; ``O(N k + K)``, no ``N x K``.

    ``c_i(k) = (share of class k among the neighbours) / (share of class k in the data)``.

    Args:
        neighbours: Rows ``[N, k]`` of each row's neighbours, without itself; -1 for none.
        labels: Labels ``[M]`` that vote, in ``0 .. K-1``; -1 does not vote.
        n_classes: K.
        similarity: ``[N, k]``; a vote then weighs as much as its similarity, none below 0.
            Without it all weigh the same, as published.
        given: Labels ``[N]`` that are judged; `labels` by default.
        balanced: Divide by the class's share in the data. Without, large classes win.
        prior_samples: Added to the size of every class in that share, not negative; 0 as
            published. Without it one stray neighbour of a class of two outvotes many of a class
            of hundreds.

    Raises:
        ValueError: Shapes disagree, or a label or neighbour is out of range.

    Source: SSR, BMVC 2022, in which a sample is also its own neighbour.

    Example:
        >>> votes = count_votes(np.array([[1, 2], [0, 2], [0, 1]]), np.array([0, 0, 1]), 2)
        >>> votes.best.tolist(), votes.ratio().round(2).tolist()
        ([1, 1, 0], [0.5, 0.5, 0.0])
    """
    if not prior_samples >= 0:
        raise ValueError(f"prior_samples must be 0 or more, got {prior_samples}")
    judged = labels if given is None else given
    _check(neighbours, labels, judged, n_classes, similarity)
    counts = np.bincount(labels[labels >= 0], minlength=n_classes)
    scale = np.ones(n_classes)
    if balanced:
        # shares of classes cancel but for a factor; a class without samples has no votes
        scale = 1 / np.maximum(counts + prior_samples, SMALLEST_CLASS)
    n = len(neighbours)
    votes = Votes(np.full(n, np.nan), np.full(n, -1), np.zeros(n), np.zeros(n))
    weights = np.empty((0, 0), np.float32) if similarity is None else similarity
    compiled.count_votes(
        neighbours, weights, labels, judged, scale,
        votes.given, votes.best, votes.best_share, votes.second_share,
    )  # fmt: skip
    return votes


def joined(parts: Sequence[Votes]) -> Votes:
    """Votes of consecutive blocks of rows as one; of no block, none."""
    empty = Votes(np.empty(0), np.empty(0, np.int64), np.empty(0), np.empty(0))
    columns = [[getattr(part, field.name) for part in [empty, *parts]] for field in fields(Votes)]
    return Votes(*(np.concatenate(column) for column in columns))


def _check(
    neighbours: NDArray[np.int64],
    labels: NDArray[np.int64],
    judged: NDArray[np.int64],
    n_classes: int,
    similarity: NDArray[np.float32] | None,
) -> None:
    if neighbours.ndim != 2 or len(judged) != len(neighbours):
        raise ValueError(f"neighbours must be [{len(judged)}, k], got {list(neighbours.shape)}")
    if similarity is not None and similarity.shape != neighbours.shape:
        raise ValueError(
            f"similarity must be {list(neighbours.shape)}, got {list(similarity.shape)}"
        )
    if neighbours.size and not -1 <= neighbours.min() <= neighbours.max() < len(labels):
        raise ValueError(f"neighbours must lie in -1 .. {len(labels) - 1}")
    for name, array in (("labels", labels), ("given", judged)):
        if array.size and not -1 <= array.min() <= array.max() < n_classes:
            raise ValueError(f"{name} must lie in -1 .. {n_classes - 1}")
