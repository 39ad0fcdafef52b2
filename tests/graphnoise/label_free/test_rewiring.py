import networkx as nx
import numpy as np
import pytest
import torch
from scipy import sparse

from graphnoise.label_free.dirichlet_energy import dirichlet_energy, edge_gaps, undirected_edges
from graphnoise.label_free.edge_scores import (
    EnergyTask,
    ScorerSettings,
    cosine_scores,
    trained_scores,
)
from graphnoise.label_free.rewiring import RewiringSettings, candidate_edges, rewire

SMALL = ScorerSettings(widths=(32, 16), dropout=0.2, learning_rate=1e-2)


def random_case(n=40, seed=0, weighted=False):
    rng = np.random.default_rng(seed)
    dense = np.triu(rng.random((n, n)) < 0.12, 1) * (rng.random((n, n)) if weighted else 1)
    answer = rng.dirichlet(np.full(4, 0.4), size=n).astype(np.float32)
    labelled = rng.choice(n, n // 4, replace=False)
    return sparse.csr_array((dense + dense.T).astype(np.float32)), answer, labelled


def clubs():
    """Zachary's karate club, and an answer that knows the two clubs up to noise."""
    graph = nx.karate_club_graph()
    side = np.array([graph.nodes[v]["club"] == "Officer" for v in graph], int)
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.55, 0.95, len(side))
    sure[rng.random(len(side)) < 0.15] = 0.3
    answer = np.where(np.arange(2) == side[:, None], sure[:, None], 1 - sure[:, None])
    adjacency = sparse.csr_array(nx.to_scipy_sparse_array(graph, weight=None), dtype=np.float32)
    return adjacency, answer.astype(np.float32), np.array([0, 33, 5, 24, 16])


def energy_of(adjacency, answer, a, b):
    ends, weights = undirected_edges(adjacency)
    return float(
        dirichlet_energy(
            torch.from_numpy(ends), torch.from_numpy(weights),
            torch.from_numpy(edge_gaps(ends, answer)), len(answer), smoothness=a, size=b,
        )
    )  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
def test_energy_is_the_dense_one(weighted):
    adjacency, answer, _ = random_case(weighted=weighted)
    dense, y = adjacency.toarray().astype(float), answer.astype(float)
    laplacian = np.diag(dense.sum(axis=0)) - dense
    trace, frobenius = np.trace(y.T @ laplacian @ y), np.linalg.norm(laplacian) ** 2
    want = len(y) / (dense.sum() / 2) * (0.02 * trace + 0.003 * frobenius)
    assert energy_of(adjacency, answer, 0.02, 0.003) == pytest.approx(want)


def test_no_edge_is_worse_than_any():
    none = sparse.csr_array((3, 3), dtype=np.float32)
    assert energy_of(none, np.full((3, 2), 0.5, np.float32), 1, 1) == np.inf


def test_cosine_scores_are_cosines():
    _, answer, _ = random_case()
    answer[3] = 0
    ends = np.stack(np.triu_indices(len(answer), 1))
    lengths = np.linalg.norm(answer, axis=1)
    want = [answer[u] @ answer[v] / (lengths[u] * lengths[v] or 1) for u, v in ends.T]
    np.testing.assert_allclose(cosine_scores(answer, ends), np.clip(want, 0, 1), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_candidates_are_the_nearest_labelled_nodes(seed):
    adjacency, answer, labelled = random_case(seed=seed)
    rows = answer / np.linalg.norm(answer, axis=1, keepdims=True)
    want = set()
    for v in range(len(answer)):
        others = [u for u in labelled if u != v]
        nearest = sorted(others, key=lambda u: -float(rows[u] @ rows[v]))[:3]
        want |= {(min(u, v), max(u, v)) for u in nearest if not adjacency[u, v]}

    found = candidate_edges(adjacency, answer, labelled, 3)

    assert {tuple(pair) for pair in found.T.tolist()} == want
    assert found.shape[1] == len(want)


def test_one_labelled_node_links_to_no_other_labelled_node():
    adjacency, answer, _ = random_case()
    found = candidate_edges(adjacency, answer, np.array([7]), 5)
    assert found.shape[1] == len(answer) - 1 - np.diff(adjacency.indptr)[7]
    assert (found == 7).any(axis=0).all()


@pytest.mark.parametrize("scorer", ["cosine", "trained"])
@pytest.mark.parametrize("seed", range(4))
def test_energy_never_rises(seed, scorer):
    adjacency, answer, labelled = random_case(seed=seed, weighted=seed % 2 == 1)
    settings = RewiringSettings(
        drop=0.3, add=0.4, trials=5, scorer=scorer, network=SMALL, size=10.0 ** (-3 * seed)
    )
    rewired = rewire(adjacency, answer, labelled, settings, seed=seed)

    before = energy_of(adjacency, answer, settings.smoothness, settings.size)
    after = energy_of(rewired.adjacency, answer, settings.smoothness, settings.size)
    assert rewired.energy_before == pytest.approx(before)
    assert rewired.energy == pytest.approx(after, rel=1e-5)
    assert rewired.energy <= rewired.energy_before
    assert abs(rewired.adjacency - rewired.adjacency.T).sum() == 0
    assert rewired.adjacency.diagonal().sum() == 0
    if not rewired.accepted:
        assert (rewired.adjacency != adjacency).nnz == 0


@pytest.mark.parametrize("scorer", ["cosine", "trained"])
def test_lowers_the_energy_of_the_karate_club(scorer):
    adjacency, answer, labelled = clubs()
    settings = RewiringSettings(drop=0.1, add=0.2, trials=10, scorer=scorer, network=SMALL)
    rewired = rewire(adjacency, answer, labelled, settings)
    assert rewired.energy < 0.95 * rewired.energy_before
    assert rewired.added > 0
    assert 0 < rewired.dropped <= 7


def test_training_lowers_the_energy_of_the_weighted_graph():
    adjacency, answer, labelled = clubs()
    given, _ = undirected_edges(adjacency)
    ends = np.concatenate([given, candidate_edges(adjacency, answer, labelled, 3)], axis=1)
    task = EnergyTask(answer, ends, edge_gaps(ends, answer), smoothness=1e-2, size=1e-6)

    def energy(scores):
        parts = (torch.from_numpy(x) for x in (ends, scores, task.gaps))
        return float(dirichlet_energy(*parts, len(answer), smoothness=1e-2, size=1e-6))

    course = [energy(scores) for scores in trained_scores(task, 40, SMALL, seed=0)]
    assert course[-1] < 0.8 * course[0]
    assert course[-1] < energy(np.ones(ends.shape[1]))


def test_bounds_of_a_proposal_hold():
    adjacency, answer, labelled = random_case(n=60)
    n_edges = adjacency.nnz // 2
    bound = n_edges / 60 + 0.1
    settings = RewiringSettings(drop=0, add=1, edges_per_node=bound, size=0)
    rewired = rewire(adjacency, answer, labelled, settings)
    assert rewired.dropped == 0
    assert 0 < rewired.added <= 6


def test_renumbering_the_nodes_renumbers_the_result():
    adjacency, answer, labelled = random_case()
    order = np.random.default_rng(5).permutation(len(answer))
    place = np.argsort(order)
    settings = RewiringSettings(drop=0.2, add=0.3)
    rewired = rewire(adjacency, answer, labelled, settings)
    moved = rewire(adjacency[order][:, order], answer[order], place[labelled], settings)
    assert moved.energy == pytest.approx(rewired.energy)
    np.testing.assert_array_equal(
        moved.adjacency.toarray(), rewired.adjacency[order][:, order].toarray()
    )


def test_trained_scores_repeat_with_the_seed():
    adjacency, answer, labelled = random_case()
    settings = RewiringSettings(drop=0.2, add=0.3, trials=3, scorer="trained", network=SMALL)
    energies = [rewire(adjacency, answer, labelled, settings, seed=s).energy for s in (1, 1, 2)]
    assert energies[0] == energies[1]
    assert energies[0] != energies[2]


@pytest.mark.parametrize(
    "wrong",
    [{"neighbours": 0}, {"drop": 1}, {"add": 1.5}, {"size": -1}, {"scorer": "mlp"}, {"trials": 0}],
)
def test_bad_settings_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RewiringSettings(**wrong)
