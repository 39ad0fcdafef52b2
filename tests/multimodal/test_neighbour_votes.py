import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal.neighbour_votes import count_votes


def votes_by_hand(neighbours, labels, n_classes, similarity, balanced, prior):
    sizes = np.bincount(labels[labels >= 0], minlength=n_classes)
    votes = np.zeros((len(neighbours), n_classes))
    for row, others in enumerate(neighbours):
        for place, other in enumerate(others):
            if other >= 0 and labels[other] >= 0:
                weight = 1.0 if similarity is None else max(0.0, float(similarity[row, place]))
                share = sizes[labels[other]] + prior if balanced else 1
                votes[row, labels[other]] += weight / share
    return votes


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_sparse_votes_are_the_dense_ones(data):
    n, k, n_classes = (data.draw(st.integers(1, top)) for top in (12, 5, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    neighbours = rng.integers(-1, n, (n, k))
    labels, judged = rng.integers(-1, n_classes, (2, n))
    similarity = None
    if data.draw(st.booleans()):
        similarity = rng.integers(-1, 4, (n, k)).astype(np.float32)
    balanced, prior = data.draw(st.booleans()), data.draw(st.sampled_from([0.0, 2.0]))
    found = count_votes(
        neighbours, labels, n_classes, similarity=similarity, given=judged, balanced=balanced,
        prior_samples=prior,
    )  # fmt: skip
    votes = votes_by_hand(neighbours, labels, n_classes, similarity, balanced, prior)
    for row in range(n):
        total = votes[row].sum()
        if total == 0:
            assert found.best[row] == -1
            assert np.isnan(found.given[row])
            continue
        ranked = np.sort(votes[row])[::-1] / total
        assert found.best_share[row] == pytest.approx(ranked[0])
        assert found.second_share[row] == pytest.approx(ranked[1] if n_classes > 1 else 0)
        assert votes[row, found.best[row]] == pytest.approx(votes[row].max())
        if judged[row] < 0:
            assert np.isnan(found.ratio()[row])
        else:
            own, others = votes[row, judged[row]], np.delete(votes[row], judged[row])
            assert found.ratio()[row] == pytest.approx(own / votes[row].max())
            rival = others.max(initial=0)
            assert found.quality()[row] == pytest.approx(own / (own + rival) if own else 0)


def test_balanced_and_unbalanced_priors_by_hand():
    # six of class 0, two of class 1; row 0 has three neighbours of class 0 and two of class 1
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    neighbours = np.array([[1, 2, 3, 6, 7]])
    plain = count_votes(neighbours, labels, 2, given=labels[:1], balanced=False)
    assert plain.best.tolist() == [0]
    assert plain.ratio().tolist() == [1.0]
    # shares .6 / .75 = .8 against .4 / .25 = 1.6
    balanced = count_votes(neighbours, labels, 2, given=labels[:1])
    assert balanced.best.tolist() == [1]
    assert balanced.ratio().tolist() == pytest.approx([0.5])
    assert balanced.lead().tolist() == pytest.approx([2 / 3])
    # 3 / (6 + 2) against 2 / (2 + 2)
    smoothed = count_votes(neighbours, labels, 2, given=labels[:1], prior_samples=2)
    assert smoothed.ratio().tolist() == pytest.approx([0.375 / 0.5])


def test_of_equal_classes_the_lower_leads_and_the_ratio_is_one():
    labels = np.array([2, 1, 0])
    found = count_votes(np.array([[0, 1]]), labels, 3, given=np.array([2]))
    assert found.best.tolist() == [1]
    assert found.ratio().tolist() == [1.0]
    assert found.quality().tolist() == [0.5]


def test_errors_name_what_is_wrong():
    labels = np.array([0, 1])
    with pytest.raises(ValueError, match=r"neighbours must be \[2, k\]"):
        count_votes(np.zeros((3, 1), int), labels, 2)
    with pytest.raises(ValueError, match="neighbours must lie"):
        count_votes(np.full((2, 1), 2), labels, 2)
    with pytest.raises(ValueError, match="labels must lie"):
        count_votes(np.zeros((2, 1), int), labels, 1)
    with pytest.raises(ValueError, match="similarity must be"):
        count_votes(np.zeros((2, 1), int), labels, 2, similarity=np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match="prior_samples"):
        count_votes(np.zeros((2, 1), int), labels, 2, prior_samples=-1)
