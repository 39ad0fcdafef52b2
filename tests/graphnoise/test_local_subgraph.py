"""The reached subgraph against rows read from the whole graph."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from graphnoise.local_clusters.adjacency import Adjacency
from graphnoise.local_clusters.base import Workspace
from graphnoise.local_subgraph import (
    EXPANDED,
    NODES,
    NOT_EXPANDED,
    SHIFT,
    GraphArrays,
    empty_subgraph,
    with_room,
)
from graphnoise.local_subgraph.compiled import copy_rows, touch, weigh_rows


def graph_arrays(rows, *, weighted):
    rows = sparse.csr_array(rows)
    return GraphArrays(
        rows.indptr.astype(np.int64), rows.indices.astype(np.int32),
        rows.data.astype(float) if weighted else np.empty(0),
        np.asarray(rows.sum(axis=1), float) if weighted else np.empty(0),
    )  # fmt: skip


def random_rows(n, n_edges, *, seed):
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, n, (2, n_edges))
    keep = first != second
    half = sparse.coo_array(
        (rng.uniform(0.5, 2.0, keep.sum()), (first[keep], second[keep])), shape=(n, n)
    ).tocsr()
    return sparse.csr_array(half + half.T)


def expand(sub, graph, labels, wanted, *, epsilon, in_batches, features=None, gamma=-1.0):
    """Reach and expand nodes of the whole graph, one by one or together; makes room as needed."""
    n_nodes, spent = len(graph.indptr) - 1, np.array([0.0, np.inf, 0.0])
    dense = np.empty((0, 0), np.float32) if features is None else features
    local = []
    for found in wanted:
        sub = with_room(sub, n_nodes, more_nodes=1, more_edges=0)
        local.append(
            touch(
                found, graph.indptr, graph.strength, labels, 1, sub.table, sub.node, sub.slot,
                sub.degree, sub.label, sub.start, sub.split, sub.used,
            )
        )  # fmt: skip
    nodes = np.array(local, np.int32)
    for batch in [nodes] if in_batches else nodes[:, None]:
        while True:
            at = copy_rows(
                batch, len(batch), 0, spent, *graph, labels, 1, sub.table, sub.node, sub.slot,
                sub.degree, sub.label, sub.start, sub.split, sub.stop, sub.neighbour, sub.weight,
                sub.used,
            )  # fmt: skip
            if at == len(batch):
                break
            row = int(np.diff(graph.indptr)[sub.node[batch[at]]])
            sub = with_room(sub, n_nodes, more_nodes=row, more_edges=row)
        weigh_rows(
            batch, len(batch), epsilon, gamma, dense, np.empty(0, np.int64), np.empty(0, np.int32),
            np.empty(0, np.float32), sub.node, sub.label, sub.start, sub.split, sub.stop,
            sub.weighted_degree, sub.neighbour, sub.weight,
        )  # fmt: skip
    return sub, nodes, spent


def assert_rows(sub, rows, labels, wanted, *, epsilon, weighted, factor=None):
    """Every expanded row, its split and its sum are those of the whole graph."""
    n = int(sub.used[NODES])
    node, dense = sub.node[:n], rows.toarray()
    dense = dense if weighted else (dense > 0).astype(float)
    differ = (labels[:, None] != labels) & (labels[:, None] >= 0) & (labels >= 0)
    weights = np.where(differ, epsilon, 1.0) * dense
    if factor is not None:
        weights = weights * factor
    np.testing.assert_allclose(sub.degree[:n], dense.sum(1)[node])
    assert len(set(node)) == n
    expanded = np.flatnonzero(sub.start[:n] != NOT_EXPANDED)
    assert set(node[expanded]) == set(wanted)
    assert sub.used[EXPANDED] == len(expanded)
    for i in expanded:
        row = slice(sub.start[i], sub.stop[i])
        found = node[sub.neighbour[row]]
        assert np.array_equal(np.sort(found), np.flatnonzero(dense[node[i]]))
        split = sub.split[i] - sub.start[i]
        if epsilon < 1:
            assert not differ[node[i], found[:split]].any()
            assert differ[node[i], found[split:]].all()
        np.testing.assert_allclose(sub.weighted_degree[i], weights[node[i]].sum())
        if len(sub.weight):
            np.testing.assert_allclose(sub.weight[row], weights[node[i], found])
    reached = set(wanted).union(*(np.flatnonzero(dense[v]) for v in wanted))
    assert set(node) == reached


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("in_batches", [False, True])
@pytest.mark.parametrize(("n", "hashed"), [(300, False), (20_000, True)])
def test_rows_are_those_of_the_graph(weighted, in_batches, n, hashed):
    """Small graphs are looked up by number, large ones by hash; both grow several times."""
    rows = random_rows(300, 4000, seed=1)
    if hashed:
        # spread over many more nodes, so that numbers do not fit a table
        place = np.sort(np.random.default_rng(2).choice(n, 300, replace=False))
        coo = rows.tocoo()
        wide = sparse.coo_array((coo.data, (place[coo.row], place[coo.col])), shape=(n, n)).tocsr()
    else:
        place, wide = np.arange(n), rows
    rng = np.random.default_rng(3)
    small_labels = rng.integers(-1, 2, 300).astype(np.int32)
    labels = np.full(n, -1, np.int32)
    labels[place] = small_labels
    wanted = rng.permutation(300)[:200]
    sub = empty_subgraph(n, weighted=weighted)
    sub, _, spent = expand(
        sub, graph_arrays(wide, weighted=weighted), labels, place[wanted], epsilon=0.1,
        in_batches=in_batches,
    )  # fmt: skip
    assert (sub.used[SHIFT] >= 0) == hashed
    back = np.searchsorted(place, sub.node[: sub.used[NODES]])
    sub.node[: sub.used[NODES]] = back
    assert_rows(sub, rows, small_labels, wanted, epsilon=0.1, weighted=weighted)
    assert spent[0] == pytest.approx(sub.degree[np.isin(back, wanted).nonzero()[0]].sum())


def test_features_weigh_entries():
    rows = random_rows(40, 200, seed=5)
    rng = np.random.default_rng(6)
    features = rng.normal(size=(40, 4)).astype(np.float32)
    labels = rng.integers(-1, 2, 40).astype(np.int32)
    squared = ((features[:, None].astype(float) - features) ** 2).sum(-1)
    sub, *_ = expand(
        empty_subgraph(40, weighted=True), graph_arrays(rows, weighted=True), labels,
        np.arange(30), epsilon=0.2, in_batches=True, features=features, gamma=0.3,
    )  # fmt: skip
    factor = np.exp(-0.3 * squared)
    assert_rows(sub, rows, labels, np.arange(30), epsilon=0.2, weighted=True, factor=factor)


def test_volume_left_out_is_told_and_seeds_are_not_left_out():
    graph = graph_arrays(random_rows(30, 120, seed=8), weighted=False)
    sub, spent = empty_subgraph(30, weighted=False), np.array([0.0, 0.0, 0.0])
    labels, nodes = np.empty(0, np.int32), np.array([0, 1], np.int32)
    for found in (3, 5):
        touch(
            found, graph.indptr, graph.strength, labels, 1, sub.table, sub.node, sub.slot,
            sub.degree, sub.label, sub.start, sub.split, sub.used,
        )  # fmt: skip
    copy_rows(
        nodes, 2, 1, spent, *graph, labels, 1, sub.table, sub.node, sub.slot, sub.degree,
        sub.label, sub.start, sub.split, sub.stop, sub.neighbour, sub.weight, sub.used,
    )  # fmt: skip
    assert sub.start[0] != NOT_EXPANDED
    assert sub.start[1] == NOT_EXPANDED
    assert list(spent) == [sub.degree[0], 0.0, 1.0]


@given(
    n=st.integers(2, 60),
    n_edges=st.integers(1, 150),
    seed=st.integers(0, 99),
    share=st.floats(0, 1),
)
@settings(max_examples=40, deadline=None)
def test_a_cleared_subgraph_is_as_good_as_new(n, n_edges, seed, share):
    rows = random_rows(n, n_edges, seed=seed)
    labels = np.random.default_rng(seed).integers(-1, 2, n).astype(np.int32)
    graph, workspace = graph_arrays(rows, weighted=False), Workspace(n)
    for wanted in (np.arange(n)[::-1], np.arange(max(1, int(share * n)))):
        sub = workspace.begin(weighted=False)
        sub, *_ = expand(sub, graph, labels, wanted, epsilon=0.5, in_batches=True)
        workspace.keep(sub)
        assert_rows(sub, rows, labels, wanted, epsilon=0.5, weighted=False)


def test_a_workspace_holds_room_for_what_was_reached_not_for_the_graph():
    n = 2_000_000
    arrays = GraphArrays(
        np.r_[0, 1, np.full(n - 1, 2)].astype(np.int64), np.array([1, 0], np.int32),
        np.empty(0), np.empty(0),
    )  # fmt: skip
    adjacency, workspace = Adjacency(arrays, 2.0), Workspace(n)
    sub, *_ = expand(
        workspace.begin(weighted=False), adjacency.arrays, np.empty(0, np.int32), [0],
        epsilon=1.0, in_batches=True,
    )  # fmt: skip
    assert len(sub.table) < 10_000
    assert len(sub.node) < 10_000
