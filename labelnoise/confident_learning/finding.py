"""The whole of confident learning on arrays in memory."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelnoise.confident_learning.probabilities import TopProbabilities, as_dense
from labelnoise.confident_learning.pruning import FILTERS
from labelnoise.confident_learning.states import JointState, ThresholdState


def count_joint(labels: ArrayLike, probs: ArrayLike | TopProbabilities) -> JointState:
    """Both passes over one set of samples.

    Args:
        labels: Given labels ``[N]`` in ``0 .. K-1``.
        probs: Out-of-sample probabilities ``[N, K]`` float32 or float64 in 0..1 (rows need not add
            up to 1), or the top m of each row.

    Returns:
        The state of the second pass: `JointState.joint`, `JointState.noise`, and what the filters
        read. Dense probabilities are kept by reference.

    Raises:
        ValueError: A shape, label or probability is out of range.
    """
    checked = probs if isinstance(probs, TopProbabilities) else as_dense(probs)
    n_classes = checked.n_classes if isinstance(checked, TopProbabilities) else checked.shape[1]
    first = ThresholdState(n_classes)
    first.update(labels, checked)
    second = JointState(first.thresholds())
    second.update(labels, checked)
    return second


def find_label_errors(
    labels: ArrayLike,
    probs: ArrayLike | TopProbabilities,
    *,
    filter_by: str = "prune_by_noise_rate",
) -> NDArray[np.bool_]:
    """Mask ``[N]`` of the labels that are probably wrong.

    On dense input the mask equals that of cleanlab's ``find_label_issues`` for every filter; ties
    for the last place of a filter fall as NumPy's default sort leaves them. From top probabilities
    a class that is not listed cannot take a sample over, so that fewer may be flagged.

    Args:
        labels: Given labels ``[N]`` in ``0 .. K-1``.
        probs: As in `count_joint`.
        filter_by: One of `FILTERS`. The default flags per pair of classes and is the most
            precise on balanced data; "both" is the most cautious.

    Raises:
        ValueError: Unknown filter, or a shape, label or probability is out of range.

    Example:
        >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.1, 0.9]]
        >>> find_label_errors([0, 0, 0, 1, 1], probs, filter_by="confident_learning")
        array([False, False,  True, False, False])
    """
    check_choice("filter_by", filter_by, FILTERS)
    return FILTERS[filter_by](count_joint(labels, probs))


def check_choice(name: str, value: str, choices: Mapping[str, object]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {list(choices)}, got {value!r}")
