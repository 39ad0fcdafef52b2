"""Ego-graph cards and the page of a graph audit, on a graph that fits on paper."""

import json
from dataclasses import replace

import numpy as np
import pytest

from graphnoise.graph import graph_from_arrays
from graphnoise.report import (
    StoredRun,
    graph_report,
    graph_report_from_folder,
    read_run,
    write_run,
)
from graphnoise.report.cards import (
    ClassVotes,
    class_colours,
    ego_cards,
    finding,
    most_suspicious,
    shortened,
)
from graphnoise.report.drawing import INNER, MAX_NEIGHBOURS, ego_drawing
from graphnoise.report.stored import RECORD, known_truth, write_json
from graphnoise.report.view import GraphView
from labelnoise.decide import decide

# two triangles joined by the edge 2 - 3; node 1 is given the label of the other triangle
EDGES = np.array([[0, 1, 0, 3, 4, 3, 2], [1, 2, 2, 4, 5, 5, 3]])
TRUTH = np.array([0, 0, 0, 1, 1, 1])
GIVEN = np.array([0, 1, 0, 1, 1, -1])
MISCHIEF = "<script>alert('x')</script>"


def two_triangles(**changes):
    arrays = {
        "masks": {"train": GIVEN >= 0, "test": GIVEN < 0, "validation": np.zeros(6, bool)},
        "truth": TRUTH,
        "class_names": ("left", "right"),
        "texts": tuple(f"text {i}" for i in range(6)),
        "node_names": np.array(list("abcdef")),
    }
    arrays["masks"]["validation"][4] = True
    arrays["masks"]["train"] = arrays["masks"]["train"] & ~arrays["masks"]["validation"]
    return graph_from_arrays(EDGES, np.eye(6), GIVEN, **(arrays | changes))


PROBABILITIES = np.array(
    [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.1, 0.9]], dtype=np.float32
)


def audit_of(graph):
    rows = np.flatnonzero(graph.labelled)
    views = {"propagated": PROBABILITIES[rows], "classifier": PROBABILITIES[rows] ** 2}
    return decide(
        views,
        graph.given[rows],
        ids=graph.ids[rows],
        class_names=graph.class_names,
        method="by_hand",
        settings={"alpha": 0.5},
        seed=3,
    )


def view_of(graph) -> GraphView:
    return GraphView(
        adjacency=graph.adjacency,
        ids=graph.ids,
        split=np.where(graph.train, "train", ""),
        given=graph.given,
        predicted=PROBABILITIES.argmax(axis=1),
        confidence=PROBABILITIES.max(axis=1),
        class_names=graph.class_names,
        truth=graph.truth,
        texts=graph.texts,
    )


RUN_RECORD = {"command": "graphnoise denoise x", "key": "abc", "data": {"name": "triangles"}}


def stored(graph) -> StoredRun:
    return StoredRun(audit_of(graph), view_of(graph), RUN_RECORD)


def test_card_of_the_wrong_label_says_what_a_person_would_say():
    graph = two_triangles()
    card = ego_cards(audit_of(graph), view_of(graph))[0]
    assert (card.id, card.given, card.suggested, card.verdict) == ("b", 1, 0, "relabel")
    assert card.finding == "2 of 2 views favour left; 2 of 2 neighbours are of that class."
    assert [(v.name, v.given, v.predicted) for v in card.votes] == [("left", 2, 0)]
    assert [(e.view, e.choice) for e in card.evidence] == [("propagated", 0), ("classifier", 0)]
    assert card.evidence[0].probability == pytest.approx(0.2)
    assert (card.truth, card.text) == (0, "text 1")


@pytest.mark.parametrize(
    ("given", "predicted", "sentence"),
    [
        (2, 1, "3 of 3 neighbours are of class left."),
        (1, 0, "its only neighbour is of class left."),
        (0, 0, "its only neighbour is not of class left."),
    ],
)
def test_finding_is_good_english_without_views(given, predicted, sentence):
    votes = (ClassVotes(0, "left", given, predicted),) if given else (ClassVotes(1, "r", 1, 0),)
    assert finding(view_of(two_triangles()), (), votes, 0) == sentence


def test_neighbours_without_a_given_label_count_by_prediction():
    graph = two_triangles()
    audit = audit_of(graph)
    row = np.flatnonzero(audit.ids == "e")
    card = ego_cards(audit, view_of(graph), rows=row)[0]
    assert [(v.name, v.given, v.predicted) for v in card.votes] == [("right", 1, 1)]


def test_influence_is_one_step_of_symmetric_propagation():
    graph = two_triangles(edge_weight=np.array([1, 2, 3, 4, 5, 6, 7.0]))
    dense = graph.adjacency.toarray().astype(float)
    scale = 1 / np.sqrt(dense.sum(axis=1))
    step = scale[:, None] * dense * scale
    for node in range(6):
        neighbours, influence = view_of(graph).neighbours(node)
        np.testing.assert_allclose(influence, step[node, neighbours], rtol=1e-6)
        assert (np.diff(influence) <= 0).all()
        assert sorted(neighbours) == np.flatnonzero(dense[node]).tolist()


def test_flagged_labels_come_first_then_the_lowest_quality():
    audit = audit_of(two_triangles())
    rows = most_suspicious(audit, n=3)
    assert audit.ids[rows[0]] == "b"
    assert (np.diff(audit.quality[rows[1:]]) >= 0).all()
    assert len(most_suspicious(audit)) == 5


def test_drawing_keeps_its_marks_apart_and_counts_what_it_leaves_out():
    n = 40
    star = np.array([[0] * n, range(1, n + 1)])
    masks = {"train": np.arange(n + 1) < 20}
    graph = graph_from_arrays(star, np.eye(n + 1), np.arange(n + 1) % 2, masks=masks)
    view = replace(
        view_of(two_triangles()),
        adjacency=graph.adjacency,
        ids=graph.ids,
        given=graph.given,
        predicted=graph.given,
        confidence=np.ones(n + 1),
    )
    drawing = ego_drawing(view, 0)
    assert drawing.left_out == n - MAX_NEIGHBOURS
    ring = np.array([(m.x, m.y, m.radius) for m in drawing.marks[:-1]])
    assert len(ring) == MAX_NEIGHBOURS
    np.testing.assert_allclose(np.hypot(ring[:, 0], ring[:, 1]), INNER)
    gaps = np.hypot(*(ring[:, None, :2] - ring[None, :, :2]).transpose(2, 0, 1))
    np.fill_diagonal(gaps, np.inf)
    assert gaps.min() > 2 * ring[0, 2]
    assert drawing.marks[-1].x == drawing.marks[-1].y == 0


def test_isolated_node_gets_a_card():
    graph = two_triangles()
    lonely = graph.adjacency.tolil()
    lonely[1, :], lonely[:, 1] = 0, 0
    view = replace(view_of(graph), adjacency=lonely.tocsr())
    view.adjacency.eliminate_zeros()
    card = ego_cards(audit_of(graph), view)[0]
    assert (card.id, card.degree, len(card.drawing.marks)) == ("b", 0, 1)


def test_few_classes_keep_their_colours_and_many_share_a_grey():
    assert class_colours([], 3) == {0: "class0", 1: "class1", 2: "class2"}
    cards = ego_cards(audit_of(two_triangles()), view_of(two_triangles()))
    colours = class_colours(cards, 50)
    assert colours[0] != colours[1]
    assert {colours[k] for k in range(2, 50)} == {"other"}


def test_text_is_cut_at_a_word():
    assert shortened("a\n b  c") == "a b c"
    assert shortened("one two three", limit=9) == "one two…"


def test_run_is_read_back_as_it_was_written(tmp_path):
    graph = two_triangles()
    audit = audit_of(graph)
    write_run(tmp_path, graph=graph, probabilities=PROBABILITIES, audit=audit, history={})
    write_json(tmp_path / RECORD, RUN_RECORD)
    run = read_run(tmp_path)
    assert run.audit.to_dict() == audit.to_dict()
    assert (run.view.adjacency != graph.adjacency).nnz == 0
    assert run.view.ids.tolist() == graph.ids.tolist()
    assert run.view.texts == graph.texts
    np.testing.assert_array_equal(run.view.given, graph.given)
    np.testing.assert_array_equal(run.view.truth, graph.truth)
    np.testing.assert_allclose(run.view.confidence, PROBABILITIES.max(axis=1))
    html, data = graph_report_from_folder(tmp_path)
    assert html.stat().st_size < 200_000
    assert json.loads(data.read_text())["cards"][0]["id"] == "b"


def test_unfinished_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no finished run"):
        read_run(tmp_path)


def test_page_draws_the_cards_and_escapes_texts_and_names():
    graph = two_triangles(texts=(MISCHIEF,) * 6, class_names=("left", MISCHIEF))
    html, numbers = graph_report(stored(graph))
    assert MISCHIEF not in html
    assert html.count("<script") == 1
    assert html.count('class="ego"') == len(numbers["cards"]) == 5
    assert numbers["summary"]["detection"]["wrong"] == 1


def test_page_shows_the_training_curves_where_there_is_a_history():
    rows = [{"epoch": float(e), "loss": 1.0, "noisy_validation": 0.5, "test": 0.6} for e in (0, 1)]
    history = {"rows": rows, "best_epoch": 1, "stopped_early": False}
    graph = two_triangles()
    html, _ = graph_report(replace(stored(graph), history=history))
    assert "epoch 1 was chosen" in html
    assert 'id="training"' not in graph_report(stored(graph))[0]


def test_a_truth_that_equals_the_given_labels_judges_nothing():
    graph = two_triangles(truth=np.where(GIVEN >= 0, GIVEN, 1))
    assert not known_truth(graph.given, graph.truth)
    html, numbers = graph_report(stored(graph))
    assert numbers["summary"]["detection"] is None
    assert "The true labels are not known here" in html


def test_audit_of_another_graph_is_refused():
    view = replace(view_of(two_triangles()), ids=np.array(list("uvwxyz")))
    with pytest.raises(ValueError, match="audit's node 'b' is not in the graph"):
        ego_cards(audit_of(two_triangles()), view)
