import json
from dataclasses import replace

import numpy as np
import pytest

from multimodal.calibration import (
    NO_RELABELS,
    Calibration,
    CalibrationSettings,
    Curve,
    HeldOut,
    calibrate,
    calibrate_trusted,
    choose_tau,
    held_out_core,
    held_out_trusted,
)
from multimodal.calibration.curves import rising_curve
from multimodal.mixed_scores import MixedScores, mixed_scores
from multimodal.probe import out_of_fold_probe, stratified_folds
from multimodal.rows import Rows
from multimodal.visual_prototypes import core_prototypes

N_CLASSES = 6


def world(seed: int, noise: float, impurity: float, spread: float = 2.5, n_rows: int = 3000):
    """Gaussian classes, uniform label noise, a core of 60 per class of which a part is wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, N_CLASSES, n_rows)
    rows = rng.normal(size=(n_rows, 16)) + spread * np.eye(N_CLASSES, 16)[truth]
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    given = truth.copy()
    flipped = rng.random(n_rows) < noise
    given[flipped] = (truth[flipped] + rng.integers(1, N_CLASSES, flipped.sum())) % N_CLASSES
    core = []
    for label in range(N_CLASSES):
        for right, share in ((True, 1 - impurity), (False, impurity)):
            some = np.flatnonzero((given == label) & ((given == truth) == right))
            core.extend(some[: round(60 * share)])
    return Rows([rows]), truth, given, np.sort(core)


def calibrated(image, given, core, settings, *, order=None, trusted=None):
    """The steps as a method runs them; also on a corpus whose rows come in another order."""
    ids = np.arange(len(given)) if order is None else order
    learn = np.full(len(given), -1)
    learn[core] = given[core]
    folds = stratified_folds(learn, ids=ids)
    probe = out_of_fold_probe(image, learn, N_CLASSES, folds=folds)
    prototypes = core_prototypes(image, core, given[core], N_CLASSES)
    in_core = np.isin(np.arange(len(given)), core)
    if trusted is None:
        members = held_out_core(
            image, core, given[core], folds.fold, N_CLASSES, probe=probe, keys=folds.key
        )
    else:
        members = held_out_trusted(image, *trusted, prototypes, probe=probe)
    mix = choose_tau(members, settings)
    scores = mixed_scores(probe, image, prototypes, given, mix)
    if trusted is None:
        found = calibrate(members, scores, given, in_core, mix, settings, keys=folds.key)
    else:
        found = calibrate_trusted(members, scores, given, in_core, mix, settings)
    return found, scores, in_core


def outcomes(found, scores, given, truth, in_core):
    relabelled = (scores.best >= found.gamma) & (scores.best_class != given) & ~in_core
    kept = ~relabelled & ~in_core
    kept &= (scores.given >= found.keep_threshold) | (scores.best >= found.gamma)
    return (scores.best_class == truth)[relabelled], (given == truth)[kept]


@pytest.mark.parametrize("noise", [0.15, 0.4])
@pytest.mark.parametrize("impurity", [0.0, 0.1])
def test_precisions_are_as_wanted_where_the_truth_is_known(noise, impurity):
    relabels, keeps, errors, rates = [], [], [], []
    settings = CalibrationSettings(relabel_precision=0.85, keep_precision=0.9)
    for seed in range(3):
        image, truth, given, core = world(seed, noise, impurity)
        found, scores, in_core = calibrated(image, given, core, settings)
        right, kept = outcomes(found, scores, given, truth, in_core)
        assert (found.n_relabels, found.n_kept) == (len(right), len(kept))
        relabels.extend(right)
        keeps.extend(kept)
        rates.append(found.noise_rate - (given != truth)[~in_core].mean())
        quality = found.quality(scores.given[~in_core])
        errors.append(quality.mean() - (given == truth)[~in_core].mean())

    assert len(relabels) >= 100
    assert np.mean(relabels) >= 0.85 - 0.05
    assert np.mean(keeps) >= 0.9 - 0.03
    assert np.abs(rates).max() < 0.08
    assert np.abs(errors).max() < 0.08


def test_trusted_labels_settle_it_directly():
    image, truth, given, core = world(0, 0.3, 0.1)
    settings = CalibrationSettings(relabel_precision=0.8)
    trusted = np.setdiff1d(np.arange(len(given)), core)[:800]

    found, scores, in_core = calibrated(
        image, given, core, settings, trusted=(trusted, truth[trusted])
    )

    right, kept = outcomes(found, scores, given, truth, in_core)
    among = trusted[scores.best[trusted] >= found.gamma]
    among = among[scores.best_class[among] != given[among]]
    assert found.trusted
    assert found.relabel_precision == pytest.approx(
        (scores.best_class == truth)[among].mean(), abs=1e-9
    )
    assert found.relabel_precision >= 0.8
    assert right.mean() >= 0.75
    assert kept.mean() >= 0.87


def test_renumbering_changes_nothing():
    image, _, given, core = world(1, 0.3, 0.1, n_rows=1500)
    order = np.random.default_rng(0).permutation(1500)
    settings = CalibrationSettings()

    here, _, _ = calibrated(image, given, core, settings)
    moved = Rows([image.gather(order)])
    there, _, _ = calibrated(
        moved, given[order], np.sort(np.argsort(order)[core]), settings, order=order
    )

    for name in ("tau", "gamma", "keep_threshold", "noise_rate", "core_impurity"):
        assert getattr(here, name) == pytest.approx(getattr(there, name), abs=1e-4)
    assert (here.n_relabels, here.n_kept) == (there.n_relabels, there.n_kept)


def test_the_paper_constants_are_used_as_they_are():
    image, _, given, core = world(2, 0.3, 0.0, n_rows=1500)
    found, scores, in_core = calibrated(image, given, core, CalibrationSettings.paper(N_CLASSES))

    assert (found.tau, found.gamma, found.keep_threshold) == (0.1, 0.6, 1 / N_CLASSES)
    changed = (scores.best >= 0.6) & (scores.best_class != given) & ~in_core
    assert found.n_relabels == changed.sum()
    assert CalibrationSettings.paper(81, multi_label=True).gamma == 0.9


def members(n: int, n_classes: int = 3) -> HeldOut:
    classes = np.arange(n) % n_classes
    cosines = np.eye(n_classes, dtype=np.float32)[classes]
    return HeldOut(np.arange(n), classes, cosines, None)


def flat_scores(n: int) -> MixedScores:
    column = np.full(n, 0.5, np.float32)
    one = np.zeros(n, np.int64)
    return MixedScores(column, one, column, one + 1, column, *[column] * 5)


@pytest.mark.parametrize("n_members", [0, 10])
def test_too_little_to_calibrate_on_is_said(n_members):
    settings = CalibrationSettings(alpha=0)
    held_out = members(n_members)
    mix = choose_tau(held_out, settings)
    found = calibrate(
        held_out, flat_scores(4), np.zeros(4, np.int64), np.zeros(4, bool), mix, settings
    )

    assert (found.tau, found.gamma, found.keep_threshold) == (0.1, NO_RELABELS, 1 / 3)
    assert len(found.fallbacks) == 2
    np.testing.assert_allclose(found.quality(np.array([0.3, np.nan])), [0.3, np.nan])


def test_scores_that_say_nothing_replace_no_label():
    settings = CalibrationSettings(alpha=0, tau=0.1)
    held_out = members(60)
    found = calibrate(
        held_out, flat_scores(90), np.arange(90) % 3, np.zeros(90, bool),
        choose_tau(held_out, settings), settings,
    )  # fmt: skip
    assert found.gamma == NO_RELABELS
    assert any("No gamma" in sentence for sentence in found.fallbacks)


def test_the_result_is_json_and_quality_keeps_the_order():
    curve = Curve(np.array([0.2, 0.4]), np.array([0.5, 0.5]))
    found = Calibration(0.5, 0.1, 0.6, 0.3, curve=curve)
    quality = found.quality(np.array([0.1, 0.2, 0.9]))

    assert (np.diff(quality) > 0).all()
    np.testing.assert_allclose(quality, 0.5, atol=1e-3)
    assert json.loads(json.dumps(found.as_settings()))["curve"] == [[0.2, 0.4], [0.5, 0.5]]
    assert found.mix.tau == 0.1


def test_rising_curve_by_hand():
    # one bin: (3 hits + .5) / (4 + 1)
    one = rising_curve(np.arange(4.0), np.array([1.0, 0, 1, 1]))
    np.testing.assert_allclose(one.at(np.array([-1.0, 9])), 0.7)
    # two bins of 40 that fall are pooled
    falling = rising_curve(np.arange(80.0), np.repeat([1.0, 0], 40))
    np.testing.assert_allclose(falling.at(np.array([0.0, 79])), 0.5)
    rising = rising_curve(np.arange(80.0), np.repeat([0.0, 1], 40))
    np.testing.assert_allclose(rising.at(np.array([0.0, 79])), [0.5 / 41, 40.5 / 41])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gamma": 0.5}, "needs a tau that is given too"),
        ({"alpha": 2}, "alpha must lie in"),
        ({"tau": -1}, "tau must be positive"),
        ({"tau": 0.1, "gamma": 3}, "gamma must lie in"),
        ({"keep_precision": -0.1}, "keep_precision must lie in"),
    ],
)
def test_settings_errors(change, message):
    with pytest.raises(ValueError, match=message):
        CalibrationSettings(**change)


def test_lengths_are_checked():
    settings = CalibrationSettings(alpha=0)
    held_out = members(60)
    with pytest.raises(ValueError, match="given and in_core must be"):
        calibrate(
            held_out, flat_scores(4), np.zeros(3, np.int64), np.zeros(4, bool),
            choose_tau(held_out, settings), replace(settings),
        )  # fmt: skip
