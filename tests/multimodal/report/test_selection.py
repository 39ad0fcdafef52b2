"""Which cards are shown: against a slow choice by hand, and the same for any order of shards."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal.judged_shards import JudgedShard
from multimodal.report.selection import NEAR_THE_LINE, CardPicker, places_of, shown_shards
from multimodal.run_folder import rows_table
from multimodal.stable_order import stable_keys
from tests.multimodal.run_folders import NAMES, Pair, audit_of, random_pairs, refused

THRESHOLD = 0.5


def shard(index: int, pairs: list[Pair]) -> JudgedShard:
    empty = [""] * len(pairs)
    columns = {
        "id": [pair.id for pair in pairs], "source_id": [pair.id for pair in pairs],
        "image": empty, "text": empty, "title": empty, "labels": [[]] * len(pairs),
        "problem": empty, "detail": empty, "usable": [pair.usable for pair in pairs],
    }  # fmt: skip
    return JudgedShard(index, f"s{index}", audit_of(pairs), rows_table(columns))


def picked(cuts: list[list[Pair]], *, n_cards: int) -> dict[int, dict[str, list[str]]]:
    """Ids instead of places."""
    picker = CardPicker(range(len(NAMES)), len(NAMES), n_cards=n_cards, threshold=THRESHOLD)
    for index, pairs in enumerate(cuts):
        picker.update(shard(index, pairs))
    return {
        k: {key: [cuts[i][j].id for i, j in places] for key, places in groups.items()}
        for k, groups in picker.picked().items()
    }


def by_hand(pairs: list[Pair], k: int, n_cards: int) -> dict[str, list[str]]:
    """The same, pair by pair and from the definition."""
    tie = dict(zip([p.id for p in pairs], stable_keys([p.id for p in pairs]).tolist(), strict=True))
    mine = [p for p in pairs if p.given == k and p.usable]
    away = {p.id: abs(p.quality - THRESHOLD) for p in pairs}
    wanted = {
        "exemplars": sorted(
            (p for p in mine if p.verdict == "keep" and p.in_core),
            key=lambda p: (-p.quality, tie[p.id]),
        ),
        "relabelled": sorted(
            (p for p in mine if p.verdict == "relabel"), key=lambda p: (p.quality, tie[p.id])
        ),
        "moved_here": sorted(
            (p for p in pairs if p.verdict == "relabel" and p.label == k), key=lambda p: tie[p.id]
        ),
        "rejected": sorted(
            (p for p in mine if p.verdict == "reject"), key=lambda p: (p.quality, tie[p.id])
        ),
        "unsure": sorted(
            (p for p in mine if p.verdict == "abstain" or away[p.id] <= NEAR_THE_LINE),
            key=lambda p: (p.verdict != "abstain", away[p.id], tie[p.id]),
        ),
        "kept": sorted((p for p in mine if p.verdict == "keep"), key=lambda p: tie[p.id]),
    }
    seen: set[str] = set()
    chosen = {}
    for key, candidates in wanted.items():
        chosen[key] = [p.id for p in candidates if p.id not in seen][:n_cards]
        seen |= set(chosen[key])
    return chosen


@given(st.integers(0, 60), st.integers(0, 50), st.integers(1, 4), st.integers(0, 60))
@settings(max_examples=30, deadline=None)
def test_cards_are_those_of_the_definition_for_any_cut(n, seed, n_cards, cut):
    pairs = [*random_pairs(n, seed=seed), refused("bad", "image_undecodable", "x", given=0)]
    found = picked([pairs[:cut], pairs[cut:]], n_cards=n_cards)
    for k in range(len(NAMES)):
        assert found[k] == by_hand(pairs, k, n_cards)
    backwards = picked([pairs[cut:][::-1], pairs[:cut][::-1]], n_cards=n_cards)
    assert backwards == found


def test_abstained_pairs_without_a_label_stand_with_their_likeliest_class():
    pairs = [Pair("a", -1, "abstain", quality=0.5, reason="nothing_to_compare")]
    one = shard(0, pairs)
    object.__setattr__(one.audit, "evidence", {"suggested": np.array([2.0])})
    picker = CardPicker([2], len(NAMES), n_cards=3, threshold=THRESHOLD)
    picker.update(one)
    assert places_of(picker.picked()) == [(0, 0)]


def test_the_shards_that_are_shown_do_not_depend_on_their_order():
    names = [f"shard{i}" for i in range(20)]
    chosen = shown_shards(names, 5)
    assert len(chosen) == 5
    assert set(shown_shards(names[::-1], 5)) == set(chosen)
    assert shown_shards(names, 20) == tuple(names)


def test_decisions_on_several_labels_of_a_pair_find_their_record():
    from dataclasses import replace

    pairs = [Pair("a", 0), Pair("ab", 1)]
    one = shard(0, pairs)
    several = audit_of([Pair("a:0", 0), Pair("a:2", 2), Pair("ab:1", 1)])
    assert replace(one, audit=several).record_of.tolist() == [0, 0, 1]
    # as many as records, but none about the second; and one id that begins with another
    three = shard(0, [Pair("a", 0), Pair("b", 1), Pair("ac", 1)])
    several = audit_of([Pair("a:0", 0), Pair("a:2", 2), Pair("ac:1", 1)])
    assert replace(three, audit=several).record_of.tolist() == [0, 0, 2]
    stranger = audit_of([Pair("zz", 0), Pair("a", 0), Pair("ab", 0)])
    with pytest.raises(ValueError, match="belongs to no pair"):
        _ = replace(one, audit=stranger).record_of
