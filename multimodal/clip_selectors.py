"""The rules by which CLIPCleaner selects: a mixture per class, and a ratio to the best class."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from labelnoise.kernels.prototype_scores import prototype_scores
from labelnoise.two_component_mixture import MixtureFit, fit_two_components, scaled_to_unit
from multimodal.rows import Rows

# keeps the logarithm of a probability finite
SMALLEST_P = 1e-12
# a class with fewer samples, or all of one score, is judged by the mixture of all
FIT = MixtureFit(max_iter=100, tol=1e-6, reg=1e-4, fewest=10)


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
    is judged by the mixture of all classes; if that has one component everything is as good: 1.

    Args:
        scores: Finite ``[N]``.
        classes: Class of each sample ``[N]``, 0 or more.
    """
    if not len(scores):
        return np.empty(0)
    whole = scaled_to_unit(scores)
    alone = fit_two_components(whole, fit=FIT).high(whole)
    if np.isnan(alone).any():
        alone = np.ones(len(scores))
    scaled = scaled_to_unit(scores, classes)
    own = fit_two_components(scaled, classes, fit=FIT).high(scaled, classes)
    return np.where(np.isnan(own), alone, own)
