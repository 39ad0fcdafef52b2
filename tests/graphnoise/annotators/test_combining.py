import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphnoise.annotators.base import ABSTAIN, Usage, hard_votes
from graphnoise.annotators.combining import combine_votes, majority_votes
from labelnoise.label_models.dawid_skene import fit_dawid_skene

K = 3


def votes_of(labels, **options):
    return hard_votes(np.array(labels, np.int64), K, rung="name", reason="refusal", **options)


def test_majority_by_hand():
    combined = majority_votes([
        votes_of([0, 0, -1, -1, 0, 2]),
        votes_of([0, 1, 1, -1, 1, 2]),
        votes_of([2, 2, -1, -1, 1, 2]),
    ])  # fmt: skip
    assert combined.labels.tolist() == [0, -1, 1, -1, 1, 2]
    assert combined.reason.tolist() == ["", "no_majority", "", "refusal", "", ""]
    assert combined.rung.tolist() == ["combined", "none", "combined", "none", *["combined"] * 2]
    np.testing.assert_allclose(combined.probabilities[0], [2 / 3, 0, 1 / 3])
    np.testing.assert_allclose(combined.confidence[[0, 2, 4]], [2 / 3, 1, 2 / 3])
    assert combined.ranked[0].tolist() == [0, 2, -1]
    assert [one["label"] for one in combined.records[1]["votes"]] == [0, 1, 2]


def test_usage_adds_up_and_records_are_kept():
    first = votes_of([0], usage=Usage(calls=1, money=0.5), records=({"model": "a"},))
    second = votes_of([0], usage=Usage(calls=2, money=None), confidence=np.array([0.5], np.float32))
    combined = majority_votes([first, second])
    assert combined.usage == Usage(calls=3, money=None)
    assert combined.records[0]["votes"] == [
        {"label": 0, "confidence": None, "rung": "name", "reason": "", "record": {"model": "a"}},
        {"label": 0, "confidence": 0.5, "rung": "name", "reason": ""},
    ]


def test_without_reliabilities_it_is_dawid_and_skenes_model():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, K, 400)
    table = [np.where(rng.random(400) < p, truth, rng.integers(0, K, 400)) for p in (0.9, 0.5, 0.1)]
    table[1][:50] = ABSTAIN
    votes = [votes_of(one) for one in table]
    combined = combine_votes(votes)
    fitted = fit_dawid_skene(np.stack(table, 1), K)
    np.testing.assert_allclose(combined.probabilities, fitted.posteriors, atol=1e-6)
    assert (combined.labels == fitted.posteriors.argmax(1)).all()
    assert (combined.labels == truth).mean() > (majority_votes(votes).labels == truth).mean() + 0.05


def test_reliable_votes_count_for_more():
    votes = [votes_of([0, 0, -1, 0]), votes_of([1, 1, 1, -1]), votes_of([1, 1, -1, 0])]
    reliabilities = [[0.95, 0.6, np.nan, 0.5], [0.6, 0.6, 0.3, np.nan], [0.6, 0.6, np.nan, 0.5]]
    combined = combine_votes(votes, reliabilities)
    # a vote that is less reliable than chance, 1/3, speaks for the other classes
    assert combined.labels.tolist() == [0, 1, ABSTAIN, 0]
    assert combined.reason[2] == "no_majority"
    # Bayes' rule by hand: true class k, errors alike in both directions
    likelihood = np.array([0.95 * 0.2 * 0.2, 0.025 * 0.6 * 0.6, 0.025 * 0.2 * 0.2])
    np.testing.assert_allclose(combined.probabilities[0], likelihood / likelihood.sum(), atol=1e-6)


def test_certain_votes_against_each_other_are_no_majority():
    combined = combine_votes([votes_of([0]), votes_of([1])], [[1.0], [1.0]])
    assert combined.reason.tolist() == ["no_majority"]
    assert not combined.probabilities.any()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(-1, K - 1), min_size=3, max_size=3), min_size=1, max_size=12),
    st.permutations(range(3)),
    st.permutations(range(K)),
)
def test_order_of_annotators_and_classes_does_not_matter(rows, annotators, classes):
    table = np.array(rows)
    renamed = np.where(table >= 0, np.array([*classes, -1])[table], -1)[:, annotators]
    for combine in (majority_votes, combine_votes):
        plain = combine([votes_of(one) for one in table.T])
        other = combine([votes_of(one) for one in renamed.T])
        again = np.where(plain.labels >= 0, np.array([*classes, -1])[plain.labels], -1)
        # posteriors that differ in the last bits decide differently next to a tie
        clear = np.abs(np.diff(np.sort(plain.probabilities, axis=1)[:, -2:]))[:, 0] > 1e-4
        assert (other.labels == again)[clear].all()
        np.testing.assert_allclose(
            other.probabilities[clear][:, classes], plain.probabilities[clear], atol=1e-4
        )


def test_no_questions():
    for combine in (majority_votes, combine_votes):
        assert len(combine([votes_of([]), votes_of([])])) == 0


def test_misfits():
    with pytest.raises(ValueError, match="at least one annotator"):
        combine_votes([])
    with pytest.raises(ValueError, match="same questions and classes"):
        majority_votes([votes_of([0]), votes_of([0, 1])])
    with pytest.raises(ValueError, match="one array per annotator, 1, got 2"):
        combine_votes([votes_of([0])], [[0.5], [0.5]])
    with pytest.raises(ValueError, match=r"reliabilities must be \[1\] in 0..1"):
        combine_votes([votes_of([0])], [[1.5]])
    with pytest.raises(ValueError, match=r"reliabilities must be \[1\] in 0..1"):
        combine_votes([votes_of([0])], [[np.nan]])
