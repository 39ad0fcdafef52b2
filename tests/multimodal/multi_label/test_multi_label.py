import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import Ridge

from multimodal.multi_label import (
    REASONS,
    LabelRegressions,
    MultiLabelSettings,
    SignedPrototypes,
    fit_label_regressions,
    judge_entries,
    multi_label_audit,
    signed_prototypes,
)
from multimodal.multi_label import settings_of as as_json
from multimodal.probe import stratified_folds
from multimodal.rows import Rows


def sets_of(table):
    _, classes = np.nonzero(table)
    return np.concatenate([[0], np.cumsum(table.sum(1))]).astype(np.int64), classes


def corpus(n_rows: int = 600, n_classes: int = 6, width: int = 12, noise: float = 0.0, seed=0):
    """Samples that point along the sum of the directions of their labels; a fixed corner more."""
    rng = np.random.default_rng(seed)
    truth = rng.random((n_rows, n_classes)) < 0.25
    rows = 2.0 * truth @ np.eye(n_classes, width) + 0.5 * rng.normal(size=(n_rows, width))
    rows[:, -1] += 1
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    given = truth ^ (rng.random(truth.shape) < noise)
    return Rows([rows.astype(np.float32)]), truth, given


def parts(image, given, fold_ids=None):
    sets = sets_of(given)
    fold = stratified_folds(np.zeros(len(image), np.int64), ids=fold_ids).fold
    core = np.nonzero(given)
    prototypes = signed_prototypes(image, sets, *core, given.shape[1])
    return sets, prototypes, fit_label_regressions(image, sets, fold, given.shape[1]), fold


def test_prototypes_with_and_without_a_label():
    image, _, given = corpus()
    rows = image.read(0, 600).astype(np.float64)
    given[:, 2], given[:, 3] = False, True
    core = np.array([5, 9]), np.array([0, 3])

    found = signed_prototypes(Rows([rows[:100], rows[100:]]), sets_of(given), *core, 6)

    assert found.present.tolist() == [True, False, False, False, False, False]
    wanted = rows[~given[:, 0]].mean(0)
    np.testing.assert_allclose(found.negative[0], wanted / np.linalg.norm(wanted), atol=1e-6)
    np.testing.assert_allclose(found.positive[0], rows[5], atol=1e-6)
    r = found.probabilities(rows.astype(np.float32), 0.1)[:, 0]
    logits = rows @ np.stack([found.negative[0], rows[5]]).T / 0.1
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(r, softmax[:, 1], atol=1e-5)


def test_regressions_equal_scikit_learn_and_never_see_their_fold():
    image, _, given = corpus()
    fold = np.arange(600) % 3
    found = fit_label_regressions(image, sets_of(given), fold, 6, penalty=0.2)

    rows, scores = image.read(0, 600).astype(np.float64), found.scores(image.read(0, 600), fold)
    for one in range(3):
        seen, here = fold != one, fold == one
        strength = 0.2 * np.trace(np.cov(rows[seen].T, bias=True)) / 12 * seen.sum()
        peer = Ridge(alpha=strength).fit(rows[seen], given[seen].astype(float))
        rate = given[seen].mean(0)
        smooth = (given[seen].sum(0) + 0.5) / (seen.sum() + 1)
        wanted = (peer.predict(rows[here]) - rate) / np.sqrt(smooth * (1 - smooth))
        np.testing.assert_allclose(scores[here], wanted, atol=1e-4)


def test_the_link_makes_probabilities_of_the_scores():
    image, _, given = corpus(2000)
    _, _, models, fold = parts(image, given)
    p = models.probabilities(image.read(0, 2000), fold)

    np.testing.assert_allclose(p.mean(0), given.mean(0), atol=0.02)
    middle = (p > 0.35) & (p < 0.65)
    assert given[middle].mean() == pytest.approx(p[middle].mean(), abs=0.08)
    scores = models.scores(image.read(0, 5), fold[:5])
    np.testing.assert_allclose(
        p[:5], expit(models.prior[fold[:5]] + models.slope * scores + models.shift), atol=1e-6
    )


def by_hand(u, given, settings, core=None):
    """One class per column; p is u itself: alpha is 1."""
    u = np.asarray(u, dtype=np.float32)
    n_rows, n_classes = u.shape
    with np.errstate(divide="ignore"):
        logits = np.log(u) - np.log1p(-u)
    # rows are one-hot, so that the weights are the logits
    models = LabelRegressions(
        logits[None], np.zeros((1, n_classes), np.float32), np.zeros((1, n_classes), np.float32),
        1.0, 0.0,
    )  # fmt: skip
    flat = np.zeros((n_classes, n_rows), np.float32)
    prototypes = SignedPrototypes(flat, flat, np.ones(n_classes, bool))
    return judge_entries(
        Rows([np.eye(n_rows, dtype=np.float32)]), sets_of(np.asarray(given, bool)), prototypes,
        models, np.zeros(n_rows, np.int64), core=core, settings=settings,
    )  # fmt: skip


def test_every_branch_by_hand():
    u = [[0.95, 0.5, 0.3, 0.05], [0.95, 0.85, 0.5, 0.02], [0.05, 0.97, 0.5, 0.5]]
    given = [[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]]
    settings = MultiLabelSettings(alpha=1, gamma=0.9, keep_threshold=0.4)
    core = np.array([2]), np.array([0])

    found = by_hand(u, given, settings, core)
    audit = multi_label_audit(np.array(["x", "y", "z"]), ("a", "b", "c", "d"), found)

    rows = list(
        zip(
            audit.ids.tolist(), audit.given.tolist(), audit.verdict.tolist(),
            audit.label.tolist(), audit.reason.tolist(), strict=True,
        )
    )  # fmt: skip
    assert rows == [
        ("x|a", 0, "keep", 0, "label_plausible"),
        ("x|b", 1, "keep", 1, "label_plausible"),
        ("x|c", 2, "abstain", -1, "label_ignored"),
        ("x|d", 3, "reject", -1, "label_removed"),
        ("y|a", -1, "relabel", 0, "label_added"),
        ("y|b", -1, "abstain", -1, "absence_ignored"),
        ("z|a", 0, "keep", 0, "in_clean_core"),
        ("z|b", -1, "relabel", 1, "label_added"),
    ]
    np.testing.assert_allclose(
        audit.quality, [0.95, 0.5, 0.3, 0.05, 0.5, 0.5, 0.05, 0.5], atol=1e-6
    )
    bare = by_hand(u, given, MultiLabelSettings(1, 0.1, 0.9, 0.4, protect_core=False), core)
    assert multi_label_audit(np.arange(3), ("a", "b", "c", "d"), bare).reason[6] == "label_removed"


def test_the_paper_keeps_from_one_over_the_number_of_classes():
    # K = 4: a label stays from .25, its absence up to .75; both thresholds are met exactly
    found = by_hand([[0.25, 0.24, 0.75, 0.76]], [[1, 1, 0, 0]], MultiLabelSettings(alpha=1))
    audit = multi_label_audit(np.array(["x"]), ("a", "b", "c", "d"), found)
    assert audit.reason.tolist() == ["label_plausible", "label_ignored", "absence_ignored"]


def test_noisy_labels_are_set_right():
    image, truth, given = corpus(1500, noise=0.1)
    core = np.nonzero(given & truth)
    pick = np.random.default_rng(0).permutation(len(core[0]))[:300]
    core = core[0][pick], core[1][pick]
    sets, _, models, fold = parts(image, given)
    prototypes = signed_prototypes(image, sets, *core, 6)

    found = judge_entries(
        image, sets, prototypes, models, fold, core=core,
        settings=MultiLabelSettings(tau=0.05),
    )  # fmt: skip
    audit = multi_label_audit(np.arange(1500), tuple("abcdef"), found, settings=as_json(
        MultiLabelSettings()))  # fmt: skip

    right = truth[found.rows, found.classes]
    assert right[audit.verdict == "relabel"].mean() > 0.8
    assert right[audit.verdict == "reject"].mean() < 0.05
    assert (audit.verdict == "reject").sum() > 50
    cleaned = given.copy()
    changed = np.isin(audit.verdict, ["relabel", "reject"])
    cleaned[found.rows[changed], found.classes[changed]] ^= True
    assert (cleaned != truth).mean() < 0.5 * (given != truth).mean()
    assert set(audit.reason) <= set(REASONS)


def test_blocks_and_renumbering_change_nothing():
    image, _, given = corpus(300, noise=0.1)
    ids = np.array([f"s{k:03d}" for k in range(300)])
    order = np.random.default_rng(2).permutation(300)
    moved = Rows([image.gather(order)[:77], image.gather(order)[77:]])
    settings = MultiLabelSettings(gamma=0.8)
    tables = []
    for rows, names, table, size in (
        (image, ids, given, None),
        (image, ids, given, 13),
        (moved, ids[order], given[order], 50),
    ):
        sets, prototypes, models, fold = parts(rows, table, names)
        found = judge_entries(
            rows, sets, prototypes, models, fold, settings=settings, block_rows=size
        )
        audit = multi_label_audit(names, tuple("abcdef"), found)
        tables.append(dict(zip(audit.ids.tolist(), audit.reason.tolist(), strict=True)))

    assert tables[0] == tables[1]
    # the rows that the link is fitted to are all of them here, so that their order is no matter
    assert tables[0] == tables[2]


def test_labels_of_classes_without_a_core_are_listed_and_left_alone():
    image, _, given = corpus(100)
    sets, _, models, fold = parts(image, given)
    core = np.nonzero(given)
    some = core[1] != 4
    prototypes = signed_prototypes(image, sets, core[0][some], core[1][some], 6)

    found = judge_entries(image, sets, prototypes, models, fold)
    audit = multi_label_audit(np.arange(100), tuple("abcdef"), found)

    of_class = found.classes == 4
    assert of_class.sum() == given[:, 4].sum()
    assert set(audit.reason[of_class]) == {"class_without_core"}
    assert (audit.quality[of_class] == 0.5).all()


def test_constant_rows_and_no_rows():
    given = np.array([[1, 0], [0, 0], [1, 1], [0, 1], [1, 0]], bool)
    image = Rows([np.tile(np.array([[1, 0, 0]], np.float32), (5, 1))])
    models = fit_label_regressions(image, sets_of(given), np.arange(5) % 2, 2)
    assert np.isfinite(models.probabilities(image.read(0, 5), np.arange(5) % 2)).all()

    none = Rows([np.empty((0, 3), np.float32)])
    sets, fold = sets_of(given[:0]), np.empty(0, np.int64)
    prototypes = signed_prototypes(none, sets, fold, fold, 2)
    models = fit_label_regressions(none, sets, fold, 2)
    found = judge_entries(none, sets, prototypes, models, fold)
    assert len(multi_label_audit(np.empty(0, "U1"), ("a", "b"), found)) == 0


def test_errors():
    image, _, given = corpus(20)
    offsets, classes = sets_of(given)
    zeros = np.zeros(20, np.int64)
    with pytest.raises(ValueError, match=r"offsets \[21\] rising"):
        fit_label_regressions(image, (offsets[:-1], classes), zeros, 6)
    with pytest.raises(ValueError, match=r"classes in 0 \.\. 2"):
        fit_label_regressions(image, (offsets, classes), zeros, 3)
    with pytest.raises(ValueError, match="each label of a sample once"):
        fit_label_regressions(image, (np.array([0, 2, *[2] * 19]), np.array([1, 1])), zeros, 6)
    with pytest.raises(ValueError, match=r"fold must be \[20\]"):
        fit_label_regressions(image, (offsets, classes), zeros[:3], 6)
    with pytest.raises(ValueError, match="penalty must be positive"):
        fit_label_regressions(image, (offsets, classes), zeros, 6, penalty=0)
    for change in ({"alpha": 2}, {"gamma": -1}, {"keep_threshold": 3}, {"tau": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(change))} must"):
            MultiLabelSettings(**change)
