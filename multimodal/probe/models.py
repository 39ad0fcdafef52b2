"""What a fitted probe is: a few linear models and who may use which; read a block at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelnoise.atomic_files import replacing
from labelnoise.confident_learning import TopProbabilities
from multimodal.rows import Rows

# float32 numbers of one block of probabilities: 64 MB
BLOCK_NUMBERS = 16_000_000
MOST_BLOCK_ROWS = 16_384


@dataclass(frozen=True, eq=False)
class FoldModels:
    """Linear models of the class, one per fold, on rows as they are stored.

    Attributes:
        weight: ``[F, D, K]`` float32.
        bias: ``[F, K]`` float32; -inf for a class the model was never shown.
        penalty: Strength of the L2 penalty they were fitted with.
        held_out_loss: Penalty tried -> mean cross-entropy of the training rows' labels under the
            models that did not see them.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    penalty: float
    held_out_loss: dict[float, float]

    @property
    def n_classes(self) -> int:
        """K."""
        return self.bias.shape[1]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which classes each model was shown ``[F, K]``; others have probability 0 under it."""
        return np.isfinite(self.bias)

    def probabilities(
        self, rows: NDArray[np.float32], fold: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """P(class) ``[n, K]`` float32 of rows ``[n, D]``, each by the model of its `fold` ``[n]``.

        A model that was shown no class at all answers 1 / K.
        """
        answer = np.full((len(rows), self.n_classes), 1 / self.n_classes, np.float32)
        for one in np.unique(fold):
            if not self.known[one].any():
                continue
            here = np.flatnonzero(fold == one)
            logits = rows[here] @ self.weight[one]
            logits += self.bias[one]
            logits -= logits.max(axis=1, keepdims=True)
            np.exp(logits, out=logits)
            logits /= logits.sum(axis=1, keepdims=True)
            answer[here] = logits
        return answer

    def write(self, path: str | Path) -> None:
        """Write one ``.npz`` file, atomically."""
        tried = np.array(list(self.held_out_loss.items()), dtype=np.float64).reshape(-1, 2)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, weight=self.weight, bias=self.bias, penalty=self.penalty, held_out=tried)

    @staticmethod
    def read(path: str | Path) -> "FoldModels":
        """Read what `write` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            return FoldModels(
                stored["weight"], stored["bias"], float(stored["penalty"]),
                dict(map(tuple, stored["held_out"].tolist())),
            )  # fmt: skip


@dataclass(frozen=True, eq=False)
class ProbeSummary:
    """The numbers of each row that decisions read.

    Attributes:
        top_class: Likeliest classes ``[N, m]`` int32, likeliest first; of equals the lower number.
        top_p: Their probabilities ``[N, m]`` float32.
        p_given: Probability of the given class ``[N]`` float32, NaN without one.
        margin: ``[N]`` float32, `p_given` minus the largest other class; where no label is given,
            largest minus second.
        entropy: ``[N]`` float32, nats.
        n_classes: K.
    """

    top_class: NDArray[np.int32]
    top_p: NDArray[np.float32]
    p_given: NDArray[np.float32]
    margin: NDArray[np.float32]
    entropy: NDArray[np.float32]
    n_classes: int

    def __len__(self) -> int:
        return len(self.p_given)

    def select(self, numbers: NDArray[np.int64]) -> "ProbeSummary":
        """The rows asked for, by number or mask."""
        return ProbeSummary(
            self.top_class[numbers], self.top_p[numbers], self.p_given[numbers],
            self.margin[numbers], self.entropy[numbers], self.n_classes,
        )  # fmt: skip

    def as_top_probabilities(self) -> TopProbabilities:
        """The form confident learning reads; every row must have a given label.

        Raises:
            ValueError: A row has none.
        """
        return TopProbabilities(self.top_class, self.top_p, self.p_given, self.n_classes)


def summarised(
    probabilities: NDArray[np.float32], given: NDArray[np.int64], top: int
) -> ProbeSummary:
    """`ProbeSummary` of one block ``[n, K]`` and its given classes ``[n]`` (-1: none)."""
    n_rows, n_classes = probabilities.shape
    m = min(top, n_classes)
    order = _largest(probabilities, max(m, min(2, n_classes)))
    values = np.take_along_axis(probabilities, order, 1)
    second = values[:, 1] if n_classes > 1 else np.zeros(n_rows, np.float32)
    known = given >= 0
    own = probabilities[np.arange(n_rows), np.where(known, given, 0)]
    other = np.where(order[:, 0] == given, second, values[:, 0])
    logs = np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return ProbeSummary(
        order[:, :m].astype(np.int32),
        values[:, :m],
        np.where(known, own, np.float32(np.nan)),
        np.where(known, own - other, values[:, 0] - second),
        np.maximum(-np.einsum("nk,nk->n", probabilities, logs), 0),
        n_classes,
    )


def joined(parts: list[ProbeSummary], n_classes: int, top: int) -> ProbeSummary:
    """One summary from those of consecutive blocks; none gives an empty one."""
    if not parts:
        return summarised(np.empty((0, n_classes), np.float32), np.empty(0, np.int64), top)
    return ProbeSummary(
        np.concatenate([part.top_class for part in parts]),
        np.concatenate([part.top_p for part in parts]),
        np.concatenate([part.p_given for part in parts]),
        np.concatenate([part.margin for part in parts]),
        np.concatenate([part.entropy for part in parts]),
        n_classes,
    )


def _largest(values: NDArray[np.float32], m: int) -> NDArray[np.int64]:
    """Columns ``[n, m]`` of the m largest of each row, largest first; of equals the lower one."""
    n_classes = values.shape[1]
    if n_classes <= 4 * m:
        return np.argsort(-values, axis=1, kind="stable")[:, :m]
    # a partition breaks ties as it likes: everything that reaches the m-th value competes again
    least = -np.partition(-values, m - 1, axis=1)[:, m - 1 : m]
    rows, columns = np.nonzero(values >= least)
    order = np.lexsort((columns, -values[rows, columns], rows))
    starts = np.searchsorted(rows, np.arange(len(values)))
    return columns[order[starts[:, None] + np.arange(m)]]


@dataclass(frozen=True, eq=False)
class OutOfFoldProbe:
    """Probabilities of every row by a model that never saw the row's label.

    Holds the models and the folds; probabilities are made when they are read.

    Attributes:
        models: The models.
        rows: The rows ``[N, D]`` they are asked about.
        fold: Fold of each row ``[N]`` int64.
    """

    models: FoldModels
    rows: Rows
    fold: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.fold)

    @property
    def n_classes(self) -> int:
        """K."""
        return self.models.n_classes

    def blocks(self, size: int | None = None) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(number of the first row, probabilities ``[n, K]`` float32) of consecutive blocks.

        Args:
            size: Rows per block; by default as many as make 64 MB, at most 16,384.
        """
        size = size or max(1, min(MOST_BLOCK_ROWS, BLOCK_NUMBERS // self.n_classes))
        for start, block in self.rows.blocks(size):
            yield start, self.models.probabilities(block, self.fold[start : start + len(block)])

    def summary(self, given: NDArray[np.int64], *, top: int = 5) -> ProbeSummary:
        """The likeliest classes and the probability of the given one, row by row.

        Args:
            given: Class ``[N]``, -1 for none; need not be the labels the probe learnt from.
            top: Classes to keep per row; at most K are.
        """
        if len(given) != len(self):
            raise ValueError(f"given must have {len(self)} rows like the probe, got {len(given)}")
        if top < 1:
            raise ValueError(f"top must be at least 1, got {top}")
        parts = [
            summarised(block, given[start : start + len(block)], top)
            for start, block in self.blocks()
        ]
        return joined(parts, self.n_classes, top)
