import numpy as np
import pytest
import torch

from labelnoise.noise import flip_labels, pair_transition
from labelnoise.prototype_mixture import MixtureSettings, fit_prototype_mixture


def blobs(n_rows: int, n_classes: int, seed: int, spread: float = 0.6):
    """Unit rows around orthogonal directions, and their classes."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_classes, n_rows)
    rows = np.eye(n_classes, 12)[truth] + spread * rng.normal(size=(n_rows, 12)) / np.sqrt(12)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return torch.tensor(rows), truth


def by_hand(features, labels, n_classes, settings):
    """One iteration and the closing expectation, node by node, as the docstring says it."""
    n, k = len(features), n_classes
    rho = settings.expected_noise
    prior_row = np.full((k, k), rho / (k - 1)) + np.eye(k) * (1 - rho - rho / (k - 1))
    unit = lambda v: v / np.linalg.norm(v) if np.linalg.norm(v) > 0 else v  # noqa: E731
    prototypes = np.stack([unit(features[labels == c].sum(0)) for c in range(k)])

    def expect(prototypes, transition, prior):
        free, corrected = np.zeros((n, k)), np.zeros((n, k))
        for i in range(n):
            weight = np.exp(settings.concentration * prototypes @ features[i]) * prior
            free[i] = weight / weight.sum()
            if labels[i] >= 0:
                weight = weight * transition[:, labels[i]]
            corrected[i] = weight / weight.sum()
        return free, corrected

    free, corrected = expect(prototypes, prior_row, np.full(k, 1 / k))
    prior = 0.5 * corrected.mean(0) + 0.5 / k
    known = labels >= 0
    counts = np.zeros((k, k))
    for i in np.flatnonzero(known):
        counts[:, labels[i]] += corrected[i]
    strength = settings.prior_strength / k
    transition = (counts + strength * prior_row) / (counts.sum(1, keepdims=True) + strength)
    fresh = []
    for c in range(k):
        labelled = unit((corrected[known, c, None] * features[known]).sum(0))
        others = unit((free[~known, c, None] ** 2 * features[~known]).sum(0))
        fresh.append(unit(labelled + settings.unlabelled_share * others))
    return (*expect(np.stack(fresh), transition, prior), transition)


def test_one_iteration_by_hand():
    features, truth = blobs(40, 3, seed=0)
    labels = np.where(np.arange(40) < 20, truth, -1)
    settings = MixtureSettings(n_iterations=1)

    found = fit_prototype_mixture(features, torch.tensor(labels), 3, settings)
    free, corrected, transition = by_hand(features.numpy(), labels, 3, settings)

    np.testing.assert_allclose(found.probabilities, free, atol=1e-7)
    np.testing.assert_allclose(found.corrected, corrected, atol=1e-7)
    np.testing.assert_allclose(found.transition, transition, atol=1e-7)


def test_finds_the_planted_channel_and_the_classes_behind_it():
    features, truth = blobs(3000, 4, seed=1)
    labels = flip_labels(truth, pair_transition(4, 0.35), seed=2).labels

    found = fit_prototype_mixture(features, torch.tensor(labels), 4)

    np.testing.assert_allclose(found.transition, pair_transition(4, 0.35), atol=0.06)
    assert (found.probabilities.argmax(1).numpy() == truth).mean() > 0.95
    own = found.corrected[torch.arange(3000), torch.tensor(labels)].numpy()
    assert own[labels == truth].mean() > 0.9
    assert own[labels != truth].mean() < 0.3


def test_renumbered_rows_and_classes_renumber_the_answer():
    features, truth = blobs(60, 3, seed=3)
    labels = torch.tensor(np.where(np.arange(60) % 2, truth, -1))
    order, rename = torch.randperm(60), torch.tensor([2, 0, 1])
    renamed = torch.where(labels >= 0, rename[labels.clamp(min=0)], labels)

    plain = fit_prototype_mixture(features, labels, 3)
    moved = fit_prototype_mixture(features[order], renamed[order], 3)

    torch.testing.assert_close(moved.probabilities[:, rename], plain.probabilities[order])


def test_class_without_a_label_is_never_proposed():
    features, truth = blobs(50, 3, seed=4)
    labels = torch.tensor(np.where(truth == 2, -1, truth))

    found = fit_prototype_mixture(features, labels, 3)

    assert (found.probabilities[:, 2] == 0).all()
    assert found.probabilities.isfinite().all()
    assert (found.prototypes[2] == 0).all()


def test_unlabelled_rows_keep_their_own_answer():
    features, truth = blobs(30, 3, seed=5)
    labels = torch.tensor(np.where(np.arange(30) < 15, truth, -1))

    found = fit_prototype_mixture(features, labels, 3)

    torch.testing.assert_close(found.corrected[15:], found.probabilities[15:])
    assert not torch.allclose(found.corrected[:15], found.probabilities[:15])


@pytest.mark.parametrize(
    ("labels", "n_classes", "message"),
    [
        ([0, 1], 2, r"labels \[N\]"),
        ([0, 1, 2], 2, "labels must lie"),
        ([-1, -1, -1], 2, "at least one"),
        ([0, 0, -2], 2, "labels must lie"),
        ([0, 0, 0], 1, "n_classes"),
    ],
)
def test_rejects(labels, n_classes, message):
    with pytest.raises(ValueError, match=message):
        fit_prototype_mixture(torch.eye(3), torch.tensor(labels), n_classes)


@pytest.mark.parametrize(
    "wrong",
    [
        {"concentration": 0.0},
        {"unlabelled_share": -1.0},
        {"n_iterations": 0},
        {"expected_noise": 1.0},
        {"uniform_share": 2.0},
    ],
)
def test_rejects_settings(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MixtureSettings(**wrong)
