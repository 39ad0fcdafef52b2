"""P(label) of every sample and label, by ridge regressions that never saw the sample's labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit, logit

from multimodal.multi_label.prototypes import GivenSets, check_sets, sigmoid
from multimodal.rows import Rows

# entries that the two numbers of the link are fitted to
MOST_FIT_ENTRIES = 2_000_000


@dataclass(frozen=True, eq=False)
class LabelRegressions:
    """One linear score per fold and label, and the link from scores to probabilities.

    ``logit P = logit(frequency) + slope * z + shift`` where z is the score's distance from the
    frequency in standard deviations of the label.

    Attributes:
        weight: ``[F, D, K]`` float32, on rows as they are stored; z is linear in them.
        bias: ``[F, K]`` float32.
        prior: ``[F, K]`` float32, logit of the label's frequency in the other folds.
        slope: One number for all labels.
        shift: Likewise.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    prior: NDArray[np.float32]
    slope: float
    shift: float

    def scores(self, rows: NDArray[np.float32], fold: NDArray[np.int64]) -> NDArray[np.float32]:
        """z ``[n, K]`` of rows ``[n, D]`` by the models of their folds."""
        answer = np.empty((len(rows), self.bias.shape[1]), np.float32)
        for one in np.unique(fold):
            here = fold == one
            answer[here] = rows[here] @ self.weight[one] + self.bias[one]
        return answer

    def probabilities(
        self, rows: NDArray[np.float32], fold: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """P(label) ``[n, K]``."""
        scores = self.scores(rows, fold)
        logits = self.prior[fold] + np.float32(self.slope) * scores + np.float32(self.shift)
        return sigmoid(logits)


def fit_label_regressions(
    rows: Rows,
    given_sets: GivenSets,
    fold: NDArray[np.int64],
    n_classes: int,
    *,
    penalty: float = 0.1,
) -> LabelRegressions:
    """Ridge regression of every label on the rows of the other folds, in one reading of them.

    Memory: ``F (D^2 + D K)`` numbers. The link is fitted to out-of-fold scores of up to
    two million entries, of evenly spaced rows.

    Args:
        rows: Features ``[N, D]``.
        given_sets: Labels.
        fold: Fold of each row ``[N]``, of `multimodal.probe.stratified_folds`.
        n_classes: K.
        penalty: In units of the mean variance of the columns, > 0.
    """
    check_sets(given_sets, len(rows), n_classes)
    if fold.shape != (len(rows),):
        raise ValueError(f"fold must be [{len(rows)}], got {fold.shape}")
    if not penalty > 0:
        raise ValueError(f"penalty must be positive, got {penalty}")
    n_folds, width = int(fold.max(initial=0)) + 1, rows.shape[1]
    gram = np.zeros((n_folds, width, width))
    cross = np.zeros((n_folds, n_classes, width))
    sums = np.zeros((n_folds, width))
    positives = np.zeros((n_folds, n_classes))
    offsets, classes = given_sets
    for start, block in rows.blocks():
        stop = start + len(block)
        own = classes[offsets[start] : offsets[stop]]
        starts = offsets[start : stop + 1] - offsets[start]
        carried = csr_matrix((np.ones(len(own)), own, starts), (len(block), n_classes))
        for one in np.unique(fold[start:stop]):
            here = np.flatnonzero(fold[start:stop] == one)
            part = block[here].astype(np.float64)
            gram[one] += part.T @ part
            sums[one] += part.sum(axis=0)
            cross[one] += carried[here].T @ part
            positives[one] += carried[here].sum(axis=0).A1
    sizes = np.bincount(fold, minlength=n_folds).astype(np.float64)
    solved = [
        _solve(
            gram.sum(0) - gram[one], cross.sum(0) - cross[one], sums.sum(0) - sums[one],
            positives.sum(0) - positives[one], max(sizes.sum() - sizes[one], 1.0), penalty,
        )
        for one in range(n_folds)
    ]  # fmt: skip
    weight, bias, prior = (
        np.stack(column).astype(np.float32) for column in zip(*solved, strict=True)
    )
    return _linked(LabelRegressions(weight, bias, prior, 1.0, 0.0), rows, given_sets, fold)


def _solve(
    gram: NDArray[np.float64],
    cross: NDArray[np.float64],
    sums: NDArray[np.float64],
    positives: NDArray[np.float64],
    size: float,
    penalty: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    mean, frequency = sums / size, positives / size
    covariance = gram / size - np.outer(mean, mean)
    # rows that are all the same leave nothing to regress on, and weights of 0
    ridge = max(penalty * np.trace(covariance) / len(mean), 1e-12)
    moments = cross.T / size - np.outer(mean, frequency)
    weight = np.linalg.solve(covariance + ridge * np.eye(len(mean)), moments)
    # half a sample more on either side: no label is certain
    smooth = (positives + 0.5) / (size + 1)
    weight /= np.sqrt(smooth * (1 - smooth))
    return weight, -mean @ weight, logit(smooth)


def _linked(
    models: LabelRegressions, rows: Rows, given_sets: GivenSets, fold: NDArray[np.int64]
) -> LabelRegressions:
    """With the slope and shift under which out-of-fold scores foretell the labels best."""
    n_classes = models.bias.shape[1]
    n_rows = min(len(rows), max(200, MOST_FIT_ENTRIES // max(n_classes, 1)))
    # evenly spaced: shards may be sorted by class
    if not n_rows:
        return models
    chosen = np.unique(np.linspace(0, len(rows) - 1, n_rows).astype(np.int64))
    scores = models.scores(rows.gather(chosen), fold[chosen]).astype(np.float64)
    prior = models.prior[fold[chosen]].astype(np.float64)
    offsets, classes = given_sets
    truth = np.zeros(scores.shape)
    for place, row in enumerate(chosen):
        truth[place, classes[offsets[row] : offsets[row + 1]]] = 1

    def loss(link: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = prior + link[0] * scores + link[1]
        error = expit(logits) - truth
        value = np.logaddexp(0, logits) - truth * logits
        return value.mean(), np.array([(error * scores).mean(), error.mean()])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B")
    slope, shift = (float(number) for number in found.x)
    return LabelRegressions(models.weight, models.bias, models.prior, slope, shift)
