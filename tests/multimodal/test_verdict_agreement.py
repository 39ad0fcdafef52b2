import numpy as np
import pytest

from multimodal.verdict_agreement import weigh_verdicts


def drawn(passes, stops, *, share=0.7, n=6000, seed=0):
    """Whether labels are right, and which of them independent judges pass."""
    rng = np.random.default_rng(seed)
    right = rng.random(n) < share
    passed = [
        np.where(right, rng.random(n) < one, rng.random(n) >= other)
        for one, other in zip(passes, stops, strict=True)
    ]
    return right, np.stack(passed, axis=1)


def full(passed):
    return np.ones_like(passed)


def test_known_rates_are_recovered():
    passes, stops = (0.95, 0.85, 0.9), (0.8, 0.9, 0.6)
    right, passed = drawn(passes, stops)
    found = weigh_verdicts(passed, full(passed), np.ones(3))
    assert found.share_right == pytest.approx(0.7, abs=0.03)
    assert found.passes_right == pytest.approx(passes, abs=0.04)
    assert found.stops_wrong == pytest.approx(stops, abs=0.05)
    told = found.right(passed, full(passed))
    # calibrated: of labels told to be right with probability p, a share p is
    for low in (0.0, 0.5, 0.9):
        here = (told >= low) & (told < low + 0.5)
        assert right[here].mean() == pytest.approx(told[here].mean(), abs=0.05)


def test_a_guesser_has_no_weight_and_copies_share_theirs():
    _, passed = drawn((0.9, 0.9, 0.9, 0.6), (0.85, 0.85, 0.85, 0.4))
    found = weigh_verdicts(passed, full(passed), np.ones(4))
    assert found.weight[3] < 0.1 * found.weight[:3].min()
    twice = passed[:, [0, 1, 2, 2]]
    once = weigh_verdicts(passed[:, :3], full(passed[:, :3]), np.ones(3))
    shared = weigh_verdicts(twice, full(twice), np.array([1, 1, 0.5, 0.5]))
    assert shared.weight == pytest.approx(once.weight[[0, 1, 2, 2]] * [1, 1, 0.5, 0.5], rel=0.01)


def test_bayes_by_hand():
    passed = np.array([[True, False, True]])
    found = weigh_verdicts(passed, full(passed), np.ones(3))
    odds = found.share_right / (1 - found.share_right)
    passes, stops = found.passes_right, found.stops_wrong
    odds *= passes[0] / (1 - stops[0]) * (1 - passes[1]) / stops[1] * passes[2] / (1 - stops[2])
    assert found.right(passed, full(passed)) == pytest.approx(odds / (1 + odds))
    one = np.array([[True, False, False]])
    alone = found.share_right * passes[0]
    alone /= alone + (1 - found.share_right) * (1 - stops[0])
    assert found.right(passed, one) == pytest.approx(alone)
    assert np.isnan(found.right(passed, one, without=0)).all()


def test_the_order_of_rows_changes_nothing_and_none_may_speak():
    _, passed = drawn((0.9, 0.8, 0.7), (0.8, 0.8, 0.8), n=400)
    cast = np.random.default_rng(1).random(passed.shape) < 0.8
    order = np.random.default_rng(2).permutation(400)
    first = weigh_verdicts(passed, cast, np.ones(3)).right(passed, cast)
    passed, cast = passed[order], cast[order]
    second = weigh_verdicts(passed, cast, np.ones(3)).right(passed, cast)
    assert np.array_equal(first[order], second, equal_nan=True)
    nothing = weigh_verdicts(passed, np.zeros_like(cast), np.ones(3))
    assert np.isnan(nothing.right(passed, np.zeros_like(cast))).all()


def test_two_judges_are_taken_at_the_first_rates():
    _, passed = drawn((0.9, 0.6), (0.9, 0.6), n=500)
    found = weigh_verdicts(passed, full(passed), np.ones(2))
    assert found.passes_right.tolist() == found.stops_wrong.tolist() == [0.8, 0.8]
