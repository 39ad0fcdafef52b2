import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from benchmarks.flickr8k import read_clip_pairs
from multimodal import pair_scores as module
from multimodal.pair_scores import (
    centred_pair_scores,
    mismatched_scores,
    neg_clip_loss,
    pair_scores,
    partition_offsets,
)
from multimodal.rows import Rows


def unit(rng, n, d):
    rows = rng.normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def pairs(n=70, d=8, seed=0):
    rng = np.random.default_rng(seed)
    a = unit(rng, n, d)
    b = a + 0.4 * rng.normal(size=(n, d)).astype(np.float32)
    return a, b / np.linalg.norm(b, axis=1, keepdims=True)


def as_rows(*arrays):
    return tuple(Rows([array]) for array in arrays)


def neg_clip_by_hand(a, b, temperature):
    logits = a.astype(np.float64) @ b.T.astype(np.float64) / temperature
    n = len(a)
    parts = logsumexp(logits, axis=1) + logsumexp(logits, axis=0) - 2 * np.log(n)
    return temperature * (np.diagonal(logits) - parts / 2)


def test_two_pairs_in_closed_form():
    a = np.array([[1, 0], [0, 1]], np.float32)
    b = np.array([[0.6, 0.8], [0, 1]], np.float32)
    assert pair_scores(*as_rows(a, b)) == pytest.approx([0.6, 1.0])
    # means (.5, .5) and (.3, .9): <(.5, -.5), (.3, -.1)> and <(-.5, .5), (-.3, .1)>
    assert centred_pair_scores(*as_rows(a, b)) == pytest.approx([0.2, 0.2])
    row = np.log([(np.exp(0.6) + np.exp(0.0)) / 2, (np.exp(0.8) + np.exp(1.0)) / 2])
    column = np.log([(np.exp(0.6) + np.exp(0.8)) / 2, (np.exp(0.0) + np.exp(1.0)) / 2])
    wanted = [0.6, 1.0] - (row + column) / 2
    assert neg_clip_loss(*as_rows(a, b), temperature=1.0) == pytest.approx(wanted, abs=1e-6)


@given(st.integers(2, 40), st.sampled_from([0.01, 0.1, 1.0]), st.integers(0, 5))
@settings(deadline=None, max_examples=20)
def test_the_partition_over_all_pairs_is_the_dense_one(n, temperature, seed):
    a, b = pairs(n, 5, seed)
    found = neg_clip_loss(*as_rows(a, b), temperature=temperature)
    assert found == pytest.approx(neg_clip_by_hand(a, b, temperature), abs=2e-6)


def test_a_pair_outside_the_sample_joins_its_own_batch():
    a, b = pairs(30)
    sample = np.array([3, 11, 4, 28])
    found = neg_clip_loss(*as_rows(a, b), sample=sample, temperature=0.05)
    for row in (0, 4, 29):
        batch = np.unique(np.append(sample, row))
        wanted = neg_clip_by_hand(a[batch], b[batch], 0.05)[np.searchsorted(batch, row)]
        assert found[row] == pytest.approx(wanted, abs=1e-6)


def test_large_temperature_leaves_the_average_of_row_and_column_means():
    a, b = pairs(25)
    similarity = a.astype(np.float64) @ b.T
    wanted = np.diagonal(similarity) - (similarity.mean(0) + similarity.mean(1)) / 2
    # float32 logarithms times T lose digits, so not larger
    assert neg_clip_loss(*as_rows(a, b), temperature=30.0) == pytest.approx(wanted, abs=0.02)


def test_block_and_tile_sizes_change_nothing(monkeypatch):
    a, b = pairs(61)
    sample = np.arange(0, 61, 2)
    whole = [
        pair_scores(*as_rows(a, b)),
        centred_pair_scores(*as_rows(a, b)),
        neg_clip_loss(*as_rows(a, b), sample=sample),
    ]
    monkeypatch.setattr(module, "TILE_ROWS", 7)
    monkeypatch.setattr(module, "TILE_COLUMNS", 5)
    monkeypatch.setattr(Rows.blocks, "__defaults__", (9,))
    cut = Rows([a[:10], a[10:]]), Rows([b[:33], b[33:]])
    assert pair_scores(*cut) == pytest.approx(whole[0], abs=1e-7)
    assert centred_pair_scores(*cut) == pytest.approx(whole[1], abs=1e-7)
    assert neg_clip_loss(*cut, sample=sample) == pytest.approx(whole[2], abs=1e-6)


def test_a_missing_text_has_no_score_and_moves_no_mean():
    a, b = pairs(20)
    gone = b.copy()
    gone[5] = 0
    left = np.delete(np.arange(20), 5)
    for score in (pair_scores, centred_pair_scores, neg_clip_loss):
        found = score(*as_rows(a, gone))
        assert np.isnan(found[5])
        assert found[left] == pytest.approx(score(*as_rows(a[left], b[left])), abs=1e-6)


def test_mismatched_pairs_are_other_pairs_under_the_same_offsets():
    a, b = pairs(12)
    rows = np.array([2, 9, 5])
    offsets = partition_offsets(*as_rows(a, b))
    found = mismatched_scores(*as_rows(a, b), rows, offsets=offsets, shifts=1)
    wanted = [a[i] @ b[j] - offsets.image[i] - offsets.text[j] for i, j in ((2, 9), (9, 5), (5, 2))]
    assert found == pytest.approx(wanted, abs=1e-6)
    a[9] = a[2]  # the same image: its text may well fit, so the pair is no mismatch
    assert len(mismatched_scores(*as_rows(a, b), rows, shifts=1)) == 2
    assert len(mismatched_scores(*as_rows(a, b), rows[:1])) == 0


def test_errors_name_what_is_wrong():
    a, b = pairs(6)
    with pytest.raises(ValueError, match="one shape"):
        pair_scores(*as_rows(a, b[:5]))
    with pytest.raises(ValueError, match="temperature must be positive"):
        neg_clip_loss(*as_rows(a, b), temperature=0)


@pytest.mark.real_data
def test_clip_pairs_of_flickr8k_stand_out_from_mixed_ones(real_data):
    names, a, b = read_clip_pairs(real_data / "flickr8k")
    rng = np.random.default_rng(0)
    order = np.where(rng.random(len(a)) < 0.3, rng.permutation(len(a)), np.arange(len(a)))
    right = names[order] == names
    rows = as_rows(a, b[order])
    plain, centred, partition = (
        roc_auc_score(right, score(*rows))
        for score in (pair_scores, centred_pair_scores, neg_clip_loss)
    )
    assert plain > 0.98
    assert centred > 0.985
    assert partition > 0.99
