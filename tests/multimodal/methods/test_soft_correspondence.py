from dataclasses import replace

import numpy as np
import pytest

from multimodal.methods.soft_correspondence import SoftCorrespondence
from tests.multimodal.methods.planted import planted


def test_the_best_share_is_trusted_and_the_audit_says_who_picked_it():
    aligned = SoftCorrespondence().judge(planted(200).corpus)
    assert aligned.settings["anchors_by"] == "pair_score"
    assert aligned.evidence["anchor"].sum() == 20
    apart = planted(200, aligned=False)
    audit = SoftCorrespondence(anchor_share=0.2, most_anchors=15).judge(apart.corpus)
    assert audit.settings["anchors_by"] == "mapped_pair_score"
    anchors = audit.evidence["anchor"] == 1
    assert anchors.sum() == 15
    assert apart.right_pair[anchors].all()
    sides = audit.evidence["image_to_text"], audit.evidence["text_to_image"]
    assert audit.evidence["pair_score"] == pytest.approx((sides[0] + sides[1]) / 2)


def test_unaligned_rows_cannot_pick_anchors_by_pair_score():
    corpus = planted(50, aligned=False).corpus
    with pytest.raises(ValueError, match="anchors_by='pair_score' needs image and text rows"):
        SoftCorrespondence(anchors_by="pair_score").judge(corpus)


def test_a_fixed_threshold_and_the_errors():
    corpus = planted(100).corpus
    audit = SoftCorrespondence(threshold=0.5).judge(corpus)
    assert np.array_equal(audit.verdict == "keep", audit.evidence["pair_score"] >= 0.5)
    with pytest.raises(ValueError, match="anchors_by must be"):
        SoftCorrespondence(anchors_by="luck")
    with pytest.raises(ValueError, match="anchor_share must lie"):
        SoftCorrespondence(anchor_share=0)
    with pytest.raises(ValueError, match="needs text rows"):
        SoftCorrespondence().judge(replace(corpus, text=None, class_texts=None))
