import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from graphnoise.local_clusters.adjacency import Adjacency
from graphnoise.local_clusters.base import Workspace
from graphnoise.local_clusters.query import Budget, Labels, Query
from graphnoise.local_pagerank.labelled import LabelPageRank
from graphnoise.local_pagerank.plain import PageRank
from graphnoise.local_pagerank.reference import exact_pagerank
from graphnoise.local_subgraph import GraphArrays


def as_graph(matrix, *, weighted=False):
    matrix = sparse.csr_array(matrix)
    matrix.sort_indices()
    weights = matrix.data.astype(np.float64) if weighted else np.empty(0)
    strength = np.asarray(matrix.sum(axis=1), np.float64) if weighted else np.empty(0)
    arrays = GraphArrays(
        matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), weights, strength
    )
    return Adjacency(arrays, float(matrix.sum() if weighted else matrix.nnz))


def random_matrix(n, rng, *, weighted=False, density=0.1):
    """A connected symmetric matrix: a cycle and random chords."""
    upper = np.triu(rng.random((n, n)) < density, 1)
    upper[np.arange(n - 1), np.arange(1, n)] = True
    upper[0, n - 1] = True
    matrix = upper * (rng.uniform(0.2, 3.0, (n, n)) if weighted else 1.0)
    return matrix + matrix.T


def label_weighted(matrix, labels, epsilon):
    known = labels >= 0
    differ = (labels[:, None] != labels[None, :]) & known[:, None] & known[None, :]
    return np.where(differ, epsilon * matrix, matrix)


def over_graph(diffused, values, n):
    sub, out = diffused.subgraph, np.zeros(n)
    out[sub.node[: len(values)]] = values
    return out


def start_of(matrix, seeds):
    degree = matrix.sum(axis=1)
    start = np.zeros(len(matrix))
    start[seeds] = degree[seeds] / degree[seeds].sum()
    return start


def ask(method, graph, seeds, *, labels=None, budget=None, workspace=None):
    query = Query(np.array(seeds, np.int64), labels=labels, budget=budget or Budget())
    return method.diffuse(graph, query, workspace or Workspace(graph.n_nodes))


def residual_of(matrix, p, start, teleport):
    degree = matrix.sum(axis=0)
    walk = matrix / np.where(degree > 0, degree, 1.0)
    walk[np.diag_indices_from(walk)] = degree == 0
    return start - (p - (1 - teleport) * walk @ p) / teleport


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("epsilon", [1e-2, 1e-4, 1e-7])
def test_agrees_with_the_dense_solve_to_its_bound(weighted, epsilon):
    rng = np.random.default_rng(3)
    matrix = random_matrix(120, rng, weighted=weighted)
    graph, seeds = as_graph(matrix, weighted=weighted), [7, 40, 41]
    diffused = ask(PageRank(teleport=0.15, epsilon=epsilon), graph, seeds)
    start, degree = start_of(matrix, seeds), matrix.sum(axis=0)
    exact = exact_pagerank(matrix, start, teleport=0.15)
    p = over_graph(diffused, diffused.mass, 120)
    assert np.all(p <= exact + 1e-14)
    assert np.all(exact - p <= epsilon * degree + 1e-14)
    assert over_graph(diffused, diffused.score, 120) == pytest.approx(p / degree)
    residual = residual_of(matrix, p, start, 0.15)
    assert np.all(residual >= -1e-12)
    assert p.sum() + residual.sum() == pytest.approx(1.0, abs=1e-12)
    certificate = diffused.certificate
    assert certificate.kind == "pagerank"
    assert certificate.excess == pytest.approx(np.max(residual / degree), rel=1e-6)
    assert certificate.within(epsilon * (1 + 1e-9))
    assert np.isnan(certificate.gap)
    assert diffused.converged
    assert diffused.source_mass == 1.0


def test_three_nodes_by_hand():
    matrix = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], float)
    # p0 = t / 2 + b p1 / 2, p1 = b (p0 + p2), p2 = b p1 / 2 with t = b = 1/2 and a seed at 0
    diffused = ask(PageRank(teleport=0.5, epsilon=1e-12), as_graph(matrix), [0])
    p = over_graph(diffused, diffused.mass, 3)
    assert p == pytest.approx([7 / 12, 4 / 12, 1 / 12], abs=1e-11)


def test_a_bar_above_everything_settles_nothing():
    diffused = ask(
        PageRank(epsilon=0.5), as_graph(random_matrix(20, np.random.default_rng(0))), [3]
    )
    assert not np.any(diffused.score)
    assert diffused.converged
    assert diffused.certificate.excess < 0.5


@pytest.fixture(scope="module")
def coauthors(real_data):
    from graphnoise.datasets import load_graph

    return load_graph("coauthor-cs", root=real_data).adjacency


def test_agrees_with_pyg_and_the_power_method_on_coauthors(coauthors):
    from sknetwork.ranking import PageRank as PowerPageRank
    from torch_geometric.utils import get_ppr

    matrix = sparse.csr_array(coauthors)
    graph, degree = as_graph(matrix), np.diff(matrix.indptr)
    rows = torch.from_numpy(np.array(matrix.tocoo().coords))
    workspace = Workspace(graph.n_nodes)
    for seed in (17, 4711):
        pairs, values = get_ppr(
            rows, alpha=0.1, eps=1e-5, target=torch.tensor([seed]), num_nodes=graph.n_nodes
        )
        theirs = np.zeros(graph.n_nodes)
        theirs[pairs[1]] = values
        power = PowerPageRank(damping_factor=0.9, n_iter=300, tol=1e-13)
        exact = power.fit_predict(sparse.csr_matrix(matrix), {seed: 1.0})
        diffused = ask(PageRank(teleport=0.1, epsilon=1e-5), graph, [seed], workspace=workspace)
        ours = over_graph(diffused, diffused.mass, graph.n_nodes)
        assert np.max(np.abs(ours - theirs) / degree) <= 1e-5
        assert np.max((exact - ours) / degree) <= 1e-5 + 1e-9
        assert np.max((ours - exact) / degree) <= 1e-9


def test_agrees_with_networkx_on_a_weighted_graph():
    matrix = random_matrix(60, np.random.default_rng(8), weighted=True)
    theirs = nx.pagerank(nx.from_numpy_array(matrix), 0.8, personalization={5: 1.0}, tol=1e-14)
    diffused = ask(PageRank(teleport=0.2, epsilon=1e-11), as_graph(matrix, weighted=True), [5])
    ours = over_graph(diffused, diffused.mass, 60)
    assert ours == pytest.approx([theirs[i] for i in range(60)], abs=1e-9)


def test_agrees_with_the_lazy_walk_after_conversion():
    matrix = random_matrix(50, np.random.default_rng(4))
    lazy, start = 0.1, start_of(matrix, [9])
    walk = (np.eye(50) + matrix / matrix.sum(axis=0)) / 2
    theirs = lazy * np.linalg.solve(np.eye(50) - (1 - lazy) * walk, start)
    diffused = ask(PageRank(teleport=2 * lazy / (1 + lazy), epsilon=1e-11), as_graph(matrix), [9])
    assert over_graph(diffused, diffused.mass, 50) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("label_epsilon", [0.0, 0.05, 1.0])
def test_label_weighted_agrees_with_the_dense_solve(weighted, label_epsilon):
    rng = np.random.default_rng(5)
    matrix = random_matrix(90, rng, weighted=weighted, density=0.05)
    # classes 0, 1, 2 of which 2 counts as label 1; some are unknown
    classes = rng.integers(-1, 3, 90).astype(np.int32)
    binary = np.where(classes < 0, -1, classes == 2)
    graph = as_graph(matrix, weighted=weighted)
    method = LabelPageRank(teleport=0.1, epsilon=1e-7, label_epsilon=label_epsilon)
    diffused = ask(method, graph, [3, 50], labels=Labels(classes, target=2))
    lowered = label_weighted(matrix, binary, label_epsilon)
    start, degree = start_of(matrix, [3, 50]), matrix.sum(axis=0)
    exact = exact_pagerank(lowered, start, teleport=0.1)
    p = over_graph(diffused, diffused.mass, 90)
    # what is left of the residual ends up somewhere
    assert np.sum(np.abs(exact - p)) <= 1e-7 * degree.sum()
    assert np.all(p <= exact + 1e-13)
    residual = residual_of(lowered, p, start, 0.1)
    assert diffused.certificate.excess == pytest.approx(np.max(residual / degree), rel=1e-5)
    assert diffused.certificate.excess < 1e-7 * (1 + 1e-6)
    if label_epsilon > 0:
        worst = np.max(degree / lowered.sum(axis=0))
        assert np.all(exact - p <= 1e-7 * worst * lowered.sum(axis=0) * (1 + 1e-6))


def test_a_seed_that_keeps_no_weight_keeps_the_walk():
    labels = Labels(np.array([1, 0, 0], np.int32))
    graph = as_graph(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]))
    diffused = ask(LabelPageRank(label_epsilon=0), graph, [0], labels=labels)
    assert over_graph(diffused, diffused.mass, 3).tolist() == [1, 0, 0]
    assert diffused.certificate.excess < 1e-12


def test_unit_label_epsilon_is_plain_and_a_flip_changes_nothing():
    rng = np.random.default_rng(6)
    matrix, labels = random_matrix(80, rng), rng.integers(0, 2, 80).astype(np.int32)
    graph = as_graph(matrix)
    plain = ask(PageRank(epsilon=1e-5), graph, [2])
    same = ask(LabelPageRank(epsilon=1e-5, label_epsilon=1), graph, [2], labels=Labels(labels))
    np.testing.assert_array_equal(plain.score, same.score)
    one = ask(LabelPageRank(epsilon=1e-9), graph, [2], labels=Labels(labels))
    other = ask(LabelPageRank(epsilon=1e-9), graph, [2], labels=Labels(1 - labels))
    np.testing.assert_allclose(
        over_graph(one, one.score, 80), over_graph(other, other.score, 80), atol=1e-9
    )


def test_a_label_function_is_asked_once_and_answers_as_the_array():
    method = LabelPageRank(epsilon=1e-3)
    rng = np.random.default_rng(7)
    matrix, labels = random_matrix(300, rng, density=0.01), rng.integers(-1, 2, 300)
    graph, asked = as_graph(matrix), []

    def function(nodes):
        asked.append(nodes.copy())
        return labels[nodes].astype(np.int8)

    by_function = ask(method, graph, [11], labels=Labels(function=function))
    by_array = ask(method, graph, [11], labels=Labels(labels.astype(np.int32)))
    np.testing.assert_array_equal(by_function.score, by_array.score)
    everyone = np.concatenate(asked)
    assert len(np.unique(everyone)) == len(everyone) < 300
    assert len(everyone) == len(by_function.score)
    with pytest.raises(ValueError, match="function must return"):
        ask(method, graph, [11], labels=Labels(function=lambda nodes: labels[:1]))


@pytest.mark.parametrize("weighted", [False, True])
def test_renumbering_the_nodes_changes_nothing(weighted):
    rng = np.random.default_rng(9)
    matrix, labels = random_matrix(100, rng, weighted=weighted), rng.integers(0, 2, 100)
    order = rng.permutation(100)
    where = np.argsort(order)
    one = ask(
        LabelPageRank(epsilon=1e-10), as_graph(matrix, weighted=weighted), [4],
        labels=Labels(labels.astype(np.int32)),
    )  # fmt: skip
    other = ask(
        LabelPageRank(epsilon=1e-10), as_graph(matrix[order][:, order], weighted=weighted),
        [where[4]], labels=Labels(labels[order].astype(np.int32)),
    )  # fmt: skip
    np.testing.assert_allclose(
        over_graph(one, one.mass, 100)[order], over_graph(other, other.mass, 100), atol=1e-8
    )


def test_a_used_workspace_answers_as_a_fresh_one():
    rng = np.random.default_rng(10)
    # larger than the first room, so that rows, vectors and table have to grow in mid-run
    graph = as_graph(nx.to_scipy_sparse_array(nx.fast_gnp_random_graph(6000, 0.003, seed=1)))
    degree = np.diff(graph.arrays.indptr)
    seeds = rng.choice(np.flatnonzero(degree > 0), 4, replace=False)
    used = Workspace(graph.n_nodes)
    for seed in seeds:
        for epsilon in (1e-6, 1e-3):
            method = PageRank(epsilon=epsilon)
            one = ask(method, graph, [seed], workspace=used)
            other = ask(method, graph, [seed])
            np.testing.assert_array_equal(one.score, other.score)
            assert one.edges == other.edges
            assert one.certificate.within(epsilon)


def test_budgets_end_the_run_and_say_so():
    matrix = random_matrix(400, np.random.default_rng(11), density=0.02)
    graph, method = as_graph(matrix), PageRank(epsilon=1e-8)
    start = start_of(matrix, [5])
    exact = exact_pagerank(matrix, start, teleport=0.1)
    degree = matrix.sum(axis=0)
    for name, limit in (("max_volume", 300), ("max_edges", 2000)):
        diffused = ask(method, graph, [5], budget=Budget(**{name: limit}))
        p = over_graph(diffused, diffused.mass, 400)
        assert (diffused.stopped_by, diffused.converged) == (name, False)
        assert p[5] > 0
        assert np.all(p <= exact + 1e-14)
        assert np.all(exact - p <= diffused.certificate.excess * degree + 1e-14)
    by_volume = ask(method, graph, [5], budget=Budget(max_volume=300))
    assert by_volume.subgraph.degree[: len(by_volume.score)][by_volume.score > 0].sum() <= 300
    assert by_volume.certificate.excess > 1e-8
    by_edges = ask(method, graph, [5], budget=Budget(max_edges=2000))
    assert 2000 <= by_edges.edges < 2000 + degree.max()


def test_the_clock_is_read_between_slices(monkeypatch):
    from graphnoise.local_pagerank import pushing

    monkeypatch.setattr(pushing, "SLICE", 1000)
    graph = as_graph(random_matrix(400, np.random.default_rng(12), density=0.02))
    method = PageRank(epsilon=1e-8)
    whole = ask(method, graph, [5])
    monkeypatch.setattr(pushing, "SLICE", 1 << 40)
    np.testing.assert_array_equal(ask(method, graph, [5]).score, whole.score)
    monkeypatch.setattr(pushing, "SLICE", 1000)
    cut = ask(method, graph, [5], budget=Budget(timeout=1e-9))
    assert (cut.stopped_by, cut.converged) == ("timeout", False)


def test_the_volume_that_pushes_is_bounded():
    graph = as_graph(random_matrix(500, np.random.default_rng(13), density=0.02))
    for epsilon in (1e-2, 1e-3):
        diffused = ask(PageRank(teleport=0.2, epsilon=epsilon), graph, [5])
        scored = diffused.score > 0
        assert diffused.subgraph.degree[: len(scored)][scored].sum() <= 1 / (0.2 * epsilon)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(2, 12),
    st.integers(0, 2**32 - 1),
    st.floats(0.01, 0.95),
    st.sampled_from([0.0, 0.05, 1.0]),
    st.booleans(),
)
def test_any_small_graph(n, random, teleport, label_epsilon, weighted):
    rng = np.random.default_rng(random)
    matrix = random_matrix(n, rng, weighted=weighted, density=rng.random())
    labels = rng.integers(-1, 2, n)
    seeds = rng.choice(n, rng.integers(1, n + 1), replace=False)
    method = LabelPageRank(teleport=teleport, epsilon=1e-6, label_epsilon=label_epsilon)
    diffused = ask(
        method, as_graph(matrix, weighted=weighted), seeds,
        labels=Labels(labels.astype(np.int32)),
    )  # fmt: skip
    lowered = label_weighted(matrix, labels, label_epsilon)
    start = start_of(matrix, seeds)
    p = over_graph(diffused, diffused.mass, n)
    residual = residual_of(lowered, p, start, teleport)
    assert p.sum() + residual.sum() == pytest.approx(1.0, abs=1e-9)
    assert np.max(np.abs(residual) / matrix.sum(axis=0)) <= 1e-6 * (1 + 1e-3)
    largest = np.max(np.abs(residual) / matrix.sum(axis=0))
    assert diffused.certificate.excess == pytest.approx(largest, rel=1e-3, abs=1e-12)
    exact = exact_pagerank(lowered, start, teleport=teleport)
    assert np.sum(np.abs(exact - p)) <= 1e-6 * matrix.sum() + 1e-12


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PageRank(teleport=1.0), "teleport must be in"),
        (lambda: PageRank(epsilon=0.0), "epsilon must be positive"),
        (lambda: PageRank(epsilon=float("nan")), "epsilon must be positive"),
        (lambda: LabelPageRank(label_epsilon=1.5), "label_epsilon must be in"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_queries():
    graph = as_graph(np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]]))
    with pytest.raises(ValueError, match="labels are needed"):
        ask(LabelPageRank(), graph, [0])
    with pytest.raises(ValueError, match="mass must be None"):
        PageRank().diffuse(graph, Query(np.array([0]), mass=3.0), Workspace(3))
    with pytest.raises(ValueError, match="must have neighbours"):
        ask(PageRank(), graph, [0, 2])
