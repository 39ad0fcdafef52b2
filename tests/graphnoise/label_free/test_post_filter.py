import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy, rankdata

from graphnoise.label_free.post_filter import post_filter


def literal_filter(labels, confidence, ratio, balance):
    """The formula as it is written: entropies of the labels that would be left, ranked."""
    labels, n = np.asarray(labels), len(labels)
    ranks, stays = rankdata(confidence, method="min"), np.ones(n, bool)

    def entropy_of(rows):
        return entropy(np.bincount(labels[rows]))

    for _ in range(int(ratio * n + 1e-9)):
        left = np.flatnonzero(stays)
        sizes = np.bincount(labels[left])
        free = [v for v in left if sizes[labels[v]] > 1]
        if not free:
            break
        change = {v: entropy_of(left[left != v]) - entropy_of(left) for v in left}
        # rounded, so that logarithms of equal counts are ties
        rounded = np.round(list(change.values()), 9)
        desc = dict(zip(left, rankdata(-rounded, method="min"), strict=True))
        score = {v: (ranks[v] + balance * desc[v]) / n for v in free}
        worst = min(free, key=lambda v: (score[v], ranks[v], v))
        stays[worst] = False
    return stays


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.5, 0.6, 0.75, 0.9])), max_size=30),
    st.sampled_from([0, 0.2, 0.3, 0.9]),
    st.sampled_from([0, 0.5, 1, 3]),
)
def test_is_the_formula_as_it_is_written(rows, ratio, balance):
    labels = [label for label, _ in rows]
    confidence = [sure for _, sure in rows]

    stays = post_filter(np.array(labels, int), confidence, ratio, balance=balance)

    np.testing.assert_array_equal(
        stays, literal_filter(np.array(labels, int), confidence, ratio, balance)
    )


def test_low_confidence_goes_first():
    confidence = np.array([0.97, 0.1, 0.95, 0.09, 0.82, 0.5])
    stays = post_filter([0, 0, 0, 0, 0, 0], confidence, 0.5)
    assert (~stays).nonzero()[0].tolist() == [1, 3, 5]


def test_the_larger_class_pays_where_confidence_is_equal():
    stays = post_filter([0, 1, 1, 1, 0, 1], np.full(6, 0.5), 1 / 3)
    np.testing.assert_array_equal(stays, [True, False, False, True, True, True])


def test_confidence_and_balance_are_weighed():
    labels, confidence = [0, 0, 0, 0, 1, 1], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    # entropy ranks: class 0 is 1, class 1 is 5; confidence ranks 6 5 4 3 2 1
    assert (~post_filter(labels, confidence, 1 / 6)).nonzero()[0].tolist() == [3]
    assert (~post_filter(labels, confidence, 1 / 6, balance=0)).nonzero()[0].tolist() == [5]


def test_keeps_the_last_label_of_a_class():
    stays = post_filter([0, 1, 2, 2], [0.1, 0.2, 0.9, 0.8], 0.99)
    np.testing.assert_array_equal(stays, [True, True, True, False])


def test_the_kept_labels_are_surer_at_every_share():
    rng = np.random.default_rng(0)
    labels, confidence = rng.integers(4, size=200), rng.random(200)
    for ratio in (0.1, 0.3, 0.31, 0.5):
        stays = post_filter(labels, confidence, ratio)
        assert (~stays).sum() == int(ratio * 200)
        assert confidence[stays].mean() > confidence.mean() > confidence[~stays].mean()


def test_renumbering_changes_nothing_where_confidences_differ():
    rng = np.random.default_rng(1)
    labels, confidence, order = rng.integers(3, size=50), rng.random(50), rng.permutation(50)
    stays = post_filter(labels, confidence, 0.4)
    np.testing.assert_array_equal(post_filter(labels[order], confidence[order], 0.4), stays[order])


def test_no_label_is_no_error():
    assert post_filter([], [], 0.5).shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [0.5], 0.1), "want labels and confidence"),
        (([0, -1], [0.5, 0.5], 0.1), "at least 0"),
        (([0, 1], [0.5, np.nan], 0.1), "finite"),
        (([0, 1], [0.5, 0.5], 1.0), "ratio"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        post_filter(*arguments)
