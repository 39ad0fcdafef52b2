"""The three quadratic flow diffusions against dense solutions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from graphnoise.flow_diffusion.attributed import AttributedFlowDiffusion
from graphnoise.flow_diffusion.labelled import LabelFlowDiffusion
from graphnoise.flow_diffusion.plain import FlowDiffusion
from graphnoise.flow_diffusion.reference import reference_diffusion, reference_weights
from graphnoise.local_clusters.adjacency import Adjacency
from graphnoise.local_clusters.base import Workspace
from graphnoise.local_clusters.query import Budget, Labels, Query
from graphnoise.local_subgraph import GraphArrays

ORDERS = ("fifo", "over_relaxed", "conjugate")
TIGHT = 1e-9


def adjacency_of(matrix, features=None):
    """`matrix` [N, N] as the form methods read."""
    rows = sparse.csr_array(matrix)
    weighted = bool(np.any(rows.data != 1))
    return Adjacency(
        GraphArrays(
            rows.indptr.astype(np.int64), rows.indices.astype(np.int32),
            rows.data.astype(float) if weighted else np.empty(0),
            np.asarray(rows.sum(axis=1), float) if weighted else np.empty(0),
        ),
        float(rows.sum()), features=features,
    )  # fmt: skip


def random_graph(n, n_edges, *, seed, weighted=False):
    """A connected graph: a random tree and further edges; [N, N] float64."""
    rng = np.random.default_rng(seed)
    matrix = np.zeros((n, n))
    for i in range(1, n):
        matrix[i, rng.integers(i)] = 1
    for i, j in rng.integers(0, n, (n_edges, 2)):
        matrix[i, j] = i != j
    matrix = np.maximum(matrix, matrix.T)
    if weighted:
        factor = rng.uniform(0.2, 3.0, (n, n))
        matrix = matrix * (factor + factor.T)
    return matrix


def diffuse(method, matrix, seeds, mass, *, labels=None, features=None, workspace=None, **budget):
    """Score and mass ``[N]`` over the whole graph, and what the method returned."""
    adjacency = adjacency_of(matrix, features)
    if labels is not None and not isinstance(labels, Labels):
        labels = Labels(np.asarray(labels, np.int32))
    query = Query(np.asarray(seeds), mass, labels, Budget(**budget))
    found = method.diffuse(adjacency, query, workspace or Workspace(len(matrix)))
    node = found.subgraph.node[: len(found.score)]
    score, held = np.zeros(len(matrix)), np.zeros(len(matrix))
    score[node], held[node] = found.score, found.mass
    return score, held, found


def expected(matrix, seeds, mass, **weights):
    """The exact x."""
    degree, source = matrix.sum(1), np.zeros(len(matrix))
    source[seeds] = mass * degree[seeds] / degree[seeds].sum()
    return reference_diffusion(reference_weights(matrix, **weights), degree, source)


def assert_exact(score, held, found, x, mass):
    assert found.converged
    assert found.certificate.within(TIGHT * 1.01)
    np.testing.assert_allclose(score, x, rtol=1e-5, atol=1e-6 * max(x.max(), 1e-12))
    assert np.array_equal(score > 0, x > 0)
    np.testing.assert_allclose(held.sum(), mass, rtol=1e-12)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
def test_plain_diffusion_is_the_dense_solution(order, weighted, share):
    matrix = random_graph(80, 150, seed=1, weighted=weighted)
    mass = share * matrix.sum()
    found = diffuse(FlowDiffusion(TIGHT, order), matrix, [3, 7], mass)
    assert_exact(*found, expected(matrix, [3, 7], mass), mass)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("epsilon", [0.02, 0.3])
def test_labelled_diffusion_is_the_dense_solution(order, weighted, epsilon):
    matrix = random_graph(90, 300, seed=2, weighted=weighted)
    labels = np.random.default_rng(3).integers(-1, 2, 90)
    mass = 0.3 * matrix.sum()
    method = LabelFlowDiffusion(TIGHT, order, epsilon=epsilon)
    found = diffuse(method, matrix, [5], mass, labels=labels)
    assert_exact(*found, expected(matrix, [5], mass, labels=labels, epsilon=epsilon), mass)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("as_rows", [False, True])
@pytest.mark.parametrize("epsilon", [1.0, 0.1])
def test_attributed_diffusion_is_the_dense_solution(order, as_rows, epsilon):
    matrix = random_graph(70, 140, seed=4)
    rng = np.random.default_rng(5)
    features = np.float32(rng.normal(size=(70, 6)) * (rng.random((70, 6)) < 0.4))
    labels = rng.integers(0, 2, 70)
    mass = 0.35 * matrix.sum()
    found = diffuse(
        AttributedFlowDiffusion(TIGHT, order, gamma=0.3, epsilon=epsilon), matrix, [0], mass,
        labels=labels, features=sparse.csr_array(features) if as_rows else features,
    )  # fmt: skip
    x = expected(
        matrix,
        [0],
        mass,
        features=features.astype(float),
        gamma=0.3,
        labels=labels,
        epsilon=epsilon,
    )
    assert_exact(*found, x, mass)


@pytest.mark.parametrize("order", ORDERS)
def test_a_path_of_five_by_hand(order):
    """Mass 4 at the end of a path: 1 stays, then 2, then 1 of the 2 that the third could hold."""
    matrix = np.diag(np.ones(4), 1) + np.diag(np.ones(4), -1)
    score, held, found = diffuse(FlowDiffusion(TIGHT, order), matrix, [0], 4.0)
    np.testing.assert_allclose(held, [1, 2, 1, 0, 0], atol=1e-8)
    np.testing.assert_allclose(score, [4, 1, 0, 0, 0], atol=1e-7)
    assert found.source_mass == 4
    assert abs(found.certificate.gap) < 1e-6


@pytest.mark.parametrize("order", ORDERS)
def test_a_mass_that_fits_on_the_seed_stays_there(order):
    matrix = random_graph(20, 30, seed=0)
    score, held, found = diffuse(FlowDiffusion(order=order), matrix, [4], matrix[4].sum())
    assert not score.any()
    assert held[4] == matrix[4].sum()
    assert found.converged


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_orders_agree_on_odd_graphs(data):
    n = data.draw(st.integers(2, 12), "nodes")
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))
    edges = data.draw(st.lists(pairs.filter(lambda e: e[0] != e[1]), min_size=1, max_size=30))
    matrix = np.zeros((n, n))
    for i, j in edges:
        matrix[i, j] = matrix[j, i] = 1
    seed = edges[0][0]
    labels = data.draw(st.lists(st.integers(-1, 1), min_size=n, max_size=n))
    epsilon = data.draw(st.sampled_from([0.0, 0.05, 1.0]))
    weights = reference_weights(matrix, labels=np.array(labels), epsilon=epsilon)
    _, member = sparse.csgraph.connected_components(weights > 0)
    volume = matrix.sum(1)[member == member[seed]].sum()
    share = data.draw(st.sampled_from([0.2, 0.5, 0.9, 1.1]))
    mass = share * volume
    for order in ORDERS:
        method = LabelFlowDiffusion(TIGHT, order, epsilon=epsilon)
        if share > 1:
            with pytest.raises(ValueError, match="exceeds the volume"):
                diffuse(method, matrix, [seed], mass, labels=labels)
            continue
        found = diffuse(method, matrix, [seed], mass, labels=labels)
        x = expected(matrix, [seed], mass, labels=np.array(labels), epsilon=epsilon)
        assert found[2].converged
        np.testing.assert_allclose(found[0], x, atol=1e-5 * max(x.max(), 1e-9))
