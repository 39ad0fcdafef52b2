"""Refined flow diffusion: sharing of evidence against matrices, and labels it corrects."""

import numpy as np
import pytest
from scipy import sparse

from graphnoise.flow_diffusion.evidence import share_evidence
from graphnoise.flow_diffusion.labelled import LabelFlowDiffusion
from graphnoise.flow_diffusion.refined import RefinedFlowDiffusion
from graphnoise.local_clusters import Budget, as_adjacency, local_cluster
from graphnoise.local_clusters.base import Workspace
from graphnoise.local_clusters.query import Labels, Query
from graphnoise.local_subgraph import NODES, NOT_EXPANDED

BLOCK, BLOCKS, SEED = 40, 4, 5


def planted(seed, *, weighted=False):
    """Four blocks of 40 nodes ``[N, N]``, dense inside; symmetric, no self loops."""
    rng = np.random.default_rng(seed)
    block = np.arange(BLOCK * BLOCKS) // BLOCK
    upper = np.triu(
        rng.random((len(block),) * 2) < np.where(block[:, None] == block, 0.5, 0.02), 1
    ).astype(float)
    if weighted:
        upper *= rng.uniform(0.5, 2.0, upper.shape)
    return upper + upper.T


def flipped(seed, rate):
    """Label 1 on the first block, a share `rate` of all labels exchanged."""
    truth = np.arange(BLOCK * BLOCKS) < BLOCK
    wrong = np.random.default_rng(seed).random(len(truth)) < rate
    # a seed that denies its own cluster asks for another one
    wrong[SEED] = False
    return truth ^ wrong


def f1(nodes):
    hit = int((np.asarray(nodes) < BLOCK).sum())
    return 2 * hit / (len(nodes) + BLOCK)


@pytest.mark.parametrize(("weighted", "epsilon"), [(False, 0.05), (True, 0.05), (False, 0.0)])
def test_sharing_evidence_is_a_product_with_the_known_edges(weighted, epsilon):
    matrix, labels = planted(0, weighted=weighted), flipped(1, 0.2)
    adjacency = as_adjacency(sparse.csr_array(matrix))
    query = Query(np.array([3]), 250.0, Labels(labels.astype(np.int32)))
    diffused = LabelFlowDiffusion(epsilon=epsilon).diffuse(
        adjacency, query, Workspace(adjacency.n_nodes)
    )
    sub = diffused.subgraph
    n = int(sub.used[NODES])
    node, expanded = sub.node[:n], sub.start[:n] != NOT_EXPANDED
    assert 0 < expanded.sum() < n
    evidence = np.random.default_rng(2).normal(size=n)
    known = matrix[np.ix_(node, node)] * (expanded[:, None] | expanded)
    degree = matrix.sum(axis=1)[node]
    expected = evidence.copy()
    for _ in range(4):
        unknown = (degree - known.sum(axis=1)) * evidence
        expected = 0.3 * evidence + 0.7 * (known @ expected + unknown) / degree

    found = share_evidence(sub, evidence, own=0.3, steps=4, epsilon=epsilon)

    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    assert np.array_equal(
        share_evidence(sub, evidence, own=0.3, steps=0, epsilon=epsilon), evidence
    )


@pytest.mark.parametrize("seed", range(5))
def test_wrong_labels_are_corrected_by_their_neighbours(seed):
    graph, labels = as_adjacency(sparse.csr_array(planted(seed))), flipped(seed + 10, 0.2)
    volume = float(planted(seed)[:BLOCK].sum())

    refined = local_cluster(
        graph, SEED, labels=labels, method="refined_flow_diffusion", mass=1.5 * volume
    )
    plain = local_cluster(
        graph, SEED, labels=labels, method="label_flow_diffusion", mass=1.5 * volume,
        rounding="labels",
    )  # fmt: skip

    assert refined.rounding == "labels"
    assert f1(refined.nodes) > 0.85
    assert f1(refined.nodes) > f1(plain.nodes)


def test_the_answer_does_not_depend_on_the_numbering():
    matrix, labels = planted(7), flipped(7, 0.2)
    order = np.random.default_rng(0).permutation(len(matrix))
    method = RefinedFlowDiffusion(tolerance=1e-8)

    first = local_cluster(sparse.csr_array(matrix), SEED, labels=labels, method=method, mass=200)
    second = local_cluster(
        sparse.csr_array(matrix[np.ix_(order, order)]), int(np.argmax(order == SEED)),
        labels=labels[order], method=method, mass=200,
    )  # fmt: skip

    assert set(first.nodes) == set(order[second.nodes])


def test_evidence_counts_by_its_strength():
    """Two cliques and a bridge: strong labels win over faint ones, not over equals."""
    matrix = np.zeros((8, 8))
    matrix[:4, :4] = matrix[4:, 4:] = 1
    matrix[3, 4] = matrix[4, 3] = 1
    np.fill_diagonal(matrix, 0)
    graph = as_adjacency(sparse.csr_array(matrix))
    strength = np.array([2.0, 2.0, -0.1, -0.1, -1.0, -1.0, -1.0, -1.0])
    method = RefinedFlowDiffusion(closeness=0.0)

    def cluster(evidence):
        labels = Labels(
            function=lambda nodes: (strength[nodes] > 0).astype(np.int8), evidence=evidence
        )

        class Source:
            def labels_for(self, adjacency, query, workspace):
                return labels, ()

        return local_cluster(graph, 0, labels=Source(), method=method, mass=14)

    assert sorted(cluster(lambda nodes: strength[nodes]).nodes) == [0, 1, 2, 3]
    assert sorted(cluster(None).nodes) == [0, 1]


def test_nodes_without_a_label_follow_their_neighbours():
    labels = flipped(0, 0.0).astype(np.int32)
    labels[np.random.default_rng(3).permutation(len(labels))[:100]] = -1

    found = local_cluster(
        sparse.csr_array(planted(3)),
        SEED,
        labels=labels,
        method="refined_flow_diffusion",
        mass=1500,
    )

    assert f1(found.nodes) > 0.85
    assert set(found.labels) == {1}


def test_labels_that_say_nothing_leave_the_support():
    matrix, unknown = sparse.csr_array(planted(3)), np.full(BLOCK * BLOCKS, -1)

    found = local_cluster(matrix, SEED, labels=unknown, mass=50)
    plain = local_cluster(matrix, SEED, mass=75)

    assert found.method == "refined_flow_diffusion"
    assert set(found.nodes) == set(plain.nodes)
    assert any("no label is known" in note for note in found.notes)


def test_a_mass_it_finds_is_multiplied_and_what_the_search_reached_counts():
    matrix, labels = planted(4), flipped(4, 0.1)
    graph = as_adjacency(sparse.csr_array(matrix))

    search = local_cluster(graph, SEED, labels=labels, method="label_flow_diffusion")
    found = local_cluster(graph, SEED, labels=labels)

    assert found.mass == pytest.approx(min(1.5 * search.mass, 0.9 * matrix.sum()))
    assert found.touched >= search.touched
    assert found.edges > search.edges


def test_a_small_component_gets_the_mass_asked_for():
    parts = [sparse.csr_array(planted(1)[:BLOCK, :BLOCK]), sparse.csr_array(planted(1))]
    matrix = sparse.csr_array(sparse.block_diag(parts))
    volume = float(matrix[:BLOCK].sum())
    labels = np.arange(matrix.shape[0]) < BLOCK
    method = RefinedFlowDiffusion(reach=2.0)

    found = local_cluster(matrix, 0, labels=labels, method=method, mass=0.8 * volume)

    assert found.mass == pytest.approx(0.8 * volume)
    assert any("too small" in note for note in found.notes)
    with pytest.raises(ValueError, match="exceeds the volume"):
        local_cluster(matrix, 0, labels=labels, method=method, mass=1.2 * volume)


@pytest.mark.parametrize("budget", [Budget(max_edges=200), Budget(max_volume=60)])
def test_a_budget_ends_the_run_and_is_named(budget):
    found = local_cluster(
        sparse.csr_array(planted(2)), SEED, labels=flipped(2, 0.1), method="refined_flow_diffusion",
        mass=600, budget=budget,
    )  # fmt: skip
    assert not found.converged
    assert found.stopped_by in {"max_edges", "max_volume"}
    assert len(found.nodes)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("reach", 0.5), ("own", 1.5), ("steps", -1), ("closeness", -0.1), ("epsilon", 2.0)],
)
def test_a_setting_out_of_range_is_refused(setting, value):
    with pytest.raises(ValueError, match=f"^{setting} must"):
        RefinedFlowDiffusion(**{setting: value})


def test_labels_are_needed():
    with pytest.raises(ValueError, match="labels"):
        local_cluster(sparse.csr_array(planted(0)), 0, method="refined_flow_diffusion", mass=50)
