"""Prototypes of noisy classes by expectation maximisation: each given label passed a channel."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# keeps the logarithm of a class nobody belongs to finite; far below any probability that matters
SMALLEST = 1e-9


@dataclass(frozen=True)
class MixtureSettings:
    """Settings of `fit_prototype_mixture`.

    Attributes:
        concentration: Inverse temperature of the cosine to a prototype, > 0. 10 to 20 suits unit
            vectors of a few hundred dimensions, whose cosines between classes differ by ~0.1.
        unlabelled_share: Length of the unlabelled rows' mean direction in a prototype, against 1
            for the labelled rows' mean; 0 lets only labelled rows build prototypes.
        n_iterations: Rounds of expectation and maximisation; the answer moves little after 10.
        expected_noise: Share of wrong labels the prior on the transition matrix believes in.
        prior_strength: Labels that prior is worth, over all classes; without it a class of 20
            labels could explain itself by any transition.
        uniform_share: Weight of equal classes in the class prior, in 0..1; the rest is the share
            of rows found in each class.
    """

    concentration: float = 20.0
    unlabelled_share: float = 0.5
    n_iterations: int = 10
    expected_noise: float = 0.3
    prior_strength: float = 50.0
    uniform_share: float = 0.5

    def __post_init__(self) -> None:
        if not self.concentration > 0:
            raise ValueError(f"concentration must be positive, got {self.concentration}")
        if not self.unlabelled_share >= 0:
            raise ValueError(f"unlabelled_share must not be negative, got {self.unlabelled_share}")
        if self.n_iterations < 1:
            raise ValueError(f"n_iterations must be at least 1, got {self.n_iterations}")
        if not 0 < self.expected_noise < 1 or not self.prior_strength > 0:
            raise ValueError(
                "want expected_noise in (0, 1) and prior_strength > 0, got"
                f" {self.expected_noise} and {self.prior_strength}"
            )
        if not 0 <= self.uniform_share <= 1:
            raise ValueError(f"uniform_share must lie in 0 .. 1, got {self.uniform_share}")


@dataclass(frozen=True)
class PrototypeMixture:
    """A fitted mixture.

    Attributes:
        probabilities: P(true class | features) ``[N, K]``; a row's own given label has no say
            beyond its part in the prototypes.
        corrected: P(true class | features, given label) ``[N, K]``; equal to `probabilities`
            where no label is given.
        prototypes: Unit vectors ``[K, D]``; zeros for a class without a labelled row.
        transition: P(given = j | true = i) ``[K, K]``.
        class_prior: ``[K]``.
    """

    probabilities: Tensor
    corrected: Tensor
    prototypes: Tensor
    transition: Tensor
    class_prior: Tensor


def fit_prototype_mixture(
    features: Tensor, labels: Tensor, n_classes: int, settings: MixtureSettings | None = None
) -> PrototypeMixture:
    """Class prototypes from labels of which an unknown part is wrong, and from unlabelled rows.

    The model: a row x of true class z points roughly along the prototype of z,
    ``p(x | z = k) ~ exp(concentration * <x, c_k>)``, and its given label was drawn from row z of a
    transition matrix T. Expectation gives every row its class probabilities, with the factor
    ``T[k, given]`` where a label is given. Maximisation re-estimates T (with a Dirichlet prior),
    the class prior, and the prototypes: the mean direction of the labelled rows weighted by their
    corrected class, plus `MixtureSettings.unlabelled_share` times that of the unlabelled rows
    weighted by the square of theirs, so that unsure rows count little.

    Args:
        features: ``[N, D]``, any float dtype, rows of length 1 (rows of zeros are allowed).
        labels: ``[N]`` int64 in ``0 .. n_classes - 1``, or -1 where none is given.
        n_classes: Number of classes K, at least 2. A class without a labelled row gets
            probability 0 everywhere.
        settings: See `MixtureSettings`.

    Returns:
        See `PrototypeMixture`. Memory ``O(N K + K D)`` beside the features.

    Raises:
        ValueError: Shapes disagree, a label is out of range, or no row is labelled.

    Source:
        Ours. The channel between true and given label is that of Dawid and Skene (1979); class
        directions as in mixtures of von Mises-Fisher distributions (Banerjee et al., JMLR 2005).
    """
    settings = settings or MixtureSettings()
    _check(features, labels, n_classes)
    rows = (labels >= 0).nonzero().squeeze(1)
    given = labels[rows]
    known = features[rows]
    one_hot = functional.one_hot(given, n_classes).to(features.dtype)
    present = one_hot.sum(0) > 0
    prior_rows = _prior_transition(n_classes, settings, features)
    transition, class_prior = prior_rows, torch.full_like(prior_rows[0], 1 / n_classes)
    prototypes = functional.normalize(one_hot.T @ known, dim=1)
    for _ in range(settings.n_iterations):
        free, corrected = _expect(
            features, prototypes, transition, class_prior, present, rows, given, settings
        )
        class_prior = _class_prior(free, corrected, rows, settings)
        transition = _transition(corrected, one_hot, prior_rows, settings)
        prototypes = _prototypes(features, known, free, corrected, rows, settings)
        prototypes = prototypes * present[:, None]
    free, corrected = _expect(
        features, prototypes, transition, class_prior, present, rows, given, settings
    )
    return PrototypeMixture(
        free, free.index_copy(0, rows, corrected), prototypes, transition, class_prior
    )


def _expect(
    features: Tensor,
    prototypes: Tensor,
    transition: Tensor,
    class_prior: Tensor,
    present: Tensor,
    rows: Tensor,
    given: Tensor,
    settings: MixtureSettings,
) -> tuple[Tensor, Tensor]:
    logits = settings.concentration * (features @ prototypes.T) + class_prior.log()
    logits = logits.masked_fill(~present, float("-inf"))
    channel = (transition[:, given].T + SMALLEST).log()
    return logits.softmax(1), (logits[rows] + channel).softmax(1)


def _class_prior(
    free: Tensor, corrected: Tensor, rows: Tensor, settings: MixtureSettings
) -> Tensor:
    found = (free.sum(0) - free[rows].sum(0) + corrected.sum(0)) / len(free)
    uniform = settings.uniform_share / len(found)
    return ((1 - settings.uniform_share) * found + uniform).clamp_min(SMALLEST)


def _prior_transition(n_classes: int, settings: MixtureSettings, features: Tensor) -> Tensor:
    off = settings.expected_noise / (n_classes - 1)
    prior = torch.full((n_classes, n_classes), off, dtype=features.dtype, device=features.device)
    return prior.fill_diagonal_(1 - settings.expected_noise)


def _transition(
    corrected: Tensor, one_hot: Tensor, prior_rows: Tensor, settings: MixtureSettings
) -> Tensor:
    counts = corrected.T @ one_hot
    weight = settings.prior_strength / len(prior_rows)
    return (counts + weight * prior_rows) / (counts.sum(1, keepdim=True) + weight)


def _prototypes(
    features: Tensor,
    known: Tensor,
    free: Tensor,
    corrected: Tensor,
    rows: Tensor,
    settings: MixtureSettings,
) -> Tensor:
    labelled = functional.normalize(corrected.T @ known, dim=1)
    if settings.unlabelled_share == 0:
        return labelled
    weights = free.square().index_fill(0, rows, 0.0)
    unlabelled = functional.normalize(weights.T @ features, dim=1)
    return functional.normalize(labelled + settings.unlabelled_share * unlabelled, dim=1)


def _check(features: Tensor, labels: Tensor, n_classes: int) -> None:
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(
            f"want features [N, D] and labels [N], got {tuple(features.shape)} and"
            f" {tuple(labels.shape)}"
        )
    if n_classes < 2:
        raise ValueError(f"n_classes must be at least 2, got {n_classes}")
    if not len(labels) or int(labels.max()) < 0:
        raise ValueError("labels must give at least one row a class, found none")
    if int(labels.min()) < -1 or int(labels.max()) >= n_classes:
        raise ValueError(
            f"labels must lie in -1 .. {n_classes - 1}, found {int(labels.min())} .."
            f" {int(labels.max())}"
        )
