"""The image-text cleaning study: scores by hand, who runs, rows that are kept, tables."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.papers import image_text_cleaning as study
from benchmarks.papers import image_text_tables as tables
from benchmarks.papers.image_text_cleaning import Cell, measure, planned, read_runs, run
from benchmarks.papers.image_text_data import (
    FASHION_CLASSES,
    DataSet,
    Sources,
    Task,
    find_sources,
    flickr_clip,
    read_fashion,
    split_rows,
)
from benchmarks.papers.image_text_entrants import ABLATIONS, entrants, why_not
from benchmarks.papers.image_text_metrics import (
    detection,
    label_scores,
    pair_scores,
    probe_accuracy,
)
from labelnoise.audit import LabelAudit
from labelnoise.class_list import read_classes
from multimodal.methods import CLEANING_METHODS
from tests.multimodal.methods.planted import planted

TRUTH = np.array([0, 0, 1, 1, 2, -1, 2, 0, 1, 1, 0, 1])


def audit_of(given, verdict, label, quality):
    n = len(given)
    return LabelAudit(
        np.arange(n), given, verdict, label, quality, ["said"] * n, {}, ("a", "b", "c"), "by_hand",
        {"said": "By hand."},
    )  # fmt: skip


def by_hand():
    """Ten labelled rows, half of them wrong (one a stranger), and two without a label."""
    return audit_of(
        [0, 0, 1, 0, 0, 1, 2, 2, 1, 0, -1, -1],
        [
            "keep", "reject", "relabel", "relabel", "keep", "reject", "abstain", "reject", "keep",
            "relabel", "relabel", "relabel",
        ],
        [0, -1, 2, 1, 0, -1, -1, -1, 1, 1, 0, 2],
        [0.9, 0.3, 0.2, 0.1, 0.8, 0.25, 0.5, 0.05, 0.95, 0.15, 0.5, 0.5],
    )  # fmt: skip


def test_label_scores_by_hand():
    found = label_scores(by_hand(), TRUTH)
    # wrong: rows 3, 4, 5, 7 and 9; rows without a label do not count
    assert found["before"] == pytest.approx(5 / 10)
    # right: 0, 8, 1 (rejected, as it was), 6 (unsure, as it was), 3 and 9 (relabelled); 2 is spoilt
    assert found["after_all"] == pytest.approx(6 / 10)
    # rows with a label: 0, 2, 3, 4, 8, 9; wrong: 2 and 4
    assert found["kept"] == pytest.approx(6 / 10)
    assert found["after_kept"] == pytest.approx(4 / 6)
    assert (found["relabels"], found["relabel_precision"]) == (3, pytest.approx(2 / 3))
    assert (found["rejects"], found["reject_precision"]) == (3, pytest.approx(2 / 3))
    assert found["reject_recall"] == pytest.approx(2 / 5)
    assert found["flagged_wrong"] == pytest.approx(4 / 5)
    assert found["flagged_right"] == pytest.approx(2 / 5)
    assert (found["proposals"], found["proposal_precision"]) == (2, 1 / 2)
    # pairs (wrong, right) in order: all but .8 above .3, .2, .5 and .25 above .2
    assert found["auroc"] == pytest.approx(21 / 25)


def test_a_stranger_is_wrong_whatever_its_label_becomes():
    audit = audit_of([0, 0], ["keep", "relabel"], [0, 1], [0.9, 0.1])
    found = label_scores(audit, np.array([0, -1]))
    assert (found["before"], found["after_all"], found["relabel_precision"]) == (0.5, 0.5, 0.0)


def test_what_cannot_be_computed_is_left_out():
    found = label_scores(audit_of([0, 1], ["keep", "keep"], [0, 1], [1, 1]), np.array([0, 1]))
    missing = {"auroc", "average_precision", "relabel_precision", "reject_recall", "flagged_wrong"}
    assert not missing & set(found)
    assert (found["relabels"], found["rejects"], found["flagged_right"]) == (0, 0, 0.0)


@given(st.integers(2, 40), st.randoms(use_true_random=False))
def test_detection_counts_pairs_in_order_with_ties_as_half(n, random):
    quality = np.array([random.randrange(5) / 4 for _ in range(n)])
    wrong = np.array([random.random() < 0.4 for _ in range(n)])
    low, high = quality[wrong], quality[~wrong]
    found = detection(quality, wrong)
    if not len(low) or not len(high):
        assert found == {}
        return
    gap = high[:, None] - low
    assert found["auroc"] == pytest.approx(((gap > 0) + (gap == 0) / 2).mean())


def test_renumbering_changes_no_score():
    audit, order = by_hand(), np.random.default_rng(0).permutation(12)
    assert label_scores(audit.select(order), TRUTH[order]) == pytest.approx(
        label_scores(audit, TRUTH)
    )


def test_pair_scores_by_hand():
    audit = audit_of(
        [0] * 6,
        ["keep", "keep", "reject", "reject", "keep", "keep"],
        [0, 0, -1, -1, 0, 0],
        [0.9, 0.6, 0.4, 0.2, 0.7, 1.0],
    )
    match = np.array([1, 0, 1, 0, 1, np.nan])
    own = np.array([True, False, False, False, False, True])
    found = pair_scores(audit, match, own)
    # matches .9, .4, .7 against .6 and .2: five of six in order; foreign ones .4, .7: three of four
    assert found["auroc"] == pytest.approx(5 / 6)
    assert found["auroc_foreign"] == pytest.approx(3 / 4)
    assert (found["keeps"], found["keep_precision"]) == (3, pytest.approx(2 / 3))
    assert found["keep_recall"] == pytest.approx(2 / 3)


def test_a_probe_learns_labels_and_leaves_out_rejected_rows():
    rng = np.random.default_rng(0)
    truth = np.arange(300) % 3
    rows = (np.eye(3)[truth] * 5 + rng.normal(size=(300, 3))).astype(np.float32)
    labels, held = truth[:200].copy(), (rows[200:], truth[200:])
    assert probe_accuracy(rows[:200], labels, *held) > 0.95
    swapped = (labels + 1) % 3
    assert probe_accuracy(rows[:200], swapped, *held) < 0.05
    swapped[::2] = labels[::2]
    swapped[1::2] = -1
    assert probe_accuracy(rows[:200], swapped, *held) > 0.95
    assert probe_accuracy(rows[:200], np.zeros(200, int), *held) is None


def test_held_out_rows_are_a_fifth_of_all():
    rest, held = split_rows(25_000)
    assert len(held) == 5000
    assert np.array_equal(np.union1d(rest, held), np.arange(25_000))


def test_every_registered_method_takes_part_with_its_defaults():
    known = entrants()
    assert set(CLEANING_METHODS) <= set(known)
    for name in ABLATIONS:
        assert known[name].make().name == "capro"
    made = [known[name].make() for name in (*ABLATIONS, "capro")]
    assert len({repr(method) for method in made}) == len(made)


def test_methods_that_do_not_fit_say_why():
    known, corpus = entrants(), planted(30, aligned=False).corpus
    labels_only = replace(corpus, text=None, class_texts=None)
    pairs = replace(corpus, given=np.full(30, -1), class_names=(), class_texts=None)
    assert "aligned" in why_not(known["pair_score"].make(), corpus)
    assert why_not(known["neighbour_vote"].make(), labels_only) is None
    assert "needs text" in why_not(known["capro"].make(), labels_only)
    assert why_not(known["capro_prototypes_only"].make(), labels_only) is None
    assert "have none" in why_not(known["neighbour_vote"].make(), pairs)
    assert why_not(known["mapped_pair_score"].make(), pairs) is None


def test_seeds_are_saved_where_they_say_nothing():
    def seeds(data, method):
        return [cell.seed for cell in planned([data], [method]) if cell.method == method]

    assert seeds("fashion2k_clip", "neighbour_vote") == [0]
    assert seeds("fashion2k_clip", "channel_network") == [0, 1, 2]
    assert seeds("cifar10n_worst", "channel_network") == [0]
    assert seeds("cifar10n_worst", "cpc") == [0, 1, 2]
    assert seeds("simulated_crawl", "neighbour_vote") == [1, 2]
    drawn = [cell.seed for cell in planned(["simulated_crawl"])]
    assert drawn == sorted(drawn)
    assert {cell.seed for cell in planned(["fashion2k_clip"], None, [2])} == {2}


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A corpus with planted wrong labels under the name of a real one, and its sources."""
    case = planted(200)
    held = np.arange(50)
    calls = []

    def load(sources, seed):
        calls.append(seed)
        return Task(case.corpus, case.truth, held_out=held)

    monkeypatch.setitem(study.DATA_SETS, "cifar10n_worst", DataSet(load))
    study._task.cache_clear()
    yield Sources(tmp_path, tmp_path), calls
    study._task.cache_clear()


def test_rows_are_kept_and_a_second_run_does_nothing(toy, tmp_path, capsys):
    sources, calls = toy
    path = tmp_path / "runs.jsonl"
    cells = list(planned(["cifar10n_worst"], ["neighbour_vote", "linear_separation"], [0]))
    run(cells, sources, path=path)
    rows, heads = read_runs(path)
    assert [row["method"] for row in rows] == [
        "given_labels",
        "neighbour_vote",
        "linear_separation",
    ]
    assert rows[1]["auroc"] > 0.8
    assert rows[0]["probe_of_truth"] >= rows[0]["probe"]
    assert "early" in rows[2]["skipped"]
    assert len(heads) == 1
    assert calls == [0]
    before = path.read_text()
    run(cells, sources, path=path)
    assert path.read_text() == before
    # a line cut short by a crash is run again, and the table sees the row once
    path.write_text(before[:-20])
    run(cells, sources, path=path)
    rows, heads = read_runs(path)
    assert (len(rows), len(heads)) == (3, 2)
    run(cells, sources, path=path, again=True)
    assert len(read_runs(path)[0]) == 6
    assert tables.summarise(read_runs(path)[0])["cifar10n_worst"]["neighbour_vote"]["runs"] == 1


def test_a_failure_is_a_row_and_is_tried_again(toy, tmp_path, monkeypatch, capsys):
    sources, _ = toy

    def broken(sources, seed):
        raise RuntimeError("no such disk")

    cell = Cell("cifar10n_worst", "neighbour_vote", 0)
    with monkeypatch.context() as patch:
        patch.setitem(study.DATA_SETS, "cifar10n_worst", DataSet(broken))
        assert measure(cell, sources)["error"] == "RuntimeError: no such disk"
        run([cell], sources, path=tmp_path / "runs.jsonl")
    run([cell], sources, path=tmp_path / "runs.jsonl")
    rows, _ = read_runs(tmp_path / "runs.jsonl")
    assert ["error" in row for row in rows] == [True, False]
    assert tables.summarise(rows)["cifar10n_worst"]["neighbour_vote"]["failed"] == 0


def row_of(data, method, seed, **numbers):
    return {"data": data, "method": method, "seed": seed, "commit": "abc", **numbers}


SCORED = {
    "before": 0.8, "after_all": 0.88, "after_kept": 0.95, "kept": 0.9, "relabels": 100,
    "relabel_precision": 0.9, "rejects": 0, "flagged_wrong": 0.6, "flagged_right": 0.05,
    "cpu_seconds": 3.0,
}  # fmt: skip
HEAD = {
    "commit": "abc", "date": "2000-01-01", "machine": {"processor": "p"}, "versions": {"numpy": "0"}
}  # fmt: skip


def test_tables_are_means_over_seeds_with_reasons_and_bars(tmp_path):
    data = "fashion2k_clip"
    rows = [
        row_of(data, "capro", 0, auroc=0.9, **SCORED),
        row_of(data, "capro", 0, auroc=0.8, **SCORED),
        row_of(data, "capro", 1, auroc=0.9, **SCORED),
        row_of(data, "capro_raw_text", 0, auroc=0.95, **SCORED),
        row_of(data, "pair_score", 0, skipped="pair_score needs more"),
        row_of(data, "pair_score_plain", 0, skipped="pair_score needs more"),
        row_of(data, "cpc", 0, error="ValueError: broken"),
    ]
    tables.write_tables(rows, [HEAD], tmp_path / tables.NAME)
    record = json.loads((tmp_path / f"{tables.NAME}.json").read_text())
    found = record["measured"][data]["capro"]
    # of two rows of one run the later one counts
    assert (found["runs"], found["auroc_mean"], found["auroc_std"]) == (2, 0.85, 0.05)
    page = (tmp_path / f"{tables.NAME}.md").read_text()
    assert "0.850 ± 0.050" in page
    assert "- `pair_score`, `pair_score_plain`: needs more." in page
    assert "- `cpc`: failed: ValueError: broken." in page
    assert "| 90.0 [100] | – / – [0] |" in page
    assert "chosen seeing fashion2k's truth" in page
    answers = "\n".join(tables.wanted_and_found(tmp_path))
    assert "6 points more right labels | +8.0 | yes" in answers
    assert "above `capro_raw_text`, AUROC and right labels | -0.100, +0.0 | **no**" in answers
    assert tables.fashion(tmp_path)[0] == "**fashion2k, images by CLIP ViT-B/32**"
    assert "Not measured yet" in tables.cifar(tmp_path)[0]
    assert "Not measured yet" in tables.fashion(tmp_path / "nowhere")[0]


def test_pages_may_ask_for_the_tables(tmp_path):
    from benchmarks.readme_tables import TABLES, filled

    names = [name for name in TABLES if name.startswith("image-text")]
    assert len(names) == 7
    for name in names:
        place = f"<!-- results:{name} -->\n<!-- /results:{name} -->\n"
        assert filled(place, tmp_path).count("\n") > 2


@pytest.mark.real_data
def test_titles_give_labels_of_which_about_a_fifth_is_wrong(real_data):
    classes = read_classes(FASHION_CLASSES)
    rows = read_fashion(real_data / "fashion2k", classes)
    labelled = rows.given >= 0
    assert (len(rows.files), len(classes)) == (2000, 98)
    assert labelled.mean() == pytest.approx(0.8445)
    assert (rows.given == rows.truth)[labelled].mean() == pytest.approx(0.8212, abs=1e-4)


@pytest.mark.real_data
def test_mixed_captions_are_found_by_aligned_towers(real_data, tmp_path):
    task = flickr_clip(find_sources(tmp_path), 0)
    audit = entrants()["pair_score"].make().judge(task.corpus)
    assert 0.6 < task.match.mean() < 0.8
    assert pair_scores(audit, task.match, task.own)["auroc"] > 0.98
