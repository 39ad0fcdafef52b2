from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from labelnoise.audit import LabelAudit
from multimodal.methods import CLEANING_METHODS
from multimodal.methods.ensemble import REASONS, Ensemble, votes_of
from multimodal.rows import Rows
from tests.multimodal.methods.planted import planted, renumbered

QUICK = ("capro", "clip_cleaner", "confident_learning", "neighbour_vote")


def judged(name, case, quality, verdict, suggested):
    """An audit of a member that never ran."""
    given = case.corpus.given
    other = np.where(verdict == "relabel", np.nan_to_num(suggested), -1)
    label = np.where(verdict == "keep", given, other).astype(np.int64)
    return LabelAudit(
        ids=case.corpus.ids, given=given, verdict=verdict, label=label, quality=quality,
        reason=np.full(len(given), "x"), evidence={"suggested": suggested.astype(float)},
        class_names=case.corpus.class_names, method=name, reasons={"x": "-"},
    )  # fmt: skip


def member(name, case, right, rng):
    """An audit whose vote is the true class in a share `right` of rows, and sure by chance."""
    truth, n_classes = case.truth, case.corpus.n_classes
    vote = np.where(rng.random(len(truth)) < right, truth, rng.integers(n_classes, size=len(truth)))
    keeps = vote == case.corpus.given
    quality = np.clip(0.5 + (keeps - 0.5) * rng.random(len(truth)), 0, 1)
    return judged(name, case, quality, np.where(keeps, "keep", "relabel"), vote)


@pytest.fixture(scope="module")
def hard():
    """A corpus on which the members make mistakes of their own."""
    return planted(800, spread=2.2, wrong_labels=0.3, aligned=False, seed=4)


@pytest.fixture(scope="module")
def audits(hard):
    return [CLEANING_METHODS.load(name)().judge(hard.corpus, seed=1) for name in QUICK]


def test_it_ranks_better_than_its_median_member(hard, audits):
    method = Ensemble(members=QUICK)
    found = method.pooled(audits)
    areas = [roc_auc_score(hard.right_label, audit.quality) for audit in audits]
    assert roc_auc_score(hard.right_label, found.quality) > np.median(areas)
    kept = found.verdict == "keep"
    assert hard.right_label[kept].mean() > 0.9
    moved = found.verdict == "relabel"
    assert moved.sum() > 5
    assert (found.label == hard.truth)[moved].mean() > 0.85
    assert set(found.reason) <= set(REASONS)
    assert found.noise_rate == pytest.approx(1 - hard.right_label.mean(), abs=0.1)


def test_judging_is_pooling_what_the_members_judge(hard, audits):
    method = Ensemble(members=QUICK)
    told = []
    found = method.judge(hard.corpus, seed=1, progress=lambda stage, share: told.append(share))
    assert np.array_equal(found.quality, method.pooled(audits).quality)
    assert found.settings["left_out"] == {}
    assert told == sorted(told)
    assert set(found.evidence) >= {"capro_p", "capro_vote", "agreement", "suggested", "suggested_p"}
    assert CLEANING_METHODS.load("ensemble") is Ensemble


def test_a_useless_member_gets_little_weight():
    case, rng = planted(1500, 6), np.random.default_rng(0)
    names = ("capro", "cpc", "clip_cleaner", "neighbour_vote")
    members = [
        member(name, case, r, rng) for name, r in zip(names, (0.9, 0.85, 0.8, 0), strict=True)
    ]
    with_it = Ensemble(members=names).pooled(members)
    without = Ensemble(members=names[:3]).pooled(members[:3])
    estimated = with_it.settings["estimated"]
    assert estimated["neighbour_vote"]["share"] < 0.05
    assert estimated["neighbour_vote"]["vote_weight"] < 0.3
    assert estimated["capro"]["vote_right"] == pytest.approx(0.9 + 0.1 / 6, abs=0.03)
    lost = roc_auc_score(case.right_label, without.quality)
    assert roc_auc_score(case.right_label, with_it.quality) > lost - 0.01
    # its quality says nothing: it is mapped to about one number
    assert np.ptp(with_it.evidence["neighbour_vote_p"]) < 0.3


def test_weights_of_the_user_take_the_place_of_estimates():
    case, rng = planted(300), np.random.default_rng(1)
    members = [member(name, case, 0.7, rng) for name in ("capro", "cpc", "neighbour_vote")]
    method = Ensemble(members=("capro", "cpc", "neighbour_vote"), weights=(0, 5, 0))
    found = method.pooled(members)
    assert np.array_equal(found.evidence["suggested"], votes_of(members[1]))
    assert found.settings["estimated"]["cpc"]["share"] == 1
    with pytest.raises(ValueError, match="weights must not all be 0"):
        method.pooled([members[0], members[2]])


def test_the_ladder_of_verdicts():
    verdicts = ["keep", "relabel", "reject", "abstain", "abstain", "abstain"]
    times = 20
    case = planted(6 * times, 3)
    given = np.tile([0, 0, 0, -1, -1, 0], times)
    case = replace(case, corpus=replace(case.corpus, given=given))
    quality = np.tile([0.9, 0.1, 0.2, 0.5, 0.5, 0.5], times)
    # they differ on row 3, else they would be taken as copies that vouch for nothing
    members = [
        judged(name, case, quality, np.tile(verdicts, times), np.tile(suggested, times))
        for name, suggested in (
            ("capro", [0, 1, 2, 1, np.nan, np.nan]), ("cpc", [0, 1, 2, 0, np.nan, np.nan]),
        )
    ]  # fmt: skip
    found = Ensemble(members=("capro", "cpc"), weights=(1, 1)).pooled(members)
    assert found.verdict[:6].tolist() == verdicts
    assert found.reason[:6].tolist() == [
        "members_agree", "consensus_relabel", "members_disagree", "no_given_label",
        "no_given_label", "no_votes",
    ]  # fmt: skip
    assert found.label[:6].tolist() == [0, 1, -1, -1, -1, -1]
    # both suggest class 2 for row 2, but neither would use it
    assert found.evidence["agreement"][2] == pytest.approx(1)
    assert found.evidence["backing"][2] == 0
    assert found.quality[3:6].tolist() == [0.5] * 3


def test_the_order_and_cut_of_the_rows_change_nothing(hard):
    order = np.random.default_rng(1).permutation(len(hard.corpus))
    method = Ensemble(members=("capro", "confident_learning", "neighbour_vote"))
    first = method.judge(hard.corpus, seed=5).select(order)
    second = method.judge(renumbered(hard.corpus, order), seed=5)
    assert np.array_equal(first.ids, second.ids)
    assert second.quality == pytest.approx(first.quality, abs=5e-3)
    assert (first.verdict != second.verdict).mean() <= 0.005


def test_members_that_cannot_judge_are_left_out_and_named():
    case = planted(200, aligned=False)
    names = ("confident_learning", "neighbour_vote", "pair_score", "capro")
    no_texts = replace(case.corpus, text=None, class_texts=None)
    found = Ensemble(members=names).judge(no_texts)
    assert set(found.settings["left_out"]) == {"pair_score", "capro"}
    assert "text" in found.settings["left_out"]["capro"]
    empty = replace(case.corpus, text=Rows([np.zeros((200, 16), np.float32)]))
    assert Ensemble(members=names).obstacles(empty)["capro"] == (
        "capro needs texts, this corpus has none"
    )
    assert set(Ensemble(members=names).obstacles(case.corpus)) == {"pair_score"}
    with pytest.raises(ValueError, match="at least 2 members that can judge"):
        Ensemble(members=("neighbour_vote", "pair_score")).judge(no_texts)
    assert Ensemble(members=names).wants == ("text", "aligned", "class_texts")


def test_settings_are_checked(hard, audits):
    with pytest.raises(ValueError, match="at least 2 methods"):
        Ensemble(members=("capro",))
    with pytest.raises(ValueError, match="at least 2 methods"):
        Ensemble(members=("capro", "capro"))
    with pytest.raises(ValueError, match="other methods"):
        Ensemble(members=("capro", "ensemble"))
    with pytest.raises(ValueError, match="one per member"):
        Ensemble(weights=(1.0,))
    with pytest.raises(ValueError, match="not be negative"):
        Ensemble(members=("capro", "cpc"), weights=(1.0, -1.0))
    with pytest.raises(ValueError, match="method must be one of"):
        Ensemble(members=("capro", "nothing")).judge(hard.corpus)
    with pytest.raises(ValueError, match="judged other rows"):
        Ensemble().pooled([audits[0], audits[1].select(np.arange(5))])
    with pytest.raises(ValueError, match="at least 2 members"):
        Ensemble().pooled(audits[:1])
    sets = (np.arange(len(hard.corpus) + 1), hard.corpus.given)
    with pytest.raises(ValueError, match="one label per pair"):
        Ensemble().judge(replace(hard.corpus, given_sets=sets))
