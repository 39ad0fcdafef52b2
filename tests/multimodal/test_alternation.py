import warnings

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.linear_model import LogisticRegression

from labelnoise.two_component_mixture import MixtureFit
from multimodal.alternation import (
    PseudoLabels,
    noisy_by_loss,
    outside_by_separator,
    pseudo_labels,
    pseudo_weights,
    refit_targets,
    settled,
)
from multimodal.probe import out_of_fold_probe, stratified_folds
from multimodal.rows import Rows

FIT = MixtureFit()


def guesses_of(classes, shares):
    n = len(classes)
    return PseudoLabels(
        np.array(classes), np.array(shares, float), np.ones(n), np.ones(n), np.ones(n)
    )


def test_pseudo_labels_are_squared_probabilities():
    rng = np.random.default_rng(0)
    rows, given = rng.normal(size=(50, 4)).astype(np.float32), rng.integers(-1, 3, 50)
    folds = stratified_folds(given, 2)
    probe = out_of_fold_probe(rows, given, 3, folds=folds)
    p = np.concatenate([block for _, block in probe.blocks()]).astype(float)
    found = pseudo_labels(probe, given, power=2, top=10)
    g = p**2 / (p**2).sum(axis=1, keepdims=True)
    dense = np.zeros_like(g)
    np.put_along_axis(dense, found.classes, found.shares, 1)
    assert dense == pytest.approx(g, abs=1e-6)
    wanted = entropy(g, axis=1) + entropy(g, p, axis=1)  # cross-entropy
    assert found.pseudo_loss == pytest.approx(wanted, abs=1e-4)
    told = given >= 0
    own = p[np.flatnonzero(told), given[told]]
    assert found.loss[told] == pytest.approx(-np.log(own), abs=1e-4)
    assert np.isnan(found.loss[~told]).all()
    few = pseudo_labels(probe, given, top=2)
    assert few.classes.shape == (50, 2)
    assert few.shares.sum(axis=1) == pytest.approx(np.ones(50))


def test_the_separator_is_scikit_learns_ridge_fold_by_fold():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(200, 5)).astype(np.float32) * [1, 2, 3, 1, 1]
    noisy = rng.random(200) < 1 / (1 + np.exp(-rows[:, 0] - 1))
    labelled = rng.random(200) < 0.9
    folds = stratified_folds(np.where(labelled, noisy, -1).astype(np.int64), 4)
    found = outside_by_separator(Rows([rows]), noisy, labelled, c=0.05, folds=folds)
    mean, sd = rows[labelled].mean(axis=0), rows[labelled].std(axis=0)
    x = (rows - mean) / sd
    for fold in range(4):
        used = labelled & (folds.fold != fold)
        # balanced over all folds' rows, as the probe has it
        count = np.bincount(noisy[labelled].astype(int))
        weight = (labelled.sum() / (2 * count))[noisy[used].astype(int)]
        weight *= used.sum() / weight.sum()
        peer = LogisticRegression(C=0.05 * labelled.sum() * 0.75 / used.sum(), tol=1e-8)
        peer.fit(x[used], noisy[used], sample_weight=weight)
        mine = folds.fold == fold
        assert found[mine] == pytest.approx(peer.predict_proba(x[mine])[:, 1], abs=2e-3)


def test_a_separator_with_as_many_columns_as_rows_says_nothing_out_of_fold():
    rng = np.random.default_rng(2)
    rows, noisy = rng.normal(size=(60, 60)).astype(np.float32), np.arange(60) % 2 == 0
    folds = stratified_folds(noisy.astype(np.int64), 5)
    found = outside_by_separator(Rows([rows]), noisy, np.ones(60, bool), c=0.01, folds=folds)
    assert abs(((found > 0.5) == noisy).mean() - 0.5) < 0.2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        in_sample = LogisticRegression(C=1e6, max_iter=5000).fit(rows, noisy)
    assert in_sample.score(rows, noisy) == 1


def test_one_empty_side_says_nothing():
    rows, folds = Rows([np.eye(6, dtype=np.float32)]), stratified_folds(np.zeros(6, np.int64), 2)
    for side in (True, False):
        found = outside_by_separator(rows, np.full(6, side), np.ones(6, bool), c=1.0, folds=folds)
        assert np.isnan(found).all()


def test_losses_split_and_rows_without_a_label_say_nothing():
    loss = np.array([0.1, 0.12, 0.09, 0.11, 3.0, 3.1, np.inf, np.nan])
    found = noisy_by_loss(loss, FIT)
    assert np.isnan(found[7])
    assert (found[:4] < 0.01).all()
    assert (found[4:7] > 0.95).all()
    assert noisy_by_loss(np.full(5, 2.0), FIT).tolist() == [0.0] * 5
    assert len(noisy_by_loss(np.empty(0), FIT)) == 0


def test_weights_are_one_on_clean_rows_and_where_little_is_known():
    loss = np.array([9.0, 9.0, 0.1, 0.12, 0.09, 2.0, 2.1, np.inf])
    noisy = np.arange(8) >= 2
    found = pseudo_weights(loss, noisy, FIT)
    assert found[:2].tolist() == [1, 1]
    assert (found[2:5] > 0.95).all()
    assert (found[5:] < 0.05).all()
    assert pseudo_weights(loss, np.arange(8) >= 6, FIT).tolist() == [1] * 8
    broken = np.where(np.arange(8) == 4, np.nan, loss)
    assert pseudo_weights(broken, noisy, FIT).tolist() == [1] * 8
    assert pseudo_weights(np.ones(8), noisy, FIT).tolist() == [1] * 8


def test_the_next_probe_learns_given_labels_of_clean_rows_and_weighted_guesses_of_noisy_ones():
    guesses = guesses_of([[0, 1], [2, 0], [1, 2]], [[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]])
    given, noisy = np.array([1, 1, -1]), np.array([False, True, False])
    classes, shares = refit_targets(given, noisy, guesses, np.array([1.0, 0.5, 1.0]))
    assert classes[0, 0] == 1
    assert shares.tolist() == [[1, 0], [0.4, 0.1], [0, 0]]
    assert classes[1].tolist() == [2, 0]
    with pytest.raises(ValueError, match="weights must not be 0"):
        refit_targets(given, np.ones(3, bool), guesses, np.zeros(3))


def test_coming_to_rest():
    a, b, c = np.eye(3, dtype=bool)
    assert settled([a, b, a]) == ""
    assert settled([c, a, b, a, b]) == "two_cycle"
    assert settled([a, a, a, a]) == "fixed"
    assert settled([a, b, a, c]) == ""
    assert settled([a, b, a, c], share=0.7) == "fixed"
