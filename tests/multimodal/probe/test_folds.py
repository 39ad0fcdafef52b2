import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal.probe import RowFolds, row_keys, stratified_folds


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=60), st.integers(2, 6), st.integers(0, 9))
def test_every_class_is_spread_evenly(labels, n_folds, seed):
    labels = np.array(labels)
    fold = stratified_folds(labels, n_folds, seed=seed).fold

    for label in np.unique(labels):
        counts = np.bincount(fold[labels == label], minlength=n_folds)
        assert counts.max() - counts.min() <= 1


def test_renumbering_rows_keeps_their_folds():
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(-1, 3, 200), rng.integers(-1, 20, 200)
    ids = np.array([f"row {n}" for n in range(200)])
    order = rng.permutation(200)

    here = stratified_folds(labels, 5, ids=ids, groups=groups)
    there = stratified_folds(labels[order], 5, ids=ids[order], groups=groups[order])

    np.testing.assert_array_equal(there.fold, here.fold[order])
    np.testing.assert_array_equal(there.key, here.key[order])


def test_a_group_shares_a_fold_and_counts_for_its_labelled_member():
    labels = np.array([-1, 2, -1, 0, 0, 0, 0, 0])
    groups = np.array([7, 7, 7, -1, -1, -1, -1, -1])

    found = stratified_folds(labels, 5, groups=groups)

    assert len(set(found.fold[:3])) == 1
    assert found.fold[1] == stratified_folds(labels, 5).fold[1]
    assert sorted(found.fold[3:]) == [0, 1, 2, 3, 4]


def test_the_seed_moves_rows_and_classes_of_one_row_do_not_meet_in_one_fold():
    labels = np.zeros(100, dtype=np.int64)
    assert (
        stratified_folds(labels, 5, seed=1).fold != stratified_folds(labels, 5, seed=2).fold
    ).any()
    assert sorted(stratified_folds(np.arange(5), 5).fold) == [0, 1, 2, 3, 4]


def test_keys_tell_seeds_apart_and_know_text_and_numbers():
    assert row_keys(["a", "b"])[0] == row_keys(["b", "a"])[1] != row_keys(["a"], seed=1)[0]
    assert row_keys(np.array([3]))[0] == row_keys(["3"])[0]
    assert row_keys([]).shape == (0,)


def test_errors():
    with pytest.raises(ValueError, match="n_folds must be at least 2, got 1"):
        stratified_folds(np.zeros(3, np.int64), 1)
    with pytest.raises(ValueError, match="must have 3 rows like labels"):
        stratified_folds(np.zeros(3, np.int64), 2, ids=["a"])
    with pytest.raises(ValueError, match=r"fold must lie in 0 \.\. 1"):
        RowFolds(np.array([2]), np.zeros(1, np.uint64), 2)
    with pytest.raises(ValueError, match="fold and key"):
        RowFolds(np.array([0]), np.zeros(2, np.uint64), 2)
