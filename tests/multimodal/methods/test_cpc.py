from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from multimodal.class_logistic import LogisticSettings
from multimodal.embedded import EmbeddedCorpus
from multimodal.methods import CLEANING_METHODS
from multimodal.methods.cpc import ClassPrototypes
from multimodal.rows import Rows
from tests.multimodal.methods.planted import planted, renumbered, unit


@pytest.mark.parametrize(
    "method",
    [
        ClassPrototypes(),
        ClassPrototypes(mixture="per_class", targets="soft", ignore_band=(0.5, 0.5)),
        ClassPrototypes(relabel=True),
    ],
)
def test_planted_wrong_labels_are_found(method):
    case = planted()
    audit = method.judge(case.corpus, seed=3)
    assert roc_auc_score(case.right_label, audit.quality) > 0.95
    kept = audit.verdict == "keep"
    assert case.right_label[kept].mean() > 0.95
    assert kept.mean() > 0.5
    assert np.array_equal(kept, audit.quality > 0.5)
    moved = audit.verdict == "relabel"
    assert moved.any() == method.relabel
    assert (audit.label == case.truth)[moved].all()
    assert set(audit.reason) <= {"near_prototype", "far_from_prototype", "prototype_relabel"}


def test_the_order_and_cut_of_the_rows_change_nothing():
    case = planted(160)
    order = np.random.default_rng(1).permutation(160)
    method = ClassPrototypes(relabel=True, mixture="per_class")
    first = method.judge(case.corpus, seed=5).select(order)
    second = method.judge(renumbered(case.corpus, order), seed=5)
    assert np.array_equal(first.ids, second.ids)
    assert second.quality == pytest.approx(first.quality, abs=1e-3)
    assert (first.verdict != second.verdict).sum() <= 1


def test_a_class_without_noise_beside_one_with_much():
    rng = np.random.default_rng(0)
    given = np.repeat([0, 1], 150)
    wrong = (given == 1) & (np.arange(300) < 210)
    image = unit(np.eye(8)[np.where(wrong, 0, given)] + 0.15 * rng.normal(size=(300, 8)))
    corpus = EmbeddedCorpus(np.arange(300).astype(str), given, ("a", "b"), image=Rows([image]))
    audit = ClassPrototypes().judge(corpus)
    assert roc_auc_score(~wrong[given == 1], audit.quality[given == 1]) > 0.95
    assert (audit.verdict[given == 0] == "keep").mean() > 0.95


def test_a_class_of_noise_only_leaves_the_other_alone():
    rng = np.random.default_rng(0)
    # class 1 holds nothing but members of class 0's cluster: the probe cannot tell which is which
    centres = np.eye(8)[[0, 0, 1]]
    given = np.repeat([0, 1, 2], [300, 30, 100])
    image = unit(centres[given] + 0.15 * rng.normal(size=(430, 8)))
    corpus = EmbeddedCorpus(np.arange(430).astype(str), given, ("a", "b", "c"), image=Rows([image]))
    audit = ClassPrototypes().judge(corpus)
    assert (audit.verdict[given == 1] == "reject").mean() > 0.9
    assert (audit.verdict[given != 1] == "keep").mean() > 0.95


def test_one_sample_no_label_and_nothing_to_tell():
    case = planted(120)
    given = case.corpus.given.copy()
    given[5] = -1
    given[6] = 4
    names = (*case.corpus.class_names, "rare")
    corpus = replace(case.corpus, given=given, class_names=names, class_texts=None)
    for mixture in ("global", "per_class"):
        audit = ClassPrototypes(mixture=mixture).judge(corpus)
        assert (audit.verdict[5], audit.reason[5]) == ("abstain", "no_given_label")
        assert (audit.verdict[6], audit.reason[6]) == ("reject", "mixture_alone")
        assert audit.quality[6] == audit.evidence["mixture_clean"][6] < 0.5
    assert audit.settings["first_classes_by_global_mixture"] == [4]
    same = EmbeddedCorpus(
        np.arange(8).astype(str), np.zeros(8, np.int64), ("a",), image=Rows([np.eye(8)[:, :3]])
    )
    nothing = ClassPrototypes(mixture="per_class").judge(same)
    assert set(nothing.reason) == {"nothing_to_tell"}
    assert set(nothing.verdict) == {"keep"}
    assert set(nothing.quality) == {0.5}
    unlabelled = ClassPrototypes().judge(replace(same, given=np.full(8, -1)))
    assert set(unlabelled.verdict) == {"abstain"}


def test_the_loss_is_out_of_fold():
    # labels at random: a probe that saw them would find them likely
    rng = np.random.default_rng(0)
    image = unit(rng.normal(size=(60, 50)))
    given = rng.integers(0, 2, 60)
    corpus = EmbeddedCorpus(np.arange(60).astype(str), given, ("a", "b"), image=Rows([image]))
    audit = ClassPrototypes().judge(corpus)
    assert audit.evidence["loss"].mean() > 0.6


def test_per_class_mixtures_are_shrunk_towards_the_global_one():
    rng = np.random.default_rng(0)
    loss = np.concatenate([rng.normal(m, 0.05, 200) for m in (0.2, 0.5, 0.5, 0.9)])
    given = np.repeat([0, 1], 400)
    whole, _ = ClassPrototypes().clean_by_mixture(loss, given, 2)
    own, none = ClassPrototypes(mixture="per_class", shrinkage=0).clean_by_mixture(loss, given, 2)
    much, _ = ClassPrototypes(mixture="per_class", shrinkage=1e9).clean_by_mixture(loss, given, 2)
    assert none == []
    assert much == pytest.approx(whole, abs=1e-4)
    # 0.5 is a high loss in the first class and a low one in the second
    assert np.median(own[200:400]) < 0.01
    assert np.median(own[400:600]) > 0.99
    assert (whole[200:400] > 0.5).mean() == pytest.approx((whole[400:600] > 0.5).mean(), abs=0.1)


def test_targets_and_the_band():
    clean = np.array([0.0, 0.3, 0.4, 0.5, 0.7, 0.9, np.nan])
    hard = ClassPrototypes().learning_targets(clean)
    assert np.array_equal(hard, [0, 0, np.nan, np.nan, 1, 1, np.nan], equal_nan=True)
    soft = ClassPrototypes(targets="soft", ignore_band=(0.5, 0.5)).learning_targets(clean)
    assert np.array_equal(soft, clean, equal_nan=True)


def test_settings_are_checked():
    assert CLEANING_METHODS.load("cpc") is ClassPrototypes
    for bad in (
        {"mixture": "x"}, {"targets": "x"}, {"threshold": 2}, {"relabel_probability": -1},
        {"ignore_band": (0.7, 0.3)}, {"folds": 1}, {"shrinkage": -1},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(bad))):
            ClassPrototypes(**bad)
    corpus = planted(40).corpus
    with pytest.raises(ValueError, match="needs image"):
        ClassPrototypes().judge(replace(corpus, image=None))
    few = ClassPrototypes(logistic=LogisticSettings(steps=3)).judge(corpus)
    assert few.settings["logistic"]["steps"] == 3
