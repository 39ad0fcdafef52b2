from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal.vote_agreement import find_patterns, split_votes, weigh_votes


def drawn(accuracies, n=4000, n_classes=10, seed=0):
    """True classes and votes of independent judges."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(n_classes, size=n)
    votes = [
        np.where(rng.random(n) < right, truth, (truth + rng.integers(1, n_classes, n)) % n_classes)
        for right in accuracies
    ]
    return truth, np.stack(votes, axis=1)


def dense_em(votes, n_classes, rounds=500):
    """The same model with all classes written out, an N x K array per round."""
    accuracy = np.full(votes.shape[1], 0.75)
    one_hot = (votes[:, :, None] == np.arange(n_classes)) & (votes[:, :, None] >= 0)
    cast = (votes >= 0).sum(axis=0)
    for _ in range(rounds):
        odds = np.log((n_classes - 1) * accuracy / (1 - accuracy)).clip(0)
        scores = np.einsum("nvk,v->nk", one_hot, odds)
        posterior = np.exp(scores - scores.max(axis=1, keepdims=True))
        posterior /= posterior.sum(axis=1, keepdims=True)
        accuracy = (np.einsum("nvk,nk->v", one_hot, posterior) + 2) / (cast + 3)
    return accuracy, posterior


def test_known_accuracies_are_recovered():
    right = (0.92, 0.8, 0.7, 0.6)
    truth, votes = drawn(right)
    found = weigh_votes(votes, 10)
    assert found.mean_accuracy == pytest.approx(right, abs=0.025)
    expected = np.log(9 * np.array(right) / (1 - np.array(right)))
    assert found.mean_weight == pytest.approx(expected, abs=0.25)
    best_alone = (votes == truth[:, None]).mean(axis=0).max()
    assert (found.best == truth).mean() > best_alone
    assert found.best_p.mean() == pytest.approx((found.best == truth).mean(), abs=0.01)


def test_em_over_patterns_is_em_over_all_classes():
    _, votes = drawn((0.9, 0.7, 0.5), n=300, n_classes=5)
    votes[::7, 1] = -1
    accuracy, posterior = dense_em(votes, 5)
    found = weigh_votes(votes, 5)
    assert found.accuracy[:, 0] == pytest.approx(accuracy, abs=1e-3)
    assert found.best_p == pytest.approx(posterior.max(axis=1), abs=5e-3)


def test_a_guesser_has_no_weight():
    truth, votes = drawn((0.9, 0.85, 0.8, 0.1))
    found = weigh_votes(votes, 10)
    assert found.mean_weight[3] < 0.1 * found.mean_weight[:3].min()
    assert (found.best == truth).mean() >= (votes[:, 0] == truth).mean()


def test_copies_share_one_vote():
    truth, votes = drawn((0.9, 0.85, 0.6))
    once = weigh_votes(votes, 10)
    twice = weigh_votes(votes[:, [0, 1, 2, 2]], 10)
    assert twice.independence.tolist() == pytest.approx([1, 1, 0.5, 0.5])
    assert twice.mean_weight[2:].sum() == pytest.approx(once.mean_weight[2], abs=0.02)
    assert np.array_equal(once.best, twice.best)
    assert (twice.best == truth).mean() > 0.9


def test_suggestions_are_weighed_apart_from_firm_votes():
    rng = np.random.default_rng(3)
    truth, sure = drawn((0.95, 0.95, 0.95), seed=1)
    _, unsure = drawn((0.3, 0.3, 0.3), seed=1)
    firm = rng.random(sure.shape) < 0.6
    found = weigh_votes(np.where(firm, sure, unsure), 10, firm=firm)
    assert found.accuracy[:, 0] == pytest.approx(0.95, abs=0.03)
    assert found.accuracy[:, 1] == pytest.approx(0.3, abs=0.06)
    plain = weigh_votes(np.where(firm, sure, unsure), 10)
    assert (found.best == truth).mean() > (plain.best == truth).mean()


def test_a_majority_by_hand_and_ties_by_number():
    votes = np.array([[2, 2, 0], [1, 1, 1], [0, 2, 2], [3, -1, -1], [-1, -1, -1]])
    found = weigh_votes(votes, 4)
    assert found.best.tolist() == [2, 1, 2, 3, -1]
    assert np.isnan(found.best_p).tolist() == [False] * 4 + [True]
    trusted = weigh_votes(votes, 4, trust=np.array([1.0, 0.0, 9.0]))
    assert trusted.best.tolist() == [0, 1, 2, 3, -1]
    torn = weigh_votes(np.array([[3, 1], [1, 3]]), 4)
    assert torn.best.tolist() == [1, 1]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 5), st.integers(2, 6))
def test_names_of_classes_and_order_of_rows_change_nothing(seed, n_judges, n_classes):
    rng = np.random.default_rng(seed)
    votes = rng.integers(-1, n_classes, (60, n_judges))
    firm = rng.random(votes.shape) < 0.5
    order, names = rng.permutation(60), rng.permutation(n_classes)
    first = weigh_votes(votes, n_classes, firm=firm)
    moved = np.where(votes < 0, -1, names[votes])[order]
    second = weigh_votes(moved, n_classes, firm=firm[order])
    assert np.array_equal(first.accuracy, second.accuracy)
    assert np.array_equal(first.best_p[order], second.best_p, equal_nan=True)


def test_patterns_of_many_columns_do_not_overflow():
    rng = np.random.default_rng(0)
    columns = rng.integers(-1, 4, (500, 30))
    found = find_patterns(columns)
    rebuilt = found.group[found.of_row]
    for one, other in pairwise(range(30)):
        same = (columns[:, one] == columns[:, other]) & (columns[:, one] >= 0)
        named = (rebuilt[:, one] == rebuilt[:, other]) & (rebuilt[:, one] >= 0)
        assert np.array_equal(same, named)
    assert found.count.sum() == 500
    assert len(find_patterns(columns[:0]).count) == 0


def test_no_rows_and_one_class():
    nothing = weigh_votes(np.empty((0, 3), np.int64), 5)
    assert len(nothing.best) == 0
    assert np.isnan(nothing.mean_accuracy).all()
    alone = weigh_votes(np.zeros((4, 2), np.int64), 1)
    assert alone.best.tolist() == [0] * 4
    assert alone.best_p == pytest.approx(1)
    firm = np.array([[True, False]])
    assert split_votes(np.array([[4, 2]]), firm).tolist() == [[4, -1, -1, 2]]
