import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, sparse

from graphnoise.flow_diffusion import engine, p_norm
from graphnoise.flow_diffusion.p_norm import PNormFlowDiffusion
from graphnoise.flow_diffusion.plain import FlowDiffusion
from graphnoise.flow_diffusion.reference import reference_diffusion, reference_weights
from graphnoise.local_clusters.adjacency import Adjacency
from graphnoise.local_clusters.base import Workspace
from graphnoise.local_clusters.query import Budget, Labels, Query
from graphnoise.local_subgraph import GraphArrays


def as_graph(matrix):
    rows = sparse.csr_array(matrix)
    weighted = bool(np.any(rows.data != 1))
    arrays = GraphArrays(
        rows.indptr.astype(np.int64), rows.indices.astype(np.int32),
        rows.data.astype(float) if weighted else np.empty(0),
        np.asarray(rows.sum(axis=1), float) if weighted else np.empty(0),
    )  # fmt: skip
    return Adjacency(arrays, float(rows.sum()))


def random_matrix(n, rng, *, weighted=False, density=0.15):
    upper = np.triu(rng.random((n, n)) < density, 1)
    upper[np.arange(n - 1), np.arange(1, n)] = True
    matrix = upper * (rng.uniform(0.3, 3.0, (n, n)) if weighted else 1.0)
    return matrix + matrix.T


def source_of(matrix, seeds, mass):
    degree, source = matrix.sum(axis=1), np.zeros(len(matrix))
    source[seeds] = mass * degree[seeds] / degree[seeds].sum()
    return source


def edges_of(weights):
    u, v = np.nonzero(np.triu(weights))
    return u, v, weights[u, v]


def dual_objective(x, weights, capacity, source, p):
    u, v, w = edges_of(weights)
    q = p / (p - 1)
    return np.sum(w * np.abs(x[u] - x[v]) ** q) / q + x @ (capacity - source)


def exact_dual(weights, capacity, source, p):
    """x of the dual problem, by scipy's bounded quasi-Newton method."""
    u, v, w = edges_of(weights)

    def value_and_slope(x):
        sent = w * np.sign(x[u] - x[v]) * np.abs(x[u] - x[v]) ** (1 / (p - 1))
        slope = capacity - source
        np.add.at(slope, u, sent)
        np.add.at(slope, v, -sent)
        return dual_objective(x, weights, capacity, source, p), slope

    found = optimize.minimize(
        value_and_slope, np.full(len(source), 1e-3), jac=True, method="L-BFGS-B",
        bounds=[(0, None)] * len(source), options={"maxiter": 20000, "maxfun": 60000, "ftol": 1e-15,
        "gtol": 1e-10, "maxcor": 30},
    )  # fmt: skip
    return found.x, found.fun


def exact_primal(weights, capacity, source, p):
    """Objective of the primal problem, by scipy's SLSQP."""
    u, v, w = edges_of(weights)
    incidence = np.zeros((len(u), len(source)))
    incidence[np.arange(len(u)), u], incidence[np.arange(len(u)), v] = 1, -1
    found = optimize.minimize(
        lambda f: np.sum(np.abs(f) ** p / w ** (p - 1)) / p, np.zeros(len(u)),
        jac=lambda f: np.sign(f) * (np.abs(f) / w) ** (p - 1), method="SLSQP",
        constraints={
            "type": "ineq", "fun": lambda f: capacity - source + incidence.T @ f,
            "jac": lambda f: incidence.T,
        },
        options={"maxiter": 1000, "ftol": 1e-13},
    )  # fmt: skip
    # any feasible flow bounds the dual; that they meet is what the test asks
    assert np.min(capacity - source + incidence.T @ found.x) > -1e-6
    return found.fun


def diffuse(method, matrix, seeds, mass, *, labels=None, **budget):
    query = Query(np.asarray(seeds), mass, labels, Budget(**budget))
    found = method.diffuse(as_graph(matrix), query, Workspace(len(matrix)))
    node = found.subgraph.node[: len(found.score)]
    x, held = np.zeros(len(matrix)), np.zeros(len(matrix))
    x[node], held[node] = found.score, found.mass
    return x, held, found


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seeds", [[4], [4, 9]])
def test_two_is_quadratic_flow_diffusion(weighted, seeds):
    matrix = random_matrix(40, np.random.default_rng(1), weighted=weighted)
    mass = 0.5 * matrix.sum()
    x, held, found = diffuse(PNormFlowDiffusion(p=2, tolerance=1e-9), matrix, seeds, mass)
    exact = reference_diffusion(matrix, matrix.sum(axis=1), source_of(matrix, seeds, mass))
    np.testing.assert_allclose(x, exact, rtol=1e-5, atol=1e-7 * exact.max())
    other, _, _ = diffuse(FlowDiffusion(tolerance=1e-9), matrix, seeds, mass)
    np.testing.assert_allclose(x, other, rtol=1e-5, atol=1e-7 * exact.max())
    assert held.sum() == pytest.approx(mass)
    assert found.converged


@pytest.mark.parametrize("p", [2.0, 2.5, 3.0, 4.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_objective_against_both_problems_solved_by_scipy(p, weighted):
    matrix = random_matrix(16, np.random.default_rng(2), weighted=weighted)
    degree, mass = matrix.sum(axis=1), 0.4 * matrix.sum()
    source = source_of(matrix, [5], mass)
    x, held, found = diffuse(PNormFlowDiffusion(p=p, tolerance=1e-6), matrix, [5], mass)
    value = dual_objective(x, matrix, degree, source, p)
    theirs, best = exact_dual(matrix, degree, source, p)
    assert value == pytest.approx(best, rel=1e-6)
    # strong duality, with a primal problem that knows nothing of x
    assert -value == pytest.approx(exact_primal(matrix, degree, source, p), rel=1e-6)
    np.testing.assert_allclose(x, theirs, atol=2e-2 * x.max())
    assert held.sum() == pytest.approx(mass)
    assert found.converged
    assert found.certificate.within(1e-6 * (1 + 1e-6))


@pytest.mark.parametrize("p", [2.0, 3.0, 4.0, 8.0])
def test_gap_is_primal_minus_dual(p):
    matrix = random_matrix(30, np.random.default_rng(3), weighted=True)
    degree, mass = matrix.sum(axis=1), 0.3 * matrix.sum()
    x, held, found = diffuse(PNormFlowDiffusion(p=p, tolerance=0.05), matrix, [7], mass)
    source, (u, v, w) = source_of(matrix, [7], mass), edges_of(matrix)
    flow = w * np.sign(x[u] - x[v]) * np.abs(x[u] - x[v]) ** (1 / (p - 1))
    expected = source.copy()
    np.add.at(expected, u, -flow)
    np.add.at(expected, v, flow)
    np.testing.assert_allclose(held, expected, atol=1e-9 * mass)
    primal = np.sum(np.abs(flow) ** p / w ** (p - 1)) / p
    certificate = found.certificate
    assert certificate.gap == pytest.approx(primal + dual_objective(x, matrix, degree, source, p))
    over = (expected - degree) / degree
    assert certificate.excess == pytest.approx(over.max())
    assert certificate.slack == pytest.approx(np.abs(over[x > 0]).max())
    assert certificate.negative == 0
    assert found.converged
    # nodes of positive score are full up to the tolerance, hence the bound on their volume
    assert degree[x > 0].sum() <= mass / (1 - 0.05)


def test_two_nodes_and_a_leaf_by_hand():
    # path 0-1-2, mass 3 on an end of capacity 1: 2 must leave it, node 1 keeps 2, nothing goes on
    matrix = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], float)
    x, held, _ = diffuse(PNormFlowDiffusion(p=4, tolerance=1e-4), matrix, [0], 3.0)
    np.testing.assert_allclose(held, [1, 2, 0], atol=1e-3)
    np.testing.assert_allclose(x, [2**3, 0, 0], rtol=1e-3)


@pytest.mark.parametrize("p", [3.0, 6.0])
def test_labels_weigh_the_edges(p):
    rng = np.random.default_rng(4)
    matrix, labels = random_matrix(40, rng), rng.integers(-1, 2, 40)
    mass, asked = 0.3 * matrix.sum(), []
    method = PNormFlowDiffusion(p=p, tolerance=1e-3, epsilon=0.1)
    given_array = Labels(labels.astype(np.int32))
    x, held, found = diffuse(method, matrix, [3], mass, labels=given_array)
    weights = reference_weights(matrix, labels=labels, epsilon=0.1)
    source, (u, v, w) = source_of(matrix, [3], mass), edges_of(weights)
    flow = w * np.sign(x[u] - x[v]) * np.abs(x[u] - x[v]) ** (1 / (p - 1))
    np.add.at(source, u, -flow)
    np.add.at(source, v, flow)
    np.testing.assert_allclose(held, source, atol=1e-9 * mass)
    assert found.certificate.within(1e-3 * (1 + 1e-6))

    def function(nodes):
        asked.extend(nodes)
        return labels[nodes]

    by_function, _, _ = diffuse(method, matrix, [3], mass, labels=Labels(function=function))
    np.testing.assert_array_equal(by_function, x)
    assert len(set(asked)) == len(asked)
    plain, _, _ = diffuse(PNormFlowDiffusion(p=p), matrix, [3], mass, labels=given_array)
    unlabelled, _, _ = diffuse(PNormFlowDiffusion(p=p), matrix, [3], mass)
    np.testing.assert_array_equal(plain, unlabelled)


def test_renumbering_the_nodes_changes_nothing():
    rng = np.random.default_rng(5)
    matrix, order = random_matrix(50, rng, weighted=True), rng.permutation(50)
    method, mass = PNormFlowDiffusion(p=3, tolerance=1e-7), 0.3 * matrix.sum()
    one, _, _ = diffuse(method, matrix, [6], mass)
    other, _, _ = diffuse(method, matrix[order][:, order], [np.argsort(order)[6]], mass)
    np.testing.assert_allclose(one[order], other, rtol=1e-3, atol=1e-4 * one.max())


def by_pushes(monkeypatch):
    """Let Newton's method give up at once, so that single steps from x = 0 do it all."""
    monkeypatch.setattr(p_norm, "newton_round", lambda *_: p_norm.FAILED)


@pytest.mark.parametrize("p", [2.5, 3.0, 4.0, 6.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_newton_agrees_with_single_steps(p, weighted, monkeypatch):
    matrix = random_matrix(60, np.random.default_rng(8), weighted=weighted, density=0.1)
    method, mass = PNormFlowDiffusion(p=p, tolerance=1e-3), 0.4 * matrix.sum()
    one, _, found = diffuse(method, matrix, [6, 30], mass)
    by_pushes(monkeypatch)
    other, _, pushed = diffuse(method, matrix, [6, 30], mass)
    assert found.converged
    assert pushed.converged
    assert found.edges != pushed.edges
    np.testing.assert_allclose(one, other, atol=0.02 * other.max())
    degree, source = matrix.sum(axis=1), source_of(matrix, [6, 30], mass)
    values = [dual_objective(x, matrix, degree, source, p) for x in (one, other)]
    assert values[0] == pytest.approx(values[1], rel=1e-4)


def planted_blocks(rng, n_blocks=20, size=150, within=0.3, between=0.0003):
    block = np.repeat(np.arange(n_blocks), size)
    chance = np.where(block[:, None] == block, within, between)
    upper = np.triu(rng.random(chance.shape) < chance, 1)
    return (upper | upper.T).astype(float)


@pytest.mark.parametrize("p", [3.0, 4.0])
def test_settles_on_many_blocks_where_single_steps_do_not(p, monkeypatch):
    matrix = planted_blocks(np.random.default_rng(9))
    mass, visits = 0.5 * matrix.sum(), 6_000_000
    method = PNormFlowDiffusion(p=p)
    _, held, found = diffuse(method, matrix, [5], mass, max_edges=visits)
    assert found.converged
    assert found.certificate.within(0.05 * (1 + 1e-6))
    assert np.all(held <= 1.05 * (1 + 1e-6) * matrix.sum(axis=1))
    by_pushes(monkeypatch)
    _, _, pushed = diffuse(method, matrix, [5], mass, max_edges=visits)
    assert (pushed.converged, pushed.stopped_by) == (False, "max_edges")


def test_where_a_slice_ends_does_not_matter(monkeypatch):
    matrix = random_matrix(300, np.random.default_rng(10), density=0.03)
    method, mass = PNormFlowDiffusion(p=4, tolerance=1e-4), 0.5 * matrix.sum()
    whole, _, found = diffuse(method, matrix, [5], mass)
    monkeypatch.setattr(engine, "FIRST_SLICE", 1)
    monkeypatch.setattr(engine, "SLICE_PER_ENTRY", 0)
    sliced, _, also = diffuse(method, matrix, [5], mass)
    assert found.converged
    assert also.converged
    np.testing.assert_allclose(sliced, whole, atol=1e-2 * whole.max())


def test_a_run_cut_short_names_the_norm_it_had_reached():
    matrix = planted_blocks(np.random.default_rng(9), n_blocks=4)
    mass, method, reached = 0.5 * matrix.sum(), PNormFlowDiffusion(p=4), set()
    _, _, whole = diffuse(method, matrix, [5], mass)
    assert whole.notes == ()
    for limit in np.linspace(1000, whole.edges, 20, endpoint=False).astype(int):
        x, held, found = diffuse(method, matrix, [5], mass, max_edges=int(limit))
        assert (found.stopped_by, found.converged) == ("max_edges", False)
        assert found.edges <= 1.3 * limit + 40 * np.count_nonzero(matrix)
        assert held.sum() == pytest.approx(mass)
        assert np.all(x >= 0)
        reached.update(note.split()[-1] for note in found.notes)
    assert {"2", "3"} <= reached


@settings(deadline=None, max_examples=40)
@given(
    st.integers(2, 12), st.integers(0, 2**32 - 1), st.floats(2.0, 8.0), st.floats(0.05, 0.9),
    st.booleans(),
)  # fmt: skip
def test_any_small_graph(n, random, p, share, weighted):
    rng = np.random.default_rng(random)
    matrix = random_matrix(n, rng, weighted=weighted, density=rng.random())
    seeds = rng.choice(n, rng.integers(1, n + 1), replace=False)
    mass, degree = share * matrix.sum(), matrix.sum(axis=1)
    _, held, found = diffuse(PNormFlowDiffusion(p=p, tolerance=0.02), matrix, seeds, mass)
    assert found.converged
    assert held.sum() == pytest.approx(mass)
    assert np.all(held <= degree * (1.02 + 1e-6))
    assert found.certificate.within(0.02 + 1e-6)


def test_budgets_end_the_run_and_say_so():
    matrix = random_matrix(200, np.random.default_rng(6), density=0.03)
    mass, method = 0.5 * matrix.sum(), PNormFlowDiffusion(p=4)
    for name, limit in (("max_volume", 100), ("max_edges", 3000), ("timeout", 1e-9)):
        x, held, found = diffuse(method, matrix, [5], mass, **{name: limit})
        assert (found.stopped_by, found.converged) == (name, False)
        assert held.sum() == pytest.approx(mass)
        assert np.all(x >= 0)


@pytest.mark.parametrize("p", [2.0, 4.0])
def test_more_mass_than_the_component_holds(p):
    matrix = np.zeros((7, 7))
    matrix[:3, :3] = matrix[3:, 3:] = 1
    np.fill_diagonal(matrix, 0)
    with pytest.raises(ValueError, match="exceeds the volume 6"):
        diffuse(PNormFlowDiffusion(p=p), matrix, [0], 7.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"p": 1.5}, "p must be at least 2"),
        ({"p": float("inf")}, "p must be at least 2"),
        ({"tolerance": 0.0}, "tolerance must be in"),
        ({"epsilon": -0.1}, "epsilon must be in"),
    ],
)
def test_bad_settings(fields, message):
    with pytest.raises(ValueError, match=message):
        PNormFlowDiffusion(**fields)


def test_bad_queries():
    matrix = random_matrix(5, np.random.default_rng(0))
    with pytest.raises(ValueError, match="mass is needed"):
        diffuse(PNormFlowDiffusion(), matrix, [0], None)
    with pytest.raises(ValueError, match="labels are needed"):
        diffuse(PNormFlowDiffusion(epsilon=0.1), matrix, [0], 2.0)
