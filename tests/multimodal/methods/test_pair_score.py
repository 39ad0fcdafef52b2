from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.flickr8k import read_clip_pairs, read_flickr_judgments
from multimodal.embedded import EmbeddedCorpus
from multimodal.methods.mapped_pair_score import MappedPairScore
from multimodal.methods.pair_score import PairScore
from multimodal.pair_decisions import PairCut
from multimodal.rows import Rows
from tests.multimodal.methods.planted import planted


def test_an_absolute_threshold_cuts_the_plain_score():
    case = planted(80)
    audit = PairScore(score="plain", threshold=0.6).judge(case.corpus)
    similarity = np.einsum(
        "nd,nd->n", case.corpus.image.read(0, 80), case.corpus.text.read(0, 80), dtype=np.float64
    )
    assert np.array_equal(audit.verdict == "keep", similarity >= 0.6)
    assert audit.evidence["pair_score"] == pytest.approx(similarity)
    assert np.array_equal(np.argsort(audit.quality), np.argsort(similarity))
    assert audit.settings["cut_used"] == 0.6


def test_a_share_keeps_the_best_and_a_quantile_asks_the_mismatched():
    case = planted(80)
    audit = PairScore(keep_share=0.3).judge(case.corpus)
    assert audit.counts()["keep"] == 24
    assert (audit.evidence["pair_score"][audit.verdict == "keep"].min()) >= np.sort(
        audit.evidence["pair_score"]
    )[-24]
    strict = PairScore(mismatch_quantile=0.5).judge(case.corpus)
    assert np.array_equal(strict.verdict == "keep", strict.evidence["mismatch_share"] <= 0.5)


def test_the_cut_of_shares_by_hand():
    scores = np.array([0.1, np.nan, 0.4, 0.3])
    assert PairCut(keep_share=0.5).place(scores, scores) == 0.3
    assert PairCut(keep_share=0.0).place(scores, scores) > 1e300
    assert PairCut(mismatch_quantile=0.5).place(scores, np.array([0.0, 0.2])) == pytest.approx(0.1)


def test_no_text_abstains_and_no_classes_judges_pairs():
    case = planted(60)
    text = case.corpus.text.read(0, 60).copy()
    text[7] = 0
    pairs = EmbeddedCorpus(
        case.corpus.ids, np.full(60, -1), (), image=case.corpus.image, text=Rows([text]),
        aligned=True,
    )  # fmt: skip
    audit = PairScore().judge(pairs)
    assert audit.verdict[7] == "abstain"
    assert audit.reason[7] == "nothing_to_compare"
    assert audit.quality[7] == 0.5
    assert audit.class_names == ("matching pair",)
    assert audit.counts()["keep"] > 20
    named = PairScore().judge(replace(case.corpus, given=np.full(60, -1)))
    assert set(named.reason) == {"pair_unlabelled", "pair_mismatch"}


def test_one_pair_needs_a_threshold():
    one = planted(4).corpus
    single = EmbeddedCorpus(
        one.ids[:1], one.given[:1], one.class_names, image=Rows([one.image.read(0, 1)]),
        text=Rows([one.text.read(0, 1)]), aligned=True,
    )  # fmt: skip
    with pytest.raises(ValueError, match="fewer than two different"):
        PairScore().judge(single)
    assert PairScore(score="plain", threshold=0.1).judge(single).counts()["keep"] == 1


def test_settings_are_checked():
    with pytest.raises(ValueError, match="threshold or keep_share"):
        PairScore(threshold=0.2, keep_share=0.3)
    with pytest.raises(ValueError, match="keep_share must lie"):
        PairScore(keep_share=1.5)
    with pytest.raises(ValueError, match="score must be one of"):
        PairScore(score="cosine")
    with pytest.raises(ValueError, match="trusted_share"):
        MappedPairScore(trusted_share=0)


def test_the_map_says_what_it_learnt():
    case = planted(200, aligned=False)
    audit = MappedPairScore().judge(case.corpus)
    assert audit.settings["explained_variance"] > 0.5
    assert audit.settings["penalty_chosen"] in audit.settings["penalties"]
    assert audit.method == "mapped_pair_score"


@pytest.mark.real_data
def test_flickr8k_as_its_readme_counts_it(real_data):
    judged = read_flickr_judgments(real_data / "flickr8k")
    assert len(judged.image) == 47_289
    assert judged.own.sum() == 713
    assert (judged.match & ~judged.own).sum() == 1985
    assert (~judged.match & judged.own).sum() == 20


@pytest.mark.real_data
def test_clip_finds_mixed_pairs_of_flickr8k_with_its_defaults(real_data):
    names, a, b = read_clip_pairs(real_data / "flickr8k")
    rng = np.random.default_rng(0)
    order = np.where(rng.random(len(a)) < 0.3, rng.permutation(len(a)), np.arange(len(a)))
    right = names[order] == names
    corpus = EmbeddedCorpus(
        np.array([str(row) for row in range(len(a))]), np.full(len(a), -1), (),
        image=Rows([a]), text=Rows([b[order]]), aligned=True,
    )  # fmt: skip
    audit = PairScore().judge(corpus)
    assert roc_auc_score(right, audit.quality) > 0.985
    kept = audit.verdict == "keep"
    assert right[kept].mean() > 0.97
    assert kept[right].mean() > 0.9
