"""K independent logistic problems, each over the rows of its own class, without an N x K matrix."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multimodal.probe import RowFolds
from multimodal.rows import Rows

# float64 numbers of the rows fitted at once: 128 MB
BATCH_NUMBERS = 16_000_000
# padding a class in a batch up to the largest there may cost this much of the smallest
MOST_PADDING = 1.25
# training rows shared by the classes, and what each may have at least
MOST_ROWS = 200_000
FEWEST_ROWS = 200
# float32 numbers of one block of scores: 64 MB
BLOCK_NUMBERS = 16_000_000
ADAM_DECAY = (0.9, 0.999)
ADAM_FLOOR = 1e-8


@dataclass(frozen=True)
class LogisticSettings:
    """How the problems are fitted.

    Attributes:
        steps: Steps of Adam over all of a class's rows, at least 1.
        learning_rate: Of Adam, > 0. Of 0.01 to 1, 0.01 foretold held-out pseudo-labels best
            (fashion2k, MobileNetV2 features, labels replaced at random); more overfits.
        most_per_class: Training rows of one class, those with the smallest hashes; None: 200,000
            shared by the classes, at least 200 each.
    """

    steps: int = 200
    learning_rate: float = 0.01
    most_per_class: int | None = None

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.learning_rate > 0:
            raise ValueError(
                "want steps of at least 1 and a positive learning_rate, got"
                f" {self.steps} and {self.learning_rate}"
            )
        if self.most_per_class is not None and self.most_per_class < 1:
            raise ValueError(f"most_per_class must be at least 1, got {self.most_per_class}")

    def cap(self, n_classes: int) -> int:
        """Most training rows of one class."""
        return self.most_per_class or max(FEWEST_ROWS, MOST_ROWS // max(n_classes, 1))


@dataclass(frozen=True, eq=False)
class ClassLogistic:
    """``h_ik = sigmoid(<f_i, weight_k> + bias_k)``, one model per fold.

    Attributes:
        weight: ``[F, K, D]`` float32; its length is the scale a_k, its direction the prototype c_k.
        bias: ``[F, K]`` float32; NaN for a class without training rows outside the fold.
        two_sided: Whether those rows were of both kinds ``[F, K]``; a class that has seen one kind
            only says the same to every row.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    two_sided: NDArray[np.bool_]

    def own(self, rows: Rows, classes: NDArray[np.int64], folds: RowFolds) -> NDArray[np.float32]:
        """Logits ``[N]`` float32 of each row's own class by the model of its fold.

        Args:
            rows: ``[N, D]``.
            classes: ``[N]``, -1 for none.
            folds: Of the rows.

        Returns:
            NaN without a class, or where the class has no model.
        """
        answer = np.full(len(rows), np.nan, np.float32)
        for start, block in rows.blocks():
            here = slice(start, start + len(block))
            told = np.flatnonzero(classes[here] >= 0)
            fold, one = folds.fold[here][told], classes[here][told]
            logits = np.einsum("nd,nd->n", block[told], self.weight[fold, one])
            answer[start + told] = logits + self.bias[fold, one]
        return answer

    def best(self, rows: Rows, folds: RowFolds) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The two classes of the highest logits ``[N, 2]``, and these; of equals the lower class.

        Only classes whose model has seen both kinds of rows compete. Blocks of rows: never
        ``N x K``.

        Returns:
            Classes, -1 where fewer compete, and logits, -inf there.
        """
        n_classes = self.bias.shape[1]
        classes = np.full((len(rows), 2), -1, np.int64)
        logits = np.full((len(rows), 2), -np.inf, np.float32)
        size = max(1, min(16_384, BLOCK_NUMBERS // n_classes))
        shift = np.where(self.two_sided, self.bias, -np.inf)
        for start, block in rows.blocks(size):
            fold = folds.fold[start : start + len(block)]
            for one in np.unique(fold):
                here = np.flatnonzero(fold == one)
                scores = block[here] @ self.weight[one].T + shift[one]
                for place in range(min(2, n_classes)):
                    first = scores.argmax(axis=1)
                    value = scores[np.arange(len(here)), first]
                    known = np.isfinite(value)
                    classes[start + here[known], place] = first[known]
                    logits[start + here[known], place] = value[known]
                    scores[np.arange(len(here)), first] = -np.inf
        return classes, logits


def fit_class_logistic(
    rows: Rows,
    classes: NDArray[np.int64],
    targets: NDArray[np.floating],
    n_classes: int,
    *,
    folds: RowFolds,
    settings: LogisticSettings | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> ClassLogistic:
    """Minimise ``mean_i BCE(sigmoid(<f_i, w_k> + b_k), t_i)`` over the rows of each class k.

    Only the pair of a row and its own class enters, so classes know nothing of each other; they
    are fitted in batches of classes of similar size, whose rows are read once and stay in memory
    for all steps. The models of the F folds share each reading: fold f's leaves its rows out.
    Start: zeros, where every h is 1/2. No penalty: the number of steps limits the scale.

    Args:
        rows: ``[N, D]``, finite; unit rows, for which the learning rate is meant.
        classes: Class of each row ``[N]`` int64, -1 for none.
        targets: ``[N]`` in 0..1; NaN for a row that is left out.
        n_classes: K.
        folds: Of the rows. Rows are read in the order of their keys.
        settings: See `LogisticSettings`.
        progress: Told the share of rows done.

    Raises:
        ValueError: Lengths that differ, a class or target out of range.

    Source:
        CPC-style, see `multimodal.methods.cpc`.
    """
    settings = settings or LogisticSettings()
    _check(rows, classes, targets, n_classes, folds)
    order, size = _training_rows(classes, targets, folds, settings.cap(n_classes), n_classes)
    start = np.cumsum(size) - size
    shape = (folds.n_folds, n_classes)
    weight = np.zeros((*shape, rows.shape[1]), np.float32)
    bias = np.full(shape, np.nan, np.float32)
    two_sided = np.zeros(shape, bool)
    done = 0
    for batch in _batches(size, rows.shape[1]):
        problem = _Problem(rows, targets, folds, [order[start[k] :][: size[k]] for k in batch])
        found = problem.minimise(settings)
        weight[:, batch] = found[0].transpose(1, 0, 2)
        bias[:, batch] = found[1].T
        two_sided[:, batch] = problem.two_sided().T
        done += int(size[batch].sum())
        progress(done / len(order))
    return ClassLogistic(weight, bias, two_sided)


def _check(
    rows: Rows,
    classes: NDArray[np.int64],
    targets: NDArray[np.floating],
    n_classes: int,
    folds: RowFolds,
) -> None:
    lengths = {"classes": len(classes), "targets": len(targets), "folds": len(folds)}
    for name, length in lengths.items():
        if length != len(rows):
            raise ValueError(f"{name} must have {len(rows)} rows like rows, got {length}")
    if len(classes) and not -1 <= classes.min() <= classes.max() < n_classes:
        raise ValueError(f"classes must lie in -1 .. {n_classes - 1}")
    known = targets[~np.isnan(targets)]
    if len(known) and not 0 <= known.min() <= known.max() <= 1:
        raise ValueError("targets must lie in 0 .. 1 or be NaN")


def _training_rows(
    classes: NDArray[np.int64],
    targets: NDArray[np.floating],
    folds: RowFolds,
    cap: int,
    n_classes: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to learn from by class, then key; and how many each class has ``[K]``."""
    usable = np.flatnonzero((classes >= 0) & ~np.isnan(targets))
    order = usable[np.lexsort((folds.key[usable], classes[usable]))]
    size = np.bincount(classes[order], minlength=n_classes)
    start = np.cumsum(size) - size
    rank = np.arange(len(order)) - np.repeat(start, size)
    return order[rank < cap], np.minimum(size, cap)


def _batches(size: NDArray[np.int64], width: int) -> Iterator[NDArray[np.int64]]:
    """Classes with rows, in batches of similar sizes that fit in memory together."""
    order = np.flatnonzero(size)
    order = order[np.argsort(size[order], kind="stable")]
    first = 0
    for place in range(1, len(order) + 1):
        if place < len(order):
            largest = size[order[place]]
            fits = (place - first + 1) * largest * width <= BATCH_NUMBERS
            # classes of a few rows are padded to 16 at little cost
            if fits and largest <= max(16, MOST_PADDING * size[order[first]]):
                continue
        yield order[first:place]
        first = place


class _Problem:
    """The classes of one batch, padded to one number of rows; float64 throughout.

    Adam divides gradients by their own size, so that the noise of other orders of additions would
    grow to whole steps where a gradient is nearly zero; in float64 it stays below Adam's floor.
    """

    def __init__(
        self,
        rows: Rows,
        targets: NDArray[np.floating],
        folds: RowFolds,
        members: list[NDArray[np.int64]],
    ) -> None:
        longest = max(map(len, members))
        self.features = torch.zeros(len(members), longest, rows.shape[1], dtype=torch.float64)
        self.target = torch.zeros(len(members), longest, 1, dtype=torch.float64)
        # 1 where a row is part of a fold's mean; padding and a fold's own rows are not
        seen = torch.zeros(len(members), longest, folds.n_folds, dtype=torch.float64)
        for place, numbers in enumerate(members):
            here = slice(0, len(numbers))
            self.features[place, here] = torch.from_numpy(rows.gather(numbers)).double()
            self.target[place, here, 0] = torch.from_numpy(targets[numbers].astype(np.float64))
            others = folds.fold[numbers][:, None] != np.arange(folds.n_folds)
            seen[place, here] = torch.from_numpy(others.astype(np.float64))
        self.count = seen.sum(1)
        self.share = seen / self.count.clamp_min(1)[:, None]

    def two_sided(self) -> NDArray[np.bool_]:
        """Whether clean and wrong rows were seen ``[B, F]``."""
        used = self.share > 0
        above = (used & (self.target > 0.5)).any(1)
        below = (used & (self.target < 0.5)).any(1)
        return (above & below).numpy()

    def gradient(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Of the mean cross-entropies by ``[B, D, F]`` weights and ``[B, F]`` biases."""
        logits = torch.bmm(self.features, weight) + bias[:, None]
        residual = (torch.sigmoid(logits) - self.target) * self.share
        return torch.bmm(self.features.transpose(1, 2), residual), residual.sum(1)

    def minimise(
        self, settings: LogisticSettings
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights ``[B, F, D]`` and biases ``[B, F]``, NaN where nothing was seen."""
        n_problems, _, width = self.features.shape
        n_folds = self.count.shape[1]
        parts = [
            torch.zeros(n_problems, width, n_folds, dtype=torch.float64),
            torch.zeros(n_problems, n_folds, dtype=torch.float64),
        ]
        means = [torch.zeros_like(part) for part in parts]
        squares = [torch.zeros_like(part) for part in parts]
        first, second = ADAM_DECAY
        for step in range(1, settings.steps + 1):
            for part, mean, square, slope in zip(
                parts, means, squares, self.gradient(*parts), strict=True
            ):
                mean.mul_(first).add_(slope, alpha=1 - first)
                square.mul_(second).addcmul_(slope, slope, value=1 - second)
                size = (square / (1 - second**step)).sqrt_().add_(ADAM_FLOOR)
                part.addcdiv_(mean, size, value=-settings.learning_rate / (1 - first**step))
        bias = parts[1].masked_fill(self.count == 0, torch.nan)
        return parts[0].transpose(1, 2).float().numpy(), bias.float().numpy()
