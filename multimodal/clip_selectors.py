"""The rules by which CLIPCleaner selects: a mixture per class, and a ratio to the best class."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from labelnoise.kernels.prototype_scores import prototype_scores
from multimodal.rows import Rows

# keeps the logarithm of a probability finite
SMALLEST_P = 1e-12
# a class with fewer samples, or all of one score, is judged by the mixture of all
FEWEST_SAMPLES = 10
# on scores in 0..1: below it a component is a point
SMALLEST_VARIANCE = 1e-4
N_STEPS = 100


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a predictor says about each row.

    Attributes:
        p_given: Probability of the given class ``[N]``, NaN without one.
        best: Likeliest class ``[N]``.
        p_best: Its probability ``[N]``.
        p_other: Largest probability of a class other than the given one ``[N]``, NaN without one.
    """

    p_given: NDArray[np.float64]
    best: NDArray[np.int64]
    p_best: NDArray[np.float64]
    p_other: NDArray[np.float64]

    def ratio(self) -> NDArray[np.float64]:
        """``p(y) / max_k p(k)`` ``[N]``, NaN without a given class."""
        return self.p_given / np.maximum(self.p_best, SMALLEST_P)

    def quality(self) -> NDArray[np.float64]:
        """``p(y) / (p(y) + max over the others)`` ``[N]``, NaN without a given class."""
        return self.p_given / np.maximum(self.p_given + self.p_other, SMALLEST_P)


def zero_shot(
    image: Rows,
    class_texts: NDArray[np.float32],
    given: NDArray[np.int64],
    *,
    temperature: float = 0.01,
) -> Prediction:
    """Softmax of the similarities to the classes' texts in one aligned space, never ``N x K``.

    Args:
        image: Unit rows ``[N, D]``.
        class_texts: Unit rows ``[K, D]``.
        given: Classes ``[N]``, -1 for none.
        temperature: Divides the similarities; 0.01 is CLIP's own after training.
    """
    parts = []
    prototypes = torch.from_numpy(np.ascontiguousarray(class_texts, np.float32))
    for start, block in image.blocks():
        found = prototype_scores(
            torch.from_numpy(np.ascontiguousarray(block)), prototypes,
            given=torch.from_numpy(given[start : start + len(block)]),
            temperature=temperature, top=1, normalise=False,
        )  # fmt: skip
        own = found.given_probability.double().numpy()
        best = found.argmax.numpy(), found.top_probability[:, 0].double().numpy()
        parts.append((own, *best, own - found.margin.double().numpy()))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Prediction(columns[0], columns[1], columns[2], np.maximum(columns[3], 0))


def high_component(scores: NDArray[np.float64], classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """P(component of the higher mean) ``[N]`` under a two-Gaussian mixture of each class.

    Scores are scaled to 0..1 inside the class. A class of fewer than 10 samples, or of one score,
    is judged by the mixture of all classes; if all have one score everything is as good: 1.

    Args:
        scores: Finite ``[N]``.
        classes: Class of each sample ``[N]``, 0 or more.
    """
    if not len(scores):
        return np.empty(0)
    n_classes = int(classes.max()) + 1
    sizes = np.bincount(classes, minlength=n_classes)
    low, high = np.full(n_classes, np.inf), np.full(n_classes, -np.inf)
    np.minimum.at(low, classes, scores)
    np.maximum.at(high, classes, scores)
    own = (sizes >= FEWEST_SAMPLES) & (high > low)
    answer = np.empty(len(scores))
    fitted = own[classes]
    if not fitted.all():
        answer = _mixtures(_scaled(scores), np.zeros(len(scores), np.int64))
    if fitted.any():
        names, groups = np.unique(classes[fitted], return_inverse=True)
        width = (high - low)[names]
        scaled = (scores[fitted] - low[names][groups]) / width[groups]
        answer[fitted] = _mixtures(scaled, groups)
    return answer


def _scaled(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    width = np.ptp(scores)
    return (scores - scores.min()) / width if width > 0 else np.zeros(len(scores))


def _mixtures(x: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Expectation and maximisation of all groups at once, started from their upper halves."""
    n_groups = int(groups.max()) + 1
    sizes = np.bincount(groups, minlength=n_groups)
    mean = np.bincount(groups, weights=x, minlength=n_groups) / sizes
    spread = np.bincount(groups, weights=(x - mean[groups]) ** 2, minlength=n_groups)
    high = (x > mean[groups]).astype(np.float64)
    if not spread.any():
        return np.ones(len(x))
    for _ in range(N_STEPS):
        before = high
        high = _expected(x, groups, n_groups, high)
        if np.abs(high - before).max() < 1e-6:
            break
    return high


def _expected(
    x: NDArray[np.float64], groups: NDArray[np.int64], n_groups: int, high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """One step: parameters from the shares, and the shares of the higher component from those."""
    logs, means = [], []
    for share in (high, 1 - high):
        weight = np.bincount(groups, weights=share, minlength=n_groups)
        total = np.maximum(weight, SMALLEST_P)
        mean = np.bincount(groups, weights=share * x, minlength=n_groups) / total
        squares = np.bincount(groups, weights=share * (x - mean[groups]) ** 2, minlength=n_groups)
        variance = np.maximum(squares / total, SMALLEST_VARIANCE)
        means.append(mean)
        density = -0.5 * ((x - mean[groups]) ** 2 / variance[groups] + np.log(variance[groups]))
        logs.append(density + np.log(total)[groups])
    odds = logs[0] - logs[1]
    # far out on the low side a wide higher component would win again
    odds = np.where(x < means[1][groups], np.minimum(odds, 0), odds)
    odds = np.where(x > means[0][groups], np.maximum(odds, 0), odds)
    answer: NDArray[np.float64] = expit(odds)
    return answer
