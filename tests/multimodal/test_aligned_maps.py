import numpy as np
import pytest
from sklearn.linear_model import Ridge

from multimodal.aligned_maps import image_folds, ridge_map
from multimodal.rows import Rows


def corpus(n=60, d=5, e=4, seed=0, noise=0.1):
    rng = np.random.default_rng(seed)
    v = rng.normal(size=(n, d)) + 1
    s = v @ rng.normal(size=(d, e)) + noise * rng.normal(size=(n, e)) - 2
    return v.astype(np.float32), s.astype(np.float32)


def test_each_fold_is_the_ridge_of_the_others():
    v, s = corpus()
    folds = np.arange(60) % 3
    found = ridge_map(Rows([v]), Rows([s]), folds=folds, penalties=(0.3,))
    for fold in range(3):
        rest = folds != fold
        unit = ((v[rest] - v[rest].mean(0)) ** 2).sum() / v.shape[1]
        peer = Ridge(alpha=0.3 * unit).fit(v[rest].astype(float), s[rest].astype(float))
        assert found.weights[fold] == pytest.approx(peer.coef_.T, abs=1e-4)
        wanted = peer.predict(v[folds == fold]) - s[rest].mean(0)
        wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
        assert found.images(Rows([v])).gather(np.flatnonzero(folds == fold)) == pytest.approx(
            wanted, abs=1e-4
        )


def test_the_penalty_is_the_one_with_the_least_out_of_fold_error():
    v, s = corpus(noise=3.0)
    folds, penalties = np.arange(60) % 4, (0.01, 0.1, 1.0, 10.0)
    found = ridge_map(Rows([v]), Rows([s]), folds=folds, penalties=penalties)
    errors = []
    for penalty in penalties:
        total = 0.0
        for fold in range(4):
            rest = folds != fold
            unit = ((v[rest] - v[rest].mean(0)) ** 2).sum() / v.shape[1]
            peer = Ridge(alpha=penalty * unit).fit(v[rest].astype(float), s[rest].astype(float))
            total += ((peer.predict(v[~rest]) - s[~rest]) ** 2).sum()
        errors.append(total)
    assert found.penalty == penalties[int(np.argmin(errors))]
    base = sum(((s[folds == f] - s[folds != f].mean(0)) ** 2).sum() for f in range(4))
    assert found.explained == pytest.approx(1 - min(errors) / base, abs=1e-5)


def test_only_the_rows_asked_for_and_those_with_text_are_fitted_to():
    v, s = corpus()
    folds, rows = np.arange(60) % 2, np.arange(0, 60, 3)
    odd = s.copy()
    odd[1::3] = 50  # not asked for
    odd[0] = 0  # no text
    found = ridge_map(Rows([v]), Rows([odd]), rows, folds=folds)
    wanted = ridge_map(Rows([v]), Rows([s]), rows[1:], folds=folds)
    assert np.array_equal(found.weights, wanted.weights)
    assert not found.texts(Rows([odd])).read(0, 1).any()


def test_cut_and_order_change_nothing_and_copies_share_a_fold():
    v, s = corpus(41)
    v[7] = v[20]
    whole, cut = Rows([v]), Rows([v[:13], v[13:]])
    folds = image_folds(whole)
    assert folds[7] == folds[20]
    assert len(set(folds.tolist())) == 5
    turn = np.random.default_rng(1).permutation(41)
    assert np.array_equal(image_folds(Rows([v[turn]])), folds[turn])
    first = ridge_map(whole, Rows([s])).images(whole).read(0, 41)
    again = ridge_map(cut, Rows([s[:30], s[30:]])).images(cut)
    assert np.concatenate([block for _, block in again.blocks(8)]) == pytest.approx(first, abs=1e-6)
    turned = ridge_map(Rows([v[turn]]), Rows([s[turn]])).images(Rows([v[turn]]))
    assert turned.gather(np.arange(41)) == pytest.approx(first[turn], abs=1e-4)
    assert np.linalg.norm(first, axis=1) == pytest.approx(np.ones(41), abs=1e-5)


def test_errors_name_what_is_wrong():
    v, s = corpus(8)
    with pytest.raises(ValueError, match="as many rows"):
        ridge_map(Rows([v]), Rows([s[:7]]))
    with pytest.raises(ValueError, match="penalties must be positive"):
        ridge_map(Rows([v]), Rows([s]), penalties=(0.0,))
    with pytest.raises(ValueError, match="fold 0 leaves fewer than 2"):
        ridge_map(Rows([v]), Rows([s]), folds=np.zeros(8, int))
