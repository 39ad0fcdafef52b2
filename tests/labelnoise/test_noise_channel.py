import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from labelnoise.calibrate import calibrate_views
from labelnoise.decide import decide
from labelnoise.noise import flip_labels, pair_transition, uniform_transition
from labelnoise.noise_channel import (
    ChannelPrior,
    NoiseChannel,
    fit_noise_channel,
    fit_temperature,
)

# beliefs that some thousands of labels outweigh
FAINT = ChannelPrior(strength=1.0, log_temperature_spread=1e3)


def drawn(probabilities, rng):
    """One class per row, as probable as the row says."""
    cumulative = probabilities.cumsum(axis=1)
    cumulative[:, -1] = 1
    return (cumulative < rng.random((len(probabilities), 1))).sum(axis=1)


def calibrated_scores(temperature=1.0, n=8000, n_classes=4, seed=0, spread=3.0):
    """Scores of which ``softmax(scores / temperature)`` is right, and the true classes."""
    rng = np.random.default_rng(seed)
    logits = spread * rng.normal(size=(n, n_classes))
    return logits * temperature, drawn(softmax(logits, axis=1), rng)


@pytest.mark.parametrize(
    "transition", [uniform_transition(4, 0.3), pair_transition(4, 0.4), np.eye(4)]
)
@pytest.mark.parametrize("temperature", [0.25, 3.0])
def test_recovers_a_planted_temperature_and_channel(transition, temperature):
    scores, truth = calibrated_scores(temperature)
    given = flip_labels(truth, transition, seed=1).labels

    found = fit_noise_channel(scores, given, FAINT)

    assert found.temperature == pytest.approx(temperature, rel=0.12)
    np.testing.assert_allclose(found.transition, transition, atol=0.04)
    posterior = found.posterior(found.probabilities(scores), given)
    quality = posterior[np.arange(len(given)), given]
    assert 1 - quality.mean() == pytest.approx((given != truth).mean(), abs=0.02)


def test_quality_is_calibrated_where_a_temperature_alone_is_not():
    scores, truth = calibrated_scores()
    given = flip_labels(truth, uniform_transition(4, 0.3), seed=1).labels
    right, rows = given == truth, np.arange(len(given))

    channel = fit_noise_channel(scores, given)
    quality = channel.posterior(channel.probabilities(scores), given)[rows, given]

    for low in np.arange(0, 1, 0.2):
        part = (quality >= low) & (quality < low + 0.2)
        assert quality[part].mean() == pytest.approx(right[part].mean(), abs=0.06)
    flat = fit_temperature(scores, given, np.eye(4)).probabilities(scores)[rows, given]
    assert abs(flat.mean() - right.mean()) > 0.1


def test_without_noise_it_is_temperature_scaling():
    scores, truth = calibrated_scores(2.0, n=2000)
    given = flip_labels(truth, uniform_transition(4, 0.2), seed=1).labels
    prior = ChannelPrior(expected_noise=0.0, log_temperature_spread=1e3)

    found = fit_noise_channel(scores, given, prior)

    def loss(log_temperature):
        scaled = log_softmax(scores / np.exp(log_temperature[0]), axis=1)
        return -scaled[np.arange(len(given)), given].mean()

    peer = minimize(loss, [0.0], method="Nelder-Mead")
    assert np.log(found.temperature) == pytest.approx(peer.x[0], abs=2e-3)
    np.testing.assert_array_equal(found.transition, np.eye(4))


def test_fit_is_a_maximum_of_the_penalised_likelihood():
    scores, truth = calibrated_scores(n=600)
    given, prior = flip_labels(truth, pair_transition(4, 0.3), seed=1).labels, ChannelPrior()

    found = fit_noise_channel(scores, given, prior)

    def objective(temperature, transition):
        seen = (softmax(scores / temperature, axis=1) @ transition)[np.arange(600), given]
        belief = prior.strength / 4 * (prior.transition(4) * np.log(transition)).sum()
        return np.log(seen).sum() + belief - np.log(temperature) ** 2 / 8

    best = objective(found.temperature, found.transition)
    rng = np.random.default_rng(0)
    for _ in range(20):
        near = found.transition * np.exp(0.2 * rng.normal(size=(4, 4)))
        near /= near.sum(axis=1, keepdims=True)
        # turns of single steps end near the maximum, not on it
        assert objective(found.temperature * np.exp(0.2 * rng.normal()), near) < best + 0.05


def test_posterior_by_hand():
    channel = NoiseChannel(np.array([[0.9, 0.1], [0.3, 0.7]]), temperature=2.0)

    scores = np.log([[0.64, 0.36]])
    np.testing.assert_allclose(channel.probabilities(scores), [[0.8 / 1.4, 0.6 / 1.4]])
    found = channel.posterior([[0.6, 0.4], [0.6, 0.4], [0.5, 0.5]], np.array([0, 1, 1]))

    by_hand = [[0.54 / 0.66, 0.12 / 0.66], [0.06 / 0.34, 0.28 / 0.34], [0.125, 0.875]]
    np.testing.assert_allclose(found, by_hand, rtol=1e-9)


def test_says_the_prior_where_nothing_was_seen():
    for scores in (np.zeros((0, 3)), np.zeros((500, 3))):
        labels = np.arange(len(scores)) % 3
        found = fit_noise_channel(scores, labels)

        assert found.temperature == pytest.approx(1, rel=1e-3)
        np.testing.assert_allclose(np.diagonal(found.transition), 0.7, atol=0.01)
        # equal scores say nothing: what a label is worth is what the channel says
        worth = found.posterior(np.full((1, 3), 1 / 3), np.array([0]))[0, 0]
        assert worth == pytest.approx(found.transition[0, 0], abs=0.01)


def test_a_few_agreeing_labels_do_not_ask_for_certainty():
    scores = np.log([[0.6, 0.4], [0.4, 0.6]] * 3)

    found = fit_noise_channel(scores, np.array([0, 1] * 3))

    assert 0.1 < found.temperature < 1


def test_order_of_classes_does_not_show():
    scores, truth = calibrated_scores(n=500)
    given = flip_labels(truth, pair_transition(4, 0.3), seed=1).labels
    classes = np.array([2, 0, 3, 1])

    plain = fit_noise_channel(scores, given)
    other = fit_noise_channel(scores[:, classes], np.argsort(classes)[given])

    assert other.temperature == pytest.approx(plain.temperature, rel=1e-6)
    np.testing.assert_allclose(other.transition, plain.transition[np.ix_(classes, classes)])


def two_views(n=3000, seed=0):
    """Independent evidence on one truth, flattened as a fit to noisy labels would, some silent."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(4, size=n)
    views = {}
    for name in ("one", "two"):
        evidence = 1.5 * rng.normal(size=(n, 4)) + 2.25 * np.eye(4)[truth]
        views[name] = softmax(0.4 * evidence, axis=1)
    views["two"][rng.random(n) < 0.2] = 0
    return views, truth


def test_views_become_views_of_the_true_class():
    views, truth = two_views()
    given = flip_labels(truth, uniform_transition(4, 0.3), seed=1).labels

    sharpened, channel = calibrate_views(views, given)
    audit = decide(sharpened, given, class_names=tuple("abcd"), method="test", channel=channel)

    silent = views["two"].sum(axis=1) == 0
    assert np.isnan(sharpened["two"][silent]).all()
    for name, view in sharpened.items():
        speaks = ~np.isnan(view[:, 0])
        assert view[speaks].max(axis=1).mean() == pytest.approx(
            (view[speaks].argmax(axis=1) == truth[speaks]).mean(), abs=0.05
        )
        np.testing.assert_array_equal(view.argsort()[speaks], views[name].argsort()[speaks])
    np.testing.assert_allclose(channel.transition, uniform_transition(4, 0.3), atol=0.06)
    assert audit.noise_rate == pytest.approx((given != truth).mean(), abs=0.03)
    np.testing.assert_array_equal(audit.transition, channel.transition)


def test_calibration_reads_only_the_rows_it_may():
    views, truth = two_views(n=400)
    given = flip_labels(truth, uniform_transition(4, 0.3), seed=1).labels
    given[:20] = -1
    allowed = np.arange(400) >= 200
    changed = np.where(allowed, given, 3)

    (_, plain), (_, other) = (
        calibrate_views(views, labels, fit_rows=allowed) for labels in (given, changed)
    )

    assert plain.temperature == other.temperature
    np.testing.assert_array_equal(plain.transition, other.transition)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_noise_channel(np.zeros((2, 3)), [0]), "shapes"),
        (lambda: fit_noise_channel([[0.0, np.inf]], [0]), "finite"),
        (lambda: fit_noise_channel(np.zeros((2, 3)), [0, 3]), r"0 \.\. 2"),
        (lambda: calibrate_views({}, [0]), "at least one view"),
        (lambda: NoiseChannel(np.ones((2, 2))), "add up to 1"),
        (lambda: NoiseChannel(np.ones((2, 3)) / 3), "add up to 1"),
        (lambda: NoiseChannel(np.eye(2), temperature=0.0), "temperature"),
        (lambda: ChannelPrior(expected_noise=1.0), "expected_noise"),
        (lambda: ChannelPrior(strength=0.0), "strength"),
        (lambda: ChannelPrior(log_temperature_spread=-1.0), "log_temperature_spread"),
    ],
)
def test_rejects(call, message):
    with pytest.raises(ValueError, match=message):
        call()
