"""Estimate P(given | true) from predictions and given labels, with no clean label."""

import torch
from torch import Tensor


def confident_joint(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Counts C[i, j] of samples truly i and given as j, as far as the predictions can tell.

    The threshold of class i is the mean probability of i among samples given as i. A sample counts
    as truly i where its probability of i reaches the threshold (the largest such wins). Counts of
    each given class are then rescaled to its size, so that samples without a confident class do
    not bias the rates.

    `labelnoise.confident_learning` counts otherwise, as cleanlab does, and is no substitute here:
    it takes the argmax of all classes where several pass, puts at least one sample on the
    diagonal, rounds to whole samples, and works on NumPy arrays only.

    Args:
        probabilities: ``[M, K]``, of samples the model was not trained on: a model that has
            learned the wrong labels finds none.
        labels: Given labels ``[M]`` in ``0 .. K-1``.

    Returns:
        ``[K, K]``, true class first.

    Source:
        Northcutt, Jiang and Chuang, "Confident Learning", JAIR 2021, section 3.1.
    """
    n_classes = probabilities.shape[1]
    given = torch.nn.functional.one_hot(labels, n_classes).to(probabilities.dtype)
    size = given.sum(dim=0)
    threshold = (given * probabilities).sum(dim=0) / size.clamp_min(1)
    # an empty class has no samples to set a threshold by: nothing is confidently in it
    threshold = torch.where(size > 0, threshold, torch.inf)
    confident = probabilities.masked_fill(probabilities < threshold, -torch.inf)
    is_true = torch.nn.functional.one_hot(confident.argmax(dim=1), n_classes).to(given.dtype)
    is_true[~confident.isfinite().any(dim=1)] = 0
    joint = is_true.T @ given
    return joint * (size / joint.sum(dim=0).clamp_min(1))


def transition_from_confident_joint(
    probabilities: Tensor, labels: Tensor, *, prior_weight: float = 0.1
) -> Tensor:
    """Rows of the `confident_joint`, normalised; arguments as there.

    Args:
        probabilities: ``[M, K]``.
        labels: ``[M]``.
        prior_weight: Adds this share of M / K samples without noise to each class; it decides the
            rows of classes that nothing was confidently found to be.

    Returns:
        ``T[i, j] = P(given = j | true = i)``, ``[K, K]``, rows sum to 1.
    """
    n_samples, n_classes = probabilities.shape
    prior = max(prior_weight, 1e-6) * max(n_samples, 1) / n_classes
    joint = confident_joint(probabilities, labels)
    counts = joint + prior * torch.eye(n_classes, dtype=joint.dtype, device=joint.device)
    return counts / counts.sum(dim=1, keepdim=True)


def noise_rate_from_confident_joint(probabilities: Tensor, labels: Tensor) -> float:
    """Share of the `confident_joint` off its diagonal; 0 where nothing is confident."""
    joint = confident_joint(probabilities, labels)
    total = float(joint.sum())
    return 1 - float(joint.diagonal().sum()) / total if total > 0 else 0.0


def transition_from_anchors(probabilities: Tensor, *, quantile: float = 0.97) -> Tensor:
    """Row i is the prediction at the sample most surely of class i: its probabilities are T[i].

    Args:
        probabilities: ``[M, K]`` of a model trained on noisy labels; labelled or not.
        quantile: Rank of the anchor among the samples by probability of i, in ``(0, 1]``. The
            paper takes .97 of the samples of CIFAR-100 and the maximum elsewhere: the very
            largest may be an outlier.

    Returns:
        ``[K, K]``, rows sum to 1 where those of `probabilities` do.

    Raises:
        ValueError: `quantile` is outside its range.

    Source:
        Patrini et al., CVPR 2017, equations 12 and 13.
    """
    if not 0 < quantile <= 1:
        raise ValueError(f"quantile must lie in (0, 1], got {quantile}")
    rank = min(int(quantile * len(probabilities)), len(probabilities) - 1)
    anchors = probabilities.argsort(dim=0, stable=True)[rank]
    return probabilities[anchors]
