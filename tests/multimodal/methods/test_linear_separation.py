from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from labelnoise.two_component_mixture import MixtureFit
from multimodal.alternation import (
    noisy_by_loss,
    outside_by_separator,
    pseudo_labels,
    pseudo_weights,
    refit_targets,
)
from multimodal.embedded import EmbeddedCorpus
from multimodal.methods import CLEANING_METHODS
from multimodal.methods.linear_separation import LinearSeparation
from multimodal.probe import out_of_fold_probe, stratified_folds
from multimodal.rows import Rows
from tests.multimodal.methods.planted import planted, renumbered, unit

LAST = LinearSeparation(last_layer=True)


def test_planted_wrong_labels_are_found():
    case = planted()
    audit = LAST.judge(case.corpus, seed=3)
    by_loss = 1 - audit.evidence["noisy_p"]
    assert roc_auc_score(case.right_label, by_loss) > 0.95
    assert roc_auc_score(case.right_label, audit.quality) > 0.95
    used = audit.label >= 0
    assert (audit.label == case.truth)[used].mean() > 0.95
    # the last layer has no direction of noise: its separator disputes many clean labels
    assert used.mean() > 0.3
    assert audit.settings["separated"].startswith("last layer")


def hidden_outsiders(seed=0):
    """Images outside all classes: the last layer puts them into classes, half of them wrongly
    labelled; an early layer sees that they are of another kind."""
    rng = np.random.default_rng(seed)
    n, n_classes = 600, 3
    truth = np.arange(n) % n_classes
    outside = rng.random(n) < 0.25
    last = unit(np.eye(12)[truth] + 0.15 * rng.normal(size=(n, 12)))
    wrong = outside & (rng.random(n) < 0.5)
    given = np.where(wrong, (truth + 1) % n_classes, truth)
    early = rng.normal(size=(n, 8))
    early[outside, 0] += 5
    corpus = EmbeddedCorpus(
        np.arange(n).astype(str), given, ("a", "b", "c"),
        image=Rows([last]), early=Rows([unit(early)]),
    )  # fmt: skip
    return corpus, outside, wrong


def test_outsiders_that_only_the_early_layer_shows_are_found():
    corpus, outside, wrong = hidden_outsiders()
    audit = LinearSeparation().judge(corpus)
    blind = LAST.judge(corpus)
    hidden = ~wrong  # those with a likely label: their loss is as low as anyone's
    found = roc_auc_score(outside[hidden], audit.evidence["ood_score"][hidden])
    missed = roc_auc_score(outside[hidden], blind.evidence["ood_score"][hidden])
    assert found > 0.95
    assert missed < 0.65
    assert audit.settings["separated"] == "early"
    assert (audit.evidence["noisy_by_linear"][outside] == 1).mean() > 0.9
    assert set(audit.verdict[outside & hidden]) >= {"abstain"}


@pytest.mark.parametrize("order", [("linear", "loss"), ("loss", "linear")])
def test_the_second_probe_learns_what_the_first_decision_left(order):
    """The oracle: two rounds written out."""
    corpus, *_ = hidden_outsiders()
    given, everyone, fit = corpus.given, np.ones(len(corpus), bool), MixtureFit()
    folds = stratified_folds(given, 5, ids=corpus.ids, seed=0)
    first = pseudo_labels(out_of_fold_probe(corpus.image, given, 3, folds=folds), given)
    noisy = noisy_by_loss(first.loss, fit) > 0.95
    if order[0] == "linear":
        early = corpus.early
        noisy = outside_by_separator(early, noisy, everyone, c=0.01, folds=folds) > 0.5
    soft = refit_targets(given, noisy, first, pseudo_weights(first.pseudo_loss, noisy, fit))
    second = out_of_fold_probe(corpus.image, given, 3, folds=folds, soft=soft)
    audit = LinearSeparation(order=order, rounds=2).judge(corpus)
    assert audit.evidence["loss"] == pytest.approx(pseudo_labels(second, given).loss, abs=1e-4)
    assert np.array_equal(audit.evidence[f"noisy_by_{order[0]}"], noisy)


def test_detectors_take_turns_in_their_order_and_both_members_are_reported():
    corpus, *_ = hidden_outsiders()
    for order in (("linear", "loss"), ("loss", "linear")):
        audit = LinearSeparation(order=order, rounds=3).judge(corpus)
        asked = [one["asked"] for one in audit.settings["rounds_done"]]
        assert asked == [*order, order[0]]
    long = LinearSeparation(rounds=12, settle_share=0.02).judge(corpus)
    assert long.settings["came_to_rest"] == "two_cycle"
    assert len(long.settings["rounds_done"]) < 12
    first, second = (long.evidence[f"noisy_by_{name}"] for name in ("linear", "loss"))
    assert (first != second).any()
    differ = long.reason == "detectors_disagree"
    assert np.array_equal(differ, first != second)


def test_the_order_and_cut_of_the_rows_change_nothing():
    case = planted(160)
    order = np.random.default_rng(1).permutation(160)
    first = LAST.judge(case.corpus, seed=5).select(order)
    second = LAST.judge(renumbered(case.corpus, order), seed=5)
    assert np.array_equal(first.ids, second.ids)
    assert second.quality == pytest.approx(first.quality, abs=5e-3)
    assert (first.verdict != second.verdict).sum() <= 1


def test_rows_without_a_label_abstain_and_clean_labels_are_kept():
    case = planted(160, wrong_labels=0)
    given = case.corpus.given.copy()
    given[::4] = -1
    audit = LAST.judge(replace(case.corpus, given=given))
    assert set(audit.verdict[::4]) == {"abstain"}
    assert set(audit.reason[::4]) == {"no_given_label"}
    assert (audit.quality[::4] == 0.5).all()
    none = LAST.judge(replace(case.corpus, given=np.full(160, -1)))
    assert set(none.verdict) == {"abstain"}


def test_settings_are_checked():
    assert CLEANING_METHODS.load("linear_separation") is LinearSeparation
    assert LinearSeparation().needs == ("image", "early")
    for bad in (
        {"split_threshold": 2}, {"separator_c": 0}, {"sharpen": 0}, {"order": ("loss", "loss")},
        {"rounds": 1}, {"trusted_weight": -1}, {"relabel_probability": 2}, {"settle_share": -1},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(bad))):
            LinearSeparation(**bad)
    corpus = planted(40).corpus
    with pytest.raises(ValueError, match="last_layer"):
        LinearSeparation().judge(corpus)
    with pytest.raises(ValueError, match="needs image"):
        LAST.judge(replace(corpus, image=None))
