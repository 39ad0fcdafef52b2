"""Views calibrated behind a noise channel, in worlds whose temperatures and noise are known."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.special import softmax

from labelnoise.noise_channel import NoiseChannel
from multimodal import channel_calibration
from multimodal.calibration import NO_RELABELS, CalibrationSettings, HeldOut
from multimodal.channel_calibration import (
    SMALLEST,
    ChannelFit,
    Pairs,
    Views,
    channel_thresholds,
    fit_channels,
    posterior_scores,
)
from multimodal.mixed_scores import MixedScores
from multimodal.probe import FoldModels
from multimodal.rows import Rows
from multimodal.visual_prototypes import VisualPrototypes

K, D = 4, 6
TAU, TEXT_TAU, SHARPNESS = 0.12, 0.25, 1.6
NOISE = np.array(
    [[0.90, 0.10, 0.00, 0.00], [0.35, 0.60, 0.05, 0.00], [0.05, 0.05, 0.80, 0.10], [0, 0, 0.3, 0.7]]
)
NOBODY = HeldOut(
    np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, K), np.float32), None
)  # fmt: skip


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def drawn(probabilities, draw):
    """A class per row of probabilities."""
    return (probabilities.cumsum(1) < draw.random(len(probabilities))[:, None]).sum(1)


@dataclass
class World:
    """Rows whose true class is drawn from a softmax of cosines, and whose label from a channel."""

    pairs: Pairs
    views: Views
    truth: np.ndarray
    keys: np.ndarray

    def fit(self, held_out=NOBODY, in_core=None):
        in_core = np.zeros(len(self.truth), bool) if in_core is None else in_core
        return fit_channels(self.views, self.pairs, in_core, held_out, self.keys)

    def core(self, count, *, view="image", wrong=0):
        """So many rows whose class is believed, with cosines of a view, some of them wrongly."""
        rows = np.arange(count)
        classes = self.truth[rows].copy()
        classes[:wrong] = (classes[:wrong] + 1) % K
        cosines = self.pairs.image.gather(rows) @ self.views.prototypes.vectors.T
        return HeldOut(rows, classes, cosines, None)


def world(n=6000, seed=0, *, noise=NOISE, tau=TAU, classifier=False, texts=False):
    draw = np.random.default_rng(seed)
    image, centres = unit(draw.normal(size=(n, D))), unit(draw.normal(size=(K, D)))
    chance = softmax(image @ centres.T / tau, axis=1)
    words = class_texts = speaks = models = None
    if texts:
        words, class_texts = unit(draw.normal(size=(n, D))), unit(draw.normal(size=(K, D)))
        speaks = draw.random(n) < 0.7
        # where a text speaks it alone decides; only then has its temperature a right value
        said = softmax(words @ class_texts.T / TEXT_TAU, axis=1)
        chance = np.where(speaks[:, None], said, chance)
    if classifier:
        # it says the chances, but too surely
        weight = (centres.T / tau * SHARPNESS).astype(np.float32)
        models = FoldModels(np.stack([weight, weight]), np.zeros((2, K), np.float32), 0.0, {})
    truth = drawn(chance, draw)
    given = drawn(noise[truth], draw)
    fold = np.arange(n) % 2
    rows = None if words is None else Rows([words])
    prototypes = VisualPrototypes(centres, np.full(K, 9), np.ones(K, bool))
    return World(
        Pairs(Rows([image]), fold, given, rows, speaks),
        Views(models, prototypes, class_texts, 0.5 if classifier else 0.0, 1 / 3 if texts else 0.0),
        truth, draw.permutation(n).astype(np.uint64),
    )  # fmt: skip


# fits


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_temperature_and_transition_are_recovered(seed):
    fit = world(seed=seed).fit()
    assert fit.views.tau == pytest.approx(TAU, rel=0.15)
    assert fit.channel.temperature == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(fit.channel.transition, NOISE, atol=0.07)


def test_clean_labels_give_a_clean_channel():
    fit = world(noise=np.eye(K)).fit()
    assert np.diag(fit.channel.transition).min() > 0.95
    assert fit.views.tau == pytest.approx(TAU, rel=0.15)


def test_a_classifier_that_is_too_sure_is_cooled_and_never_sharpened():
    made = world(classifier=True)
    fit = made.fit()
    assert fit.views.classifier_temperature == pytest.approx(SHARPNESS, rel=0.15)
    blunt = replace(made.views.classifier, weight=made.views.classifier.weight / SHARPNESS / 2)
    made.views = replace(made.views, classifier=blunt)
    assert made.fit().views.classifier_temperature == 1.0


def test_texts_have_a_temperature_of_their_own():
    made = world(12_000, texts=True)
    fit = made.fit()
    assert fit.views.text_tau == pytest.approx(TEXT_TAU, rel=0.2)
    # texts that are not there are not asked
    garbage = np.where(made.pairs.text_present[:, None], made.pairs.texts.read(0, 12_000), 7)
    made.pairs = replace(made.pairs, texts=Rows([garbage.astype(np.float32)]))
    again = made.fit()
    assert again.views.text_tau == fit.views.text_tau
    np.testing.assert_array_equal(again.channel.transition, fit.channel.transition)
    first, second = (posterior_scores(one, made.pairs) for one in (fit, again))
    np.testing.assert_array_equal(first.given, second.given)


def test_no_view_is_sharper_than_the_core_bears():
    made = world()
    plain = made.fit()
    # a core of the same world says the same; one with wrong members bears less
    same = made.fit(made.core(3000))
    assert same.views.tau == pytest.approx(plain.views.tau, rel=0.1)
    doubtful = made.fit(made.core(3000, wrong=1200))
    assert doubtful.views.tau > 1.5 * plain.views.tau
    # and an easy core makes nothing sharper: labels outside it say what they bear
    rows = np.arange(3000)
    cosines = made.pairs.image.gather(rows) @ made.views.prototypes.vectors.T
    easy = made.fit(HeldOut(rows, cosines.argmax(1), cosines, None))
    assert easy.views.tau == pytest.approx(plain.views.tau, rel=0.05)


def test_the_core_is_not_fitted_to():
    made = world()
    in_core = np.arange(len(made.truth)) % 3 == 0
    fit = made.fit(in_core=in_core)
    given = np.where(in_core, 0, made.pairs.given)
    made.pairs = replace(made.pairs, given=given)
    again = made.fit(in_core=in_core)
    np.testing.assert_array_equal(fit.channel.transition, again.channel.transition)
    assert fit.views.tau == again.views.tau


def test_numbering_and_shards_change_no_fit():
    made = world(3000)
    order = np.random.default_rng(9).permutation(3000)
    fit = made.fit()
    moved = replace(made.pairs, given=made.pairs.given[order], fold=made.pairs.fold[order])
    image = made.pairs.image.gather(order)
    moved = replace(moved, image=Rows([image[:1000], image[1000:]]))
    again = fit_channels(made.views, moved, np.zeros(3000, bool), NOBODY, made.keys[order])
    assert fit.views.tau == again.views.tau
    assert fit.channel.temperature == again.channel.temperature
    np.testing.assert_allclose(fit.channel.transition, again.channel.transition, atol=1e-9)


def test_large_corpora_are_thinned_by_key(monkeypatch):
    monkeypatch.setattr(channel_calibration, "MOST_ROWS", 2000)
    made = world()
    fit = made.fit()
    last = np.argsort(made.keys)[2000:]
    given = made.pairs.given.copy()
    given[last] = 0
    made.pairs = replace(made.pairs, given=given)
    np.testing.assert_array_equal(made.fit().channel.transition, fit.channel.transition)


def test_too_few_labels_give_no_fit():
    made = world(50)
    assert made.fit(in_core=np.arange(50) >= K - 1) is None
    assert made.fit(in_core=np.arange(50) >= K) is not None
    made.pairs = replace(made.pairs, given=np.full(50, -1))
    assert made.fit() is None


def test_an_absent_class_is_out_of_the_running():
    made = world()
    present = np.array([True, True, False, True])
    vectors = made.views.prototypes.vectors * present[:, None]
    made.views = replace(made.views, prototypes=VisualPrototypes(vectors, 9 * present, present))
    fit = made.fit()
    assert fit.channel.transition[2].tolist() == [0, 0, 1, 0]
    assert not fit.channel.transition[[0, 1, 3], 2].any()
    scores = posterior_scores(fit, made.pairs)
    assert np.isnan(scores.given[made.pairs.given == 2]).all()
    assert not (scores.best_class == 2).any()
    assert np.isfinite(scores.best).all()
    nobody = VisualPrototypes(vectors * 0, 0 * present, present & False)
    fit = ChannelFit(replace(fit.views, prototypes=nobody), NoiseChannel(np.eye(K)))
    scores = posterior_scores(fit, made.pairs)
    assert (scores.best_class == -1).all()
    assert np.isnan(scores.best).all()


# posteriors


def two_classes(n=500, *, share=0.0, temperature=1.4):
    """K = 2, images alone or with texts, and a channel."""
    draw = np.random.default_rng(1)
    centres, words = unit(draw.normal(size=(2, D))), unit(draw.normal(size=(2, D)))
    image, text = unit(draw.normal(size=(n, D))), unit(draw.normal(size=(n, D)))
    speaks = draw.random(n) < 0.5
    given = draw.integers(-1, 2, n)
    prototypes = VisualPrototypes(centres, np.full(2, 9), np.ones(2, bool))
    channel = NoiseChannel(np.array([[0.7, 0.3], [0.1, 0.9]]), temperature)
    views = Views(None, prototypes, words if share else None, 0.0, share, 0.2, 0.3)
    pairs = Pairs(Rows([image]), np.zeros(n, np.int64), given, Rows([text]), speaks)
    return ChannelFit(views, channel), pairs


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_posterior_is_that_of_bayes_for_two_classes(share):
    fit, pairs = two_classes(share=share)
    image, text = (rows.read(0, 500).astype(float) for rows in (pairs.image, pairs.texts))
    u = 1 / (1 + np.exp(image @ np.diff(fit.views.prototypes.vectors, axis=0)[0] / 0.2))
    if share:
        t = 1 / (1 + np.exp(text @ np.diff(fit.views.class_texts, axis=0)[0] / 0.3))
        u = np.where(pairs.text_present, (1 - share) * u + share * t, u)
    first, second = (u + SMALLEST) ** (1 / 1.4), (1 - u + SMALLEST) ** (1 / 1.4)
    told = pairs.given >= 0
    transition = fit.channel.transition
    first = np.where(told, first * transition[0, pairs.given], first)
    second = np.where(told, second * transition[1, pairs.given], second)
    p = first / (first + second)
    scores = posterior_scores(fit, pairs)
    np.testing.assert_allclose(scores.best, np.maximum(p, 1 - p), atol=2e-6)
    assert (scores.best_class == (p < 0.5))[abs(p - 0.5) > 1e-5].all()
    np.testing.assert_allclose(
        scores.given[told], np.where(pairs.given == 0, p, 1 - p)[told], atol=2e-6
    )
    assert np.isnan(scores.given[~told]).all()
    assert np.isnan(scores.classifier_given).all()


@pytest.mark.parametrize("size", [4, 28, 1000])
def test_block_size_changes_nothing(monkeypatch, size):
    made = world(2000, classifier=True, texts=True)
    fit = made.fit()
    first = posterior_scores(fit, made.pairs)
    monkeypatch.setattr(channel_calibration, "block_size", lambda n_classes: size)
    second = posterior_scores(fit, made.pairs)
    for name, column in vars(first).items():
        np.testing.assert_allclose(column, getattr(second, name), atol=1e-5, err_msg=name)
    # a shard gives the same as the whole
    part = slice(700, 1300)
    shard = Pairs(
        Rows([made.pairs.image.read(700, 1300)]), made.pairs.fold[part], made.pairs.given[part],
        Rows([made.pairs.texts.read(700, 1300)]), made.pairs.text_present[part],
    )  # fmt: skip
    for name, column in vars(posterior_scores(fit, shard)).items():
        np.testing.assert_allclose(column, getattr(first, name)[part], atol=1e-5, err_msg=name)


def test_nothing_to_score():
    fit, pairs = two_classes()
    none = np.empty(0, np.int64)
    assert len(posterior_scores(fit, Pairs(Rows([pairs.image.read(0, 0)]), none, none))) == 0


def test_posteriors_are_calibrated():
    made = world(20_000)
    scores = posterior_scores(made.fit(), made.pairs)
    right = made.pairs.given == made.truth
    for low in np.arange(0, 1, 0.2):
        here = (scores.given >= low) & (scores.given < low + 0.2)
        assert abs(scores.given[here].mean() - right[here].mean()) < 0.05


# thresholds


def scores_of(best_class, best, given_p):
    n = len(best)
    nothing = np.full(n, np.nan, np.float32)
    return MixedScores(
        np.asarray(given_p, np.float32), np.asarray(best_class), np.asarray(best, np.float32),
        np.zeros(n, np.int64), nothing, nothing, nothing, nothing, nothing, nothing,
    )  # fmt: skip


def random_scores(n=4000, seed=0):
    draw = np.random.default_rng(seed)
    given = draw.integers(0, K, n)
    agrees = draw.random(n) < 0.5
    best = draw.uniform(0.4, 1, n)
    own = np.where(agrees, best, (1 - best) * draw.random(n))
    return scores_of(np.where(agrees, given, (given + 1) % K), best, own), given


def fitted():
    made = world(300)
    return ChannelFit(made.views, NoiseChannel(NOISE))


@pytest.mark.parametrize("wanted", [0.75, 0.85, 0.97])
def test_thresholds_reach_the_wanted_means(wanted):
    scores, given = random_scores()
    core = np.zeros(len(given), bool)
    settings = CalibrationSettings(relabel_precision=wanted, keep_precision=wanted)
    found = channel_thresholds(scores, given, core, fitted(), settings)
    changed = scores.best_class != given
    replaced = changed & (scores.best >= found.gamma)
    assert scores.best[replaced].mean() >= wanted
    assert found.relabel_precision == pytest.approx(scores.best[replaced].mean(), abs=1e-6)
    # the next one would be too much
    below = changed & (scores.best < found.gamma)
    more = np.append(scores.best[replaced], scores.best[below].max())
    assert more.mean() < wanted or scores.best[below].max() < 0.5
    kept = ~replaced & (scores.given >= found.keep_threshold)
    assert found.keep_precision == pytest.approx(scores.given[kept].mean(), abs=1e-6)
    assert found.keep_precision >= wanted - 1e-6
    assert found.keep_threshold >= 0.5
    assert (found.n_relabels, found.n_kept, found.n_members) == (
        replaced.sum(), kept.sum(), len(given)
    )  # fmt: skip
    assert found.noise_rate == pytest.approx(1 - scores.given.mean(), abs=1e-6)
    assert found.core_impurity is None


def test_thresholds_by_hand():
    scores = scores_of(
        [1, 1, 1, 1, 0, 0], [0.9, 0.8, 0.8, 0.6, 0.7, 0.9], [0, 0.1, 0.1, 0, 0.7, 0.9]
    )
    given = np.zeros(6, np.int64)
    core = np.array([False, False, False, False, False, True])
    asked = CalibrationSettings(relabel_precision=0.84, keep_precision=0.6)
    found = channel_thresholds(scores, given, core, fitted(), asked)
    # two of 0.8 would do, but equal ones stand or fall together, and with three it is 0.833
    assert found.gamma == pytest.approx(0.9)
    assert found.relabel_precision == pytest.approx(0.9)
    assert found.keep_threshold == pytest.approx(0.7)
    assert found.core_impurity == pytest.approx(0.1)
    assert (found.n_relabels, found.n_kept, found.n_members) == (1, 1, 5)
    asked = replace(asked, relabel_precision=0.83)
    assert channel_thresholds(scores, given, core, fitted(), asked).n_relabels == 3


def test_where_nothing_is_sure_nothing_is_replaced():
    scores = scores_of([1, 1], [0.6, 0.55], [0.3, 0.3])
    given = np.zeros(2, np.int64)
    found = channel_thresholds(
        scores, given, np.zeros(2, bool), fitted(), CalibrationSettings(relabel_precision=0.9)
    )
    assert found.gamma == NO_RELABELS
    assert found.fallbacks == ("No label is surely another: none is replaced.",)
    assert (found.relabel_precision, found.n_relabels, found.n_kept) == (None, 0, 0)
    asked = CalibrationSettings(tau=0.1, gamma=0.55, keep_threshold=0.2)
    told = channel_thresholds(scores, given, np.zeros(2, bool), fitted(), asked)
    assert (told.gamma, told.keep_threshold, told.n_relabels) == (0.55, 0.2, 2)


def test_a_corpus_that_is_all_core_has_thresholds_too():
    scores, given = random_scores(40)
    found = channel_thresholds(
        scores, given, np.ones(40, bool), fitted(), CalibrationSettings()
    )  # fmt: skip
    assert found.noise_rate is None
    assert found.gamma == NO_RELABELS
    assert found.core_impurity == pytest.approx(1 - scores.given.mean(), abs=1e-6)
