import numpy as np
import pytest

from multimodal.calibration import Calibration, Curve
from multimodal.mixed_scores import MixedScores
from multimodal.verdicts import (
    REASONS,
    JudgedRows,
    LadderSettings,
    TextEvidence,
    judge_single,
    transition_of,
)

NAMES = ("ant", "bee", "cat")
CALIBRATION = Calibration(0.5, 0.1, gamma=0.6, keep_threshold=0.3, core_impurity=0.1)

# given, best class, u_max, u of given, in core -> verdict, label, reason
TABLE = [
    (0, 0, 0.9, 0.9, 0, "keep", 0, "evidence_agrees"),
    (0, 0, 0.6, 0.6, 0, "keep", 0, "evidence_agrees"),  # exactly gamma
    (0, 1, 0.6, 0.35, 0, "relabel", 1, "prototype_relabel"),  # relabel before keep
    (0, 1, 0.7, 0.1, 0, "relabel", 1, "prototype_relabel"),
    (0, 1, 0.59, 0.3, 0, "keep", 0, "above_keep_threshold"),  # exactly the threshold
    (0, 0, 0.5, 0.5, 0, "keep", 0, "above_keep_threshold"),
    (0, 1, 0.5, 0.2, 0, "reject", -1, "below_keep_threshold"),
    (0, 0, 0.29, 0.29, 0, "reject", -1, "below_keep_threshold"),
    (0, 1, 0.99, 0.0, 1, "keep", 0, "in_clean_core"),  # protected
    (-1, 2, 0.8, np.nan, 0, "relabel", 2, "proposed_label"),
    (-1, 2, 0.5, np.nan, 0, "abstain", -1, "no_given_label"),
    (2, 1, 0.9, np.nan, 0, "abstain", -1, "class_without_core"),
    (0, -1, np.nan, np.nan, 0, "abstain", -1, "no_image"),
]


def by_hand(table=TABLE):
    given, best_class, best, own, core = (
        np.array([row[place] for row in table]) for place in range(5)
    )
    n = len(table)
    column = np.linspace(0, 1, n, dtype=np.float32)
    scores = MixedScores(
        given=own.astype(np.float32), best_class=best_class, best=best.astype(np.float32),
        second_class=np.where(best_class < 0, -1, (best_class + 1) % 3), second=column * 0.1,
        classifier_given=column, prototype_given=column, classifier_best=column,
        prototype_best=column, entropy=column,
    )  # fmt: skip
    ids = np.array([f"s{k}" for k in range(n)])
    return JudgedRows(ids, given, core == 1, NAMES), scores


def replaced(rows, **changes):
    return JudgedRows(**{**vars(rows), **changes})


def test_every_branch_of_the_ladder():
    rows, scores = by_hand()
    audit = judge_single(rows, scores, CALIBRATION)

    assert audit.verdict.tolist() == [row[5] for row in TABLE]
    assert audit.label.tolist() == [row[6] for row in TABLE]
    assert audit.reason.tolist() == [row[7] for row in TABLE]


def test_every_reason_occurs():
    rows, scores = by_hand()
    found = set(judge_single(rows, scores, CALIBRATION).reason)
    found |= set(judge_single(rows, scores, CALIBRATION, LadderSettings(reject_is_ood=True)).reason)
    assert found == set(REASONS)


def test_what_the_settings_turn():
    rows, scores = by_hand()

    bare = judge_single(rows, scores, CALIBRATION, LadderSettings(protect_core=False))
    assert (bare.verdict[8], bare.label[8]) == ("relabel", 1)
    ood = judge_single(rows, scores, CALIBRATION, LadderSettings(reject_is_ood=True))
    assert ood.reason[6] == "out_of_distribution"
    assert ood.evidence["ood_score"][6] == 1
    silent = judge_single(rows, scores, CALIBRATION, LadderSettings(label_unlabelled=False))
    assert silent.verdict[9] == "abstain"


def test_a_missing_image_is_not_judged_but_may_be_protected():
    rows, scores = by_hand()
    rows = replaced(rows, has_image=np.zeros(len(TABLE), bool))
    audit = judge_single(rows, scores, CALIBRATION)

    assert set(audit.reason) == {"in_clean_core", "no_image"}
    assert np.isnan(audit.evidence["suggested"]).all()
    assert (audit.quality[audit.reason == "no_image"] == 0.5).all()


def test_quality_is_calibrated_and_the_core_is_trusted_as_far_as_it_is_clean():
    rows, scores = by_hand()
    curve = Curve(np.array([0.0, 1.0]), np.array([0.2, 0.8]))
    calibration = Calibration(
        0.5, 0.1, gamma=0.6, keep_threshold=0.3, core_impurity=0.1, curve=curve
    )
    audit = judge_single(rows, scores, calibration)

    assert audit.quality[0] == pytest.approx(0.2 + 0.6 * 0.9, abs=1e-3)
    assert audit.quality[8] == pytest.approx(0.9)
    assert (audit.quality[9:] == 0.5).all()
    assert audit.noise_rate == pytest.approx(1 - audit.quality[:9].mean())


def test_evidence_and_where_the_ood_score_comes_from():
    rows, scores = by_hand()
    visual = judge_single(rows, scores, CALIBRATION)
    np.testing.assert_allclose(visual.evidence["ood_score"][:12], 1 - scores.best[:12])
    assert "text_cosine" not in visual.evidence
    assert visual.settings["ood_score_from"] == "image"

    cosine = np.linspace(-1, 1, len(TABLE))
    cosine[3] = np.nan
    text = TextEvidence(cosine, np.arange(len(TABLE)) * 1.0, np.full(len(TABLE), 0.5))
    audit = judge_single(replaced(rows, text=text), scores, CALIBRATION)

    wanted = (1 - cosine) / 2
    wanted[[9, 10]] = 0.25  # no given label: the nearest class
    np.testing.assert_allclose(audit.evidence["ood_score"], wanted)
    np.testing.assert_array_equal(audit.evidence["text_cosine"], cosine)
    assert audit.evidence["text_rank"][4] == 4
    assert audit.evidence["in_core"].tolist() == [row[4] for row in TABLE]
    np.testing.assert_allclose(audit.evidence["mixed_p_given"], scores.given)
    assert audit.evidence["suggested"][3] == 1
    assert np.isnan(audit.evidence["suggested"][12])


def test_shards_are_judged_alike():
    rows, scores = by_hand()
    whole = judge_single(rows, scores, CALIBRATION)
    for part in (np.arange(5), np.arange(5, 13)):
        some = JudgedRows(rows.ids[part], rows.given[part], rows.in_core[part], NAMES)
        audit = judge_single(some, scores.select(part), CALIBRATION)
        assert audit.verdict.tolist() == whole.verdict[part].tolist()
        assert audit.quality.tolist() == whole.quality[part].tolist()


def test_transition_by_hand():
    table = [(0, 0, 0.9, 0.9, 0), (0, 1, 0.8, 0.1, 0), (1, 1, 0.9, 0.9, 0)]
    _, scores = by_hand(table)
    found = transition_of(np.array([0, 0, 1]), scores, np.array([1.0, 0.25, 1.0]), NAMES)
    # class 0: 1 + .25 of its own; class 1: .75 labelled 0, 1 of its own; nothing of class 2
    np.testing.assert_allclose(found, [[1, 0, 0], [0.75 / 1.75, 1 / 1.75, 0], [0, 0, 1]])
    assert transition_of(np.array([0]), scores, np.ones(1), ("x",) * 1001) is None


def test_an_empty_corpus():
    rows, scores = by_hand()
    none = np.arange(0)
    audit = judge_single(
        JudgedRows(rows.ids[none], rows.given[none], rows.in_core[none], NAMES),
        scores.select(none), CALIBRATION,
    )  # fmt: skip
    assert len(audit) == 0
    assert audit.noise_rate is None


def test_lengths_are_checked():
    rows, scores = by_hand()
    with pytest.raises(ValueError, match="scores must have 13 rows like given, got 2"):
        judge_single(rows, scores.select(np.arange(2)), CALIBRATION)
    with pytest.raises(ValueError, match="text must have 13 rows"):
        judge_single(replaced(rows, text=TextEvidence(np.zeros(3))), scores, CALIBRATION)
