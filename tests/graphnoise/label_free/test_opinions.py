import numpy as np
import pytest
from scipy import sparse

from graphnoise.annotators.base import hard_votes, join_votes
from graphnoise.label_free.opinions import described, heard, pooled, smoothed, softmax
from graphnoise.node_selection.medoids import propagated
from tests.graphnoise.label_free.small_text_graphs import planted_graph


def dense_pagerank(adjacency, restart):
    """The limit of `smoothed`, by solving for it."""
    n = adjacency.shape[0]
    around = adjacency.toarray() + np.eye(n)
    mean = around / around.sum(axis=1, keepdims=True)
    return restart * np.linalg.inv(np.eye(n) - (1 - restart) * mean)


def test_smoothing_reaches_the_limit_of_personalised_pagerank():
    graph = planted_graph()
    rows = np.random.default_rng(0).random((graph.n_nodes, 3)).astype(np.float32)
    got = smoothed(graph.adjacency, rows, restart=0.3, n_steps=60)
    np.testing.assert_allclose(got, dense_pagerank(graph.adjacency, 0.3) @ rows, atol=1e-5)


def test_smoothed_probabilities_stay_probabilities_also_of_an_isolated_node():
    adjacency = sparse.csr_array(np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], np.float32))
    rows = np.array([[1, 0], [0, 1], [0.25, 0.75]], np.float32)
    got = smoothed(adjacency, rows)
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(got[2], rows[2], atol=1e-6)


def test_descriptions_are_a_weighted_geometric_mean_over_the_neighbourhood():
    graph = planted_graph()
    prior = softmax(np.random.default_rng(1).normal(size=(graph.n_nodes, 3)))
    mean = dense_pagerank(graph.adjacency, 0.5) @ np.log(prior)
    want = np.exp(mean) / np.exp(mean).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(described(prior, graph.adjacency, restart=0.5), want, atol=1e-4)


def by_hand(votes, asked, graph, neighbours, width, doubt):
    rows = propagated(graph.adjacency, graph.embedding).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    answer = np.empty((graph.n_nodes, graph.n_classes))
    for node in range(graph.n_nodes):
        cosine = rows[asked] @ rows[node]
        near = np.argsort(-cosine, kind="stable")[:neighbours]
        weight = np.exp((cosine[near] - cosine[near[0]]) / width)
        answer[node] = weight @ votes.probabilities[near] / weight.sum()
    return (1 - doubt) * answer + doubt / graph.n_classes


def test_answers_around_are_a_kernel_vote():
    graph = planted_graph()
    asked = np.array([50, 3, 17, 29, 41])
    votes = hard_votes(np.array([0, 1, 2, 1, 0]), 3, rung="replay")
    got = heard(votes, asked, graph.adjacency, graph.embedding, neighbours=3, width=0.2, doubt=0.1)
    np.testing.assert_allclose(got, by_hand(votes, asked, graph, 3, 0.2, 0.1), atol=1e-5)


def test_abstentions_are_passed_over():
    graph = planted_graph()
    asked = np.array([5, 30, 60, 80])
    silent = hard_votes(np.array([-1, 1, -1, 2]), 3, rung="replay", reason="refusal")
    told = hard_votes(np.array([1, 2]), 3, rung="replay")
    got = heard(silent, asked, graph.adjacency, graph.embedding)
    want = heard(told, asked[[1, 3]], graph.adjacency, graph.embedding)
    np.testing.assert_array_equal(got, want)
    nobody = hard_votes(np.array([-1, -1]), 3, rung="replay", reason="refusal")
    got = heard(nobody, asked[:2], graph.adjacency, graph.embedding)
    np.testing.assert_allclose(got, 1 / 3)


def test_the_order_of_questions_does_not_matter():
    graph = planted_graph()
    asked = np.array([5, 30, 60, 80])
    votes = hard_votes(np.array([0, 1, 2, 1]), 3, rung="replay")
    order = np.array([2, 0, 3, 1])
    turned = join_votes([votes.part(order)])
    np.testing.assert_allclose(
        heard(votes, asked, graph.adjacency, graph.embedding),
        heard(turned, asked[order], graph.adjacency, graph.embedding),
        atol=1e-6,
    )


def test_opinions_multiply():
    first = np.array([[0.5, 0.5], [0.8, 0.2]], np.float32)
    second = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    np.testing.assert_allclose(pooled(first, second), [[0.9, 0.1], [0.5, 0.5]], atol=1e-6)


def test_a_class_ruled_out_by_one_opinion_can_still_win():
    sure = np.array([[1.0, 0.0, 0.0]], np.float32)
    other = np.array([[0.0, 0.0, 1.0]], np.float32)
    assert pooled(sure, other)[0, [0, 2]] == pytest.approx([0.5, 0.5], abs=1e-3)
