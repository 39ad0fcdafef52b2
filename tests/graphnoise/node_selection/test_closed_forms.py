"""Selectors with a formula, against networkx, dense algebra, brute force and a linear program."""

from dataclasses import replace
from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import linprog

from graphnoise.node_selection.base import Situation
from graphnoise.node_selection.communities import communities, modularity
from graphnoise.node_selection.density import Density
from graphnoise.node_selection.difficulty_aware import DifficultyAware, percentile
from graphnoise.node_selection.graphpart import GraphPart
from graphnoise.node_selection.informative_and_correct import (
    InformativeAndCorrect,
    robust_distribution,
)
from graphnoise.node_selection.pagerank import PageRank, pagerank
from graphnoise.node_selection.quotas import best_of_each, proportional_quota
from graphnoise.node_selection.reliable_influence import (
    ReliableInfluence,
    greedy_cover,
    influence_above,
)
from graphnoise.node_selection.subspace import Subspace, left_singular_vectors, smoothed
from tests.graphnoise.node_selection.graphs import blocks, situation


def weighted(seed=0, n=50):
    """A random weighted graph with isolated nodes at its end."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.uniform(0.5, 2, (n, n)) * (rng.random((n, n)) < 0.08), 1)
    upper[:, -3:] = 0
    return sparse.csr_array((upper + upper.T).astype(np.float32))


# PageRank


@pytest.mark.parametrize("damping", [0.0, 0.5, 0.85, 0.99])
def test_pagerank_is_that_of_networkx(damping):
    adjacency = weighted()
    graph = nx.from_scipy_sparse_array(adjacency.astype(np.float64))
    theirs = nx.pagerank(graph, alpha=damping, tol=1e-13, max_iter=5000)

    ours = pagerank(adjacency, damping)

    np.testing.assert_allclose(ours, [theirs[v] for v in range(50)], atol=1e-7)
    assert ours.sum() == pytest.approx(1)


def test_damping_out_of_range():
    with pytest.raises(ValueError, match=r"damping must lie in \[0, 1\), got 1"):
        PageRank(damping=1).select(situation(blocks()), 3)


# density and percentiles


def test_density_takes_the_middle_of_a_line():
    graph = blocks()
    line = np.linspace(-1, 1, 120)[:, None].astype(np.float32) * np.ones((1, 2), np.float32)
    found = Density(n_clusters=1).select(situation(replace(graph, embedding=line)), 5)

    assert (np.abs(found.nodes - 59.5) < 8).all()
    assert (np.diff(found.scores) <= 0).all()


def test_percentiles_share_places_of_ties():
    np.testing.assert_allclose(percentile(np.array([3.0, 1, 1, 7])), [0.75, 0.375, 0.375, 1])


def test_difficulty_is_the_sum_of_its_parts():
    given = situation(blocks())
    alone = replace(given, probabilities=None)

    by_density = DifficultyAware(centrality_weight=0).select(alone, 6)
    by_centrality = DifficultyAware(centrality_weight=1).select(alone, 6)
    by_entropy = DifficultyAware(entropy_weight=1).select(given, 1)

    assert set(by_density.nodes) == set(Density().select(alone, 6).nodes)
    assert set(by_centrality.nodes) == set(PageRank().select(alone, 6).nodes)
    rows = given.probabilities.astype(float)
    entropy = np.where(given.available, -(rows * np.log(rows)).sum(axis=1), -1)
    assert by_entropy.nodes[0] == entropy.argmax()
    with pytest.raises(ValueError, match=r"entropy_weight must lie in \[0, 1\], got 2"):
        DifficultyAware(entropy_weight=2)


# quotas and the subspace


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(0, 80))
def test_quotas_are_sainte_lagues(sizes, budget):
    sizes = np.array(sizes)
    claims = sorted(
        ((s / (2 * i + 1), -p) for p, s in enumerate(sizes.tolist()) for i in range(s)),
        reverse=True,
    )
    expected = np.bincount([-p for _, p in claims[:budget]] or [0], minlength=len(sizes)) * (
        budget > 0
    )

    np.testing.assert_array_equal(proportional_quota(sizes, sizes, budget), expected)


def test_each_part_gives_its_best():
    part = np.array([0, 0, 0, 1, 1, 1])
    scores = np.array([9.0, 8, 7, 1, 3, 2])

    kept = best_of_each(np.arange(6), part, scores, 4, sizes=np.array([3, 3]))

    assert np.flatnonzero(kept).tolist() == [0, 1, 4, 5]


def test_smoothing_carries_both_hops():
    graph = blocks()
    dense = graph.adjacency.toarray().astype(float)
    walk = dense / np.maximum(dense.sum(axis=1), 1)[:, None]
    x = graph.embedding

    found = smoothed(graph.adjacency, x, steps=2, alpha=1.2)

    np.testing.assert_allclose(found, x + 1.2 * walk @ x + 1.44 * walk @ walk @ x, atol=1e-5)


def test_singular_vectors_span_those_of_numpy():
    rows = np.random.default_rng(0).normal(size=(90, 12)).astype(np.float32)
    rows[:, 11] = rows[:, 0]  # rank 11
    theirs = np.linalg.svd(rows.astype(float), full_matrices=False)[0]

    for rank, found in ((4, 4), (100, 11)):
        ours = left_singular_vectors(rows, rank)
        assert ours.shape == (90, found)
        # signs are free
        np.testing.assert_allclose(np.abs(np.sum(ours * theirs[:, :found], axis=0)), 1, atol=1e-4)
    assert left_singular_vectors(np.zeros((5, 3), np.float32), 2).shape == (5, 1)


def test_the_quota_spreads_what_the_papers_rule_leaves_to_one_cluster():
    graph = blocks(n_isolated=0)
    # one dense class: tiny rows, all near the origin
    rows = graph.embedding.copy()
    rows[:40] = 0.01 * rows[:40]
    rows[:40, 0] += 0.02
    alone = replace(graph, embedding=rows, adjacency=sparse.csr_array((120, 120), dtype=np.float32))
    given = Situation(alone, np.ones(120, bool), 0)

    paper = Subspace.paper(rank=12).select(given, 30).nodes
    ours = Subspace(rank=12).select(given, 30).nodes

    assert (paper < 40).mean() > 0.9
    assert (ours < 40).mean() < 0.75
    assert len(Subspace(normalise_rows=True, clusters_per_class=None).select(given, 9).nodes) == 9
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        Subspace(rank=0)
    with pytest.raises(ValueError, match="must not be negative, got -1 and 1"):
        Subspace(steps=-1)


# communities


def test_modularity_is_that_of_networkx():
    adjacency = weighted()
    part = np.random.default_rng(0).integers(4, size=50)
    graph = nx.from_scipy_sparse_array(adjacency.astype(np.float64))
    theirs = nx.community.modularity(graph, [set(np.flatnonzero(part == c)) for c in range(4)])

    assert modularity(adjacency, part) == pytest.approx(theirs, abs=1e-7)
    assert modularity(sparse.csr_array((3, 3)), np.zeros(3, int)) == 0


@pytest.mark.parametrize("seed", range(4))
def test_communities_are_as_good_as_those_of_networkx(seed):
    adjacency = blocks(seed).adjacency
    graph = nx.from_scipy_sparse_array(adjacency.astype(np.float64))
    theirs = nx.community.louvain_communities(graph, seed=seed)

    ours = modularity(adjacency, communities(adjacency, seed=seed))

    assert ours >= nx.community.modularity(graph, theirs) - 0.02


def test_cliques_are_found_and_numbered_by_their_lowest_node():
    clique = np.ones((5, 5)) - np.eye(5)
    cliques = np.kron(np.eye(3), clique)
    cliques[4, 5] = cliques[5, 4] = 1
    with_loner = np.pad(cliques, ((0, 1), (0, 1)))

    found = communities(sparse.csr_array(with_loner.astype(np.float32)))

    assert found.tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [3]
    with pytest.raises(ValueError, match="resolution must be positive, got 0"):
        communities(sparse.csr_array((2, 2)), resolution=0)


def test_every_part_is_asked_in_proportion_to_its_size():
    graph = blocks(n_isolated=0)
    adjacency = graph.adjacency.tocoo()
    inside = adjacency.row // 40 == adjacency.col // 40
    kept = (adjacency.data[inside], (adjacency.row[inside], adjacency.col[inside]))
    cut = replace(graph, adjacency=sparse.csr_array(kept, shape=(120, 120)))
    given = Situation(cut, np.ones(120, bool), 0)

    found = GraphPart(resolution=0.3).select(given, 12).nodes

    assert np.bincount(found // 40, minlength=3).tolist() == [4, 4, 4]


# coverage


def dense_reach(adjacency, threshold, reliability):
    dense = adjacency.toarray().astype(float) + np.eye(adjacency.shape[0])
    walk = dense / dense.sum(axis=1)[:, None]
    return walk @ walk * reliability


@pytest.mark.parametrize("block", [1, 200, 10**9])
def test_influence_is_the_dense_product_above_the_threshold(block, monkeypatch):
    monkeypatch.setattr("graphnoise.node_selection.reliable_influence.BLOCK_PRODUCTS", block)
    adjacency, reliability = weighted(), np.random.default_rng(0).uniform(0.3, 1, 50)
    dense = dense_reach(adjacency, 0.05, reliability)

    reach, total = influence_above(adjacency, 0.05, reliability=reliability)

    np.testing.assert_array_equal(reach.toarray() > 0, dense > 0.05)
    np.testing.assert_allclose(total, dense.sum(axis=0), rtol=1e-5)
    assert np.diff(reach.indptr).max() <= 20


@given(st.integers(0, 10**6), st.integers(1, 12))
@settings(deadline=None)
def test_greedy_takes_the_best_next_node_and_reaches_its_share_of_the_optimum(seed, budget):
    rng = np.random.default_rng(seed)
    dense = rng.random((12, 12)) < 0.25
    reach, nodes = sparse.csr_array(dense.astype(np.int8)), np.flatnonzero(rng.random(12) < 0.8)
    reached, budget = rng.random(12) < 0.2, min(budget, len(nodes))

    found = greedy_cover(reach, nodes, budget, reached=reached, ties=np.zeros(12))

    open_rows, free = ~reached, set(nodes.tolist())
    for node, score in zip(found.nodes, found.scores, strict=True):
        gains = {v: (dense[:, v] & open_rows).sum() for v in free}
        assert score == gains[node] == max(gains.values())
        assert node == min(v for v in free if gains[v] == score)
        open_rows &= ~dense[:, node]
        free.remove(int(node))
    best = max(
        (
            (dense[:, list(some)].any(axis=1) & ~reached).sum()
            for some in combinations(nodes.tolist(), budget)
        ),
        default=0,
    )
    assert found.scores.sum() >= (1 - 1 / np.e) * best - 1e-9


def test_bought_labels_have_reached_theirs_and_reliability_counts():
    graph = blocks(n_isolated=0)
    given = Situation(graph, np.ones(120, bool), 0)
    first = ReliableInfluence().select(given, 1)
    labels = np.full(120, -1)
    labels[first.nodes] = 0
    after = replace(given, labels=labels, available=labels < 0)

    two = ReliableInfluence().select(given, 2)
    assert ReliableInfluence().select(after, 1).nodes[0] == two.nodes[1]
    # a hopeless oracle reaches nobody but itself, or not even that
    doubted = replace(given, prior=np.full((120, 3), 1 / 3, np.float32))
    assert (
        ReliableInfluence().select(doubted, 20).scores.sum()
        < ReliableInfluence().select(given, 20).scores.sum()
    )
    with pytest.raises(ValueError, match=r"threshold must lie in \(0, 1\), got 0"):
        ReliableInfluence(threshold=0)
    with pytest.raises(ValueError, match=r"oracle_accuracy must lie in \(0, 1\], got 0"):
        ReliableInfluence(oracle_accuracy=0)


# robust active distillation


@given(st.integers(0, 10**6), st.integers(1, 9))
@settings(deadline=None, max_examples=60)
def test_the_closed_form_solves_the_game(seed, n):
    rng = np.random.default_rng(seed)
    gains, wrong = rng.uniform(0.01, 1, n), int(rng.integers(n))
    # the sum of the `wrong` largest q g is min over t of wrong t + sum max(q g - t, 0)
    cost = np.concatenate([-gains, [wrong], np.ones(n)])
    slack = np.hstack([np.diag(gains), -np.ones((n, 1)), -np.eye(n)])
    simplex = np.concatenate([np.ones(n), np.zeros(n + 1)])[None]
    solved = linprog(cost, slack, np.zeros(n), simplex, [1.0], method="highs")

    q = robust_distribution(gains, wrong)

    assert q.sum() == pytest.approx(1)
    assert np.sort(q * gains)[: n - wrong].sum() == pytest.approx(-solved.fun, abs=1e-8)


def test_no_error_asks_the_most_informative():
    assert robust_distribution(np.array([0.2, 0.9, 0.5]), 0).tolist() == [0, 1, 0]


def test_first_draws_follow_the_distribution():
    given = situation(blocks())
    few = np.zeros(120, bool)
    few[:6] = True
    rows = given.probabilities[:6]
    top = np.sort(rows, axis=1)[:, -2:]
    expected = robust_distribution(1 - (top[:, 1] - top[:, 0]).astype(float), 2)
    selector = InformativeAndCorrect(error_rate=0.3)

    drawn = [
        selector.select(replace(given, available=few, seed=seed), 1).nodes[0]
        for seed in range(1500)
    ]

    np.testing.assert_allclose(np.bincount(drawn, minlength=6) / 1500, expected, atol=0.05)


def test_the_error_rate_comes_from_the_reliability_of_bought_labels():
    given = situation(blocks())
    surely = replace(given, reliability=np.where(given.labels >= 0, 1.0, np.nan))

    # no errors: the single most informative node, whatever the seed
    found = {
        int(InformativeAndCorrect().select(replace(surely, seed=s), 1).nodes[0]) for s in range(5)
    }

    assert len(found) == 1
    with pytest.raises(ValueError, match=r"error_rate must lie in \[0, 1\), got 1"):
        InformativeAndCorrect(error_rate=1)
    with pytest.raises(ValueError, match="gains must be positive"):
        robust_distribution(np.zeros(2), 0)
    with pytest.raises(ValueError, match=r"n_wrong must lie in 0 \.\. 1, got 2"):
        robust_distribution(np.ones(2), 2)
