"""What holds of every diffusion: symmetries, locality, budgets, what is refused."""

import numpy as np
import pytest

from graphnoise.flow_diffusion import compiled
from graphnoise.flow_diffusion.attributed import AttributedFlowDiffusion
from graphnoise.flow_diffusion.engine import FlowRun, FlowSettings
from graphnoise.flow_diffusion.labelled import LabelFlowDiffusion
from graphnoise.flow_diffusion.mass_path import MassPath, follow_path
from graphnoise.flow_diffusion.plain import FlowDiffusion
from graphnoise.flow_diffusion.reference import reference_diffusion, reference_weights
from graphnoise.local_clusters.adjacency import Adjacency
from graphnoise.local_clusters.base import Workspace
from graphnoise.local_clusters.query import Budget, Labels, Query
from graphnoise.local_subgraph import EXPANDED, NODES, GraphArrays, plain_weighting

ORDERS = ("fifo", "over_relaxed", "conjugate")
TIGHT = 1e-9


def blocks(sizes, *, inside, across, seed):
    """A planted partition with `inside` and `across` neighbours per node; adjacency and block."""
    rng = np.random.default_rng(seed)
    block = np.repeat(np.arange(len(sizes)), sizes)
    n = len(block)
    first = np.repeat(np.arange(n), inside + across)
    second = rng.integers(0, n, len(first))
    near = np.tile(np.arange(inside + across) < inside, n)
    start = np.r_[0, np.cumsum(sizes)]
    width = np.diff(start)[block[first]]
    local = start[block[first]] + rng.integers(0, 1 << 30, len(first)) % width
    second = np.where(near, local, second)
    keep = first != second
    return edges_to_adjacency(n, first[keep], second[keep]), block


def edges_to_adjacency(n, first, second, features=None):
    ends = np.unique(np.r_[first * n + second, second * n + first])
    indptr = np.searchsorted(ends, np.arange(n + 1) * n)
    empty = np.empty(0)
    arrays = GraphArrays(indptr.astype(np.int64), (ends % n).astype(np.int32), empty, empty)
    return Adjacency(arrays, float(len(ends)), features=features)


def dense(adjacency):
    n = adjacency.n_nodes
    matrix = np.zeros((n, n))
    matrix[np.repeat(np.arange(n), np.diff(adjacency.arrays.indptr)), adjacency.arrays.indices] = 1
    return matrix


def ask(method, adjacency, seeds, mass, *, labels=None, workspace=None, **budget):
    if labels is not None and not isinstance(labels, Labels):
        labels = Labels(np.asarray(labels, np.int32))
    query = Query(np.asarray(seeds, np.int64), mass, labels, Budget(**budget))
    return method.diffuse(adjacency, query, workspace or Workspace(adjacency.n_nodes))


def spread(found, n):
    """Scores over the whole graph."""
    score = np.zeros(n)
    score[found.subgraph.node[: len(found.score)]] = found.score
    return score


@pytest.fixture(scope="module")
def planted():
    """1,200 nodes in 4 blocks."""
    return blocks([300] * 4, inside=8, across=3, seed=0)


@pytest.mark.parametrize("order", ORDERS)
def test_epsilon_one_is_plain_and_labels_may_be_flipped(planted, order):
    adjacency, block = planted
    labels = np.where(np.random.default_rng(1).random(1200) < 0.1, -1, block == 2)
    n = adjacency.n_nodes
    plain = spread(ask(FlowDiffusion(order=order), adjacency, [650], 4000.0), n)
    same = LabelFlowDiffusion(order=order, epsilon=1.0)
    assert np.array_equal(plain, spread(ask(same, adjacency, [650], 4000.0, labels=labels), n))
    method = LabelFlowDiffusion(order=order)
    one = ask(method, adjacency, [650], 4000.0, labels=labels)
    other = ask(method, adjacency, [650], 4000.0, labels=np.where(labels < 0, -1, 1 - labels))
    assert np.array_equal(spread(one, n), spread(other, n))
    assert not np.array_equal(plain, spread(one, n))


@pytest.mark.parametrize("order", ORDERS)
def test_the_answer_does_not_depend_on_the_numbers_of_the_nodes(planted, order):
    adjacency, block = planted
    n, new = adjacency.n_nodes, np.random.default_rng(2).permutation(adjacency.n_nodes)
    owner = np.repeat(np.arange(n), np.diff(adjacency.arrays.indptr))
    renumbered = edges_to_adjacency(n, new[owner], new[adjacency.arrays.indices])
    method = LabelFlowDiffusion(TIGHT, order)
    labels = (block == 0).astype(int)
    moved_labels = np.empty(n, int)
    moved_labels[new] = labels
    one = spread(ask(method, adjacency, [7], 3000.0, labels=labels), n)
    other = spread(ask(method, renumbered, [new[7]], 3000.0, labels=moved_labels), n)
    np.testing.assert_allclose(other[new], one, atol=1e-5 * one.max())


@pytest.mark.parametrize("order", ORDERS)
def test_a_used_workspace_changes_nothing(planted, order):
    """Room left by earlier queries must not change even the last bit: batches rely on it."""
    adjacency, block = planted
    labels, method = (block == 0).astype(int), LabelFlowDiffusion(order=order)
    workspace = Workspace(adjacency.n_nodes)
    ask(method, adjacency, [900], 9000.0, labels=labels, workspace=workspace)
    used = ask(method, adjacency, [7], 3000.0, labels=labels, workspace=workspace)
    fresh = ask(method, adjacency, [7], 3000.0, labels=labels)
    assert np.array_equal(used.score, fresh.score)
    assert used.edges == fresh.edges


@pytest.mark.parametrize("order", ORDERS)
def test_labels_of_a_function_are_asked_once_and_count_the_same(planted, order):
    adjacency, block = planted
    labels, asked = np.where(np.arange(1200) % 7 == 0, -1, block == 1), []

    def answer(nodes):
        asked.append(nodes)
        return labels[nodes]

    method = LabelFlowDiffusion(order=order)
    given = ask(method, adjacency, [400], 3000.0, labels=labels)
    found = ask(method, adjacency, [400], 3000.0, labels=Labels(function=answer))
    assert np.array_equal(found.score, given.score)
    everything = np.concatenate(asked)
    assert len(np.unique(everything)) == len(everything)
    touched = found.subgraph.node[: len(found.score)]
    assert np.array_equal(np.sort(everything), np.sort(touched))
    if order == "conjugate":
        assert len(asked) < 12


def test_a_function_that_returns_too_few_labels_is_refused(planted):
    function = Labels(function=lambda nodes: np.ones(1, np.int8))
    with pytest.raises(ValueError, match=r"must return \[\d+\] labels, got \(1,\)"):
        ask(LabelFlowDiffusion(), planted[0], [400], 3000.0, labels=function)


@pytest.mark.parametrize("order", ORDERS)
def test_the_support_grows_with_the_mass(planted, order):
    adjacency, _ = planted
    before = np.zeros(1200)
    for mass in (100.0, 700.0, 2500.0, 6000.0):
        now = spread(ask(FlowDiffusion(TIGHT, order), adjacency, [3], mass), 1200)
        assert np.all(now >= before - 1e-6 * now.max())
        before = now


def test_adding_mass_to_a_run_ends_where_a_fresh_run_ends(planted):
    adjacency, _ = planted
    for order in ORDERS:
        run = FlowRun(
            adjacency, plain_weighting(), Workspace(1200), np.array([3]),
            settings=FlowSettings(TIGHT, order),
        )  # fmt: skip
        for mass in (500.0, 500.0, 2000.0):
            run.add_mass(mass)
            assert run.solve() == ""
        assert run.source_mass == 3000.0
        warm = spread(run.diffused(), 1200)
        cold = spread(ask(FlowDiffusion(TIGHT, order), adjacency, [3], 3000.0), 1200)
        np.testing.assert_allclose(warm, cold, atol=1e-5 * cold.max())


def test_first_in_first_out_never_expands_more_volume_than_the_mass(planted):
    adjacency, block = planted
    for mass in (50.0, 1000.0, 5000.0):
        method = LabelFlowDiffusion(1e-3, "fifo")
        found = ask(method, adjacency, [5, 800], mass, labels=block == 0)
        sub, n = found.subgraph, len(found.score)
        expanded = sub.start[:n] >= 0
        assert sub.degree[:n][expanded].sum() <= mass
        assert n <= mass + 2


def test_conjugate_steps_save_most_visits_where_mass_travels_far():
    """Products are counted as visits too, though they cost a fifth of a push."""
    path = edges_to_adjacency(1000, np.arange(999), np.arange(1, 1000))
    labels = (np.arange(1000) % 20 < 19).astype(int)
    for method, mass in ((FlowDiffusion, 400.0), (LabelFlowDiffusion, 80.0)):
        visits = [
            ask(method(1e-2, order), path, [500], mass, labels=labels).edges for order in ORDERS
        ]
        assert visits[2] < 0.2 * min(visits[:2]), method


def test_work_does_not_grow_with_the_graph():
    visits = []
    for n_blocks in (4, 40):
        adjacency, block = blocks([100] * n_blocks, inside=10, across=2, seed=3)
        found = ask(LabelFlowDiffusion(), adjacency, [5], 2000.0, labels=block == 0)
        visits.append(found.edges)
    assert visits[1] < 2 * visits[0]


class NeverPulledBack(FlowRun):
    """Over-relaxation as it must not be done: it looks faster, and what it leaves is wrong."""

    def _advance(self, tolerance, last_visit):
        return compiled.push_rounds(
            1.5, tolerance, False, False, last_visit,
            self.adjacency.arrays, self.weighting, self._sub, self._flow,
        )  # fmt: skip


def test_the_certificate_sees_what_over_relaxation_without_pull_back_leaves(planted):
    run = NeverPulledBack(planted[0], plain_weighting(), Workspace(1200), np.array([3]))
    run.add_mass(3000.0)
    assert run.solve() == ""
    found = run.diffused()
    assert found.certificate.slack > 0.2
    assert not found.converged


def test_the_certificate_is_computed_from_x(planted):
    run = FlowRun(planted[0], plain_weighting(), Workspace(1200), np.array([3]))
    run.add_mass(3000.0)
    run.solve()
    assert run.certificate().within(0.05 * (1 + 1e-6))
    run.x[np.argmax(run.x)] *= 1.1
    assert run.certificate().excess > 0.1
    run.x[np.argmax(run.x)] *= -1.0
    assert run.certificate().negative > 0.0


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("budget", "value"), [("max_volume", 400.0), ("max_edges", 3000), ("timeout", 1e-9)]
)
def test_budgets_end_a_run_and_say_so(planted, order, budget, value):
    found = ask(FlowDiffusion(order=order), planted[0], [3], 5000.0, **{budget: value})
    assert found.stopped_by == budget
    assert not found.converged
    np.testing.assert_allclose(found.mass.sum(), 5000.0)
    if budget == "max_volume":
        sub, n = found.subgraph, len(found.score)
        assert sub.degree[:n][sub.start[:n] >= 0].sum() <= value


@pytest.mark.parametrize("order", ORDERS)
def test_a_component_that_is_almost_full_ends(order):
    """A path of 400 filled to the brim: mass crawls from end to end."""
    adjacency = edges_to_adjacency(400, np.arange(399), np.arange(1, 400))
    mass = 0.999 * adjacency.total_volume
    found = ask(FlowDiffusion(1e-3, order), adjacency, [0], mass, max_edges=30_000_000)
    assert found.converged or found.stopped_by == "max_edges"
    if order == "conjugate":
        assert found.converged


@pytest.mark.parametrize("order", ORDERS)
def test_each_component_must_hold_its_own_mass(order):
    """A triangle with capacity 6 and a long path: the path's room does not help the triangle."""
    first = np.r_[0, 1, 2, np.arange(3, 60)]
    second = np.r_[1, 2, 0, np.arange(4, 61)]
    adjacency = edges_to_adjacency(61, first, second)
    for mass in (7.0, 90.0):
        with pytest.raises(ValueError, match="exceeds the volume 6 of the seeds' component"):
            ask(FlowDiffusion(order=order), adjacency, [0], mass)
    # two thirds of it goes to the triangle, one third to the path's end
    assert ask(FlowDiffusion(order=order), adjacency, [0, 3], 8.0).converged
    with pytest.raises(ValueError, match="mass 8 exceeds the volume 6"):
        ask(FlowDiffusion(order=order), adjacency, [0, 3], 12.0)


@pytest.mark.parametrize("order", ORDERS)
def test_a_seed_whose_neighbours_all_differ_holds_its_degree_at_epsilon_zero(order):
    adjacency = edges_to_adjacency(4, np.array([0, 0, 1]), np.array([1, 2, 3]))
    labels, method = [1, 0, 0, 0], LabelFlowDiffusion(order=order, epsilon=0.0)
    held = ask(method, adjacency, [0], 2.0, labels=labels)
    assert held.converged
    assert not held.score.any()
    with pytest.raises(ValueError, match="mass 3 exceeds the volume 2 of the seeds' component"):
        ask(method, adjacency, [0], 3.0, labels=labels)


@pytest.mark.parametrize(
    ("ask_for", "message"),
    [
        (lambda a: ask(FlowDiffusion(), a, [4], 1.0), "a seed must have neighbours; node 4"),
        (lambda a: ask(FlowDiffusion(), a, [0], 100.0), "exceeds the volume 6 of the whole graph"),
        (lambda a: ask(FlowDiffusion(), a, [0], -1.0), "mass must be positive"),
        (lambda a: ask(FlowDiffusion(), a, [0], np.nan), "mass must be positive"),
        (lambda a: ask(LabelFlowDiffusion(), a, [0], 2.0), "needs labels"),
        (lambda a: ask(AttributedFlowDiffusion(), a, [0], 2.0), "needs node features"),
        (lambda a: LabelFlowDiffusion(epsilon=1.5), r"epsilon must be in \[0, 1\]"),
        (lambda a: AttributedFlowDiffusion(gamma=-1.0), "gamma must be finite"),
        (lambda a: FlowDiffusion(tolerance=0.0), "tolerance must be in"),
        (lambda a: FlowDiffusion(order="lifo"), "order must be one of"),
        (lambda a: FlowDiffusion(omega=2.0), "omega must be"),
        (lambda a: MassPath(growth=1.0), "growth above 1"),
    ],
)
def test_what_cannot_be_answered_is_refused(ask_for, message):
    adjacency = edges_to_adjacency(5, np.array([0, 1, 2]), np.array([1, 2, 3]))
    with pytest.raises(ValueError, match=message):
        ask_for(adjacency)


def test_the_mass_path_finds_a_planted_block():
    adjacency, block = blocks([60, 60, 60, 60], inside=12, across=1, seed=5)
    for labels in (block == 1, np.full(240, -1)):
        found = ask(LabelFlowDiffusion(), adjacency, [70], None, labels=labels)
        members = found.subgraph.node[: len(found.score)][found.score > 0]
        assert found.converged
        assert found.certificate.within(0.05 * (1 + 1e-6))
        assert np.mean(block[members] == 1) > 0.9
        assert len(members) > 54


def test_the_mass_path_is_the_best_of_cold_runs():
    adjacency, block = blocks([80] * 5, inside=5, across=3, seed=6)
    labels = np.where(np.random.default_rng(0).random(400) < 0.2, block != 2, block == 2)
    weights = reference_weights(dense(adjacency), labels=labels, epsilon=0.05)
    degree, total = dense(adjacency).sum(1), adjacency.total_volume
    path, best = MassPath(growth=1.6, tolerance=1e-6), (np.inf, 0.0)
    mass = max(200.0, 4 * degree[200])
    while mass <= 0.7 * total:
        source = np.zeros(400)
        source[200] = mass
        inside = reference_diffusion(weights, degree, source) > 0
        volume, whole = degree[inside].sum(), weights[inside].sum()
        rest = min(1.0, (total - volume) / volume)
        best = min(best, (weights[np.ix_(inside, ~inside)].sum() / (whole * rest), mass))
        mass *= 1.6
    weighting = plain_weighting()._replace(labels=labels.astype(np.int32), epsilon=0.05)
    run = FlowRun(adjacency, weighting, Workspace(400), np.array([200]))
    found = follow_path(run, path)
    assert found.source_mass == pytest.approx(best[1])


def test_the_mass_path_in_a_small_component_and_under_a_budget(planted):
    triangle = edges_to_adjacency(
        400, np.r_[0, 1, 2, np.arange(3, 399)], np.r_[1, 2, 0, np.arange(4, 400)]
    )
    found = ask(FlowDiffusion(), triangle, [0], None)
    assert found.source_mass == pytest.approx(0.7 * 6)
    stopped = ask(FlowDiffusion(), planted[0], [3], None, max_edges=20_000)
    assert stopped.stopped_by == "max_edges"
    assert not stopped.converged
    assert stopped.subgraph.used[EXPANDED] < stopped.subgraph.used[NODES]
