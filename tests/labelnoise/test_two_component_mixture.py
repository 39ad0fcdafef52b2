import warnings

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from labelnoise.two_component_mixture import (
    MixtureFit,
    TwoComponents,
    fit_two_components,
    scaled_to_unit,
)


def humps(rng, n, *, low=0.2, high=0.8, wide=(0.05, 0.12)):
    return np.concatenate([rng.normal(low, wide[0], n - n // 3), rng.normal(high, wide[1], n // 3)])


@pytest.mark.parametrize("settings", [{}, {"max_iter": 200, "tol": 1e-7, "reg": 1e-6}])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_mixture_of_scikit_learn(settings, seed):
    x = humps(np.random.default_rng(seed), 300)
    fit = MixtureFit(**settings)
    found = fit_two_components(x, fit=fit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        peer = GaussianMixture(
            2, max_iter=fit.max_iter, tol=fit.tol, reg_covar=fit.reg, n_init=5, random_state=0
        ).fit(x[:, None])
    order = peer.means_[:, 0].argsort()
    assert found.mean[0] == pytest.approx(peer.means_[order, 0], abs=1e-6)
    assert found.variance[0] == pytest.approx(peer.covariances_[order, 0, 0], abs=1e-6)
    assert found.share[0] == pytest.approx(peer.weights_[order], abs=1e-6)
    plain = found.high(x, monotone=False)
    assert plain == pytest.approx(peer.predict_proba(x[:, None])[:, order[1]], abs=1e-5)
    between = (x > found.mean[0, 0]) & (x < found.mean[0, 1])
    assert np.array_equal(found.high(x)[between], plain[between])


def test_groups_in_one_call_are_what_each_is_alone_and_in_any_order():
    rng = np.random.default_rng(5)
    parts = [humps(rng, n, low=low, high=low + 1) for n, low in ((90, 0.0), (41, 3.0), (7, -2.0))]
    x = np.concatenate(parts)
    groups = np.repeat([4, 0, 2], [90, 41, 7])
    turn = rng.permutation(len(x))
    found = fit_two_components(x[turn], groups[turn], 6)
    assert found.size.tolist() == [41, 0, 7, 0, 90, 0]
    assert found.apart.tolist() == [True, False, True, False, True, False]
    for group, part in zip((4, 0, 2), parts, strict=True):
        alone = fit_two_components(part)
        for name in ("share", "mean", "variance"):
            assert np.array_equal(getattr(found, name)[group], getattr(alone, name)[0])
        assert np.array_equal(found.high(part, np.full(len(part), group)), alone.high(part))


def test_a_group_that_is_done_stays_as_it_is_while_others_go_on():
    rng = np.random.default_rng(6)
    fast, slow = humps(rng, 60), rng.normal(size=200) ** 3
    fit = MixtureFit(max_iter=50, tol=1e-4)
    found = fit_two_components(np.concatenate([fast, slow]), np.repeat([0, 1], [60, 200]), fit=fit)
    for group, part in enumerate((fast, slow)):
        alone = fit_two_components(part, fit=fit)
        assert np.array_equal(found.mean[group], alone.mean[0])
    short = fit_two_components(slow, fit=MixtureFit(max_iter=3, tol=1e-4))
    assert not np.array_equal(found.mean[1], short.mean[0])


def test_the_start_is_the_best_split_of_two_means():
    rng = np.random.default_rng(2)
    for _ in range(20):
        x = np.sort(rng.normal(size=rng.integers(3, 30)) ** 3)
        cost = [x[:i].var() * i + x[i:].var() * (len(x) - i) for i in range(1, len(x))]
        cut = 1 + int(np.argmin(cost))
        # a reg so large that no member changes sides: one round from the split stays there
        one = fit_two_components(x, fit=MixtureFit(max_iter=1, reg=1e-12, fewest=2))
        halves = x[:cut], x[cut:]
        start = GaussianMixture(
            2, max_iter=1, tol=1e-3, reg_covar=1e-12,
            means_init=[[half.mean()] for half in halves],
            weights_init=[len(half) / len(x) for half in halves],
            precisions_init=[[[1 / (half.var() + 1e-12)]] for half in halves],
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            start.fit(x[:, None])
        order = start.means_[:, 0].argsort()
        if one.apart[0]:
            assert one.mean[0] == pytest.approx(start.means_[order, 0], rel=1e-5, abs=1e-8)


def test_what_cannot_be_told_apart_says_so():
    x = np.array([1.0, 2.0, 2.0, 5.0, 5.0, 5.0, 5.0])
    groups = np.array([0, 1, 1, 2, 2, 2, 2])
    found = fit_two_components(x, groups, 4)
    assert not found.apart.any()
    assert np.isnan(found.high(x, groups)).all()
    assert len(fit_two_components(np.empty(0)).size) == 1
    # two samples may have a mixture where that is asked for
    pair = fit_two_components(np.array([0.0, 1.0]), fit=MixtureFit(fewest=2))
    assert pair.apart.all()
    assert pair.high(np.array([0.0, 1.0])).round(6).tolist() == [0, 1]
    # one hump and a wider one around the same mean
    rng = np.random.default_rng(0)
    half = np.concatenate([rng.normal(0, 0.02, 400), rng.normal(0, 1, 100)])
    same = fit_two_components(np.concatenate([half, -half]), fit=MixtureFit(max_iter=2000, tol=0))
    assert not same.apart[0]


def test_a_higher_value_never_has_a_lower_answer():
    # the higher component is the wider one: without care it wins at the low end as well
    x = humps(np.random.default_rng(1), 500, low=0.4, high=0.6, wide=(0.03, 0.2))
    found = fit_two_components(x, fit=MixtureFit(max_iter=100, tol=1e-6))
    line = np.linspace(-1, 2, 400)
    assert (np.diff(found.high(line)) >= 0).all()
    assert (np.diff(found.high(line, monotone=False)) < 0).any()
    mirrored = fit_two_components(1 - x, fit=MixtureFit(max_iter=100, tol=1e-6))
    assert mirrored.high(1 - line) == pytest.approx(1 - found.high(line), abs=1e-6)


def test_shrinking_by_hand():
    own = TwoComponents(
        np.array([[0.5, 0.5], [0.1, 0.9]]), np.array([[0.0, 1.0], [7.0, 8.0]]),
        np.array([[0.1, 0.2], [9.0, 9.0]]), np.array([50, 3]), np.array([True, False]),
    )  # fmt: skip
    whole = TwoComponents(
        np.array([[0.9, 0.1]]), np.array([[0.2, 0.6]]), np.array([[0.3, 0.3]]),
        np.array([500]), np.array([True]),
    )  # fmt: skip
    mixed = own.shrunk(whole, 150)
    assert mixed.mean == pytest.approx(np.array([[0.15, 0.7], [0.2, 0.6]]))
    assert mixed.variance == pytest.approx(np.array([[0.25, 0.275], [0.3, 0.3]]))
    assert mixed.share == pytest.approx(np.array([[0.8, 0.2], [0.9, 0.1]]))
    assert mixed.apart.all()
    assert own.shrunk(whole, 0).mean[0].tolist() == [0.0, 1.0]
    lost = TwoComponents(*(getattr(whole, n) for n in ("share", "mean", "variance", "size")),
                         np.array([False]))  # fmt: skip
    assert own.shrunk(lost, 150) is own
    with pytest.raises(ValueError, match="towards"):
        own.shrunk(own, 1)
    with pytest.raises(ValueError, match="towards"):
        own.shrunk(whole, -1)


@drawn(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=30))
def test_the_unit_scale_keeps_the_order(values):
    x = np.array(values)
    scaled = scaled_to_unit(x)
    assert scaled.min() == 0
    assert scaled.max() <= 1
    assert (np.diff(scaled[np.argsort(x)]) >= 0).all()
    whole = fit_two_components(scaled)
    high = whole.high(scaled)
    assert not whole.apart[0] or ((high >= 0) & (high <= 1)).all()


def test_infinities_count_as_the_largest_finite_value():
    x = np.array([0.0, 1.0, 4.0, np.inf, np.inf, np.inf, 3.0])
    groups = np.array([0, 0, 0, 0, 1, 1, 2])
    assert scaled_to_unit(x, groups).tolist() == [0, 0.25, 1, 1, 0, 0, 0]
    assert scaled_to_unit(x).tolist() == [0, 0.25, 1, 1, 1, 1, 0.75]


def test_errors():
    with pytest.raises(ValueError, match="values must be finite"):
        fit_two_components(np.array([0.0, np.inf]))
    with pytest.raises(ValueError, match="finite or"):
        scaled_to_unit(np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match="groups must lie"):
        fit_two_components(np.zeros(2), np.array([0, 3]), 2)
    with pytest.raises(ValueError, match="both be"):
        fit_two_components(np.zeros(2), np.array([0]))
    with pytest.raises(ValueError, match="max_iter"):
        MixtureFit(max_iter=0)
    with pytest.raises(ValueError, match="reg"):
        MixtureFit(reg=0)
