"""The folder and the page of an annotation run, on a graph that fits on paper."""

import json
import re

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA

from graphnoise.annotators.base import ABSTAIN, Votes
from graphnoise.label_free.auditing import label_free_audit
from graphnoise.label_free.base import LabelFreeFit
from graphnoise.label_free.stored import (
    is_annotation,
    label_origins,
    read_annotation,
    region_map,
    write_annotation,
)
from graphnoise.report import graph_report_from_folder
from graphnoise.report.annotation_ledger import answer_numbers, second_opinions
from graphnoise.report.annotation_page import annotation_report, class_counts
from graphnoise.report.annotation_regions import regions, shade
from graphnoise.report.annotation_words import budget, dollars, paid, seconds
from graphnoise.text_graph import TextGraph
from labelnoise.atomic_files import write_json
from labelnoise.class_list import ClassList
from labelnoise.report.page import finite
from labelnoise.visible_text import visible

# two triangles joined by the edge 2 - 3
EDGES = np.array([[0, 1, 0, 3, 4, 3, 2], [1, 2, 2, 4, 5, 5, 3]])
TRUTH = np.array([0, 0, 0, 1, 1, 1])
# asked in this order: node 4 is answered wrongly, node 1 not at all
ASKED, ANSWERS = np.array([4, 0, 1, 3]), np.array([0, 0, ABSTAIN, 1])
REGION = np.array([7, 7, 7, 9, 9, 9])
MISCHIEF = "<script>alert('x')</script> {{ 1 + 1 }} \x1b[2J\u202e"
CLASSES = ("left", "</style><b>right</b>")
RECORDS = tuple(
    {"prompt": f"key{i}", "prompt_tokens": 10 * i, "words": {"n": i}, "money": None if i else 0.5}
    for i in range(4)
)


def text_graph(**changes) -> TextGraph:
    ends = np.concatenate([EDGES, EDGES[::-1]], axis=1)
    adjacency = sparse.csr_array((np.ones(ends.shape[1], np.float32), (ends[0], ends[1])))
    corner = np.array([[1, 0, 0], [0.9, 0.1, 0], [1, 0.2, 0]], np.float32)
    arrays = {
        "texts": tuple(f"text {i}" if i != 4 else MISCHIEF for i in range(6)),
        "embedding": np.concatenate([corner, corner[:, ::-1]]),
        "classes": ClassList(CLASSES),
        "truth": TRUTH,
        "node_names": np.array(list("abcdef")),
        "name": "two <triangles>",
    }
    return TextGraph(adjacency, **(arrays | changes))


def votes_of(labels) -> Votes:
    answered = labels != ABSTAIN
    soft = np.zeros((len(labels), 2), np.float32)
    soft[answered, labels[answered]] = 1
    return Votes(
        labels=labels,
        probabilities=soft,
        confidence=np.array([0.9, np.nan, np.nan, 0.7], np.float32),
        source=np.array(["stated", "none", "none", "stated"]),
        rung=np.where(answered, "name", "none"),
        reason=np.where(answered, "", "refusal"),
        ranked=labels[:, None],
        records=RECORDS,
    )


def fit_of(labels=ANSWERS, *, regions=REGION) -> LabelFreeFit:
    probabilities = np.array(
        [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.2, 0.8], [0.01, 0.99], [0.1, 0.9]], np.float32
    )
    reliability = np.full(6, np.nan)
    reliability[[4, 0, 3]] = 0.1, 0.95, 0.8
    label = np.full(6, ABSTAIN)
    label[ASKED] = labels
    return LabelFreeFit(
        probabilities=probabilities, asked=ASKED, votes=votes_of(labels), label=label,
        weight=(label >= 0).astype(np.float32), reliability=reliability,
        views={"network": probabilities}, regions=regions, stages=[{"stage": 1.0, "loss": np.nan}],
    )  # fmt: skip


LEDGER_TOTAL = {
    "calls": 5, "sent": 4, "cached": 1, "repairs": 1, "retries": 1, "samples": 4,
    "prompt_tokens": 1234, "completion_tokens": 66, "money": None, "seconds": 8.0,
    "tokens": 1300, "known_money": 0.25, "unknown_prices": 2,
}  # fmt: skip


def written(folder, *, graph=None, fit=None, prior=None, **record):
    graph, fit = graph or text_graph(), fit or fit_of()
    audit = label_free_audit(graph, fit, method="by_hand", settings={"a": {"b": 1}}, seed=0)
    write_annotation(folder, graph=graph, fit=fit, audit=audit, prior=prior)
    standard = {
        "kind": "annotation", "status": "done", "command": "graphnoise annotate run",
        "data": {"name": graph.name, "nodes": 6}, "budget": {"calls": 4, "money": 0.5},
        "annotator": {"spec": "openai:m@http://h/v1", "name": "openai"},
        "ledger": {
            "total": LEDGER_TOTAL,
            "by_kind": {"question": LEDGER_TOTAL, "repair": LEDGER_TOTAL},
            "by_model": {"m": LEDGER_TOTAL}, "by_stage": {"": LEDGER_TOTAL},
        },
        "scores": {"all": 1.0},
    }  # fmt: skip
    write_json(folder / "run.json", finite(standard | record))
    return read_annotation(folder)


def test_folder_gives_back_what_was_written(tmp_path):
    stored = written(tmp_path)
    assert is_annotation(tmp_path)
    assert stored.asked.tolist() == ASKED.tolist()
    assert stored.labels["id"] == ["e", "a", "b", "d"]
    assert stored.labels["label"] == ANSWERS.tolist()
    assert stored.labels["label_name"] == ["left", "left", "", CLASSES[1]]
    assert stored.labels["confidence"] == [pytest.approx(0.9), None, None, pytest.approx(0.7)]
    assert stored.labels["reliability"] == [0.1, 0.95, None, 0.8]
    assert stored.labels["reason"] == ["", "", "refusal", ""]
    # provenance: plain values stay, others are JSON, an unknown price is no 0
    assert stored.labels["prompt_tokens"] == [0, 10, 20, 30]
    assert stored.labels["words"] == [f'{{"n": {i}}}' for i in range(4)]
    assert stored.labels["money"] == [0.5, None, None, None]
    assert stored.run.view.given.tolist() == [0, ABSTAIN, ABSTAIN, 1, 0, ABSTAIN]
    assert stored.nodes["region"].tolist() == REGION.tolist()
    assert label_origins(stored.run.audit).tolist() == [
        "annotator", "classifier", "classifier", "annotator", "other_evidence", "classifier",
    ]  # fmt: skip


def test_another_run_is_no_annotation(tmp_path):
    written(tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    write_json(tmp_path / "run.json", {**record, "kind": "other"})
    assert not is_annotation(tmp_path)
    with pytest.raises(ValueError, match="holds no annotation"):
        read_annotation(tmp_path)


def test_regions_lie_where_pca_of_their_centres_puts_them():
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(60, 5)).astype(np.float32)
    region = np.repeat(np.arange(12), 5)  # equal sizes: plain PCA of the centres
    embedding += 3 * rng.normal(size=(12, 5))[region]
    place, exemplar = region_map(embedding, region)
    centres = np.stack([embedding[region == r].mean(axis=0) for r in range(12)])
    expected = PCA(2).fit_transform(centres)
    ours = np.stack([place[region == r].mean(axis=0) for r in range(12)])
    for axis in (0, 1):
        sign = np.sign(ours[:, axis] @ expected[:, axis])
        np.testing.assert_allclose(sign * ours[:, axis], expected[:, axis], atol=1e-4)
    assert exemplar.sum() == 12
    for r in range(12):
        distance = np.linalg.norm(embedding - centres[r], axis=1)
        distance[region != r] = np.inf
        assert exemplar[distance.argmin()]
    # other numbers of the nodes, the same places
    order = rng.permutation(60)
    again, marked = region_map(embedding[order], region[order])
    np.testing.assert_allclose(again, place[order], atol=1e-4)
    assert (marked == exemplar[order]).all()


def test_map_of_one_region_and_of_none_is_no_error():
    rows = np.eye(4, 3, dtype=np.float32)
    place, exemplar = region_map(rows, np.zeros(4, np.int64))
    assert np.isfinite(place).all()
    assert exemplar.sum() == 1
    place, exemplar = region_map(rows, np.full(4, -1))
    assert not place.any()
    assert not exemplar.any()
    wide, _ = region_map(np.eye(4, 1, dtype=np.float32), np.array([0, 0, 1, 1]))
    assert wide.shape == (4, 2)


def test_answers_are_counted_and_compared(tmp_path):
    prior = np.array([[1, 0]] * 6, np.float32)
    stored = written(tmp_path, prior=prior)
    numbers = answer_numbers(stored, TRUTH)
    assert (numbers.asked, numbers.answered, numbers.abstained) == (4, 3, 1)
    assert [(one.code, one.number) for one in numbers.rungs] == [("name", 3)]
    assert [(one.code, one.number) for one in numbers.abstentions] == [("refusal", 1)]
    assert numbers.right == pytest.approx(2 / 3)
    by_view = {one.view: one for one in numbers.agreements}
    assert sorted(by_view) == ["classifier", "graph neighbours", "zero-shot prior"]
    # the classifier doubts the wrong answer alone; the prior says left to everything
    assert (by_view["classifier"].agreed, by_view["classifier"].right) == (2, (1.0, 0.0))
    assert (by_view["zero-shot prior"].agreed, by_view["zero-shot prior"].share) == (2, 2 / 3)
    assert by_view["zero-shot prior"].right == (0.5, 1.0)
    # node 3 has two neighbours to the right and one to the left
    assert second_opinions(stored)["graph neighbours"].tolist() == [0, 0, 0, 1, 1, 1]


def test_region_rows_by_hand(tmp_path):
    stored = written(tmp_path)
    first, second = regions(stored, TRUTH)
    # two answers of .1 and .8 against one of .95
    assert (first.region, first.size, first.asked, first.answered) == (9, 3, 2, 2)
    assert first.reliability == pytest.approx(0.45)
    assert first.agreement == {"classifier": 0.5, "graph neighbours": 0.5}
    assert first.right == 0.5
    assert first.common == (CLASSES[1], 1.0)
    assert (second.region, second.asked, second.answered) == (7, 2, 1)
    assert second.reliability == pytest.approx(0.95)
    assert [shade(value) for value in (0.1, 0.5, 0.7, 0.85, 0.95, 1.0, None)] == [
        0, 1, 2, 3, 4, 4, None,
    ]  # fmt: skip
    assert [one.right for one in regions(stored, None)] == [None, None]


def test_page_holds_the_numbers_and_nothing_of_a_stranger(tmp_path):
    stored = written(tmp_path)
    html, data = annotation_report(stored)
    for anchor in ("ledger", "answers", "regions", "classes", "suspicious", "provenance"):
        assert f'<section id="{anchor}"' in html
    assert data["answers"]["asked"] == 4
    assert data["origins"] == {"annotator": 2, "other_evidence": 1, "classifier": 3, "none": 0}
    assert [one["classifier"] for one in data["classes"]] == [3, 3]
    assert "at least $0.25" in html
    assert "1\u202f300 tokens" in html
    assert "llm_and_neighbours_disagree" in stored.run.audit.reason.tolist()
    assert "Classifier and neighbourhood find another class." in html
    assert html.index("Node e") < html.index("Node a")  # the doubted one first
    # what strangers wrote: texts, names of classes and of the data set
    assert "<script>alert" not in html
    assert "<b>right" not in html
    assert "&lt;triangles&gt;" in html
    assert "{{ 1 + 1 }}" in html
    assert not {"\x1b", "\u202e"} & set(html)
    assert html.count("<script>") == html.count("</script>") == 1
    assert len(re.findall(r"(?:src|href)=\"(?!#)", html)) == 0
    assert len(html) < 3_000_000


def test_report_is_written_from_the_folder_alone(tmp_path):
    written(tmp_path)
    page, data = graph_report_from_folder(tmp_path)
    numbers = json.loads(data.read_text())
    assert numbers["run"]["kind"] == "annotation"
    assert [one["number"] for one in numbers["regions"]] == [1, 2]
    assert "Labels for two" in page.read_text()


def test_page_of_a_stopped_run_says_so(tmp_path):
    html = annotation_report(written(tmp_path, status="budget_reached"))[0].replace("\n", " ")
    assert "used up before every chosen node was asked: 0 were not" in html
    assert "larger --budget goes on" in html


def test_page_without_answers_truth_regions_or_ledger(tmp_path):
    nobody = np.full(4, ABSTAIN)
    fit = fit_of(nobody, regions=None)
    fit.reliability[:] = np.nan
    stored = written(tmp_path, graph=text_graph(truth=None), fit=fit, ledger=None, usage={})
    html, data = annotation_report(stored)
    assert data["answers"]["answered"] == 0
    assert all(one["reliability"] is None for one in data["regions"])
    assert "The true labels are not known here" in html
    assert [one.annotator for one in class_counts(stored)] == [0, 0]


@pytest.mark.parametrize(
    ("money", "said"), [(0, "$0"), (None, "unknown"), (12.345, "$12.35"), (0.000123, "$0.00012")]
)
def test_money_is_said_as_it_is(money, said):
    assert dollars(money) == said


def test_words():
    assert paid({"money": None, "known_money": 0.0, "unknown_prices": 3}) == "unknown"
    assert paid({"money": 0.5}) == "$0.50"
    assert [seconds(value) for value in (1.25, 65, 600, 9000)] == [
        "1.2 s", "65 s", "10 min", "2.5 h",
    ]  # fmt: skip
    caps = {"calls": 2000, "tokens": None, "money": 0.5, "seconds": 60}
    assert budget(caps) == "2\u202f000 calls, $0.50, 60 s"


def test_visible_spells_what_cannot_be_seen():
    assert visible("a\tb\nc\r\nd") == "a\tb\nc\nd"
    assert visible("\x1b]0;t\x07\x9b") == r"\x1b]0;t\x07\x9b"
    assert visible("\u202eabc\u2066") == r"\u202eabc\u2066"
    assert visible("é 漢 👍🏽 a\u0301") == "é 漢 👍🏽 a\u0301"
    assert visible("a\rb") == r"a\x0db"
    assert visible("\ud800") == r"\ud800"
