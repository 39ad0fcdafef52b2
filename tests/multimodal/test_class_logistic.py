import numpy as np
import pytest
import torch

from multimodal.class_logistic import LogisticSettings, fit_class_logistic
from multimodal.probe import RowFolds, stratified_folds
from multimodal.rows import Rows


def drawn(n=120, n_classes=5, d=6, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, d)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    classes = rng.integers(-1, n_classes, n)
    targets = (rng.random(n) < 0.6).astype(float)
    targets[rng.random(n) < 0.1] = np.nan
    return rows, classes, targets


def test_independent_problems_are_the_joint_one_under_autograd():
    """The oracle: one N x K matrix of logits, masked to (i, y_i), torch's own Adam."""
    rows, classes, targets = drawn()
    folds = stratified_folds(classes, 3)
    settings = LogisticSettings(steps=30, learning_rate=0.1)
    found = fit_class_logistic(Rows([rows]), classes, targets, 5, folds=folds, settings=settings)
    x = torch.from_numpy(rows).double()
    for fold in range(3):
        weight = torch.zeros(5, 6, dtype=torch.float64, requires_grad=True)
        bias = torch.zeros(5, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.Adam([weight, bias], lr=0.1)
        used = (classes >= 0) & ~np.isnan(targets) & (folds.fold != fold)
        mine = np.flatnonzero(used)
        share = 1 / np.bincount(classes[mine], minlength=5)[classes[mine]]
        for _ in range(30):
            optimiser.zero_grad()
            logits = (x @ weight.T + bias)[mine, classes[mine]]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, torch.from_numpy(targets[mine]), torch.from_numpy(share), reduction="sum"
            )
            loss.backward()
            optimiser.step()
        assert found.weight[fold] == pytest.approx(weight.detach().numpy(), abs=1e-5)
        assert found.bias[fold] == pytest.approx(bias.detach().numpy(), abs=1e-5)


def test_renumbering_samples_and_classes_and_cutting_batches_changes_nothing(monkeypatch):
    rows, classes, targets = drawn(200)
    ids = np.arange(200)
    folds = stratified_folds(classes, 3, ids=ids)
    found = fit_class_logistic(Rows([rows]), classes, targets, 5, folds=folds)
    h = found.own(Rows([rows]), classes, folds)
    turn, names = np.random.default_rng(1).permutation(200), np.array([3, 0, 4, 2, 1])
    moved = np.where(classes >= 0, names[classes], -1)[turn]
    # the same folds: class numbers have a say in where the hashes put a row
    turned = RowFolds(folds.fold[turn], folds.key[turn], 3)
    monkeypatch.setattr("multimodal.class_logistic.BATCH_NUMBERS", 1)
    other = Rows([rows[turn][:33], rows[turn][33:]])
    again = fit_class_logistic(other, moved, targets[turn], 5, folds=turned)
    assert again.weight[:, names] == pytest.approx(found.weight, abs=1e-6)
    assert again.own(other, moved, turned) == pytest.approx(h[turn], abs=1e-5, nan_ok=True)


def test_a_row_has_no_say_in_its_own_score():
    rows, classes, targets = drawn()
    folds = stratified_folds(classes, 3)
    row = int(np.flatnonzero((classes >= 0) & ~np.isnan(targets))[0])
    turned = targets.copy()
    turned[row] = 1 - turned[row]
    first, second = (
        fit_class_logistic(Rows([rows]), classes, t, 5, folds=folds) for t in (targets, turned)
    )
    own = [one.own(Rows([rows]), classes, folds) for one in (first, second)]
    assert own[0][row] == own[1][row]
    others = (classes == classes[row]) & (folds.fold != folds.fold[row])
    assert (own[0][others] != own[1][others]).all()


def test_even_odds_leave_everything_at_one_half():
    rows, classes, _ = drawn()
    folds = stratified_folds(classes, 2)
    found = fit_class_logistic(Rows([rows]), classes, np.full(120, 0.5), 5, folds=folds)
    assert not found.weight.any()
    assert not found.bias.any()
    assert not found.two_sided.any()


def test_the_best_classes_are_those_of_the_full_matrix():
    rows, classes, targets = drawn(90)
    targets[classes == 2] = 1.0
    folds = stratified_folds(classes, 3)
    found = fit_class_logistic(Rows([rows]), classes, targets, 5, folds=folds)
    assert not found.two_sided[:, 2].any()
    full = np.einsum("nd,nkd->nk", rows, found.weight[folds.fold]) + found.bias[folds.fold]
    full[~found.two_sided[folds.fold]] = -np.inf
    order = np.argsort(-full, axis=1, kind="stable")[:, :2]
    best, logits = found.best(Rows([rows[:50], rows[50:]]), folds)
    assert np.array_equal(best, order)
    assert logits == pytest.approx(np.take_along_axis(full, order, 1), abs=1e-5)


def test_classes_without_rows_elsewhere_have_no_model():
    rows, classes, targets = drawn(40, 3)
    targets[:] = 1
    classes[classes == 1] = 0
    classes[7] = 1
    folds = stratified_folds(classes, 2)
    found = fit_class_logistic(Rows([rows]), classes, targets, 4, folds=folds)
    own = found.own(Rows([rows]), classes, folds)
    assert np.array_equal(np.isnan(own), (classes < 0) | (np.arange(40) == 7))
    assert np.isnan(found.bias[:, 3]).all()
    best, _ = found.best(Rows([rows]), folds)
    assert (best == -1).all()  # no class has seen both kinds
    empty = Rows([rows[:0]])
    none = fit_class_logistic(
        empty, classes[:0], targets[:0], 2, folds=stratified_folds(classes[:0], 2)
    )
    assert np.isnan(none.bias).all()


def test_large_classes_are_cut_by_their_hashes():
    rows, classes, targets = drawn(200, 2)
    folds = stratified_folds(classes, 2)
    settings = LogisticSettings(most_per_class=30)
    found = fit_class_logistic(Rows([rows]), classes, targets, 2, folds=folds, settings=settings)
    usable = (classes >= 0) & ~np.isnan(targets)
    thin = np.full(200, np.nan)
    for k in (0, 1):
        mine = np.flatnonzero(usable & (classes == k))
        mine = mine[np.argsort(folds.key[mine])][:30]
        thin[mine] = targets[mine]
    wanted = fit_class_logistic(Rows([rows]), classes, thin, 2, folds=folds)
    assert np.array_equal(found.weight, wanted.weight)


def test_errors():
    rows, classes, targets = drawn(20, 3)
    folds = stratified_folds(classes, 2)
    for bad in (
        {"classes": classes[:3]}, {"targets": targets + 3}, {"targets": targets[1:]},
        {"n_classes": 1},
    ):  # fmt: skip
        inputs = {"classes": classes, "targets": targets, "n_classes": 3, **bad}
        with pytest.raises(ValueError, match="must"):
            fit_class_logistic(Rows([rows]), folds=folds, **inputs)
    with pytest.raises(ValueError, match="steps"):
        LogisticSettings(steps=0)
    with pytest.raises(ValueError, match="most_per_class"):
        LogisticSettings(most_per_class=0)
