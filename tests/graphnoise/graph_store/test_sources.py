"""The same small graph from every kind of source."""

import gzip
from types import SimpleNamespace

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy import sparse
from torch_geometric.data import Data

from graphnoise.graph import graph_from_arrays
from graphnoise.graph_store import build_store
from graphnoise.graph_store.sources import SourceOptions
from tests.graphnoise.graph_store.graphs import matrix_of

# a triangle 0 1 2 with a tail 2 3; weights 1 .. 4 eighths
EDGES = np.array([[0, 1, 2, 2], [1, 2, 0, 3]])
WEIGHTS = np.array([1, 2, 3, 4]) / 8
DENSE = np.zeros((4, 4))
DENSE[tuple(EDGES)] = DENSE[tuple(EDGES[::-1])] = WEIGHTS
LINES = [f"{u} {v} {w}" for (u, v), w in zip(EDGES.T, WEIGHTS, strict=True)]


def text(*lines: str, separator: str = " ") -> str:
    return "".join(f"{line.replace(' ', separator)}\n" for line in lines)


TURNED = [f"{line[4:]},{line[0]},{line[2]}" for line in LINES]
QUOTED = ['"{}","{}","{}"'.format(*line.split()) for line in LINES]
TABBED = text(*LINES, separator="\t")


@pytest.mark.parametrize(
    ("name", "content", "weights"),
    [
        ("e.csv", text(*LINES, separator=","), "3"),
        ("e.csv", text("weight,source,target", *TURNED), "weight"),
        ("e.csv", text("a b w", *LINES, separator=","), "w"),
        ("e.csv", text(*LINES, separator=";"), "3"),
        ("e.csv", text('"src","dst","w"', *QUOTED), "w"),
        ("e.tsv", f"# a comment\n% another\nfrom\tto\tw\n{TABBED}", "w"),
        ("e.txt", f"# FromNodeId\tToNodeId\n{TABBED}# after\n", "3"),
        ("e.txt", text(*LINES[:2], "#in the middle", *LINES[2:]), "3"),
        ("e.txt", text(*LINES).replace(" ", "   "), "3"),
        ("e.txt", text(*(f" {line}\t " for line in LINES)), "3"),
        ("e.txt", text(*LINES).replace("\n", "\r\n"), "3"),
        ("e.txt", text("", *LINES, "", "").rstrip("\n"), "3"),
        ("edges", text(*LINES), "3"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_text(tmp_path, name, content, weights, packed):
    path = tmp_path / (f"{name}.gz" if packed else name)
    if packed and "." not in name:
        path = tmp_path / "edges.txt.gz"
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    store = build_store(path, tmp_path / "store", weights=weights)
    assert store.ids is None
    assert np.array_equal(matrix_of(store).toarray(), DENSE)
    plain = build_store(path, tmp_path / "plain")
    assert np.array_equal(matrix_of(plain).toarray(), DENSE > 0)


def test_columns_and_separator_can_be_named(tmp_path):
    path = tmp_path / "edges.csv"
    path.write_text("time:who:what\n9:ann:bob\n8:bob:cid\n")
    options = SourceOptions(
        separator=":", header=True, source_column="who", target_column="what", ids="text"
    )
    store = build_store(path, tmp_path / "store", options=options)
    assert store.ids is not None
    assert store.ids.names(np.arange(3)).tolist() == ["ann", "bob", "cid"]
    assert store.ids.positions(np.array(["cid", "zed", "an", "annn"])).tolist() == [2, -1, -1, -1]


def test_numbers_can_be_text(tmp_path):
    path = tmp_path / "edges.txt"
    path.write_text("007 7\n7 70\n")
    store = build_store(path, tmp_path / "store", options=SourceOptions(ids="text"))
    assert store.ids is not None
    assert store.ids.names(np.arange(3)).tolist() == ["007", "7", "70"]


def test_gzip_in_several_members_and_cut_short(tmp_path):
    path = tmp_path / "edges.txt.gz"
    members = [gzip.compress(text(line).encode()) for line in LINES]
    path.write_bytes(b"".join(members))
    store = build_store(path, tmp_path / "store", weights="3")
    assert np.array_equal(matrix_of(store).toarray(), DENSE)
    path.write_bytes(gzip.compress(text(*LINES * 50).encode())[:-12])
    with pytest.raises(ValueError, match=r"edges.txt.gz cannot be read"):
        build_store(path, tmp_path / "other")


@pytest.mark.parametrize("id_type", ["int32", "uint64", "string", "dictionary"])
def test_parquet(tmp_path, id_type):
    source, target = EDGES
    if id_type in ("string", "dictionary"):
        source, target = (pa.array([f"n{one}" for one in side]) for side in EDGES)
    columns = {"w": WEIGHTS, "dst": pa.array(target), "src": pa.array(source)}
    for key in ("src", "dst"):
        column = columns[key]
        columns[key] = column.dictionary_encode() if id_type == "dictionary" else column
        if "int" in id_type:
            columns[key] = column.cast(id_type)
    path = tmp_path / "edges.parquet"
    pq.write_table(pa.table(columns), path)
    store = build_store(path, tmp_path / "store", weights="w")
    assert np.array_equal(matrix_of(store).toarray(), DENSE)
    assert (store.ids is None) == ("int" in id_type)


def test_parquet_of_fractions_is_refused(tmp_path):
    path = tmp_path / "edges.parquet"
    pq.write_table(pa.table({"src": [0.5], "dst": [1.5]}), path)
    with pytest.raises(ValueError, match="ids must be integers or text, column 'src' is double"):
        build_store(path, tmp_path / "store")
    path.write_text("no parquet")
    with pytest.raises(ValueError, match="cannot be read"):
        build_store(path, tmp_path / "store")


def upper() -> sparse.csr_array:
    return sparse.csr_array(np.triu(DENSE))


def archive(path) -> None:
    parts = {"adj": sparse.csr_array(DENSE), "attr": sparse.csr_array(np.eye(4, 6))}
    arrays = {
        f"{name}_{key}": np.asarray(getattr(matrix, key))
        for name, matrix in parts.items()
        for key in ("data", "indices", "indptr", "shape")
    }
    np.savez(path, labels=np.arange(4), **arrays)


@pytest.mark.parametrize("layout", ["saved", "archive", "edge_index"])
def test_npz(tmp_path, layout):
    path = tmp_path / "graph.npz"
    if layout == "saved":
        sparse.save_npz(path, upper())
    elif layout == "archive":
        archive(path)
    else:
        np.savez(path, edge_index=EDGES, edge_weight=WEIGHTS, num_nodes=4)
    store = build_store(path, tmp_path / "store")
    assert np.array_equal(matrix_of(store).toarray(), DENSE)
    if layout == "archive":
        assert sparse.issparse(store.features)
        assert np.array_equal(store.features.toarray(), np.eye(4, 6))
    unweighted = build_store(path, tmp_path / "plain", weights=False)
    assert np.array_equal(matrix_of(unweighted).toarray(), DENSE > 0)


def test_npz_never_unpickles(tmp_path):
    path = tmp_path / "graph.npz"
    np.savez(path, edge_index=np.array([[SimpleNamespace()]], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        build_store(path, tmp_path / "store")
    np.savez(path, something=np.arange(3))
    with pytest.raises(ValueError, match="expected the keys"):
        build_store(path, tmp_path / "store")
    sparse.save_npz(path, sparse.coo_array(DENSE))
    with pytest.raises(ValueError, match="cannot be read"):
        build_store(path, tmp_path / "store")


def data() -> Data:
    return Data(
        x=torch.arange(8.0).reshape(4, 2), edge_index=torch.from_numpy(EDGES),
        edge_weight=torch.from_numpy(WEIGHTS),
    )  # fmt: skip


@pytest.mark.parametrize("saved", ["object", "data", "dictionary"])
def test_pyg(tmp_path, saved):
    source = data()
    if saved != "object":
        torch.save(source if saved == "data" else source.to_dict(), tmp_path / "graph.pt")
        source = tmp_path / "graph.pt"
    store = build_store(source, tmp_path / "store")
    assert np.array_equal(matrix_of(store).toarray(), DENSE)
    assert np.array_equal(store.features, np.arange(8.0).reshape(4, 2))


def test_pt_of_something_else_is_refused(tmp_path):
    import torch_geometric.data  # noqa: F401  declares its own containers when imported

    declared = set(torch.serialization.get_safe_globals())
    torch.save(torch.ones(3), tmp_path / "graph.pt")
    with pytest.raises(ValueError, match="must hold PyG Data"):
        build_store(tmp_path / "graph.pt", tmp_path / "store")
    # what PyG itself may load stays so
    assert set(torch.serialization.get_safe_globals()) == declared
    torch.save({"edge_index": SimpleNamespace()}, tmp_path / "graph.pt")
    with pytest.raises(ValueError, match="cannot be read as tensors"):
        build_store(tmp_path / "graph.pt", tmp_path / "store")


def test_networkx_keeps_names_order_and_isolated_nodes(tmp_path):
    names = ["d", "a", "c", "b"]
    graph = nx.Graph()
    graph.add_nodes_from([*names, "alone"])
    graph.add_weighted_edges_from(
        (names[u], names[v], w) for (u, v), w in zip(EDGES.T, WEIGHTS, strict=True)
    )
    store = build_store(graph, tmp_path / "store")
    assert np.array_equal(matrix_of(store).toarray()[:4, :4], DENSE)
    assert store.ids is not None
    assert store.ids.positions(np.array([*names, "alone", "e"])).tolist() == [0, 1, 2, 3, 4, -1]
    assert store.ids.names(np.array([3, 0])).tolist() == ["b", "d"]
    with pytest.raises(ValueError, match="all integers or all text"):
        build_store(nx.Graph([(1, "a")]), tmp_path / "other")
    with pytest.raises(ValueError, match="attribute 'cost'"):
        build_store(graph, tmp_path / "other", weights="cost")


def test_matrix_and_labelled_graph(tmp_path):
    store = build_store(upper(), tmp_path / "store")
    assert np.array_equal(matrix_of(store).toarray(), DENSE)
    graph = graph_from_arrays(
        EDGES, np.arange(8).reshape(4, 2), np.array([0, 1, 0, 1]), edge_weight=WEIGHTS,
        node_names=np.array([30, 10, 40, 20]),
    )  # fmt: skip
    named = build_store(graph, tmp_path / "named")
    assert np.array_equal(matrix_of(named).toarray(), DENSE)
    assert np.array_equal(named.features, np.arange(8).reshape(4, 2))
    assert named.ids is not None
    assert named.ids.positions(np.array([10, 20, 30, 40, 50, 9])).tolist() == [1, 3, 0, 2, -1, -1]
    assert named.ids.names(np.array([2, 1])).tolist() == [40, 10]


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("nowhere.txt", FileNotFoundError, "nowhere.txt"),
        ("bad.docx", ValueError, "must end in one of"),
        (sparse.csr_array((2, 3)), ValueError, "must be square"),
        (17, ValueError, "source must be a path"),
        (Data(x=torch.ones(2, 1)), ValueError, "neither 'edge_index' nor 'adj_t'"),
        (Data(edge_index=torch.tensor([[0], [5]]), num_nodes=3), ValueError, "found 5 at edge 0"),
    ],
)
def test_what_is_no_source_is_refused(tmp_path, monkeypatch, source, error, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.docx").write_text("?")
    with pytest.raises(error, match=message):
        build_store(source, tmp_path / "store")


def test_node_names_that_repeat_are_refused(tmp_path):
    repeated = data()
    repeated.node_names = ["a", "b", "a", "c"]
    with pytest.raises(ValueError, match="'a' repeated"):
        build_store(repeated, tmp_path / "store")
