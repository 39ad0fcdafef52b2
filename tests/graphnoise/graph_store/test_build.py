"""What a store holds, whatever the memory, the order and the ids it was built with."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse

from graphnoise.graph import graph_from_arrays
from graphnoise.graph_store import build_store, open_store, progress, rows
from graphnoise.graph_store.sources import SourceOptions
from tests.graphnoise.graph_store.graphs import (
    content,
    expected_matrix,
    matrix_of,
    random_edges,
    write_lines,
)

# few nodes, so that most lists repeat an edge
EDGE = st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
FALLING = [(1, 2, 5), (2, 1, 3), (3, 1, 1), (1, 2, 4), (3, 3, 1), (0, 4, 0)]


@settings(max_examples=40, deadline=None)
@example(FALLING, "max", True)
@example(FALLING, "sum", True)
@given(st.lists(EDGE, max_size=40), st.sampled_from(["max", "sum"]), st.booleans())
def test_agrees_with_an_edge_at_a_time(tmp_path_factory, listed, duplicates, weighted):
    edges = np.array([edge[:2] for edge in listed], np.int64).reshape(-1, 2).T
    weights = np.array([edge[2] / 4 for edge in listed]) if weighted else None
    folder = tmp_path_factory.mktemp("store")
    columns = [*edges] if weights is None else [*edges, weights]
    path = write_lines(folder / "edges.txt", columns)
    store = build_store(
        path, folder / "store", weights="3" if weighted and listed else None,
        duplicates=duplicates, options=SourceOptions(n_nodes=6),
    )  # fmt: skip
    expected = expected_matrix(edges, weights, n_nodes=6, add=duplicates == "sum")
    found = matrix_of(store)
    found.check_format(full_check=True)
    assert found.has_canonical_format
    assert np.array_equal(found.toarray(), expected)
    adjacency = store.adjacency()
    assert adjacency.total_volume == expected.sum()
    assert store.n_edges * 2 == np.count_nonzero(expected)
    if len(adjacency.arrays.weights):
        assert np.array_equal(adjacency.arrays.strength, expected.sum(axis=1))
    counts = store.header.counts
    dropped = counts["self_loops"] + counts["zero_weights"] + counts["merged"]
    assert counts["edges_read"] == len(listed) == dropped + store.n_edges
    store.verify()


def test_same_graph_as_in_memory(tmp_path):
    edges = random_edges(0)
    weights = np.random.default_rng(1).integers(1, 9, edges.shape[1]) / 8
    graph = graph_from_arrays(edges, np.eye(40), np.arange(40) % 2, edge_weight=weights)
    path = write_lines(tmp_path / "edges.csv", [*edges, weights], separator=",")
    store = build_store(path, tmp_path / "store", weights="3", options=SourceOptions(n_nodes=40))
    assert np.array_equal(matrix_of(store).toarray(), graph.adjacency.toarray())
    assert (build_store(graph, tmp_path / "other").adjacency().arrays.indices
            == store.adjacency().arrays.indices).all()  # fmt: skip


@pytest.mark.parametrize("kind", ["plain", "weighted", "sum", "integer", "text", "hub"])
def test_little_memory_gives_the_same_bytes(tmp_path, monkeypatch, kind):
    edges = random_edges(3, n_nodes=900, n_edges=6000)
    if kind == "hub":
        edges[0, ::2] = 7
    columns = [*edges]
    if kind == "integer":
        # too large and too small to be flagged one by one
        columns = [*(edges * 10**13 - 4 * 10**15)]
    if kind == "text":
        columns = [[f"n{'é' * (one % 3)}{one}" for one in side] for side in edges]
    weights = "3" if kind in ("weighted", "sum") else None
    if weights:
        columns.append(np.random.default_rng(0).random(6000))
    path = write_lines(tmp_path / "edges.txt", columns)
    duplicates = "sum" if kind == "sum" else "max"
    build_store(path, tmp_path / "much", weights=weights, duplicates=duplicates)
    monkeypatch.setattr(progress, "LEAST_MEMORY", 1)
    monkeypatch.setattr(rows, "ROW_BLOCK", 64)
    steps = []
    little = build_store(
        path, tmp_path / "little", weights=weights, duplicates=duplicates, max_memory=20_000,
        progress=lambda *said: steps.append(said),
    )  # fmt: skip
    assert sum(step == "sort rows" for step, *_ in steps) > 20
    assert sum(step == "read ids" for step, *_ in steps) > 5
    assert content(tmp_path / "much") == content(tmp_path / "little")
    names = np.unique(np.array(columns[:2]).ravel())
    if kind == "text":
        names = np.array(sorted(names, key=str.encode))
    where = np.arange(len(names)) if little.ids is None else little.ids.positions(names)
    assert np.array_equal(where, np.arange(little.n_nodes))


def test_wide_columns_hold_the_same_graph(tmp_path, monkeypatch):
    path = write_lines(tmp_path / "edges.txt", random_edges(4))
    narrow = build_store(path, tmp_path / "narrow").adjacency().arrays
    monkeypatch.setattr(rows, "INT32_NODES", 10)
    wide = build_store(path, tmp_path / "wide").adjacency().arrays
    assert narrow.indices.dtype == np.int32
    assert wide.indices.dtype == np.int64
    assert np.array_equal(narrow.indices, wide.indices)


def test_renumbering_the_nodes_renumbers_the_store(tmp_path):
    edges, permutation = random_edges(5), np.random.default_rng(0).permutation(40)
    first = write_lines(tmp_path / "first.txt", edges)
    second = write_lines(tmp_path / "second.txt", permutation[edges])
    plain = matrix_of(build_store(first, tmp_path / "a")).toarray()
    renumbered = matrix_of(build_store(second, tmp_path / "b")).toarray()
    assert np.array_equal(renumbered[np.ix_(permutation, permutation)], plain)


def test_order_and_direction_of_the_lines_do_not_matter(tmp_path):
    edges = random_edges(6)
    first = build_store(write_lines(tmp_path / "a.txt", edges), tmp_path / "a")
    turned = edges[::-1, ::-1]
    second = build_store(write_lines(tmp_path / "b.txt", turned), tmp_path / "b")
    assert first.header.arrays == second.header.arrays


def test_tiny_graph_by_hand(tmp_path):
    path = tmp_path / "edges.tsv"
    path.write_text("7\t30\t2\n30\t7\t5\n7\t7\t1\n30\t-4\t0.5\n-4\t7\t0\n")
    store = build_store(path, tmp_path / "store", weights="3")
    arrays = store.adjacency().arrays
    assert arrays.indptr.tolist() == [0, 1, 2, 4]
    assert arrays.indices.tolist() == [2, 2, 0, 1]
    assert arrays.weights.tolist() == [0.5, 5, 0.5, 5]
    assert arrays.strength.tolist() == [0.5, 5, 5.5]
    assert store.ids is not None
    assert store.ids.names(np.arange(3)).tolist() == [-4, 7, 30]
    assert store.ids.positions(np.array(["30", "7", "x", "8", "07"])).tolist() == [2, 1, -1, -1, -1]
    assert store.header.notes == (
        "1 self loops removed", "1 edges of weight 0 removed", "1 repeated or reverse edges merged",
    )  # fmt: skip


@pytest.mark.parametrize("text", ["", "# nothing\n", "a,b\n"])
def test_empty_graph(tmp_path, text):
    path = tmp_path / "edges.csv"
    path.write_text(text)
    store = build_store(path, tmp_path / "store", options=SourceOptions(header=text == "a,b\n"))
    assert (store.n_nodes, store.n_edges) == (0, 0)
    assert store.adjacency().arrays.indptr.tolist() == [0]
    open_store(tmp_path / "store", verify=True)


def test_isolated_nodes_stay_where_the_source_knows_them(tmp_path):
    path = write_lines(tmp_path / "edges.txt", [[1], [2]])
    assert build_store(path, tmp_path / "named").n_nodes == 2
    known = build_store(path, tmp_path / "known", options=SourceOptions(n_nodes=5))
    assert (known.n_nodes, known.ids) == (5, None)
    features = np.arange(8.0).reshape(4, 2)
    told = build_store(path, tmp_path / "features", features=features)
    assert told.n_nodes == 4
    assert np.array_equal(told.features, features)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("1 2 -1\n", "found -1.0 at edge 0 .* from 1 to 2"),
        ("1 2 1\n1 3 nan\n", "found nan at edge 1"),
        ("1 2 inf\n", "found inf at edge 0"),
        ("1 2 x\n", "conversion error to double"),
        ("1 2\n1 2 3\n", "no column '3'"),
        ("1 2 3\n1 2\n", "Expected 3 columns"),
        ("1\n2\n", "expected two columns"),
    ],
)
def test_bad_lines_are_named_and_leave_no_store(tmp_path, lines, message):
    path = tmp_path / "edges.txt"
    path.write_text(lines)
    with pytest.raises(ValueError, match=message):
        build_store(path, tmp_path / "store", weights="3")
    assert not (tmp_path / "store").exists()


def test_missing_and_mixed_ids_are_refused(tmp_path):
    path = tmp_path / "edges.csv"
    path.write_text("1,2\n3,\n")
    with pytest.raises(ValueError, match=r"target is missing in an edge that reads \[3, None\]"):
        build_store(path, tmp_path / "store", options=SourceOptions(ids="integer"))
    path.write_text("1,2\n" * 20_000 + "x,3\n")
    with pytest.raises(ValueError, match="ids='text'"):
        build_store(path, tmp_path / "store")
    store = build_store(path, tmp_path / "store", options=SourceOptions(ids="text"))
    assert store.ids is not None
    assert store.ids.names(np.arange(4)).tolist() == ["1", "2", "3", "x"]


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"max_memory": "lots"}, "max_memory must be an amount"),
        ({"max_memory": 10}, "at least"),
        ({"duplicates": "mean"}, "duplicates must be one of"),
        ({"options": SourceOptions(separator="::")}, "separator must be one character"),
        ({"options": SourceOptions(source_column="from")}, "no column 'from'"),
        ({"options": SourceOptions(source_column="2", target_column="2")}, "are both column"),
        ({"options": SourceOptions(n_nodes=2)}, r"must lie in 0 .. 1, found 2 at edge 0"),
        ({"features": np.ones((2, 3))}, "must lie in 0 .. 1"),
        ({"features": np.array([[1, np.nan]] * 4)}, "NaN or infinity at node 0"),
    ],
)
def test_bad_settings_are_refused(tmp_path, settings_, message):
    path = write_lines(tmp_path / "edges.txt", [[1], [2]])
    with pytest.raises(ValueError, match=message):
        build_store(path, tmp_path / "store", **settings_)
    assert not (tmp_path / "store").exists()


def test_done_is_done_and_another_store_is_not_overwritten(tmp_path):
    path = write_lines(tmp_path / "edges.txt", [[1], [2]])
    build_store(path, tmp_path / "store")
    stamp = (tmp_path / "store" / "indices.npy").stat().st_mtime_ns
    build_store(path, tmp_path / "store", max_memory="1GB", progress=pytest.fail)
    assert (tmp_path / "store" / "indices.npy").stat().st_mtime_ns == stamp
    write_lines(path, [[1, 1], [2, 3]])
    with pytest.raises(ValueError, match="holds another store"):
        build_store(path, tmp_path / "store")
    assert build_store(path, tmp_path / "store", force=True).n_edges == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="no graph store"):
        build_store(path, tmp_path / "mine", force=True)
    assert not [one.name for one in tmp_path.iterdir() if one.name.startswith(".")]


def test_matrix_of_ones_has_no_weights(tmp_path):
    ones = sparse.csr_array(expected_matrix(random_edges(8), n_nodes=40))
    assert not len(build_store(ones, tmp_path / "a").adjacency().arrays.weights)
    summed = build_store(sparse.csr_array(2 * ones), tmp_path / "b").adjacency().arrays
    assert summed.weights.max() == summed.weights.min() == 2
