from dataclasses import replace

import numpy as np
import pytest

from multimodal.clip_selectors import Prediction
from multimodal.methods.clip_cleaner import ClipCleaner
from tests.multimodal.methods.planted import planted


def test_each_selector_alone_then_the_intersection():
    corpus = planted(300, spread=3.0).corpus
    strict = ClipCleaner().judge(corpus)
    evidence = strict.evidence
    alone = {}
    for name in ("zero_shot", "probe"):
        alone[f"{name}_low"] = evidence[f"{name}_high"] >= 0.5
        alone[f"{name}_other"] = evidence[f"{name}_ratio"] >= 0.8
    kept = strict.verdict == "keep"
    assert np.array_equal(kept, np.logical_and.reduce(list(alone.values())))
    assert np.array_equal(evidence["selectors_passed"], np.sum(list(alone.values()), axis=0))
    first_failed = np.select([~ok for ok in alone.values()], list(alone), default="selected")
    assert np.array_equal(strict.reason, first_failed)
    for ok in alone.values():
        assert ok.sum() > kept.sum()
    by_ratio = ClipCleaner(high_probability=0).judge(corpus).verdict == "keep"
    assert np.array_equal(by_ratio, alone["zero_shot_other"] & alone["probe_other"])
    by_mixture = ClipCleaner(ratio=0).judge(corpus).verdict == "keep"
    assert np.array_equal(by_mixture, alone["zero_shot_low"] & alone["probe_low"])


def test_without_aligned_texts_the_probe_judges_alone_and_says_so():
    corpus = planted(200, aligned=False).corpus
    audit = ClipCleaner().judge(corpus)
    assert audit.settings["predictors"] == ["probe"]
    assert "selected_by_probe" in audit.reason
    assert not [name for name in audit.evidence if name.startswith("zero_shot")]
    both = ClipCleaner().judge(planted(200).corpus)
    assert both.settings["predictors"] == ["zero_shot", "probe"]
    no_texts = ClipCleaner().judge(replace(planted(200).corpus, class_texts=None))
    assert no_texts.settings["predictors"] == ["probe"]


def test_classes_left_empty_are_refilled_with_their_likeliest():
    given = np.array([0, 0, 1, 1, 1, -1, 2])
    p_given = np.array([0.9, 0.1, 0.2, 0.4, 0.45, np.nan, 0.01])
    first = Prediction(p_given, np.zeros(7, int), np.full(7, 0.5), np.full(7, 0.3))
    selected = np.array([True, False, False, False, False, False, False])
    # class 1: rows 4 and 3 pass the ratio; class 2: nothing does, its single likeliest
    wanted = [False, False, False, True, True, False, True]
    assert ClipCleaner()._refilled(given, selected, first).tolist() == wanted
    wanted[3] = False
    assert ClipCleaner(refill=1)._refilled(given, selected, first).tolist() == wanted
    assert not ClipCleaner(refill=0)._refilled(given, selected, first).any()


def test_a_refilled_class_appears_in_the_audit():
    case = planted(200)
    given = case.corpus.given.copy()
    # a class given only to images of another one
    given[case.truth == 3] = 0
    wrong = np.flatnonzero(case.truth == 1)[:12]
    given[wrong] = 3
    audit = ClipCleaner().judge(replace(case.corpus, given=given))
    assert set(audit.reason[(given == 3) & (audit.verdict == "keep")]) == {"refilled"}
    assert np.isin("refilled", audit.reason)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="ratio must lie"):
        ClipCleaner(ratio=1.2)
    with pytest.raises(ValueError, match="folds of at least 2"):
        ClipCleaner(folds=1)
