from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from multimodal import probe as probe_package
from multimodal.probe import (
    FoldModels,
    ProbeSettings,
    RowFolds,
    out_of_fold_probe,
    stratified_folds,
)
from multimodal.rows import Rows

TIGHT = ProbeSettings(penalties=(0.02,), n_steps=500, tolerance=1e-8)


def clouds(n_rows: int = 150, n_classes: int = 3, width: int = 6, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_rows)
    rows = rng.normal(size=(n_rows, width)) + 1.5 * np.eye(n_classes, width)[labels] + 3
    return rows.astype(np.float32), labels


def full(probe) -> np.ndarray:
    return np.concatenate([block for _, block in probe.blocks(37)])


def peer_probabilities(rows, labels, fold, penalty, scale, weights=None):
    """The same question put to scikit-learn, fold by fold."""
    standard = (rows - rows[labels >= 0].mean(0)) / scale(rows[labels >= 0])
    answer = np.empty((len(rows), labels.max() + 1))
    weights = np.ones(len(rows)) if weights is None else weights
    for one in np.unique(fold):
        seen = (fold != one) & (labels >= 0)
        strength = 1 / (penalty * weights[seen].sum())
        peer = LogisticRegression(C=strength, tol=1e-9, max_iter=2000)
        peer.fit(standard[seen].astype(np.float64), labels[seen], sample_weight=weights[seen])
        answer[fold == one] = peer.predict_proba(standard[fold == one])
    return answer


@pytest.mark.parametrize("standardise", ["global", "column"])
def test_equals_scikit_learn_on_every_fold(standardise):
    rows, labels = clouds()
    labels[::7] = -1
    weights = np.random.default_rng(1).random(len(rows))
    scale = {
        "global": lambda x: np.sqrt(x.var(0).mean()),
        "column": lambda x: x.std(0),
    }[standardise]

    probe = out_of_fold_probe(
        rows, labels, 3, weights=weights, settings=replace(TIGHT, standardise=standardise)
    )

    wanted = peer_probabilities(rows, labels, probe.fold, 0.02, scale, weights)
    np.testing.assert_allclose(full(probe), wanted, atol=1e-5)


def test_soft_targets_equal_rows_of_each_class_weighted_by_their_shares():
    rows, labels = clouds()
    rng = np.random.default_rng(1)
    other, share = (labels + 1) % 3, rng.random(len(rows)).astype(np.float32)
    index, value = np.c_[labels, other], np.c_[share, 1 - share]
    folds = stratified_folds(labels, 3)
    twice = RowFolds(np.tile(folds.fold, 2), np.r_[folds.key, folds.key + np.uint64(1)], 3)

    probe = out_of_fold_probe(rows, labels, 3, folds=folds, soft=(index, value), settings=TIGHT)
    wanted = out_of_fold_probe(
        np.r_[rows, rows], np.r_[labels, other], 3, folds=twice,
        weights=np.r_[share, 1 - share], settings=TIGHT,
    )  # fmt: skip

    # the doubled rows weigh half as much each, as does the penalty per row
    np.testing.assert_allclose(full(probe), full(wanted)[: len(rows)], atol=1e-5)


def test_balanced_classes_equal_weights_by_frequency():
    rows, labels = clouds()
    labels[:60] = 0
    weights = (len(labels) / 3 / np.bincount(labels))[labels]

    found = out_of_fold_probe(rows, labels, 3, settings=replace(TIGHT, class_weight="balanced"))
    wanted = out_of_fold_probe(rows, labels, 3, weights=weights, settings=TIGHT)

    np.testing.assert_allclose(full(found), full(wanted), atol=1e-5)


def test_a_memorising_probe_cannot_see_its_own_labels():
    # 60 rows in 200 dimensions with labels of no meaning: a fit to them can say anything
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(60, 200)).astype(np.float32), rng.integers(0, 2, 60)
    weak = ProbeSettings(penalties=(1e-4,))

    probe = out_of_fold_probe(rows, labels, 2, settings=weak)
    outside = probe.summary(labels)
    # the fold of another row: a model that saw the label
    inside = FoldModels.probabilities(probe.models, rows, (probe.fold + 1) % 5)

    assert (inside[np.arange(60), labels] > 0.5).all()
    assert 0.3 < (outside.top_class[:, 0] == labels).mean() < 0.7


def test_changing_a_label_changes_no_answer_of_its_fold():
    rows, labels = clouds()
    folds = stratified_folds(labels)
    other = labels.copy()
    other[5] = (other[5] + 1) % 3

    here = full(out_of_fold_probe(rows, labels, 3, folds=folds))
    there = full(out_of_fold_probe(rows, other, 3, folds=folds))

    same = folds.fold == folds.fold[5]
    # the models are fitted side by side, and stop together: equal to the tolerance of the fit
    np.testing.assert_allclose(here[same], there[same], atol=1e-3)
    assert np.abs(here - there)[~same].max() > 1e-3


def test_renumbering_cutting_and_blocks_change_nothing():
    rows, labels = clouds(200)
    labels[::9] = -1
    ids = np.array([f"id{n}" for n in range(200)])
    order = np.random.default_rng(3).permutation(200)
    settings = ProbeSettings(most_per_class=30)

    here = out_of_fold_probe(
        rows, labels, 3, folds=stratified_folds(labels, ids=ids), settings=settings
    )
    moved = out_of_fold_probe(
        Rows([rows[order][:13], rows[order][13:150], rows[order][150:]]), labels[order], 3,
        folds=stratified_folds(labels[order], ids=ids[order]), settings=settings,
    )  # fmt: skip

    np.testing.assert_array_equal(here.models.weight, moved.models.weight)
    np.testing.assert_allclose(full(here)[order], full(moved), atol=1e-6)
    np.testing.assert_allclose(np.concatenate([b for _, b in here.blocks()]), full(here), atol=1e-6)


def test_summary_reads_the_full_rows():
    rows, labels = clouds(120, n_classes=9, width=10)
    given = labels.copy()
    given[:10] = -1

    probe = out_of_fold_probe(rows, labels, 9)
    found, p = probe.summary(given, top=2), full(probe)

    order = np.argsort(-p, axis=1, kind="stable")
    np.testing.assert_array_equal(found.top_class, order[:, :2])
    np.testing.assert_allclose(found.top_p, np.take_along_axis(p, order[:, :2], 1), atol=1e-6)
    assert np.isnan(found.p_given[:10]).all()
    np.testing.assert_allclose(found.p_given[10:], p[np.arange(10, 120), given[10:]], atol=1e-6)
    rest = p.copy()
    rest[np.arange(120), given] = -1
    np.testing.assert_allclose(found.margin[10:], found.p_given[10:] - rest.max(1)[10:], atol=1e-6)
    np.testing.assert_allclose(found.margin[:10], found.top_p[:10, 0] - found.top_p[:10, 1])
    np.testing.assert_allclose(found.entropy, -(p * np.log(p)).sum(1), atol=1e-5)
    top = probe.summary(labels).as_top_probabilities()
    assert len(top) == 120
    assert top.n_classes == 9
    assert len(found.select(np.arange(5))) == 5


def test_equal_probabilities_are_ordered_by_class():
    models = FoldModels(np.zeros((2, 3, 30), np.float32), np.zeros((2, 30), np.float32), 1.0, {})
    folds = np.array([0, 1, 0])
    probe = replace(
        out_of_fold_probe(np.ones((3, 3)), np.array([0, 1, 2]), 30), models=models, fold=folds
    )

    assert probe.summary(np.array([0, 1, 2]), top=4).top_class.tolist() == [[0, 1, 2, 3]] * 3


def test_a_class_of_one_row_is_unknown_to_its_own_fold():
    rows, labels = clouds(40)
    labels[0] = 3
    probe = out_of_fold_probe(rows, labels, 5)

    assert probe.models.known[:, 3].tolist() == [fold != probe.fold[0] for fold in range(5)]
    assert not probe.models.known[:, 4].any()  # an empty class
    p = full(probe)
    assert p[0, 3] == 0
    assert (p[:, 4] == 0).all()
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)


def test_constant_features_give_the_class_frequencies():
    labels = np.array([0] * 40 + [1] * 10)
    probe = out_of_fold_probe(np.full((50, 4), 0.1, np.float16), labels, 2)

    np.testing.assert_allclose(full(probe), [[0.8, 0.2]] * 50, atol=1e-4)


def test_no_training_row_says_nothing():
    probe = out_of_fold_probe(np.ones((4, 2)), np.full(4, -1), 5)
    np.testing.assert_allclose(full(probe), 0.2)


def test_no_row_at_all():
    probe = out_of_fold_probe(np.ones((0, 2)), np.empty(0, np.int64), 5)
    assert probe.summary(np.empty(0, np.int64)).top_class.shape == (0, 5)


def test_penalty_is_chosen_by_held_out_labels():
    # labels of no meaning: the strongest penalty foretells unseen ones best
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(100, 20)), rng.integers(0, 2, 100)
    probe = out_of_fold_probe(rows, labels, 2, settings=ProbeSettings(penalties=(1e-3, 10, 0.1)))

    losses = probe.models.held_out_loss
    assert probe.models.penalty == 10
    assert losses[10] < losses[0.1] < losses[1e-3]
    p = full(out_of_fold_probe(rows, labels, 2, settings=ProbeSettings(penalties=(0.1,))))
    assert losses[0.1] == pytest.approx(-np.log(p[np.arange(100), labels]).mean(), abs=1e-5)


def test_a_long_fit_compares_penalties_on_a_part_and_fits_all_rows(monkeypatch):
    rows, labels = clouds(400)
    tried = ProbeSettings(penalties=(1e-3, 10, 0.1))
    folds = stratified_folds(labels)
    monkeypatch.setattr(probe_package, "LONG_FIT", 200 * 6 * 3)
    long = out_of_fold_probe(rows, labels, 3, folds=folds, settings=tried)
    first = np.isin(np.arange(400), np.argsort(folds.key)[:200]) & (folds.fold == 0)

    losses = {}
    for penalty in tried.penalties:
        one = replace(tried, penalties=(penalty,))
        some = np.where(np.isin(np.arange(400), np.argsort(folds.key)[:200]), labels, -1)
        p = full(out_of_fold_probe(rows, some, 3, folds=folds, settings=one))
        losses[penalty] = -np.log(p[first, labels[first]]).mean()
    # the columns are standardised over all rows, and the tolerance is looser
    assert long.models.held_out_loss == pytest.approx(losses, rel=0.02)
    assert long.models.penalty == min(losses, key=losses.get)
    monkeypatch.undo()
    taken = replace(tried, penalties=(long.models.penalty,))
    short = out_of_fold_probe(rows, labels, 3, folds=folds, settings=taken)
    np.testing.assert_allclose(full(long), full(short), atol=2e-3)


def test_large_classes_are_thinned_by_their_hashes():
    rows, labels = clouds(90)
    folds = stratified_folds(labels)
    kept = np.zeros(90, bool)
    for label in range(3):
        members = np.flatnonzero(labels == label)
        kept[members[np.argsort(folds.key[members])[:10]]] = True

    found = out_of_fold_probe(
        rows, labels, 3, folds=folds, settings=replace(TIGHT, most_per_class=10)
    )
    wanted = out_of_fold_probe(rows, np.where(kept, labels, -1), 3, folds=folds, settings=TIGHT)

    np.testing.assert_array_equal(found.models.weight, wanted.models.weight)


def test_folds_fitted_in_turns_equal_folds_fitted_together(monkeypatch):
    rows, labels = clouds()
    together = full(out_of_fold_probe(rows, labels, 3, settings=TIGHT))
    monkeypatch.setattr("multimodal.probe.fitting.MOST_COEFFICIENTS", 50)
    monkeypatch.setattr("multimodal.probe.fitting.BLOCK_NUMBERS", 64 * 6)
    in_turns = full(out_of_fold_probe(rows, labels, 3, settings=TIGHT))

    np.testing.assert_allclose(together, in_turns, atol=1e-5)


def test_threads_change_nothing():
    rows, labels = clouds(3000, n_classes=7, width=64)
    before = torch.get_num_threads()
    answers = []
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        answers.append(full(out_of_fold_probe(rows, labels, 7)))
    torch.set_num_threads(before)

    np.testing.assert_allclose(*answers, atol=1e-5)


def test_many_rows_in_float32_agree_with_float64(monkeypatch):
    rows, labels = clouds(400)
    double = full(out_of_fold_probe(rows, labels, 3))
    monkeypatch.setattr("multimodal.probe.MOST_DOUBLES", 0)
    single = full(out_of_fold_probe(rows, labels, 3))

    assert not (single == double).all()
    np.testing.assert_allclose(single, double, atol=1e-3)


def test_models_survive_a_file(tmp_path):
    rows, labels = clouds()
    models = out_of_fold_probe(rows, labels, 4).models
    models.write(tmp_path / "probe.npz")
    read = FoldModels.read(tmp_path / "probe.npz")

    np.testing.assert_array_equal(read.weight, models.weight)
    np.testing.assert_array_equal(read.bias, models.bias)
    assert read.penalty == models.penalty
    assert read.held_out_loss == models.held_out_loss


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.array([0, 1])}, r"labels must be int64 \[3\]"),
        ({"labels": np.array([0, 1, 2])}, r"labels must lie in -1 \.\. 1"),
        ({"n_classes": 0}, "n_classes must be at least 1, got 0"),
        ({"folds": 1}, "n_folds must be at least 2, got 1"),
        ({"folds": stratified_folds(np.zeros(2, np.int64))}, "folds must have 3 rows"),
        ({"weights": np.array([1.0, -1, 0])}, "weights must be"),
        ({"soft": (np.zeros((3, 1), int), np.ones((2, 1)))}, "soft shares must be"),
        ({"soft": (np.full((3, 1), 2), np.ones((3, 1)))}, "soft classes must lie in 0 .. 1"),
        ({"rows": np.array([[np.nan], [1], [2]])}, "rows must be finite"),
    ],
)
def test_errors(change, message):
    good = {"rows": np.arange(3.0)[:, None], "labels": np.array([0, 1, 0]), "n_classes": 2}
    with pytest.raises(ValueError, match=message):
        out_of_fold_probe(**{**good, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"penalties": ()}, "penalties must be positive"),
        ({"class_weight": "odd"}, "class_weight must be one of"),
        ({"standardise": "odd"}, "standardise must be one of"),
        ({"most_per_class": 0}, "most_per_class must be at least 1"),
        ({"n_steps": 0}, "want n_steps"),
    ],
)
def test_settings_errors(change, message):
    with pytest.raises(ValueError, match=message):
        ProbeSettings(**change)


def test_summary_errors():
    probe = out_of_fold_probe(np.arange(3.0)[:, None], np.array([0, 1, 0]), 2)
    with pytest.raises(ValueError, match="given must have 3 rows"):
        probe.summary(np.array([0]))
    with pytest.raises(ValueError, match="top must be at least 1"):
        probe.summary(np.array([0, 0, 0]), top=0)
