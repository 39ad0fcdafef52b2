import networkx as nx
import numpy as np
import pandas as pd
import pytest

from graphnoise.local_clusters import LabelsFromSeed, as_adjacency, as_label_source, local_cluster
from graphnoise.local_clusters.query import Labels, Query
from tests.graphnoise.local_clusters.test_searching import planted, same


def resolved(labels, adjacency, *, seeds=(0,), target_label=None):
    """Label of every node as a query would read it, and the notes."""
    source = as_label_source(labels, adjacency, target_label=target_label)
    found, notes = source.labels_for(adjacency, Query(np.array(seeds)), None)
    if found.function is not None:
        assert not len(found.array)
        return found.function(np.arange(adjacency.n_nodes)).tolist(), notes
    assert found.array.dtype == np.int32
    assert found.array.flags.writeable
    return np.where(found.array < 0, -1, found.array == found.target).tolist(), notes


FIVE = as_adjacency(nx.cycle_graph(5))


@pytest.mark.parametrize(
    ("labels", "options", "expected"),
    [
        ([True, False, True, True, False], {}, [1, 0, 1, 1, 0]),
        ([1, 0, -1, 1, 0], {}, [1, 0, -1, 1, 0]),
        (np.array([1, 0, -1, 1, 0], np.int8), {}, [1, 0, -1, 1, 0]),
        # membership: the seed's own label does not choose
        ([0, 1, 1, 0, 0], {}, [0, 1, 1, 0, 0]),
        ([0, 1, 1, 0, 0], {"target_label": 0}, [1, 0, 0, 1, 1]),
        # classes: the seed's counts
        ([2, 1, 2, -1, 0], {}, [1, 0, 1, -1, 0]),
        ([2, 1, 2, -1, 0], {"seeds": (1,)}, [0, 1, 0, -1, 0]),
        ([2, 1, 2, -1, 0], {"seeds": (1, 0, 2, 3)}, [1, 0, 1, -1, 0]),
        ([2, 1, 2, -1, 0], {"target_label": 0}, [0, 0, 0, -1, 1]),
        ({0: 1, 3: 0}, {}, [1, -1, -1, 0, -1]),
        ({0: 4, 3: 7, 2: 4}, {}, [1, -1, 1, 0, -1]),
        (pd.Series([True, False], index=[4, 1]), {}, [-1, 0, -1, -1, 1]),
        (lambda nodes: nodes % 2, {}, [0, 1, 0, 1, 0]),
        (lambda nodes: nodes > 2, {}, [0, 0, 0, 1, 1]),
        (lambda nodes: nodes - 1, {"target_label": 2}, [-1, 0, 0, 1, 0]),
        (Labels(np.array([3, 3, 2, 2, -1], np.int32), target=3), {}, [1, 1, 0, 0, -1]),
    ],
)
def test_what_labels_mean(labels, options, expected):
    assert resolved(labels, FIVE, **options)[0] == expected


def test_a_mapping_goes_by_the_callers_ids_and_tells_what_is_missing():
    adjacency = as_adjacency(nx.path_graph(["a", "b", "c"]))

    labels, notes = resolved({"c": 1, "a": 0, "z": 1, "y": 1}, adjacency)

    assert labels == [0, -1, 1]
    assert notes == (
        "1 of 3 nodes have no label: unknown",
        "2 labels are of no node of the graph: not used",
    )


@pytest.mark.parametrize("share", [0.05, 0.9])
def test_a_mapping_of_few_nodes_is_as_good_as_an_array(share):
    graph = planted()
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(80) < share, np.arange(80) < 20, -1)
    known = np.flatnonzero(labels >= 0).tolist()
    adjacency = as_adjacency(graph)

    mapping = {node: int(labels[node]) for node in reversed(known)}
    source = as_label_source(mapping, adjacency)

    assert (source.labels.function is not None) == (share == 0.05)
    same(
        local_cluster(graph, 3, labels=mapping, mass=150.0),
        local_cluster(graph, 3, labels=labels, mass=150.0),
    )


def test_a_function_is_asked_for_reached_nodes_only_and_once_for_each():
    graph = nx.disjoint_union(nx.from_scipy_sparse_array(planted()), nx.path_graph(500))
    asked = []

    def label(nodes):
        asked.extend(nodes.tolist())
        return nodes < 20

    lazy = local_cluster(graph, 3, labels=label, mass=60.0)

    assert len(asked) == len(set(asked)) <= lazy.touched < 80
    assert set(lazy.nodes.tolist()) <= set(asked)
    same(lazy, local_cluster(graph, 3, labels=np.arange(580) < 20, mass=60.0))


def test_the_callers_array_is_left_alone():
    labels = np.arange(5)
    labels.flags.writeable = False

    resolved(labels, FIVE)
    resolved(labels.astype(np.int32), FIVE)

    assert labels.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("labels", "options", "error", "message"),
    [
        ([1, 0, 1], {}, ValueError, r"labels must be \[5\], one per node, got \[3\]"),
        ([[1], [0], [1], [0], [1]], {}, ValueError, r"got \[5, 1\]"),
        ([1.0, 0, 1, 0, np.nan], {}, ValueError, "bool or integers .* got dtype float64"),
        ([1, 0, 1, 0, 2**40], {}, ValueError, "fit 32 bits"),
        (object(), {}, TypeError, "got object"),
        ([2, 1, 2, -1, 0], {"seeds": (3,)}, ValueError, "no seed has a label"),
        ([1, 0, 1, 0, 1], {"target_label": 3}, ValueError, "found none 3"),
        ({}, {}, ValueError, "found none among 0 ids"),
        ({"a": 1}, {}, ValueError, "found none among 1 ids"),
        ({0: "spam"}, {}, ValueError, "bool or integers"),
        (lambda nodes: nodes[:1], {}, ValueError, r"one bool or integer per node, \[5\]"),
        (lambda nodes: nodes * 0.5, {}, ValueError, "of dtype float64"),
        (lambda nodes: nodes, {}, ValueError, "1, 0 or -1 unless target_label .* got 4"),
        (LabelsFromSeed(), {"target_label": 1}, ValueError, "not of LabelsFromSeed"),
    ],
)
def test_labels_that_are_none(labels, options, error, message):
    with pytest.raises(error, match=message):
        resolved(labels, FIVE, **options)
