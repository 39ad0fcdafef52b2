import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal.clean_core import CoreSettings, select_core
from multimodal.stable_order import stable_keys

K = 4


def crawl(seed, n=40):
    """(distance, labels, keys, groups): ties, missing texts, unlabelled and duplicates."""
    generator = np.random.default_rng(seed)
    distance = generator.integers(0, 8, n).astype(np.float32) / 8
    distance[generator.random(n) < 0.2] = np.nan
    labels = generator.integers(-1, K - 1, n)
    groups = np.where(generator.random(n) < 0.5, generator.integers(0, 6, n), -1)
    return distance, labels, stable_keys(range(n)), groups


def pick_plainly(distance, labels, keys, groups, top_k):
    """{class: samples, best first}, one vote per group, at most half of the class but one."""
    picked = {}
    for c in range(K):
        members = [i for i in range(len(labels)) if labels[i] == c and np.isfinite(distance[i])]
        seen, kept = set(), []
        for i in sorted(members, key=lambda i: (distance[i], keys[i])):
            if groups[i] < 0 or groups[i] not in seen:
                kept.append(i)
                seen.add(groups[i])
        picked[c] = kept[: min(top_k, max(1, int((labels == c).sum()) // 2))]
    return picked


def by_class(core):
    return {
        c: core.rows[core.classes == c][np.argsort(core.rank[core.classes == c])].tolist()
        for c in range(K)
    }


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), top_k=st.integers(1, 12))
def test_matches_plain_picking(seed, top_k):
    distance, labels, keys, groups = crawl(seed)

    core = select_core(
        distance, labels, n_classes=K, keys=keys, groups=groups, settings=CoreSettings(top_k=top_k)
    )

    want = pick_plainly(distance, labels, keys, groups, top_k)
    assert by_class(core) == want
    assert core.counts.tolist() == [len(want[c]) for c in range(K)]
    assert (np.diff(core.rows) >= 0).all()
    assert not core.farthest.any()


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    selector=st.sampled_from(["text", "random", "all"]),
    farthest=st.booleans(),
)
def test_renumbering_picks_the_same_samples(seed, selector, farthest):
    distance, labels, keys, groups = crawl(seed)
    order = np.random.default_rng(seed).permutation(len(labels))
    chosen = CoreSettings(top_k=3, selector=selector, protect_farthest=farthest)
    shared = {"n_classes": K, "settings": chosen, "seed": 5}

    first = select_core(distance, labels, keys=keys, groups=groups, **shared)
    second = select_core(
        distance[order], labels[order], keys=keys[order], groups=groups[order], **shared
    )

    assert sorted(zip(order[second.rows], second.classes, second.rank, strict=True)) == sorted(
        zip(first.rows, first.classes, first.rank, strict=True)
    )


def test_by_hand():
    near = np.array([0.5, 0.1, np.nan, 0.4, 0.3, 0.2], np.float32)
    labels = np.array([0, 0, 0, 2, 0, -1])

    core = select_core(
        near, labels, n_classes=3, keys=np.arange(6, dtype=np.uint64),
        settings=CoreSettings(top_k=2, min_count=2),
    )  # fmt: skip

    assert core.rows.tolist() == [1, 3, 4]
    assert core.classes.tolist() == [0, 2, 0]
    assert core.rank.tolist() == [0, 0, 1]
    assert core.counts.tolist() == [2, 0, 1]
    assert core.short_classes == [1, 2]


def test_the_smaller_key_wins_a_tie():
    keys = np.array([3, 1, 2], np.uint64)

    core = select_core(
        np.zeros(3, np.float32), np.zeros(3, int), n_classes=1, keys=keys,
        settings=CoreSettings(top_k=2, most_share=1.0),
    )  # fmt: skip

    assert core.rows.tolist() == [1, 2]


def test_duplicates_vote_each_in_the_paper():
    near, groups = np.array([0.1, 0.1, 0.2, 0.3], np.float32), np.array([7, 7, 7, -1])
    shared = {"n_classes": 1, "keys": np.arange(4, dtype=np.uint64), "groups": groups}
    labels = np.zeros(4, int)

    assert select_core(near, labels, **shared).rows.tolist() == [0, 3]
    paper = select_core(near, labels, settings=CoreSettings.paper(), **shared)
    assert paper.rows.tolist() == [0, 1, 2, 3]


def test_a_group_has_a_vote_in_each_class():
    core = select_core(
        np.zeros(2, np.float32), np.array([0, 1]), n_classes=2,
        keys=np.arange(2, dtype=np.uint64), groups=np.array([5, 5]),
    )  # fmt: skip

    assert core.counts.tolist() == [1, 1]


def test_least_cosine():
    own = np.array([0.9, 0.2, np.nan, 0.5], np.float32)

    core = select_core(
        np.zeros(4, np.float32), np.zeros(4, int), n_classes=1,
        keys=np.arange(4, dtype=np.uint64), own_cosine=own,
        settings=CoreSettings(min_text_score=0.5),
    )  # fmt: skip

    assert core.rows.tolist() == [0, 3]


def test_random_picks_differ_by_seed_and_need_no_text():
    labels, near = np.zeros(200, int), np.full(200, np.nan, np.float32)
    shared = {"n_classes": 1, "keys": stable_keys(range(200))}
    chosen = CoreSettings(top_k=50, selector="random")

    picks = [
        set(select_core(near, labels, settings=chosen, seed=seed, **shared).rows.tolist())
        for seed in (0, 0, 1)
    ]

    assert picks[0] == picks[1] != picks[2]
    assert [len(pick) for pick in picks] == [50, 50, 50]
    # two random quarters share a quarter of theirs: 12.5 of 50, standard deviation 2.7
    assert 3 <= len(picks[0] & picks[2]) <= 22


def test_all_takes_every_labelled_sample():
    distance, labels, keys, _ = crawl(0)

    core = select_core(
        distance, labels, n_classes=K, keys=keys, settings=CoreSettings(top_k=1, selector="all")
    )

    assert core.rows.tolist() == np.flatnonzero(labels >= 0).tolist()


def test_farthest_are_picked_in_the_paper_for_several_labels():
    # sample 0 carries classes 0 and 1, the others class 0
    labels = (np.array([0, 2, 3, 4, 5]), np.array([0, 1, 0, 0, 0]))
    near = np.array([0.4, 0.9, 0.1, 0.2, np.nan], np.float32)
    shared = {"n_classes": 2, "keys": np.arange(4, dtype=np.uint64)}
    chosen = CoreSettings.paper(multi_label=True)

    core = select_core(
        near, labels, settings=CoreSettings(top_k=1, protect_farthest=True), **shared
    )

    assert list(zip(core.rows.tolist(), core.classes.tolist(), strict=True)) == [
        (0, 0), (0, 1), (1, 0),
    ]  # fmt: skip
    assert core.farthest.tolist() == [True, False, False]
    assert core.rank.tolist() == [2, 0, 0]
    assert chosen.protect_farthest
    assert not CoreSettings.paper().protect_farthest


@pytest.mark.parametrize("selector", ["text", "random", "all"])
def test_nothing_to_pick_from(selector):
    none = np.empty(0)

    core = select_core(
        none.astype(np.float32), none.astype(int), n_classes=2, keys=none.astype(np.uint64),
        settings=CoreSettings(selector=selector), groups=none.astype(int),
    )  # fmt: skip

    assert core.rows.tolist() == []
    assert core.counts.tolist() == [0, 0]
    assert core.short_classes == [0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"selector": "best"}, "selector must be one of"),
        ({"min_count": -1}, "min_count must be at least 0"),
        ({"min_text_score": 2.0}, "min_text_score must be in -1 .. 1"),
    ],
)
def test_rejects_settings(change, message):
    with pytest.raises(ValueError, match=message):
        CoreSettings(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distance": np.zeros(2, np.float32)}, r"distance must be \[3\] like the labels, got"),
        ({"labels": np.array([0, 1, 2])}, "labels must lie in -1 .. 1"),
        ({"settings": CoreSettings(min_text_score=0.1)}, "own_cosine must be given"),
        ({"own_cosine": np.zeros(2)}, r"own_cosine must be \[3\]"),
    ],
)
def test_rejects(change, message):
    arguments = {
        "distance": np.zeros(3, np.float32),
        "labels": np.zeros(3, int),
        "n_classes": 2,
        "keys": np.arange(3, dtype=np.uint64),
    } | change

    with pytest.raises(ValueError, match=message):
        select_core(**arguments)
