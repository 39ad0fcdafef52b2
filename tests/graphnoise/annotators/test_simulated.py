from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import roc_auc_score

from graphnoise.annotators.base import Questions, Usage
from graphnoise.annotators.budget import Budget, BudgetPurse
from graphnoise.annotators.choosing import make_annotator
from graphnoise.annotators.options import AnnotatorOptions
from graphnoise.annotators.simulated import SimulatedAnnotator, SimulationSettings
from graphnoise.text_graph import TextGraph, text_graph, unit_rows
from labelnoise.class_list import ClassList

N_CLASSES = 7


def ring_graph(n_nodes=6000, seed=0, truth=True):
    """Clustered rows, classes spread over clusters, a ring of edges with some homophily."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(30, 16))
    place = np.sort(rng.integers(30, size=n_nodes))
    labels = np.where(rng.random(n_nodes) < 0.8, place % N_CLASSES, rng.integers(7, size=n_nodes))
    rows = unit_rows(centres[place] + 0.15 * rng.normal(size=(n_nodes, 16)))
    ends = np.arange(n_nodes), np.roll(np.arange(n_nodes), 1)
    edges = sparse.coo_array((np.ones(n_nodes, np.float32), ends), shape=(n_nodes, n_nodes))
    return TextGraph(
        (edges + edges.T).tocsr(),
        ("a text",) * n_nodes,
        rows,
        ClassList(tuple(f"class {k}" for k in range(N_CLASSES))),
        truth=labels if truth else None,
    )


def ask(annotator, graph, nodes=None, purse=None):
    nodes = np.arange(graph.n_nodes) if nodes is None else np.asarray(nodes)
    texts = tuple(graph.texts[v] for v in nodes)
    return annotator.annotate(Questions(nodes, texts, graph.classes), purse=purse)


@pytest.fixture(scope="module")
def graph():
    return ring_graph()


@pytest.fixture(scope="module")
def annotator(graph):
    return SimulatedAnnotator(graph, SimulationSettings(homophily=2.0))


def by_region(annotator, right):
    counts = np.bincount(annotator.regions)
    return np.bincount(annotator.regions, right) / counts


def test_accuracy_and_regional_deviation_are_those_asked_for(annotator, graph):
    right = ask(annotator, graph).labels == graph.truth
    assert annotator.reliability.mean() == pytest.approx(0.677, abs=1e-6)
    assert by_region(annotator, annotator.reliability).std() == pytest.approx(0.22, abs=2e-3)
    # drawn: binomial noise of 200 nodes per region comes on top, .033
    assert right.mean() == pytest.approx(0.677, abs=0.02)
    assert 0.19 < by_region(annotator, right).std() < 0.25


def test_every_answer_comes_from_the_table(graph):
    table = np.eye(N_CLASSES) * 3 + np.eye(N_CLASSES, k=1) + np.eye(N_CLASSES, k=1 - N_CLASSES)
    given = SimulatedAnnotator(graph, confusion=table)
    labels = ask(given, graph).labels
    assert set(np.unique((labels - graph.truth) % N_CLASSES)) == {0, 1}
    sure = SimulatedAnnotator(
        graph, SimulationSettings(0.5, 0.0), confusion=np.eye(N_CLASSES) + 1e-3
    )
    found = np.bincount((ask(sure, graph).labels - graph.truth) % N_CLASSES) / graph.n_nodes
    np.testing.assert_allclose(found, [0.5, *[0.5 / 6] * 6], atol=0.02)


def test_classes_differ_and_errors_are_asymmetric(annotator, graph):
    labels = ask(annotator, graph).labels
    recall = [(labels == graph.truth)[graph.truth == k].mean() for k in range(N_CLASSES)]
    assert max(recall) - min(recall) > 0.2
    table = np.histogram2d(graph.truth, labels, N_CLASSES)[0]
    np.fill_diagonal(table, 0)
    assert (table.max(axis=1) > 0.4 * table.sum(axis=1)).all()


def test_errors_follow_edges_where_asked(graph, annotator):
    homophily = np.zeros(graph.n_nodes)
    for v in range(graph.n_nodes):
        near = graph.adjacency.indices[graph.adjacency.indptr[v] : graph.adjacency.indptr[v + 1]]
        homophily[v] = (graph.truth[near] == graph.truth[v]).mean()
    inside, plain = homophily == 1, SimulatedAnnotator(graph)
    gap = [a.reliability[inside].mean() - a.reliability[homophily == 0].mean()
           for a in (annotator, plain)]  # fmt: skip
    assert gap[0] > gap[1] + 0.1


def test_a_node_has_one_answer_whatever_is_asked(annotator, graph):
    straight = ask(annotator, graph)
    order = np.random.default_rng(1).permutation(graph.n_nodes)[:500]
    some = ask(annotator, graph, order)
    np.testing.assert_array_equal(some.labels, straight.labels[order])
    np.testing.assert_array_equal(some.confidence, straight.confidence[order])
    again = SimulatedAnnotator(graph, SimulationSettings(homophily=2.0))
    np.testing.assert_array_equal(ask(again, graph).labels, straight.labels)
    other = SimulatedAnnotator(graph, SimulationSettings(homophily=2.0, seed=1))
    assert (ask(other, graph).labels != straight.labels).any()


def test_what_it_says_of_itself_hardly_helps(annotator, graph):
    votes = ask(annotator, graph)
    score = roc_auc_score(votes.labels == graph.truth, votes.confidence)
    assert score == pytest.approx(0.55, abs=0.03)


def test_budget_and_unknown_truth(graph):
    truth = graph.truth.copy()
    truth[3] = -1

    votes = ask(
        SimulatedAnnotator(replace(graph, truth=truth)), graph, [3, 4, 5, 6],
        BudgetPurse(Budget(calls=3)),
    )  # fmt: skip
    assert votes.reason.tolist() == ["not_recorded", "", "", "budget_reached"]
    assert votes.usage == Usage(calls=3, samples=3)


def test_spec(graph):
    made = make_annotator("simulated:0.8", AnnotatorOptions(seed=3), graph=graph)
    assert made.settings()["accuracy"] == 0.8
    assert made.settings()["seed"] == 3
    assert made.reliability.mean() == pytest.approx(0.8)
    with pytest.raises(ValueError, match="needs graph="):
        make_annotator("simulated")
    with pytest.raises(ValueError, match="needs a number, got 'best'"):
        make_annotator("simulated:best", graph=graph)


def test_errors(graph):
    with pytest.raises(ValueError, match="known truth"):
        SimulatedAnnotator(ring_graph(40, truth=False))
    with pytest.raises(ValueError, match=r"confusion must be \[7, 7\]"):
        SimulatedAnnotator(graph, confusion=np.eye(3))
    with pytest.raises(ValueError, match=r"accuracy must lie in \(0, 1\)"):
        SimulationSettings(accuracy=1.0)
    with pytest.raises(ValueError, match="regional_deviation"):
        SimulationSettings(regional_deviation=0.6)
    other = Questions(np.array([0]), ("x",), ClassList(("a", "b")))
    with pytest.raises(ValueError, match="classes of the annotator's graph"):
        SimulatedAnnotator(ring_graph(60)).annotate(other)


@pytest.mark.real_data
def test_on_cora_errors_lie_as_those_of_gpt(real_data):
    cora = text_graph("cora-texts", root=real_data)
    made = SimulatedAnnotator(cora)
    right = ask(made, cora).labels == cora.truth
    # measured with GPT-3.5: .677, .223 between 30 regions (.051 if errors were independent)
    assert right.mean() == pytest.approx(0.677, abs=0.03)
    assert 0.18 < by_region(made, right).std() < 0.26
    ends = cora.adjacency.tocoo()
    beside_wrong = ~right[ends.col][~right[ends.row]]
    beside_right = ~right[ends.col][right[ends.row]]
    assert beside_wrong.mean() > beside_right.mean() + 0.1
