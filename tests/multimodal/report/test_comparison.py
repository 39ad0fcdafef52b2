"""What `diff` says of two runs, against a join pair by pair."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score

from labelnoise.audit import VERDICTS
from multimodal.report.comparison import cohens_kappa, compare_runs
from multimodal.report.comparison_page import comparison_page
from multimodal.run_folder import open_run
from tests.multimodal.browser import open_page
from tests.multimodal.run_folders import NAMES, hostile_pairs, random_pairs, write_run


def second_opinion(pairs, seed=5):
    """Some pairs decided differently."""
    other = random_pairs(len(pairs), seed=seed)
    rng = np.random.default_rng(seed)
    changed = []
    for mine, theirs in zip(pairs, other, strict=True):
        pair = mine
        if rng.random() < 0.4 and not (theirs.verdict == "relabel" and theirs.label == mine.given):
            fields = ("verdict", "label", "quality", "reason")
            pair = replace(mine, **{name: getattr(theirs, name) for name in fields})
        changed.append(pair)
    return changed


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("diff")
    a = random_pairs(60)
    b = second_opinion(a)
    write_run(root / "a", {"x": [*a[:40], *random_pairs(3, prefix="onlya")], "y": a[40:]})
    write_run(root / "b", {"one": [*reversed(b)], "two": random_pairs(2, prefix="onlyb")})
    return root, a, b


def test_the_join_is_that_of_a_loop(runs):
    root, a, b = runs
    found = compare_runs(open_run(root / "a"), open_run(root / "b"))
    assert (found.both, found.only_a, found.only_b) == (60, 3, 2)
    wanted = Counter((p.verdict, q.verdict) for p, q in zip(a, b, strict=True))
    for i, before in enumerate(VERDICTS):
        for j, after in enumerate(VERDICTS):
            assert found.verdicts[i][j] == wanted[before, after]
    changed = [
        (p, q) for p, q in zip(a, b, strict=True) if (p.verdict, p.used) != (q.verdict, q.used)
    ]
    assert found.same == pytest.approx(1 - len(changed) / 60)
    assert sum(one.rows for one in found.changes) == len(changed)
    assert {row.name: row.changed for row in found.classes} == Counter(
        NAMES[p.given] for p, _ in changed
    )
    boots = next(row for row in found.classes if row.name == "boots")
    mine = [(p, q) for p, q in zip(a, b, strict=True) if p.given == 0]
    assert (boots.rows, boots.kept_a, boots.kept_b) == (
        len(mine), sum(p.verdict == "keep" for p, _ in mine),
        sum(q.verdict == "keep" for _, q in mine),
    )  # fmt: skip


def test_agreement_is_that_of_scikit_learn_and_scipy(runs):
    root, a, b = runs
    found = compare_runs(open_run(root / "a"), open_run(root / "b"))
    flagged = [[p.verdict in ("relabel", "reject") for p in pairs] for pairs in (a, b)]
    assert found.kappa == pytest.approx(cohen_kappa_score(*flagged))
    qualities = [np.float32([p.quality for p in pairs]) for pairs in (a, b)]
    assert found.rank_correlation == pytest.approx(spearmanr(*qualities).statistic)


def test_examples_changed_their_quality_most(runs):
    root, a, b = runs
    found = compare_runs(open_run(root / "a"), open_run(root / "b"), n_examples=2)
    by_id = {q.id: q for q in b}
    for change in found.changes:
        group = [
            p for p in a
            if (p.verdict, by_id[p.id].verdict) == (change.before, change.after)
            and (p.verdict, p.used) != (by_id[p.id].verdict, by_id[p.id].used)
        ]  # fmt: skip
        largest = sorted((abs(p.quality - by_id[p.id].quality) for p in group), reverse=True)[:2]
        sizes = [abs(first.quality - second.quality) for first, second in change.examples]
        assert sizes == pytest.approx(largest, abs=1e-6)
        assert all(first.id == second.id for first, second in change.examples)


def test_a_run_agrees_with_itself_and_with_another_cut(runs, tmp_path):
    root, a, _ = runs
    run = open_run(root / "a")
    found = compare_runs(run, run)
    assert (found.same, found.kappa, found.rank_correlation) == (1, 1, pytest.approx(1))
    assert (found.changes, found.classes, found.settings) == ((), (), {})
    cut = open_run(write_run(tmp_path / "cut", {"z": a[30:], "w": a[:30]}))
    assert compare_runs(cut, open_run(root / "b")).verdicts == (
        compare_runs(run, open_run(root / "b")).verdicts
    )


def test_classes_are_matched_by_name(runs, tmp_path):
    root, a, _ = runs
    order = (2, 0, 3, 1)
    names = (*(NAMES[k] for k in order), "new class")
    place = {old: new for new, old in enumerate(order)}
    moved = [
        replace(p, given=place[p.given], label=None if p.label is None else place[p.label])
        for p in a
    ]
    other = open_run(write_run(tmp_path / "other", {"x": moved}, audit={"class_names": names}))
    found = compare_runs(open_run(root / "a"), other)
    assert found.same == 1
    assert found.class_names == (*NAMES, "new class")


def test_settings_that_differ_are_named(runs, tmp_path):
    root, a, _ = runs
    other = write_run(tmp_path / "other", {"x": a})
    record = json.loads((other / "run.json").read_text())
    record |= {"settings": {"k": 5, "same": 1}, "seconds": 9}
    record["job"] |= {"settings": {"k": 5, "same": 1}}
    (other / "run.json").write_text(json.dumps(record))
    mine = json.loads((root / "a" / "run.json").read_text())
    first = write_run(tmp_path / "first", {"x": a})
    mine |= {
        "settings": {"k": 3, "same": 1},
        "seconds": 8,
        "shards": [{"name": "x", "rows": 60, "usable": 60, "failed": None}],
    }
    mine["job"] = {**record["job"], "settings": {"k": 3, "same": 1}}
    (first / "run.json").write_text(json.dumps(mine))
    found = compare_runs(open_run(first), open_run(other))
    assert found.settings == {"settings.k": ("3", "5")}


def test_runs_of_different_corpora_are_refused(runs, tmp_path):
    root, _, _ = runs
    other = write_run(tmp_path / "other", {"x": random_pairs(3, prefix="z")})
    with pytest.raises(ValueError, match="no id in common"):
        compare_runs(open_run(root / "a"), open_run(other))


@given(st.lists(st.integers(0, 30), min_size=16, max_size=16))
@settings(max_examples=50, deadline=None)
def test_kappa_of_any_table(counts):
    table = np.array(counts).reshape(4, 4)
    if not table.sum():
        return
    rows, columns = (np.repeat(one.reshape(-1), table.reshape(-1)) for one in np.indices((4, 4)))
    flagged = np.isin(rows, (1, 2)), np.isin(columns, (1, 2))
    found = cohens_kappa(table)
    if found is None:
        assert flagged[0].all() == flagged[1].all()
        assert len({*flagged[0].tolist(), *flagged[1].tolist()}) == 1
    else:
        assert found == pytest.approx(cohen_kappa_score(*flagged))


def test_the_page_shows_the_examples_in_a_browser(runs, tmp_path):
    root, _, _ = runs
    a, b = open_run(root / "a"), open_run(root / "b")
    found = compare_runs(a, b)
    opened = open_page(comparison_page(found, a, b), tmp_path)
    n_cards = sum(len(one.examples) for one in found.changes)
    assert opened.check["cards"] == opened.check["images"] == n_cards > 10
    assert opened.check["broken"] == 0
    assert opened.check["overflow"] <= 0
    assert opened.console == []


def test_hostile_texts_do_nothing_on_the_page(tmp_path):
    pairs = hostile_pairs()
    rejected = [
        replace(p, verdict="reject", quality=0.1, reason="below_keep_threshold") for p in pairs
    ]
    a = open_run(write_run(tmp_path / "a", {"x": pairs}))
    b = open_run(write_run(tmp_path / "b", {"x": rejected}))
    html = comparison_page(compare_runs(a, b), a, b)
    assert html.count("<script") == 1
    assert "\u202e" not in html
    opened = open_page(html, tmp_path)
    assert opened.check["title"] == "Two cleanings of one corpus"
    assert opened.console == []
