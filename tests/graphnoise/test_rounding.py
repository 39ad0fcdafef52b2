import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from graphnoise.local_clusters.adjacency import Adjacency
from graphnoise.local_clusters.base import Workspace
from graphnoise.local_clusters.cluster import Certificate, Diffused
from graphnoise.local_clusters.query import Labels, Query
from graphnoise.local_clusters.rounding import round_cluster
from graphnoise.local_pagerank.labelled import LabelPageRank
from graphnoise.local_pagerank.plain import PageRank
from graphnoise.local_subgraph import NODES, GraphArrays, empty_subgraph
from graphnoise.local_subgraph.compiled import copy_rows, touch

NO_LABELS = np.empty(0, np.int32)


def as_graph(matrix, *, weighted=False):
    matrix = sparse.csr_array(matrix)
    weights = matrix.data.astype(np.float64) if weighted else np.empty(0)
    strength = np.asarray(matrix.sum(axis=1), np.float64) if weighted else np.empty(0)
    arrays = GraphArrays(
        matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), weights, strength
    )
    return Adjacency(arrays, float(matrix.sum() if weighted else matrix.nnz))


def scored(graph, score, *, reached=None, labels=NO_LABELS, factors=False):
    """A diffusion that ended with `score` ``[N]``, its local numbers in the order `reached`."""
    arrays, n = graph.arrays, graph.n_nodes
    sub = empty_subgraph(n, weighted=factors or len(arrays.weights) > 0)
    reached = np.arange(n) if reached is None else reached
    for found in reached:
        touch(
            found, arrays.indptr, arrays.strength, labels, 1, sub.table, sub.node, sub.slot,
            sub.degree, sub.label, sub.start, sub.split, sub.used,
        )  # fmt: skip
    expanded = np.flatnonzero(score[reached] > 0).astype(np.int32)
    copy_rows(
        expanded, len(expanded), n, np.array([0.0, np.inf, 0.0]), *arrays, labels, 1, sub.table,
        sub.node, sub.slot, sub.degree, sub.label, sub.start, sub.split, sub.stop, sub.neighbour,
        sub.weight, sub.used,
    )  # fmt: skip
    if len(sub.weight):
        # what label and feature factors may leave there
        sub.weight[:] = 1e-3
    local = score[sub.node[: sub.used[NODES]]]
    certificate = Certificate("flow", 0.0, 0.0, 0.0, 0.0)
    return Diffused(sub, local, local, 1.0, certificate, 0, True)


def nodes_of(diffused, rounded):
    return diffused.subgraph.node[rounded.members]


def conductance_of(network, members):
    if len(members) == len(network):
        return float("nan")
    return nx.conductance(network, set(members), weight="weight")


def random_network(n, rng, *, weighted):
    upper = np.triu(rng.random((n, n)) < 0.3, 1)
    upper[np.arange(n - 1), np.arange(1, n)] = True
    matrix = upper * (rng.uniform(0.2, 3.0, (n, n)) if weighted else 1.0)
    return matrix + matrix.T


@settings(deadline=None, max_examples=80)
@given(st.integers(2, 14), st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
def test_sweep_against_every_prefix(n, random, weighted, factors):
    rng = np.random.default_rng(random)
    matrix = random_network(n, rng, weighted=weighted)
    network, graph = nx.from_numpy_array(matrix), as_graph(matrix, weighted=weighted)
    # few values: many ties
    score = rng.integers(0, 5, n) / 4
    score[0] = 1.0
    diffused = scored(graph, score, reached=rng.permutation(n), factors=factors)
    rounded = round_cluster(diffused, "sweep", graph)
    order = sorted(np.flatnonzero(score), key=lambda i: (-score[i], i))
    for s in range(len(order)):
        prefix = order[: s + 1]
        assert rounded.sweep.size[s] == s + 1
        assert rounded.sweep.volume[s] == pytest.approx(matrix[prefix].sum())
        cut = nx.cut_size(network, prefix, weight="weight")
        assert rounded.sweep.cut[s] == pytest.approx(cut, abs=1e-9)
        conductance = conductance_of(network, prefix)
        assert rounded.sweep.conductance[s] == pytest.approx(conductance, nan_ok=True, abs=1e-9)
    whole_ties = [np.flatnonzero(score >= value) for value in sorted(set(score[score > 0]))[::-1]]
    best = min(
        whole_ties, key=lambda members: np.nan_to_num(conductance_of(network, members), nan=9)
    )
    assert rounded.conductance == pytest.approx(conductance_of(network, best), nan_ok=True)
    if rounded.conductance < 1 - 1e-9 and not weighted:
        assert set(nodes_of(diffused, rounded)) == set(best)
    assert np.all(np.diff(score[nodes_of(diffused, rounded)]) <= 0)
    assert rounded.volume == pytest.approx(matrix[nodes_of(diffused, rounded)].sum())


def test_two_triangles_by_hand():
    network = nx.Graph([(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 5), (5, 3)])
    graph = as_graph(nx.to_scipy_sparse_array(network, range(6)))
    diffused = scored(graph, np.array([0.9, 0.5, 0.5, 0.2, 0.1, 0.1]))
    rounded = round_cluster(diffused, "sweep", graph)
    assert nodes_of(diffused, rounded).tolist() == [0, 1, 2]
    assert rounded.conductance == pytest.approx(1 / 7)
    assert rounded.volume == 7.0
    np.testing.assert_allclose(rounded.sweep.cut, [2, 2, 1, 2, 2, 0])
    assert np.isnan(rounded.sweep.conductance[-1])
    support = round_cluster(diffused, "support", graph)
    assert nodes_of(diffused, support).tolist() == [0, 1, 2, 3, 4, 5]
    assert np.isnan(support.conductance)


def test_a_prefix_never_ends_inside_a_tie():
    # path 0-1-2-3: {0} alone has conductance 1, {0, 1} has 1/3, the tie goes on to 2
    graph = as_graph(nx.to_scipy_sparse_array(nx.path_graph(6)))
    diffused = scored(graph, np.array([0.9, 0.4, 0.4, 0.4, 0.1, 0.0]))
    rounded = round_cluster(diffused, "sweep", graph)
    assert np.argmin(rounded.sweep.conductance) == 2
    assert nodes_of(diffused, rounded).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("rounding", ["support", "labels", "sweep"])
@pytest.mark.parametrize("weighted", [False, True])
def test_local_numbers_do_not_matter(rounding, weighted):
    rng = np.random.default_rng(2)
    graph = as_graph(random_network(30, rng, weighted=weighted), weighted=weighted)
    score, labels = rng.integers(0, 6, 30) / 5, rng.integers(-1, 2, 30).astype(np.int32)
    score[3] = 2.0
    answers = []
    for _ in range(3):
        reached = np.append(3, np.setdiff1d(rng.permutation(30), [3], assume_unique=True))
        diffused = scored(graph, score, reached=reached, labels=labels)
        rounded = round_cluster(diffused, rounding, graph)
        answers.append((nodes_of(diffused, rounded).tolist(), round(rounded.conductance, 9)))
    assert answers[0] == answers[1] == answers[2]


def test_labels_keep_the_seeds():
    network = nx.path_graph(6)
    graph = as_graph(nx.to_scipy_sparse_array(network))
    labels = np.array([0, 1, 0, 1, -1, 1], np.int32)
    diffused = scored(graph, np.array([0.9, 0.5, 0.4, 0.3, 0.2, 0.0]), labels=labels)
    rounded = round_cluster(diffused, "labels", graph)
    assert nodes_of(diffused, rounded).tolist() == [0, 1, 3]
    assert rounded.conductance == pytest.approx(nx.conductance(network, {0, 1, 3}))
    assert rounded.volume == 5.0
    assert len(rounded.sweep.size) == 5
    with pytest.raises(ValueError, match="needs labels"):
        round_cluster(scored(graph, np.ones(6)), "labels", graph)


@pytest.mark.parametrize("rounding", ["support", "sweep"])
def test_seeds_without_score(rounding):
    graph = as_graph(nx.to_scipy_sparse_array(nx.path_graph(6)))
    # neither has a row: the mass on them did not overflow
    diffused = scored(graph, np.zeros(6), reached=np.array([2, 3]))
    rounded = round_cluster(diffused, rounding, graph, n_seeds=2)
    assert nodes_of(diffused, rounded).tolist() == [2, 3]
    assert rounded.conductance == pytest.approx(1 / 2)
    assert len(rounded.sweep.size) == 0
    with_score = scored(graph, np.array([0, 0, 0, 0.5, 0.2, 0]), reached=np.array([2, 3]))
    support = round_cluster(with_score, "support", graph, n_seeds=2)
    assert nodes_of(with_score, support).tolist() == [3, 4, 2]
    assert support.conductance == pytest.approx(2 / 4)


def test_the_unknown_rounding():
    graph = as_graph(nx.to_scipy_sparse_array(nx.path_graph(3)))
    with pytest.raises(ValueError, match="support, labels, sweep, got 'best'"):
        round_cluster(scored(graph, np.ones(3)), "best", graph)


def test_a_diffusion_that_is_out_of_date():
    graph, workspace = as_graph(nx.to_scipy_sparse_array(nx.path_graph(9))), Workspace(9)
    old = PageRank(epsilon=1e-4).diffuse(graph, Query(np.array([3])), workspace)
    PageRank(epsilon=0.9).diffuse(graph, Query(np.array([3])), workspace)
    with pytest.raises(ValueError, match="out of date"):
        round_cluster(old, "sweep", graph)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_real_diffusion_finds_its_planted_block(weighted):
    network = nx.planted_partition_graph(2, 75, 0.2, 0.01, seed=1)
    rng = np.random.default_rng(0)
    if weighted:
        for u, v in network.edges:
            network.edges[u, v]["weight"] = rng.uniform(0.5, 2.0)
    graph = as_graph(nx.to_scipy_sparse_array(network, range(150)), weighted=weighted)
    truth = np.repeat(np.arange(2), 75)
    labels = np.where(rng.random(150) < 0.8, truth == 0, truth != 0).astype(np.int32)
    query = Query(np.array([70]), labels=Labels(labels))
    for method in (PageRank(epsilon=1e-4), LabelPageRank(epsilon=1e-4)):
        assert method.default_rounding == "sweep"
        diffused = method.diffuse(graph, query, Workspace(150))
        rounded = round_cluster(diffused, method.default_rounding, graph)
        members = nodes_of(diffused, rounded)
        assert rounded.conductance == pytest.approx(
            nx.conductance(network, members, weight="weight")
        )
        found = np.mean(truth[members] == 0)
        assert found > 0.8
