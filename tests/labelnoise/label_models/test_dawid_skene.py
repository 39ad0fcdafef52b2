import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelnoise.label_models.dawid_skene import (
    DawidSkeneSettings,
    fit_dawid_skene,
    symmetric_confusion,
    vote_posteriors,
)

PLAIN = DawidSkeneSettings(strength=0, accuracy_strength=0, class_strength=0)


def planted(m, confusion, priors, silence, seed):
    """Votes drawn from the model, and the true classes."""
    rng = np.random.default_rng(seed)
    k = len(priors)
    truth = rng.choice(k, size=m, p=priors)
    votes = np.stack([[rng.choice(k, p=one[t]) for t in truth] for one in confusion], axis=1)
    votes[rng.random(votes.shape) < silence] = -1
    return votes, truth


CONFUSION = np.array([
    [[0.9, 0.05, 0.05], [0.3, 0.6, 0.1], [0.05, 0.05, 0.9]],
    [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.1, 0.3, 0.6]],
    [[0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]],
    [[0.8, 0.1, 0.1], [0.05, 0.9, 0.05], [0.1, 0.1, 0.8]],
])  # fmt: skip
PRIORS = np.array([0.5, 0.3, 0.2])


def test_posterior_and_likelihood_by_enumeration():
    votes = np.array([[0, 1], [-1, 2], [-1, -1], [1, 1]])
    fitted = fit_dawid_skene(votes, 3)
    # every assignment of true classes, one by one
    joint = {}
    for truth in itertools.product(range(3), repeat=len(votes)):
        p = 1.0
        for i, t in enumerate(truth):
            p *= fitted.priors[t]
            for a, vote in enumerate(votes[i]):
                p *= fitted.confusion[a, t, vote] if vote >= 0 else 1
        joint[truth] = p
    total = sum(joint.values())
    assert fitted.log_likelihood == pytest.approx(np.log(total))
    for i, k in itertools.product(range(len(votes)), range(3)):
        share = sum(p for truth, p in joint.items() if truth[i] == k) / total
        assert fitted.posteriors[i, k] == pytest.approx(share)
    np.testing.assert_allclose(fitted.posteriors[2], fitted.priors)


def test_the_likelihood_never_falls_without_shrinkage():
    votes, _ = planted(60, CONFUSION, PRIORS, 0.2, 1)
    found = [
        fit_dawid_skene(
            votes, 3, DawidSkeneSettings(
                strength=0, accuracy_strength=0, class_strength=0, max_steps=n, tolerance=0
            )
        ).log_likelihood
        for n in range(1, 25)
    ]  # fmt: skip
    assert (np.diff(found) > -1e-9).all()
    assert found[-1] > found[0]


def test_planted_confusion_is_found():
    votes, truth = planted(6000, CONFUSION, PRIORS, 0.1, 2)
    fitted = fit_dawid_skene(votes, 3)
    assert fitted.converged
    assert np.abs(fitted.confusion - CONFUSION).max() < 0.06
    assert np.abs(fitted.priors - PRIORS).max() < 0.03
    best, _ = vote_posteriors(votes, CONFUSION, PRIORS)
    bayes = (best.argmax(1) == truth).mean()
    majority = np.stack([(votes == k).sum(1) for k in range(3)], 1).argmax(1)
    right = (fitted.posteriors.argmax(1) == truth).mean()
    assert right > bayes - 0.01
    assert right > (majority == truth).mean() + 0.01


def test_shrinkage_helps_where_votes_are_few():
    fit, plain = [], []
    for seed in range(8):
        votes, truth = planted(25, CONFUSION, PRIORS, 0.3, seed)
        fit.append((fit_dawid_skene(votes, 3).posteriors.argmax(1) == truth).mean())
        plain.append((fit_dawid_skene(votes, 3, PLAIN).posteriors.argmax(1) == truth).mean())
    assert np.mean(fit) > np.mean(plain)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(3)), st.permutations(range(4)), st.integers(0, 99))
def test_names_of_classes_annotators_and_samples_do_not_matter(classes, annotators, seed):
    votes, _ = planted(30, CONFUSION, PRIORS, 0.2, seed)
    rows = np.random.default_rng(seed).permutation(30)
    renamed = np.where(votes >= 0, np.array([*classes, -1])[votes], -1)[rows][:, annotators]
    fitted = fit_dawid_skene(votes, 3, DawidSkeneSettings(max_steps=30))
    other = fit_dawid_skene(renamed, 3, DawidSkeneSettings(max_steps=30))
    np.testing.assert_allclose(
        other.posteriors[:, classes], fitted.posteriors[rows], rtol=1e-6, atol=1e-9
    )
    np.testing.assert_allclose(
        other.confusion[:, classes][:, :, classes], fitted.confusion[annotators], atol=1e-8
    )
    assert other.log_likelihood == pytest.approx(fitted.log_likelihood)


def test_a_bad_annotator_does_not_outvote_a_good_one():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 800)
    good = np.where(rng.random((800, 2)) < 0.9, truth[:, None], rng.integers(0, 4, (800, 2)))
    noise = rng.integers(0, 4, (800, 3))
    fitted = fit_dawid_skene(np.hstack([good, noise]), 4)
    assert (fitted.posteriors.argmax(1) == truth).mean() > 0.88
    np.testing.assert_allclose(fitted.confusion.sum(axis=2), 1)


def test_nothing_and_one_annotator():
    fitted = fit_dawid_skene(np.empty((0, 2), np.int64), 3)
    assert fitted.posteriors.shape == (0, 3)
    np.testing.assert_allclose(fitted.priors, 1 / 3)
    alone = fit_dawid_skene([[0], [1], [-1]], 2)
    assert alone.posteriors[:2].argmax(1).tolist() == [0, 1]
    silent = fit_dawid_skene(np.full((3, 2), -1), 2)
    np.testing.assert_allclose(silent.posteriors, 0.5)


def test_symmetric_confusion():
    np.testing.assert_allclose(
        symmetric_confusion(np.array([0.7]), 4)[0],
        [[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1], [0.1, 0.1, 0.1, 0.7]],
    )


@pytest.mark.parametrize(
    ("votes", "k", "complaint"),
    [
        ([[0, 3]], 3, "must lie in -1 .. 2"),
        ([[-2]], 3, "must lie in -1 .. 2"),
        ([0, 1], 3, "must be integers"),
        ([[0.5]], 3, "must be integers"),
        (np.empty((3, 0), np.int64), 3, "A at least 1"),
        ([[0]], 1, "n_classes must be at least 2"),
    ],
)
def test_bad_votes(votes, k, complaint):
    with pytest.raises(ValueError, match=complaint):
        fit_dawid_skene(votes, k)


def test_bad_settings():
    with pytest.raises(ValueError, match="strength must be at least 0"):
        DawidSkeneSettings(strength=-1)
    with pytest.raises(ValueError, match="accuracy must lie in"):
        DawidSkeneSettings(accuracy=1)
