from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from multimodal.mixed_scores import MixedScores, MixSettings, mixed_scores, summarised
from multimodal.probe import out_of_fold_probe
from multimodal.rows import Rows
from multimodal.visual_prototypes import VisualPrototypes, core_prototypes


def corpus(n_rows: int = 80, n_classes: int = 5):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, n_classes, n_rows)
    rows = rng.normal(size=(n_rows, 8)) + 2 * np.eye(n_classes, 8)[labels]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Rows([rows.astype(np.float32)]), labels


def check_against(found, u, p, r, labels):
    order = np.argsort(-u.round(6), axis=1, kind="stable")
    rows = np.arange(len(u))
    close = {"atol": 3e-6, "rtol": 0}
    np.testing.assert_array_equal(found.best_class, order[:, 0])
    np.testing.assert_array_equal(found.second_class, order[:, 1])
    np.testing.assert_allclose(found.best, u[rows, order[:, 0]], **close)
    np.testing.assert_allclose(found.second, u[rows, order[:, 1]], **close)
    for name, table in (("given", u), ("classifier_given", p), ("prototype_given", r)):
        wanted = np.where(labels >= 0, table[rows, labels], np.nan)
        np.testing.assert_allclose(getattr(found, name), wanted, **close)
    np.testing.assert_allclose(found.classifier_best, p[rows, order[:, 0]], **close)
    np.testing.assert_allclose(found.prototype_best, r[rows, order[:, 0]], **close)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.nansum(np.where(u > 0, u * np.log(u), 0), axis=1)
    np.testing.assert_allclose(found.entropy, entropy, atol=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_equals_the_formula(alpha):
    image, labels = corpus()
    labels[:5] = -1
    prototypes = core_prototypes(image, np.arange(10, 40), labels[10:40], 5)
    probe = out_of_fold_probe(image, labels, 5)

    found = mixed_scores(probe, image, prototypes, labels, MixSettings(alpha, 0.05))

    r = softmax(image.read(0, 80).astype(np.float64) @ prototypes.vectors.T / 0.05, axis=1)
    p = np.concatenate([block for _, block in probe.blocks()]).astype(np.float64)
    check_against(found, alpha * p + (1 - alpha) * r, p, r, labels)


def test_absent_classes_are_out_of_the_running():
    image, labels = corpus()
    core = np.flatnonzero((labels != 2) & (labels != 4))
    prototypes = core_prototypes(image, core, labels[core], 5)
    probe = out_of_fold_probe(image, labels, 5)

    found = mixed_scores(probe, image, prototypes, labels, MixSettings(0.4, 0.1))

    here = [0, 1, 3]
    cosine = image.read(0, 80).astype(np.float64) @ prototypes.vectors.T
    p = np.concatenate([block for _, block in probe.blocks()])[:, here].astype(np.float64)
    p, r = p / p.sum(1, keepdims=True), softmax(cosine[:, here] / 0.1, axis=1)
    u = 0.4 * p + 0.6 * r
    np.testing.assert_array_equal(found.best_class, np.array(here)[u.argmax(1)])
    gone = np.isin(labels, [2, 4])
    assert np.isnan(found.given[gone]).all()
    own = np.searchsorted(here, labels[~gone])
    np.testing.assert_allclose(found.given[~gone], u[~gone, own], atol=3e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 90))
def test_blocks_and_shards_change_nothing(size):
    image, labels = corpus()
    prototypes = core_prototypes(image, np.arange(30), labels[:30], 5)
    cut = Rows([image.read(0, 17), image.read(17, 80)])
    settings = MixSettings(0.0, 0.02)

    here = mixed_scores(None, image, prototypes, labels, settings)
    there = mixed_scores(None, cut, prototypes, labels, settings, block_rows=size)

    np.testing.assert_array_equal(here.best_class, there.best_class)
    np.testing.assert_array_equal(here.second_class, there.second_class)
    np.testing.assert_allclose(here.given, there.given, atol=2e-6)


def test_classes_that_look_the_same_tie_and_the_lower_number_wins():
    image, labels = corpus()
    made = core_prototypes(image, np.arange(30), labels[:30], 5)
    vectors = made.vectors[[3, 3, 1, 2, 3]]
    prototypes = VisualPrototypes(vectors, made.counts, made.present)

    found = mixed_scores(None, image, prototypes, labels, MixSettings(0.0, 0.05))

    assert not np.isin(found.best_class, [1, 4]).any()


def test_by_hand():
    p = np.array([[0.2, 0.8], [1.0, 0.0]], dtype=np.float32)
    r = np.array([[0.6, 0.4], [0.5, 0.5]], dtype=np.float32)
    found = summarised(p, r, np.array([0, -1]), np.array([True, True]), 0.5)

    assert found.best_class.tolist() == [1, 0]
    np.testing.assert_allclose(found.best, [0.6, 0.75])
    np.testing.assert_allclose(found.second, [0.4, 0.25])
    np.testing.assert_allclose(found.given, [0.4, np.nan])


def test_one_class_and_no_class():
    ones = np.ones((2, 1), np.float32)
    single = summarised(ones, ones, np.array([0, 0]), np.array([True]), 0.5)
    assert single.best_class.tolist() == [0, 0]
    assert single.second_class.tolist() == [-1, -1]
    assert np.isnan(single.second).all()
    nobody = summarised(ones, 0 * ones, np.array([0, 0]), np.array([False]), 0.5)
    assert nobody.best_class.tolist() == [-1, -1]
    assert np.isnan(nobody.best).all()


def test_empty_corpus_and_parts():
    image = Rows([np.empty((0, 8), np.float32)])
    prototypes = core_prototypes(corpus()[0], np.arange(5), np.arange(5), 5)
    found = mixed_scores(None, image, prototypes, np.empty(0, np.int64), MixSettings(0.0))
    assert len(found) == 0
    image, labels = corpus()
    whole = mixed_scores(None, image, prototypes, labels, MixSettings(0.0))
    again = MixedScores.joined([whole.select(np.arange(30)), whole.select(np.arange(30, 80))])
    for field in fields(MixedScores):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(whole, field.name))


def test_errors():
    image, labels = corpus()
    prototypes = core_prototypes(image, np.arange(30), labels[:30], 5)
    with pytest.raises(ValueError, match="probe must be given for alpha > 0"):
        mixed_scores(None, image, prototypes, labels, MixSettings())
    with pytest.raises(ValueError, match="must have 80 rows"):
        mixed_scores(None, image, prototypes, labels[:3], MixSettings(0.0))
    with pytest.raises(ValueError, match=r"given must lie in -1 \.\. 4"):
        mixed_scores(None, image, prototypes, labels + 3, MixSettings(0.0))
    probe = out_of_fold_probe(image, labels, 6)
    with pytest.raises(ValueError, match="probe must know 5 classes, got 6"):
        mixed_scores(probe, image, prototypes, labels, MixSettings())
    for bad in ({"alpha": 2}, {"tau": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))} must"):
            MixSettings(**bad)
