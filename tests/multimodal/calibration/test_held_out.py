import numpy as np
import pytest
from scipy.optimize import brute
from scipy.special import log_softmax, softmax

from multimodal.calibration import best_tau, held_out_core, held_out_trusted
from multimodal.mixed_scores import MixSettings
from multimodal.probe import out_of_fold_probe
from multimodal.rows import Rows
from multimodal.visual_prototypes import core_prototypes


def corpus(n_rows: int = 60, n_classes: int = 3):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, n_classes, n_rows)
    rows = rng.normal(size=(n_rows, 6)) + 2 * np.eye(n_classes, 6)[labels]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def test_members_never_meet_their_own_prototype():
    rows, labels = corpus()
    core, fold = np.arange(40), np.arange(60) % 4

    found = held_out_core(Rows([rows]), core, labels[:40], fold, 3)

    assert found.rows.tolist() == list(range(40))
    for row in (0, 7, 39):
        others = core[fold[:40] != fold[row]]
        means = np.stack([rows[others][labels[others] == c].mean(0) for c in range(3)])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        np.testing.assert_allclose(found.cosines[row], means @ rows[row], atol=1e-6)


def test_the_mixture_is_that_of_the_probe_and_the_prototypes():
    rows, labels = corpus()
    image, core = Rows([rows]), np.arange(40)
    probe = out_of_fold_probe(image, np.where(np.arange(60) < 40, labels, -1), 3)

    found = held_out_core(image, core, labels[:40], probe.fold, 3, probe=probe)

    p = np.concatenate([block for _, block in probe.blocks()])[:40]
    wanted = 0.3 * p + 0.7 * softmax(found.cosines.astype(np.float64) / 0.2, axis=1)
    np.testing.assert_allclose(found.mixture(MixSettings(0.3, 0.2)), wanted, atol=2e-6)


def test_a_class_within_one_fold_is_left_out():
    rows, labels = corpus()
    labels[5] = 3
    found = held_out_core(Rows([rows]), np.arange(40), labels[:40], np.arange(60) % 4, 5)

    assert 5 not in found.rows
    assert len(found) == 39
    assert np.isneginf(found.cosines[:, 4]).all()
    assert np.isneginf(found.cosines[found.rows % 4 == 1][:, 3]).all()


def test_who_is_chosen_of_a_large_core_depends_on_keys_alone(monkeypatch):
    monkeypatch.setattr("multimodal.calibration.held_out.FEWEST_MEMBERS", 10)
    monkeypatch.setattr("multimodal.calibration.held_out.MOST_NUMBERS", 30)
    rows, labels = corpus()
    rng = np.random.default_rng(1)
    keys, order = rng.permutation(60).astype(np.uint64), rng.permutation(60)
    fold, core = np.arange(60) % 4, np.arange(40)

    here = held_out_core(Rows([rows]), core, labels[core], fold, 3, keys=keys)
    place = np.argsort(order)[core]
    there = held_out_core(
        Rows([rows[order]]), place, labels[core], fold[order], 3, keys=keys[order]
    )

    assert len(here) == 10
    assert sorted(order[there.rows]) == here.rows.tolist()


def test_trusted_rows_meet_the_prototypes_themselves():
    rows, labels = corpus()
    prototypes = core_prototypes(Rows([rows]), np.arange(40), labels[:40], 4)
    found = held_out_trusted(Rows([rows]), np.array([50, 45]), np.array([3, 1]), prototypes)

    assert found.rows.tolist() == [45]
    np.testing.assert_allclose(found.cosines[0, :3], prototypes.vectors[:3] @ rows[45], atol=1e-6)


@pytest.mark.parametrize("tau", [0.02, 0.1, 0.5])
def test_the_temperature_that_made_the_labels_is_found(tau):
    rows, labels = corpus(4000, 5)
    prototypes = core_prototypes(Rows([rows]), np.arange(500), labels[:500], 5)
    p = softmax(rows @ prototypes.vectors.T / tau, axis=1)
    drawn = (p.cumsum(1) < np.random.default_rng(0).random((4000, 1))).sum(1)
    held_out = held_out_trusted(Rows([rows]), np.arange(4000), drawn, prototypes)

    found = best_tau(held_out)

    assert found == pytest.approx(tau, rel=0.2)
    own = lambda t: -log_softmax(held_out.cosines / t[0], axis=1)[np.arange(4000), drawn].mean()  # noqa: E731
    exact = brute(own, ((found / 1.3, found * 1.3),), Ns=200, finish=None)
    assert found == pytest.approx(exact, rel=0.01)
