from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import roc_auc_score

from graphnoise.annotators.base import hard_votes
from graphnoise.annotators.calibration import (
    CalibrationSettings,
    accuracy_by_agreement,
    calibrate_votes,
    second_opinions,
)
from graphnoise.text_graph import TextGraph, unit_rows
from labelnoise.class_list import ClassList

K = 4


def votes_of(labels, confidence=None, k=K):
    given = None if confidence is None else np.asarray(confidence, np.float32)
    return hard_votes(
        np.asarray(labels, np.int64), k, rung="name", reason="refusal", confidence=given,
        source="stated",
    )  # fmt: skip


def planted(n=600, seed=0, regions=6, homophily=0.8):
    """Nodes in regions of the embedding; an annotator that is bad in two regions."""
    rng = np.random.default_rng(seed)
    region = rng.integers(0, regions, n)
    truth = np.where(rng.random(n) < 0.8, region % K, rng.integers(0, K, n))
    centres = rng.normal(size=(regions, 16)) * 2
    embedding = unit_rows(centres[region] + rng.normal(size=(n, 16)))
    accuracy = np.where(region < 2, 0.25, 0.9)
    right = rng.random(n) < accuracy
    labels = np.where(right, truth, (truth + rng.integers(1, K, n)) % K)
    rows = np.repeat(np.arange(n), 3)
    same = [rng.choice(np.flatnonzero(truth == truth[i])) for i in rows]
    ends = np.where(rng.random(len(rows)) < homophily, same, rng.integers(0, n, len(rows)))
    adjacency = sparse.coo_array((np.ones(len(rows), np.float32), (rows, ends)), (n, n)).tocsr()
    adjacency = ((adjacency + adjacency.T) > 0).astype(np.float32).tocsr()
    adjacency.setdiag(0)
    adjacency.eliminate_zeros()
    prior = np.full((n, K), 0.4 / (K - 1), np.float32)
    guess = np.where(rng.random(n) < 0.65, truth, rng.integers(0, K, n))
    prior[np.arange(n), guess] = 0.6
    classes = ClassList(tuple(f"class {k}" for k in range(K)))
    graph = TextGraph(sparse.csr_array(adjacency), ("",) * n, embedding, classes)
    return graph, truth, labels, prior, region


def test_wrong_labels_are_found_and_the_level_is_near():
    graph, truth, labels, prior, region = planted()
    nodes = np.arange(0, 600, 2)
    right = labels[nodes] == truth[nodes]
    found = calibrate_votes(votes_of(labels[nodes]), nodes, graph, prior)
    assert ((found >= 0) & (found <= 1)).all()
    assert roc_auc_score(right, found) > 0.88
    assert abs(found.mean() - right.mean()) < 0.08
    assert np.mean((found - right) ** 2) < 0.8 * right.mean() * (1 - right.mean())
    # better than each opinion alone
    for name, view in second_opinions(votes_of(labels[nodes]), nodes, graph, prior).items():
        alone = view[np.arange(len(nodes)), labels[nodes]]
        assert roc_auc_score(right, found) > roc_auc_score(right, np.nan_to_num(alone)), name
    # the bad regions are found, given or not
    bad = region[nodes] < 2
    assert found[bad].mean() < found[~bad].mean() - 0.2
    told = calibrate_votes(votes_of(labels[nodes]), nodes, graph, prior, region)
    assert told[bad].mean() < told[~bad].mean() - 0.25


def test_confidence_counts_as_far_as_the_opinions_bear_it_out():
    graph, truth, labels, prior, _ = planted(homophily=0.4)
    nodes = np.arange(400)
    right = labels[nodes] == truth[nodes]
    rng = np.random.default_rng(1)
    telling = np.where(right, 0.9, 0.4) + rng.normal(size=400) * 0.1
    plain = calibrate_votes(votes_of(labels[nodes]), nodes, graph, prior)
    better = calibrate_votes(votes_of(labels[nodes], telling), nodes, graph, prior)
    assert roc_auc_score(right, better) > roc_auc_score(right, plain) + 0.01
    empty = calibrate_votes(votes_of(labels[nodes], rng.random(400)), nodes, graph, prior)
    assert abs(roc_auc_score(right, empty) - roc_auc_score(right, plain)) < 0.02
    same = calibrate_votes(votes_of(labels[nodes], np.full(400, 0.7)), nodes, graph, prior)
    np.testing.assert_allclose(same, plain, atol=0.02)


def test_numbering_of_nodes_classes_and_questions_does_not_matter():
    graph, _, labels, prior, region = planted(n=300)
    rng = np.random.default_rng(0)
    nodes, votes = np.arange(0, 300, 3), votes_of(labels[::3], rng.random(100).round(1))
    plain = calibrate_votes(votes, nodes, graph, prior, region)
    order = rng.permutation(100)
    np.testing.assert_allclose(
        calibrate_votes(votes.part(order), nodes[order], graph, prior, region), plain[order],
        atol=1e-6,
    )  # fmt: skip
    place = rng.permutation(300)
    back = np.argsort(place)
    moved = replace(
        graph, adjacency=graph.adjacency[back][:, back].tocsr(), embedding=graph.embedding[back]
    )
    np.testing.assert_allclose(
        calibrate_votes(votes, place[nodes], moved, prior[back], region[back]), plain, atol=1e-6
    )
    names = np.array([2, 0, 3, 1])
    renamed = votes_of(names[votes.labels], votes.confidence)
    shuffled = prior[:, np.argsort(names)]
    np.testing.assert_allclose(
        calibrate_votes(renamed, nodes, graph, shuffled, region), plain, atol=1e-4
    )


def test_the_truth_is_never_read():
    graph, truth, labels, prior, _ = planted(n=200)
    nodes = np.arange(60)
    plain = calibrate_votes(votes_of(labels[:60]), nodes, graph, prior)
    for known in (truth, np.roll(truth, 1)):
        again = calibrate_votes(votes_of(labels[:60]), nodes, replace(graph, truth=known), prior)
        np.testing.assert_array_equal(again, plain)


def test_few_answers_none_and_no_prior():
    graph, _, labels, prior, _ = planted(n=100)
    nodes = np.array([3, 50, 9])
    one = votes_of([-1, labels[50], -1])
    found = calibrate_votes(one, nodes, graph, prior)
    assert np.isnan(found[[0, 2]]).all()
    assert 0 < found[1] < 1
    assert 0 < calibrate_votes(one, nodes, graph, None)[1] < 1
    assert np.isnan(calibrate_votes(votes_of([-1]), nodes[:1], graph, prior)).all()
    assert calibrate_votes(votes_of([]), nodes[:0], graph, prior).shape == (0,)
    alone = replace(graph, adjacency=sparse.csr_array((100, 100), dtype=np.float32))
    found = calibrate_votes(votes_of(labels[:40]), np.arange(40), alone, prior)
    assert np.isfinite(found).all()
    # without directions there are no neighbours either
    blank = replace(alone, embedding=np.zeros_like(graph.embedding))
    found = calibrate_votes(votes_of(labels[:40]), np.arange(40), blank, prior)
    assert np.isfinite(found).all()


def test_opinions_by_hand():
    embedding = unit_rows([[1, 0], [1, 0.1], [1, -0.2], [-1, 0], [0, 0]])
    links = sparse.coo_array(([1.0, 1.0], ([0, 3], [3, 0])), (5, 5)).tocsr().astype(np.float32)
    classes = ClassList(("a", "b"))
    graph = TextGraph(links, ("",) * 5, embedding, classes)
    prior = np.array([[0.9, 0.1], [0.5, 0.5], [0.5, 0.5], [0.2, 0.8], [0.5, 0.5]])
    votes = votes_of([0, 0, 1, 1, -1], k=2)
    opinions = second_opinions(votes, np.arange(5), graph, prior, neighbours=1)
    # the nearest other answer, and one more vote that is even; -1 is no direction of a neighbour
    cosine = float(embedding[0] @ embedding[1])
    np.testing.assert_allclose(
        opinions["asked_neighbours"][0], np.array([cosine + 0.5, 0.5]) / (cosine + 1), atol=1e-6
    )
    assert opinions["asked_neighbours"][2].argmax() == 0
    assert np.isnan(opinions["asked_neighbours"][3:]).all()
    np.testing.assert_allclose(opinions["zero_shot"], prior)
    # node 3: prior .2 .8, bought label b, together .1 .9; then the even vote
    np.testing.assert_allclose(opinions["graph"][0], [0.3, 0.7])
    assert np.isnan(opinions["graph"][[1, 2, 4]]).all()


def test_accuracy_by_agreement_finds_the_planted_one():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 40_000)
    answers = [
        np.where(rng.random(40_000) < p, truth, (truth + rng.integers(1, 5, 40_000)) % 5)
        for p in (0.7, 0.6, 0.8)
    ]
    assert accuracy_by_agreement(np.stack(answers, 1), 5) == pytest.approx(0.7, abs=0.01)
    assert accuracy_by_agreement(np.stack(answers[::-1], 1), 5) == pytest.approx(0.8, abs=0.01)
    assert accuracy_by_agreement(np.full((4, 3), -1), 5) is None


def test_misfits():
    graph, _, labels, prior, _ = planted(n=100)
    with pytest.raises(ValueError, match="nodes must be"):
        calibrate_votes(votes_of(labels[:3]), np.arange(4), graph, prior)
    with pytest.raises(ValueError, match=r"nodes must lie in 0 \.\. 99"):
        calibrate_votes(votes_of(labels[:1]), np.array([100]), graph, prior)
    with pytest.raises(ValueError, match="nodes must be distinct"):
        calibrate_votes(votes_of(labels[:2]), np.array([1, 1]), graph, prior)
    with pytest.raises(ValueError, match=r"prior must be \[100, 4\]"):
        calibrate_votes(votes_of(labels[:2]), np.arange(2), graph, prior[:5])
    with pytest.raises(ValueError, match="neighbours must be at least 1"):
        CalibrationSettings(neighbours=0)
    with pytest.raises(ValueError, match="expected_noise must lie in"):
        CalibrationSettings(expected_noise=0)
    with pytest.raises(ValueError, match="region_strength must be more than 0"):
        CalibrationSettings(region_strength=0)


@pytest.mark.real_data
def test_it_finds_the_errors_of_a_real_llm(real_data):
    with np.load(real_data / "tag" / "cora_tag.npz") as data:
        embedding, truth, ends = data["minilm"].astype(np.float32), data["y"], data["edge_index"]
        labels, names = data["gpt35_topk"][:, 0], data["classes"]
    with np.load(real_data / "tag" / "cora_minilm_zeroshot.npz") as data:
        scores = data["scores"]
    n = len(truth)
    links = sparse.coo_array((np.ones(ends.shape[1], np.float32), tuple(ends)), (n, n)).tocsr()
    links = sparse.csr_array(((links + links.T) > 0).astype(np.float32))
    graph = TextGraph(links, ("",) * n, unit_rows(embedding), ClassList(tuple(map(str, names))))
    prior = np.exp(2 * (scores - scores.mean(axis=0)) / scores.std(axis=0))
    prior /= prior.sum(axis=1, keepdims=True)
    found = {}
    for size in (n, 175):
        nodes = np.random.default_rng(0).permutation(n)[:size]
        reliability = calibrate_votes(votes_of(labels[nodes], k=7), nodes, graph, prior)
        right = labels[nodes] == truth[nodes]
        found[size] = roc_auc_score(right, reliability)
        # the list's length, which is all that the LLM itself says, has .55
        assert reliability.mean() == pytest.approx(right.mean(), abs=0.15)
    # known: neighbours in the embedding .796 with all labels, zero-shot score .789
    assert found[n] > 0.85
    assert found[175] > 0.80
