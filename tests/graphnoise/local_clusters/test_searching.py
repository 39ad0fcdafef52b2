import gc
import threading
import weakref
from dataclasses import dataclass, replace

import networkx as nx
import numpy as np
import pytest
from scipy import sparse

from graphnoise.flow_diffusion.labelled import LabelFlowDiffusion
from graphnoise.flow_diffusion.plain import FlowDiffusion
from graphnoise.local_clusters import (
    CLUSTER_METHODS,
    Budget,
    as_adjacency,
    local_cluster,
    warming,
)
from graphnoise.local_clusters.base import Workspace
from graphnoise.local_clusters.searching import HELD_WORKSPACES, Search, _held, borrowed_workspace
from tests.graphnoise.local_clusters.test_adjacency import every_kind


def planted(*, seed=0, weighted=False):
    """A dense cluster of nodes 0 .. 19 in a sparse graph of 80."""
    rng = np.random.default_rng(seed)
    inside = np.arange(80) < 20
    chance = np.where(inside[:, None] & inside, 0.5, 0.06)
    upper = np.triu(rng.random((80, 80)) < chance, 1) * (rng.random((80, 80)) + 0.5)
    matrix = upper + upper.T
    return sparse.csr_array(matrix if weighted else (matrix > 0).astype(float))


def same(one, other):
    """Equal in everything but the time it took."""
    assert one.nodes.tolist() == other.nodes.tolist()
    np.testing.assert_array_equal(one.score, other.score)
    np.testing.assert_array_equal(one.sweep.conductance, other.sweep.conductance)
    assert (one.conductance, one.volume, one.touched, one.edges, one.seeds.tolist()) == (
        other.conductance, other.volume, other.touched, other.edges, other.seeds.tolist()
    )  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
def test_every_kind_of_graph_gives_the_same_cluster(weighted):
    graph = nx.from_scipy_sparse_array(planted(weighted=weighted))
    labels = np.arange(80) < 25
    kinds = every_kind(graph)
    expected = local_cluster(kinds.pop("csr"), [3, 5], mass=150.0, labels=labels)

    assert 5 < len(expected.nodes) < 80
    for kind, same_graph in kinds.items():
        if weighted and kind in ("float32", "labelled"):
            continue  # other weights, rounded to float32
        same(local_cluster(same_graph, [3, 5], mass=150.0, labels=labels), expected)


def test_result_against_the_graph_itself():
    matrix = planted(weighted=True)
    truth = np.arange(80) < 20
    cluster = local_cluster(matrix, [3, 5], mass=100.0, labels=truth, method="label_flow_diffusion")

    member = np.isin(np.arange(80), cluster.nodes)
    degree = matrix.sum(axis=1)
    volume = degree[member].sum()
    cut = matrix[member][:, ~member].sum()
    assert cluster.volume == pytest.approx(volume)
    assert cluster.conductance == pytest.approx(cut / min(volume, degree.sum() - volume))
    assert (np.diff(cluster.score) <= 0).all()
    assert cluster.labels.tolist() == truth[cluster.nodes].astype(int).tolist()
    assert cluster.seeds.tolist() == [3, 5]
    assert cluster.method == "label_flow_diffusion"
    assert cluster.settings["epsilon"] == LabelFlowDiffusion().epsilon
    assert cluster.mass == pytest.approx(100)
    assert cluster.rounding == "support"
    assert cluster.converged
    assert cluster.certificate.within(0.06)
    assert 0 < cluster.seconds < 60


def test_methods_by_default():
    assert local_cluster(planted(), 3, mass=50.0).method == "flow_diffusion"
    with_labels = local_cluster(planted(), 3, mass=50.0, labels=np.arange(80) < 20)
    assert with_labels.method == "refined_flow_diffusion"
    assert with_labels.rounding == "labels"


@pytest.mark.parametrize("method", [name for name in CLUSTER_METHODS if "attrib" not in name])
def test_renumbered_nodes_give_the_renumbered_cluster(method):
    graph = nx.from_scipy_sparse_array(planted())
    labels = {node: node < 23 for node in graph}
    mass = None if "pagerank" in method else 120.0
    names = [f"node {node}" for node in range(80)]
    order = np.random.default_rng(1).permutation(80).tolist()
    renamed = nx.Graph()
    renamed.add_nodes_from(names[node] for node in order)
    renamed.add_edges_from((names[u], names[v]) for u, v in graph.edges)
    renamed_labels = {names[node]: label for node, label in labels.items()}

    one = local_cluster(graph, 4, labels=labels, mass=mass, method=method)
    other = local_cluster(renamed, names[4], labels=renamed_labels, mass=mass, method=method)

    # within its tolerance a diffusion depends on the order of neighbours; the cluster hardly does
    first, second = {names[node] for node in one.nodes.tolist()}, set(other.nodes.tolist())
    assert len(first & second) > 0.9 * len(first | second)
    assert other.seeds.tolist() == ["node 4"]
    if first == second:
        assert other.conductance == pytest.approx(one.conductance)


def test_ids_of_any_kind_name_seeds():
    grid = nx.grid_2d_graph(4, 4)
    corner = local_cluster(grid, (0, 0), mass=8.0)
    both = local_cluster(grid, [(0, 0), (3, 3)], mass=8.0)

    assert corner.seeds.tolist() == [(0, 0)]
    assert (0, 0) in corner.nodes.tolist()
    assert both.seeds.tolist() == [(0, 0), (3, 3)]
    path = nx.path_graph(["a", "b", "c"])
    assert local_cluster(path, "b", mass=2.0).seeds.tolist() == ["b"]
    assert local_cluster(path, np.array(["b", "a"]), mass=2.0).seeds.tolist() == ["b", "a"]
    for seed in (1, np.int32(1), np.array(1), [1], (1,), np.array([1]), range(1, 2)):
        assert local_cluster(nx.path_graph(3), seed, mass=2.0).seeds.tolist() == [1]


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        (9, r"seeds must be nodes of the graph \(0 .. 3\), found no node 9 \(1 unknown\)"),
        (-1, "found no node -1"),
        ([0, "b"], "found no node"),
        (0.5, "found no node 0.5"),
        (None, "found no node None"),
        (True, "found no node True"),
        ([], "at least one node, got none"),
        ([1, 0, 1], "distinct, found 1 twice"),
        ([0, 3], "neighbours, found none at 3: it is isolated"),
    ],
)
def test_wrong_seeds(seeds, message):
    graph = nx.path_graph(3)
    graph.add_node(3)

    with pytest.raises(ValueError, match=message):
        local_cluster(graph, seeds, mass=2.0)


def test_wrong_seeds_show_ids_that_are_right():
    with pytest.raises(ValueError, match=r"\(3 ids such as 'a', 'b', 'c'\), found no node 0"):
        local_cluster(nx.path_graph(["a", "b", "c"]), 0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mass": 0.0}, ValueError, "mass must be positive and finite, got 0"),
        ({"mass": np.nan}, ValueError, "mass must be positive"),
        ({"mass": 1e9}, ValueError, "exceeds the volume"),
        ({"method": "flow"}, ValueError, "cluster method must be one of .*got 'flow'"),
        ({"method": FlowDiffusion}, TypeError, "method must be a name"),
        ({"method": 3}, TypeError, "method must be a name"),
        ({"rounding": "top"}, ValueError, "rounding must be one of .*got 'top'"),
        ({"rounding": "labels"}, ValueError, "needs labels, got none"),
        ({"target_label": 2}, ValueError, "there are none; got 2"),
        ({"labels": "abc"}, ValueError, "labels must be"),
        ({"method": "label_flow_diffusion"}, ValueError, "needs labels"),
    ],
)
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        local_cluster(nx.path_graph(4), 0, **{"mass": 2.0, **options})


def test_a_budget_that_ends_the_run_is_told():
    cluster = local_cluster(planted(), 0, mass=300.0, budget=Budget(max_volume=40))

    assert not cluster.converged
    assert cluster.stopped_by == "max_volume"
    assert len(cluster.nodes)
    assert "stopped by max_volume" in repr(cluster)


def test_labels_round_a_method_that_reads_none():
    labels = np.arange(80) % 2
    plain = local_cluster(planted(), 2, mass=150.0)
    for given in (labels, lambda nodes: labels[nodes]):
        rounded = local_cluster(
            planted(), 2, mass=150.0, labels=given, method="flow_diffusion", rounding="labels"
        )

        expected = [node for node in plain.nodes.tolist() if labels[node] == 1 or node == 2]
        assert rounded.nodes.tolist() == expected
        assert rounded.labels.tolist() == labels[rounded.nodes].tolist()


def test_memory_is_kept_per_thread_and_graph_and_goes_with_the_graph():
    held, adjacency = _held.workspaces, as_adjacency(planted())
    local_cluster(adjacency, 0, mass=50.0)
    first = held[adjacency]
    local_cluster(adjacency, 1, mass=50.0)
    elsewhere = list[Workspace]()

    def ask():
        local_cluster(adjacency, 0, mass=50.0)
        elsewhere.append(_held.workspaces[adjacency])

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    others = [replace(adjacency) for _ in range(HELD_WORKSPACES)]
    for other in others:
        local_cluster(other, 0, mass=50.0)

    assert first is not elsewhere[0]
    assert adjacency not in held
    assert len(held) == HELD_WORKSPACES
    gone = weakref.ref(others.pop())
    del other
    gc.collect()
    assert gone() is None
    assert len(held) == HELD_WORKSPACES - 1


def test_a_workspace_of_ones_own_is_used():
    adjacency, workspace = as_adjacency(planted()), Workspace(80)

    one = local_cluster(adjacency, 0, mass=50.0, workspace=workspace)

    assert adjacency not in _held.workspaces
    same(local_cluster(adjacency, 0, mass=50.0), one)


def test_a_label_function_may_ask_for_clusters_of_the_same_graph():
    adjacency = as_adjacency(planted())
    inner = local_cluster(adjacency, 1, mass=100.0)
    labels = np.isin(np.arange(80), inner.nodes)

    def ask(nodes):
        again = local_cluster(adjacency, 1, mass=100.0)
        return np.isin(nodes, again.nodes)

    expected = local_cluster(adjacency, 0, mass=100.0, labels=labels)
    assert local_cluster(adjacency, 0, mass=100.0, labels=ask).nodes.tolist() == (
        expected.nodes.tolist()
    )
    with borrowed_workspace(adjacency) as one, borrowed_workspace(adjacency) as two:
        assert one is not two


@dataclass(frozen=True)
class Broken:
    def diffuse(self, adjacency, query, workspace):
        raise RuntimeError("broken")


def test_memory_survives_a_method_that_fails():
    adjacency = as_adjacency(planted())
    before = local_cluster(adjacency, 0, mass=100.0)
    workspace = _held.workspaces[adjacency]

    with pytest.raises(RuntimeError, match="broken"):
        local_cluster(adjacency, 0, method=Broken())

    assert _held.workspaces[adjacency] is workspace
    same(local_cluster(adjacency, 0, mass=100.0), before)


@pytest.mark.parametrize("method", CLUSTER_METHODS)
@pytest.mark.parametrize("features", [np.eye(80, 3, dtype=np.float32) + 1, np.eye(80, 3)])
def test_a_first_query_is_preceded_by_one_on_a_toy(method, features, monkeypatch):
    answered, suppressed = [], []
    answer = Search.answer

    def note(search, seeds, workspace):
        try:
            return answer(search, seeds, workspace)
        except ValueError as error:
            suppressed.append(error)
            raise
        finally:
            answered.append(search.adjacency.n_nodes)

    monkeypatch.setattr(warming, "_warm", set())
    monkeypatch.setattr(Search, "answer", note)
    adjacency = as_adjacency(planted(), features=features)
    asked = []

    def label(nodes):
        asked.extend(nodes.tolist())
        return nodes < 20

    for _ in range(2):
        mass = None if "pagerank" in method else 90.0
        local_cluster(adjacency, 3, labels=label, method=method, mass=mass)

    assert answered == [warming.TOY_NODES, 80, 80]
    assert suppressed == []
    assert max(asked, default=0) < 80
