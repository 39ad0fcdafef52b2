import warnings
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from torch_geometric.data import Data

from graphnoise.graph import graph_from_arrays
from graphnoise.local_clusters.adjacency import as_adjacency


def dense(adjacency):
    """The matrix of weights, from the arrays as compiled code reads them."""
    arrays, n = adjacency.arrays, adjacency.n_nodes
    weights = arrays.weights if len(arrays.weights) else np.ones(len(arrays.indices))
    made = np.zeros((n, n))
    for row in range(n):
        for entry in range(arrays.indptr[row], arrays.indptr[row + 1]):
            assert made[row, arrays.indices[entry]] == 0, "an edge twice"
            made[row, arrays.indices[entry]] = weights[entry]
    return made


def check_form(adjacency):
    arrays = adjacency.arrays
    assert arrays.indptr.dtype == np.int64
    assert arrays.indices.dtype == np.int32
    assert arrays.weights.dtype == arrays.strength.dtype == np.float64
    assert all(array.flags.writeable and array.flags.c_contiguous for array in arrays)
    matrix = dense(adjacency)
    assert (matrix == matrix.T).all()
    assert not matrix.diagonal().any()
    np.testing.assert_allclose(adjacency.total_volume, matrix.sum())
    if len(arrays.weights):
        np.testing.assert_allclose(arrays.strength, matrix.sum(axis=1))
    else:
        assert not len(arrays.strength)


def wheel(*, weighted):
    """Six nodes on a ring, one in the middle joined to all."""
    graph = nx.wheel_graph(7)
    for number, (u, v) in enumerate(graph.edges):
        graph.edges[u, v]["weight"] = 0.5 + number if weighted else 1
    return graph


def every_kind(graph):
    """The same graph in every form."""
    n = len(graph)
    matrix = nx.to_scipy_sparse_array(graph)
    ends = np.array(matrix.nonzero())
    weight = matrix.tocoo().data.astype(float)
    data = Data(
        edge_index=torch.from_numpy(ends), edge_weight=torch.from_numpy(weight), num_nodes=n
    )
    labelled = graph_from_arrays(ends, np.eye(n), np.arange(n) % 2, edge_weight=weight)
    return {
        "networkx": graph,
        "directed": nx.DiGraph(graph),
        "csr": sparse.csr_array(matrix),
        "csr_matrix": sparse.csr_matrix(matrix),
        "csc": sparse.csc_array(matrix),
        "coo": sparse.coo_array(matrix),
        "lil": sparse.lil_array(matrix),
        "upper": sparse.triu(matrix),
        "float32": sparse.csr_array(matrix).astype(np.float32),
        "data": data,
        "labelled": labelled,
        "adjacency": as_adjacency(graph),
    }


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", every_kind(wheel(weighted=False)))
def test_every_kind_of_graph_gives_the_same_arrays(kind, weighted):
    graph = wheel(weighted=weighted)

    adjacency = as_adjacency(every_kind(graph)[kind])

    check_form(adjacency)
    np.testing.assert_array_equal(dense(adjacency), nx.to_numpy_array(graph))
    assert (len(adjacency.arrays.weights) > 0) == weighted


def test_an_adjacency_is_returned_as_it_is():
    adjacency = as_adjacency(wheel(weighted=True))

    assert as_adjacency(adjacency) is adjacency


def test_untidy_edges_are_tidied_and_noted():
    #     a loop, a duplicate with another weight, one direction only, a weight of 0, node 4 alone
    row, column = [0, 0, 0, 1, 1, 2, 3], [0, 1, 1, 0, 2, 3, 2]
    weight = [9.0, 2.0, 3.0, 1.0, 0.0, 4.0, 5.0]
    matrix = sparse.coo_array((weight, (row, column)), shape=(5, 5))

    adjacency = as_adjacency(matrix)

    check_form(adjacency)
    expected = np.zeros((5, 5))
    expected[0, 1] = expected[1, 0] = 3
    expected[2, 3] = expected[3, 2] = 5
    np.testing.assert_array_equal(dense(adjacency), expected)
    assert adjacency.notes == (
        "1 duplicate edges merged",
        "1 self loops removed",
        "1 edges of weight 0 removed",
        "made undirected: the larger weight of the two directions kept",
        "1 isolated nodes kept",
    )


def test_one_direction_is_enough_and_noted():
    adjacency = as_adjacency(sparse.csr_array(([1, 1], ([0, 2], [1, 1])), shape=(3, 3)))

    check_form(adjacency)
    assert adjacency.notes == ("made undirected: 2 reverse edges added",)
    assert not len(adjacency.arrays.weights)


@settings(max_examples=60, deadline=None)
@given(
    entries=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3)), max_size=20
    ),
    kind=st.sampled_from(["coo", "csr", "csc"]),
)
def test_any_list_of_edges_keeps_the_larger_weight(entries, kind):
    expected = np.zeros((6, 6))
    for u, v, weight in entries:
        if u != v:
            expected[u, v] = expected[v, u] = max(expected[u, v], weight)
    row, column, weight = np.array(entries, np.int64).reshape(-1, 3).T
    matrix = sparse.coo_array((weight, (row, column)), shape=(6, 6))
    if kind != "coo":
        # duplicates survive in a compressed matrix that is built from its parts
        major, minor = (row, column) if kind == "csr" else (column, row)
        order = np.argsort(major, kind="stable")
        indptr = np.searchsorted(major[order], np.arange(7))
        parts = (weight[order], minor[order], indptr)
        matrix = (sparse.csr_array if kind == "csr" else sparse.csc_array)(parts, shape=(6, 6))

    adjacency = as_adjacency(matrix)

    check_form(adjacency)
    np.testing.assert_array_equal(dense(adjacency), expected)


@pytest.mark.parametrize("sort", [True, False])
def test_a_read_only_matrix_is_left_alone(sort):
    matrix = sparse.csr_array(nx.to_scipy_sparse_array(wheel(weighted=True)))
    if not sort:
        matrix = sparse.csr_array((matrix.data[::-1], matrix.indices[::-1], matrix.indptr))
        matrix.has_sorted_indices = False
    before = matrix.toarray()
    for array in (matrix.data, matrix.indices, matrix.indptr):
        array.flags.writeable = False

    check_form(as_adjacency(matrix))

    np.testing.assert_array_equal(matrix.toarray(), before)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_a_weight_that_is_none_is_refused_with_its_edge(value):
    # the second entry of the edge must not hide the first
    matrix = sparse.coo_array(([1.0, 1.0, value, 3.0], ([0, 1, 2, 2], [1, 0, 3, 3])), shape=(4, 4))
    alone = sparse.csr_array(([1.0, value], ([0, 2], [1, 3])), shape=(4, 4))

    for graph in (matrix, alone, alone.tocsc(), alone.todok(), nx.DiGraph(alone)):
        with pytest.raises(ValueError, match=rf"found {value} at edge \(2, 3\) \(1 such\)"):
            as_adjacency(graph)


@pytest.mark.parametrize(
    ("graph", "error", "message"),
    [
        (sparse.csr_array((2, 3)), ValueError, r"square, got shape \(2, 3\)"),
        (sparse.csr_array(np.eye(2) * 1j), ValueError, "real numbers, got dtype complex128"),
        (nx.Graph([("a", "b", {"weight": "far"})]), ValueError, r"'far' at edge \('a', 'b'\)"),
        (np.eye(3), TypeError, "got ndarray"),
        ([[0, 1]], TypeError, "got list"),
        (None, TypeError, "got NoneType"),
    ],
)
def test_what_is_no_graph_is_refused(graph, error, message):
    with pytest.raises(error, match=message):
        as_adjacency(graph)


def test_ids_go_there_and_back():
    grid = nx.grid_2d_graph(2, 3)
    letters = nx.Graph([("a", "b"), ("b", "c")])
    mixed = nx.Graph([("a", 1), (1, (2, 3))])
    for graph in (grid, letters, mixed, nx.Graph([(7, 5), (5, 6)])):
        adjacency, nodes = as_adjacency(graph), list(graph)
        names = adjacency.ids.names(np.arange(len(nodes)))

        assert names.tolist() == nodes
        assert adjacency.ids.positions(names).tolist() == list(range(len(nodes)))
    assert adjacency.ids.positions(np.array([8, 5])).tolist() == [-1, 1]
    assert as_adjacency(nx.path_graph(3)).ids is None


def test_ids_of_data_and_of_a_labelled_graph():
    ends = torch.tensor([[0, 1], [1, 2]])
    data = Data(edge_index=ends, num_nodes=3, node_names=["x", "y", "z"])
    graph = graph_from_arrays(ends.numpy(), np.eye(3), [0, 1, 0], node_names=np.array([30, 10, 20]))

    assert as_adjacency(data).ids.positions(np.array(["z", "x"])).tolist() == [2, 0]
    assert as_adjacency(graph).ids.names(np.array([2, 0])).tolist() == [20, 30]


def test_features_come_along_or_are_given():
    features = np.arange(8.0).reshape(4, 2)
    matrix = sparse.csr_array(nx.to_scipy_sparse_array(nx.path_graph(4)))
    ends = torch.from_numpy(np.array(matrix.nonzero()))
    data = Data(edge_index=ends, x=torch.from_numpy(features))

    for adjacency in (as_adjacency(data), as_adjacency(matrix, features=features)):
        assert adjacency.features.dtype == np.float32
        np.testing.assert_array_equal(adjacency.features, features)
    assert sparse.issparse(as_adjacency(matrix, features=np.eye(4, 9)).features)
    assert as_adjacency(matrix).features is None
    with pytest.raises(ValueError, match=r"features must be \[4, F\]"):
        as_adjacency(matrix, features=np.eye(3))
    with pytest.raises(ValueError, match="features must be finite"):
        as_adjacency(matrix, features=np.full((4, 1), np.nan))


def test_a_store_is_mapped_once():
    made = as_adjacency(nx.path_graph(4))

    class GraphStore:
        header, times = "first", 0

        def adjacency(self):
            self.times += 1
            return replace(made)

    store = GraphStore()
    first = as_adjacency(store)

    assert as_adjacency(store) is first
    store.header = "with features"
    assert as_adjacency(store) is not first
    assert store.times == 2


def test_features_on_disk_stay_there(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((4, 2), np.float32))
    features = np.load(tmp_path / "x.npy", mmap_mode="c")
    matrix = sparse.csr_array(nx.to_scipy_sparse_array(nx.path_graph(4)))

    assert as_adjacency(matrix, features=features).features is features
    with pytest.raises(ValueError, match=r"features must be \[4, F\]"):
        as_adjacency(matrix, features=features[:3])


def test_torch_sparse_edges():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
        data = Data(adj_t=torch.eye(3).roll(1, 0).to_sparse_csr(), num_nodes=3)
        adjacency = as_adjacency(data)

    check_form(adjacency)
    np.testing.assert_array_equal(dense(adjacency), 1 - np.eye(3))
