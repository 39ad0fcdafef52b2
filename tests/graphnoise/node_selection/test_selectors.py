"""What every registered selector promises."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import sparse

from graphnoise.node_selection import SELECTORS
from graphnoise.node_selection.base import Situation
from graphnoise.text_graph import unit_rows
from tests.graphnoise.node_selection.graphs import blocks, renumbered, situation

LATER = ("disharmonicity_entropy", "informative_and_correct", "disagreement")
# no random step but the order of exact ties
DETERMINISTIC = ("degree", "pagerank", "reliable_influence", "disharmonicity_entropy")


@cache
def three_blocks():
    return situation(blocks())


def check(found, given, budget):
    """The promises that hold whatever the selector and the graph."""
    count = min(budget, int(given.available.sum()))
    assert found.nodes.shape == found.scores.shape == (count,)
    assert found.nodes.dtype == np.int64
    assert found.scores.dtype == np.float64
    assert np.isfinite(found.scores).all()
    assert len(np.unique(found.nodes)) == count
    assert given.available[found.nodes].all()


@pytest.fixture(params=SELECTORS)
def selector(request):
    return SELECTORS.load(request.param)()


def test_registry_agrees_with_the_part(selector):
    entry = SELECTORS[selector.name]

    assert entry.summary
    assert entry.source
    assert type(selector).__doc__


@pytest.mark.parametrize("budget", [1, 2, 7, 50])
def test_exactly_the_budget_of_distinct_available_nodes(selector, budget):
    check(selector.select(three_blocks(), budget), three_blocks(), budget)


@pytest.mark.parametrize("n_free", [0, 1, 5])
def test_a_budget_of_all_available_nodes_or_more(selector, n_free):
    free = np.zeros(120, bool)
    free[np.random.default_rng(1).permutation(120)[:n_free]] = True
    given = situation(blocks(), available=free)

    for budget in {max(n_free, 1), n_free + 1, 500}:
        found = selector.select(given, budget)
        check(found, given, budget)
        assert sorted(found.nodes.tolist()) == np.flatnonzero(free).tolist()


def test_same_seed_same_nodes_and_the_situation_is_left_alone(selector):
    given = situation(blocks())
    before = [np.array(getattr(given, name)) for name in ("available", "prior", "labels")]
    embedding, weights = given.graph.embedding.copy(), given.graph.adjacency.data.copy()

    first, again = selector.select(given, 20), selector.select(situation(blocks()), 20)

    np.testing.assert_array_equal(first.nodes, again.nodes)
    np.testing.assert_array_equal(first.scores, again.scores)
    for name, value in zip(("available", "prior", "labels"), before, strict=True):
        np.testing.assert_array_equal(getattr(given, name), value)
    np.testing.assert_array_equal(given.graph.embedding, embedding)
    np.testing.assert_array_equal(given.graph.adjacency.data, weights)


@pytest.mark.parametrize("name", sorted(set(SELECTORS) - set(DETERMINISTIC)))
def test_another_seed_gives_other_nodes(name):
    selector = SELECTORS.load(name)()
    sets = {
        tuple(sorted(selector.select(replace(three_blocks(), seed=seed), 20).nodes.tolist()))
        for seed in range(4)
    }

    assert len(sets) > 1


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_renumbering_the_nodes_renumbers_the_answer(name):
    selector, given = SELECTORS.load(name)(), three_blocks()
    # random weights, so that no two nodes tie
    upper = sparse.triu(given.graph.adjacency).tocoo()
    weights = np.random.default_rng(3).uniform(0.5, 1.5, upper.nnz).astype(np.float32)
    half = sparse.csr_array((weights, (upper.row, upper.col)), shape=upper.shape)
    given = replace(given, graph=replace(given.graph, adjacency=sparse.csr_array(half + half.T)))
    order = np.random.default_rng(4).permutation(given.graph.n_nodes)

    before, after = selector.select(given, 9), selector.select(renumbered(given, order), 9)

    assert sorted(order[after.nodes].tolist()) == sorted(before.nodes.tolist())
    np.testing.assert_allclose(after.scores, before.scores, rtol=1e-6)


def test_the_truth_is_not_read(selector):
    given = three_blocks()
    shuffled = np.random.default_rng(5).permutation(given.graph.truth)

    found = [
        selector.select(replace(given, graph=replace(given.graph, truth=truth)), 20).nodes
        for truth in (given.graph.truth, shuffled, None)
    ]

    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("kind", ["two classes", "no edges", "disconnected", "all rows equal"])
def test_odd_graphs(selector, kind):
    graph = blocks(n_classes=2 if kind == "two classes" else 3)
    if kind == "no edges":
        graph = replace(graph, adjacency=sparse.csr_array((120, 120), dtype=np.float32))
    if kind == "disconnected":
        edges = graph.adjacency.tocoo()
        inside = edges.row // 10 == edges.col // 10
        kept = (edges.data[inside], (edges.row[inside], edges.col[inside]))
        graph = replace(graph, adjacency=sparse.csr_array(kept, shape=(120, 120)))
    if kind == "all rows equal":
        graph = replace(graph, embedding=unit_rows(np.ones((120, 5))))
    given = situation(graph)

    for budget in (3, 40):
        check(selector.select(given, budget), given, budget)


def test_two_nodes(selector):
    graph = blocks()
    pair = replace(
        graph,
        adjacency=sparse.csr_array(np.array([[0, 1], [1, 0]], np.float32)),
        texts=("a", "b"),
        embedding=graph.embedding[:2],
        truth=graph.truth[:2],
    )
    given = situation(pair, available=np.ones(2, bool))

    for budget in (1, 2, 3):
        check(selector.select(given, budget), given, budget)


def test_errors_of_all(selector):
    given = three_blocks()

    with pytest.raises(ValueError, match="budget must be at least 1 node, got 0"):
        selector.select(given, 0)
    with pytest.raises(ValueError, match="available must have one entry per node, 120, got 3"):
        selector.select(replace(given, available=np.ones(3, bool)), 2)
    with pytest.raises(ValueError, match="available must be bool, got dtype int64"):
        selector.select(replace(given, available=np.ones(120, np.int64)), 2)


@pytest.mark.parametrize("name", sorted(set(SELECTORS) - set(LATER)))
def test_the_first_round_needs_no_evidence(name):
    graph = blocks()
    given = Situation(graph, np.ones(120, bool))

    check(SELECTORS.load(name)().select(given, 12), given, 12)


@pytest.mark.parametrize("name", LATER)
def test_later_rounds_say_what_they_miss(name):
    given = replace(three_blocks(), probabilities=None)

    with pytest.raises(ValueError, match=rf"selector '{name}' needs probabilities, found None"):
        SELECTORS.load(name)().select(given, 3)
