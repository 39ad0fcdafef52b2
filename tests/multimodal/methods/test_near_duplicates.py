from dataclasses import replace

import numpy as np
import pytest

from multimodal.embedded import EmbeddedCorpus
from multimodal.methods import CLEANING_METHODS
from multimodal.methods.near_duplicates import NearDuplicates, chosen_rows, label_shares
from multimodal.rows import Rows
from multimodal.stable_order import stable_keys
from tests.multimodal.methods.planted import renumbered, unit


def copies(rng, n=40, most=4):
    """Images with up to `most` near copies each, some wrongly labelled."""
    image = unit(rng.normal(size=(n, 20)))
    of = np.repeat(np.arange(n), rng.integers(1, most + 1, n))
    rows = unit(image[of] + 0.01 * rng.normal(size=(len(of), 20)))
    given = np.where(rng.random(len(of)) < 0.2, 1, 0)
    ids = np.array([f"image{number}" for number in rng.permutation(len(of))])
    corpus = EmbeddedCorpus(ids, given, ("a", "b"), image=Rows([rows]), text=Rows([rows]))
    return corpus, of


def test_one_of_each_group_stays():
    corpus, of = copies(np.random.default_rng(0))
    audit = NearDuplicates().judge(corpus)
    stays = audit.verdict == "keep"
    assert np.bincount(of[stays]).tolist() == [1] * 40
    gone = ~stays
    assert set(audit.verdict[gone]) == {"reject"}
    assert set(audit.reason[gone]) == {"duplicate_of"}
    into = audit.evidence["duplicate_of"][gone].astype(int)
    assert np.array_equal(of[into], of[gone])
    assert stays[into].all()
    assert np.isnan(audit.evidence["duplicate_of"][stays]).all()
    assert (audit.evidence["kept_similarity"][gone] > 0.99).all()
    assert np.array_equal(audit.evidence["group_size"], np.bincount(of)[of])
    assert (audit.quality[gone] <= 0.5).all()
    assert np.array_equal(audit.reason == "no_duplicate", np.bincount(of)[of] == 1)
    for one in np.flatnonzero(stays):
        labels = corpus.given[of == of[one]]
        assert (labels == corpus.given[one]).sum() * 2 >= len(labels)
        disputed = len(set(labels)) > 1
        assert (audit.reason[one] == "kept_of_disputed") == disputed


def test_the_order_and_cut_of_shards_change_nothing():
    corpus, _ = copies(np.random.default_rng(1))
    corpus = replace(corpus, aligned=True)
    order = np.random.default_rng(2).permutation(len(corpus))
    first = NearDuplicates().judge(corpus).select(order)
    second = NearDuplicates().judge(renumbered(corpus, order))
    for name in ("ids", "verdict", "label", "quality", "reason"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    named = [
        np.where(np.isnan(one), "", ids[np.nan_to_num(one).astype(int)])
        for one, ids in (
            (first.evidence["duplicate_of"], corpus.ids),
            (second.evidence["duplicate_of"], second.ids),
        )
    ]
    assert np.array_equal(*named)


def test_a_chain_by_hand():
    # 15 degrees apart: cosine 0.966; the ends of the chain have one of 0.866
    angles = np.deg2rad([0, 15, 30, 100])
    image = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    given = np.array([0, 1, 1, -1])
    corpus = EmbeddedCorpus(np.array(list("abcd")), given, ("x", "y"), image=Rows([image]))
    audit = NearDuplicates(threshold=0.95).judge(corpus)
    stays = int(audit.evidence["duplicate_of"][0])
    assert stays == min((1, 2), key=lambda row: stable_keys(corpus.ids)[row])
    assert audit.verdict[stays] == "keep"
    assert audit.reason[stays] == "kept_of_disputed"
    assert audit.evidence["label_share"][:3].tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert audit.evidence["suggested"][:3].tolist() == [1, 1, 1]
    assert audit.quality[0] == pytest.approx(1 / 6)
    assert (audit.verdict[3], audit.reason[3], audit.quality[3]) == (
        "abstain", "no_given_label", 0.5,
    )  # fmt: skip


def test_shares_and_choices_by_hand():
    groups, given = np.array([0, 0, 0, -1, 1, 1, -1]), np.array([2, 1, 1, 0, -1, -1, -1])
    share, common = label_shares(groups, given)
    wanted = [1 / 3, 2 / 3, 2 / 3, 1, np.nan, np.nan, np.nan]
    assert share == pytest.approx(wanted, nan_ok=True)
    assert common.tolist() == [1, 1, 1, 0, -1, -1, -1]
    keys = np.array([0, 9, 5, 7, 8, 3, 1], np.uint64)
    assert chosen_rows(groups, given, common, keys).tolist() == [2, 2, 2, 3, 5, 5, 6]


def test_settings_and_missing_parts():
    assert CLEANING_METHODS.load("near_duplicates") is NearDuplicates
    with pytest.raises(ValueError, match="threshold"):
        NearDuplicates(threshold=2)
    with pytest.raises(ValueError, match="search"):
        NearDuplicates(search="x")
    corpus, _ = copies(np.random.default_rng(0), 3)
    with pytest.raises(ValueError, match="needs image"):
        NearDuplicates().judge(replace(corpus, image=None))
    none = EmbeddedCorpus(
        np.empty(0, str), np.empty(0, np.int64), ("a",), image=Rows([np.empty((0, 3), np.float32)])
    )
    assert len(NearDuplicates().judge(none)) == 0
