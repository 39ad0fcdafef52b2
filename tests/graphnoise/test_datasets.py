import gzip
import io
import json
import pickle
import tarfile
import warnings
import zipfile
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pandas
import pytest
from scipy import sparse

from graphnoise.datasets import DATASETS, load_graph, ogbn_arxiv, python_modules
from graphnoise.datasets.archives import extract
from graphnoise.datasets.files import save_graph
from graphnoise.datasets.places import Places, Remote, cache_folder
from graphnoise.datasets.splits import fixed_counts_split, per_class_split
from graphnoise.graph import graph_from_arrays
from graphnoise.pyg import to_data


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """No data anywhere, an empty cache, and no network."""

    def refuse(*_, **__):
        raise OSError("no network in tests")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NOISE_DATA", raising=False)
    monkeypatch.setattr("graphnoise.datasets.places.PROJECT", tmp_path / "checkout")
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    return tmp_path


def write_planetoid(folder, name, n_train=4, n_labelled=510, test_nodes=(510, 513, 511, 514)):
    """Random files in the raw layout; node 512 is named by nobody, as some of CiteSeer's are."""
    rng, n_classes, n_features = np.random.default_rng(0), 6, 8
    folder.mkdir(parents=True)
    allx = sparse.csr_matrix(rng.integers(0, 2, (n_labelled, n_features)).astype(np.float32))
    ally = np.eye(n_classes, dtype=np.int32)[rng.integers(0, n_classes, n_labelled)]
    ally[:n_classes] = np.eye(n_classes, dtype=np.int32)
    n_test = len(test_nodes)
    tx = sparse.csr_matrix(rng.integers(0, 2, (n_test, n_features)).astype(np.float32))
    ty = np.eye(n_classes, dtype=np.int32)[rng.integers(0, n_classes, n_test)]
    graph = defaultdict(list)
    for source, target in rng.integers(0, n_labelled, (900, 2)).tolist():
        graph[source].append(target)
    graph[514] = [0, 511]
    for part, value in {
        "x": allx[:n_train],
        "y": ally[:n_train],
        "allx": allx,
        "ally": ally,
        "tx": tx,
        "ty": ty,
        "graph": graph,
    }.items():
        (folder / f"ind.{name}.{part}").write_bytes(pickle.dumps(value, protocol=2))
    np.savetxt(folder / f"ind.{name}.test.index", test_nodes, fmt="%d")


def assert_same_as_pyg(graph, folder, name):
    from torch_geometric.io import read_planetoid_data

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = read_planetoid_data(str(folder), name)
    ends = np.concatenate([data.edge_index.numpy(), data.edge_index.numpy()[::-1]], axis=1)
    adjacency = sparse.csr_array(
        (np.ones(ends.shape[1]), ends), shape=(data.num_nodes, data.num_nodes)
    )
    np.testing.assert_array_equal((adjacency > 0).toarray(), graph.adjacency.toarray() > 0)
    np.testing.assert_array_equal(data.y.numpy(), graph.truth)
    for mask, ours in (
        (data.train_mask, graph.train),
        (data.val_mask, graph.validation),
        (data.test_mask, graph.test),
    ):
        np.testing.assert_array_equal(mask.numpy(), ours)
    words = data.x.numpy()
    total = words.sum(axis=1, keepdims=True)
    features = graph.features.toarray() if sparse.issparse(graph.features) else graph.features
    np.testing.assert_allclose(features, words / np.where(total > 0, total, 1), rtol=1e-6)


def test_planetoid_files_read_as_pyg_reads_them(alone):
    folder = alone / "root" / "CiteSeer" / "raw"
    write_planetoid(folder, "citeseer")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    graph = load_graph("citeseer", root=alone / "root")
    assert_same_as_pyg(graph, folder, "citeseer")
    assert graph.n_nodes == 515
    assert (graph.train.sum(), graph.validation.sum(), graph.test.sum()) == (4, 500, 4)
    # nothing is written into the caller's root
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["raw"]


def test_a_planetoid_file_cannot_call_anything(alone):
    folder = alone / "root" / "raw"
    write_planetoid(folder, "cora")

    class Malicious:
        def __reduce__(self):
            return (print, ("called",))

    (folder / "ind.cora.allx").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(ValueError, match=r"ind\.cora\.allx.*refused to load builtins\.print"):
        load_graph("cora", root=alone / "root")
    (folder / "ind.cora.allx").write_bytes(b"\x80\x02")
    with pytest.raises(ValueError, match=r"ind\.cora\.allx is no Planetoid file"):
        load_graph("cora", root=alone / "root")


@pytest.mark.real_data
def test_cora_is_cora(real_data):
    graph = load_graph("Cora", root=real_data)
    assert (graph.n_nodes, graph.adjacency.nnz, graph.features.nnz) == (2708, 10556, 49216)
    assert np.bincount(graph.truth).tolist() == [351, 217, 418, 818, 426, 298, 180]
    assert_same_as_pyg(graph, real_data / "planetoid" / "Cora" / "raw", "cora")
    ends = graph.adjacency.tocoo()
    assert np.mean(graph.truth[ends.row] == graph.truth[ends.col]) == pytest.approx(0.81, abs=0.005)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("amazon-photo", "amazon_electronics_photo.npz"),
        ("coauthor-cs", "ms_academic_cs.npz"),
    ],
)
def test_archives_read_as_pyg_reads_them(real_data, name, file):
    from torch_geometric.io.npz import read_npz

    graph = load_graph(name, root=real_data)
    data = read_npz(str(real_data / "graphs" / file))
    ends = graph.adjacency.tocoo()
    np.testing.assert_array_equal(np.stack([ends.row, ends.col]), data.edge_index.numpy())
    np.testing.assert_array_equal(graph.truth, data.y.numpy())
    total = np.asarray(graph.features.sum(axis=0)).reshape(-1)
    np.testing.assert_array_equal(total, data.x.numpy().sum(axis=0))
    assert graph.features.max() == 1
    assert graph.train.sum() == 20 * graph.n_classes
    assert (graph.validation.sum(), graph.test.sum()) == (500, 1000)
    np.testing.assert_array_equal(graph.given[graph.labelled], graph.truth[graph.labelled])


def write_archive(path, **changes):
    rng = np.random.default_rng(0)
    adjacency = sparse.random_array((240, 240), density=0.1, rng=rng, format="csr")
    features = sparse.random_array((240, 9), density=0.5, rng=rng, format="csr")
    content = {"labels": np.arange(240) % 3}
    for key, matrix in (("adj", adjacency), ("attr", features)):
        for part in ("data", "indices", "indptr", "shape"):
            content[f"{key}_{part}"] = np.asarray(getattr(matrix, part))
    content |= changes
    np.savez(path, **{key: value for key, value in content.items() if value is not None})


def test_corafull_has_erases_split(alone):
    write_archive(alone / "cora.npz")
    graph = load_graph("corafull", root=alone)
    assert (graph.train.sum(), graph.validation.sum(), graph.test.sum()) == (60, 90, 90)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, "has no key 'labels'; found"),
        ({"attr_indices": None}, "has no key 'attr_indices'"),
        ({"labels": np.array([{}] * 240)}, "key 'labels' cannot be read.*allow_pickle"),
        ({"adj_indptr": np.arange(241) * 99999}, r"adj_\* is no CSR matrix"),
    ],
)
def test_a_bad_archive_is_named(alone, changes, message):
    write_archive(alone / "dblp.npz", **changes)
    with pytest.raises(ValueError, match=message):
        load_graph("dblp", root=alone)


def test_wikics_by_hand(alone):
    folder = alone / "WikiCS" / "raw"
    folder.mkdir(parents=True)
    content = {
        "features": [[0.5, 1], [1, 1], [2, 2], [3, 3]],
        "labels": [0, 1, 1, 0],
        "links": [[1, 2], [], [0], [3]],
        "train_masks": [[True, True, False, False], [False, True, False, True]],
        "val_masks": [[False, False, True, False], [True, False, False, False]],
        "stopping_masks": [[False] * 4] * 2,
        "test_mask": [False] * 4,
    }
    (folder / "data.json").write_text(json.dumps(content))
    for seed, split in ((0, 0), (5, 1)):
        graph = load_graph("wikics", root=alone, seed=seed)
        assert graph.train.tolist() == content["train_masks"][split]
        assert graph.validation.tolist() == content["val_masks"][split]
    np.testing.assert_array_equal(
        graph.adjacency.toarray(), [[0, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    )
    np.testing.assert_array_equal(graph.features, content["features"])
    (folder / "data.json").write_text("{}")
    with pytest.raises(ValueError, match="has no key 'features'"):
        load_graph("wikics", root=alone)


@pytest.mark.parametrize("named", [True, False])
def test_ogbn_arxiv_from_its_archive(tmp_path, monkeypatch, named):
    files = {
        "raw/edge.csv.gz": "0,1\n1,0\n2,3\n",
        "raw/node-feat.csv.gz": "0.5,1\n1,-1\n2,2\n3,3\n",
        "raw/node-label.csv.gz": "1\n0\n1\n0\n",
        "split/time/train.csv.gz": "2\n1\n",
        "split/time/valid.csv.gz": "0\n",
        "split/time/test.csv.gz": "3\n",
    }
    if named:
        files[ogbn_arxiv.CATEGORIES] = "label idx,arxiv category\n1,cs.LG\n0,cs.AI\n"
    with zipfile.ZipFile(tmp_path / "arxiv.zip", "w") as packed:
        for name, text in files.items():
            packed.writestr(f"arxiv/{name}", gzip.compress(text.encode()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    remote = replace(ogbn_arxiv.REMOTE, url=(tmp_path / "arxiv.zip").as_uri())
    monkeypatch.setattr(ogbn_arxiv, "REMOTE", remote)
    monkeypatch.setattr(Places, "folders", lambda _: [cache_folder()])
    graph = load_graph("ogbn-arxiv")
    np.testing.assert_array_equal(graph.adjacency.tocoo().coords, [[0, 1, 2, 3], [1, 0, 3, 2]])
    np.testing.assert_array_equal(graph.features, [[0.5, 1], [1, -1], [2, 2], [3, 3]])
    assert graph.truth.tolist() == [1, 0, 1, 0]
    assert graph.given.tolist() == [1, 0, 1, -1]
    assert graph.train.tolist() == [False, True, True, False]
    assert graph.test.tolist() == [False, False, False, True]
    assert graph.class_names == (("cs.AI", "cs.LG") if named else ("0", "1"))


def test_splits_are_disjoint_repeatable_and_of_the_stated_size():
    labels = np.repeat([0, 1, 2], [5, 100, 300])
    for draw in (fixed_counts_split, per_class_split):
        masks = draw(labels, seed=3)
        assert np.bincount(labels[masks["train"]]).tolist() == [5, 20, 20]
        assert max(sum(mask.astype(int) for mask in masks.values())) == 1
        again, other = draw(labels, seed=3), draw(labels, seed=4)
        assert all((masks[key] == again[key]).all() for key in masks)
        assert (masks["train"] != other["train"]).any()
    few = fixed_counts_split(labels, seed=0, n_validation=300, n_test=200)
    assert (few["validation"].sum(), few["test"].sum()) == (300, 60)
    per_class = per_class_split(labels, seed=0)
    assert np.bincount(labels[per_class["validation"]]).tolist() == [0, 30, 30]
    assert per_class["test"].sum() == 405 - 45 - 60


def test_search_order(alone, monkeypatch):
    remote = Remote(("a.txt",), ("set", "."), "https://nowhere.invalid/")
    folders = [alone / "root", alone / "named", alone / "shared" / "data", cache_folder()]
    for folder in folders:
        (folder / "set").mkdir(parents=True)
        (folder / "set" / "a.txt").write_text("")
    (alone / "checkout").mkdir()
    (alone / "checkout" / "pyproject.toml").write_text("")
    monkeypatch.setenv("NOISE_DATA", str(alone / "named"))
    places = Places(alone / "root")
    assert places.folders() == folders
    for folder in folders:
        assert places.find(remote) == folder / "set"
        (folder / "set" / "a.txt").unlink()
    assert places.find(remote) is None


def test_without_data_and_network_the_error_says_what_to_do(alone):
    with pytest.raises(FileNotFoundError) as caught:
        load_graph("cora")
    for part in ("ind.cora.x", str(cache_folder()), "no network", "NOISE_DATA", "python-modules"):
        assert part in str(caught.value)
    with pytest.raises(ValueError, match="root must be a folder"):
        load_graph("cora", root=alone / "missing")
    with pytest.raises(ValueError, match="did you mean 'cora'"):
        load_graph("corra")
    with pytest.raises(ValueError, match=r"no file or folder '.*x\.npz'"):
        load_graph(alone / "x.npz")


def test_download_is_all_or_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = tmp_path / "server"
    source.mkdir()
    (source / "a.txt").write_text("a")
    remote = Remote(("a.txt", "b.txt"), ("set/raw",), source.as_uri() + "/")
    with pytest.raises(FileNotFoundError, match=r"set/raw/a\.txt"):
        Places().fetch("set", remote)
    assert not (cache_folder() / "set" / "raw").exists()
    assert list((cache_folder() / "set").iterdir()) == []
    (source / "b.txt").write_text("b")
    folder = Places().fetch("set", remote)
    assert (folder / "b.txt").read_text() == "b"
    (source / "b.txt").unlink()
    assert Places().fetch("set", remote) == folder


def test_archive_is_downloaded_without_its_top_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        packed.writestr("top/raw/a.txt", "a")
    remote = Remote(("raw/a.txt",), ("set",), (tmp_path / "set.zip").as_uri(), archive=True)
    assert (Places().fetch("set", remote) / "raw" / "a.txt").read_text() == "a"


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "a/../../out.txt", "c:/out.txt"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_no_member_leaves_the_folder(tmp_path, kind, name):
    packed = tmp_path / f"x.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(packed, "w") as file:
            file.writestr("fine.txt", "")
            file.writestr(name, "")
    else:
        with tarfile.open(packed, "w") as file:
            file.addfile(tarfile.TarInfo("fine.txt"), io.BytesIO())
            file.addfile(tarfile.TarInfo(name), io.BytesIO())
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(ValueError, match="leaves the target folder"):
        extract(packed, target)
    assert list(target.iterdir()) == []


def test_links_and_other_files_are_refused(tmp_path):
    packed = tmp_path / "x.tar"
    with tarfile.open(packed, "w") as file:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        file.addfile(link)
    with pytest.raises(ValueError, match="link or device, 'link'"):
        extract(packed, tmp_path)
    (tmp_path / "y.zip").write_text("text")
    with pytest.raises(ValueError, match="neither a zip nor a tar"):
        extract(tmp_path / "y.zip", tmp_path)


def test_every_registered_loader_can_be_imported():
    for name in DATASETS:
        assert callable(DATASETS.load(name))


def example(**changes):
    rng = np.random.default_rng(1)
    features = rng.random((8, 20)) * (rng.random((8, 20)) < 0.1)
    masks = {"train": [1, 1, 1, 0, 0, 0, 0, 0], "validation": [0, 0, 0, 1, 1, 0, 0, 0]}
    arguments = {
        "features": features,
        "masks": masks | {"test": [0, 0, 0, 0, 0, 1, 1, 0]},
        "edge_weight": [0.5, 1.0, 2.0],
        "truth": [1, 0, 1, 1, 0, 0, 1, -1],
        "class_names": ("cat", "día"),
        "node_names": np.array(list("abcdefgh")),
        "texts": tuple("text" * n for n in range(8)),
        "name": "pets",
        **changes,
    }
    return graph_from_arrays([[0, 1, 2], [1, 2, 7]], labels=[0, 0, 1, 1, 0, 1, 1, 0], **arguments)


def assert_same_graph(one, other):
    np.testing.assert_array_equal(one.adjacency.toarray(), other.adjacency.toarray())
    dense = [
        graph.features.toarray() if sparse.issparse(graph.features) else graph.features
        for graph in (one, other)
    ]
    np.testing.assert_array_equal(*dense)
    for key in ("given", "train", "validation", "test", "truth", "ids"):
        np.testing.assert_array_equal(getattr(one, key), getattr(other, key))
    assert (one.class_names, one.texts, one.name) == (other.class_names, other.texts, other.name)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"features": np.ones((8, 2))},
        {"node_names": np.arange(8) + 3, "texts": None, "edge_weight": None},
        {"truth": None, "node_names": None, "masks": {"train": np.ones(8)}},
    ],
)
def test_a_saved_graph_comes_back(tmp_path, suffix, changes):
    graph = example(**changes)
    path = tmp_path / f"graph{suffix}"
    save_graph(graph, path)
    assert_same_graph(load_graph(path), graph)
    assert [path.name for path in tmp_path.iterdir()] == [f"graph{suffix}"]


def test_tensors_of_pygs_data_in_safetensors(tmp_path):
    from safetensors.torch import save_file

    data = to_data(example(texts=None))
    tensors = {key: value for key, value in data.to_dict().items() if hasattr(value, "numpy")}
    save_file(tensors, tmp_path / "data.safetensors")
    graph = load_graph(tmp_path / "data.safetensors")
    np.testing.assert_array_equal(graph.given, example().given)
    np.testing.assert_array_equal(graph.adjacency.toarray(), example().adjacency.toarray())


def test_the_archive_layout_is_a_users_file_too(tmp_path):
    write_archive(tmp_path / "mine.npz")
    graph = load_graph(tmp_path / "mine.npz")
    assert (graph.n_nodes, graph.n_classes, graph.train.sum()) == (240, 3, 192)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": None}, "has no key 'y'; found"),
        ({"x": None}, "no key 'x', and of the sparse form"),
        ({"y": np.array([{}] * 3)}, "cannot be read.*allow_pickle"),
        ({"edge_index": np.array([[0], [9]])}, r"bad\.npz: edge_index must lie in 0 \.\. 2"),
    ],
)
def test_a_bad_npz_is_named(tmp_path, changes, message):
    content = {"edge_index": np.array([[0], [1]]), "x": np.ones((3, 1)), "y": np.array([0, 1, 1])}
    content = {key: value for key, value in (content | changes).items() if value is not None}
    np.savez(tmp_path / "bad.npz", **content)
    with pytest.raises(ValueError, match=message):
        load_graph(tmp_path / "bad.npz")


def test_files_that_are_none(tmp_path):
    for name in ("x.npz", "x.safetensors", "x.pt"):
        (tmp_path / name).write_text("no data")
    for name, message in (
        ("x.npz", "cannot be read"),
        ("x.safetensors", "cannot be read"),
        ("x.pt", "a graph is a folder or one of"),
    ):
        with pytest.raises(ValueError, match=message):
            load_graph(tmp_path / name)
    with pytest.raises(ValueError, match="path must end in"):
        save_graph(example(), tmp_path / "x.pt")


NODES = """id,label,split,text,f1,f2
07,cat,train,"a, b",1,0
NA,dog,train,,0,1
c,cat,validation,z,1,1
d,,,,.5,2
"""
EDGES = "source,target,weight\n07,NA,2\nc,d,1\n"


def write_tables(folder, nodes=NODES, edges=EDGES, kind="csv"):
    for name, text in (("nodes", nodes), ("edges", edges)):
        if kind == "csv":
            (folder / f"{name}.csv").write_text(text)
        else:
            table = pandas.read_csv(
                io.StringIO(text), dtype={"id": str, "source": str}, keep_default_na=False
            )
            table.to_parquet(folder / f"{name}.parquet")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables(tmp_path, kind):
    write_tables(tmp_path, kind=kind)
    graph = load_graph(tmp_path)
    assert graph.ids.tolist() == ["07", "NA", "c", "d"]
    assert graph.class_names == ("cat", "dog")
    assert graph.given.tolist() == [0, 1, 0, -1]
    assert graph.train.tolist() == [True, True, False, False]
    assert graph.validation.tolist() == [False, False, True, False]
    assert graph.texts == ("a, b", "", "z", "")
    np.testing.assert_array_equal(graph.features, [[1, 0], [0, 1], [1, 1], [0.5, 2]])
    expected = np.zeros((4, 4))
    expected[0, 1] = expected[1, 0] = 2
    expected[2, 3] = expected[3, 2] = 1
    np.testing.assert_array_equal(graph.adjacency.toarray(), expected)


def test_numeric_ids_labels_and_a_feature_file(tmp_path):
    table = pandas.DataFrame({"id": [30, 10, 20], "label": [10, 9, None], "truth": [10, 9, 9]})
    table.to_parquet(tmp_path / "nodes.parquet")
    (tmp_path / "edges.csv").write_text("source,target\n10,30\n")
    np.save(tmp_path / "features.npy", np.ones((3, 2)))
    graph = load_graph(tmp_path)
    assert graph.class_names == ("9", "10")
    assert graph.ids.tolist() == [30, 10, 20]
    assert graph.truth.tolist() == [1, 0, 0]
    assert graph.given.tolist() == [1, 0, -1]
    assert graph.adjacency[0, 1] == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("NA,dog", "07,dog", r"nodes\.csv: column 'id' .*distinct ids; found '07' in row 2"),
        ("d,,,", ",,,", "column 'id' must hold an id.* in row 4"),
        ("c,cat", "c,", "column 'label' must hold a label.* in row 3"),
        ("cat,train", "cat,trian", "column 'split' .* found 'trian' in row 1"),
        (".5,2", "x,2", "column 'f1' must hold finite numbers; found 'x' in row 4"),
        (".5,2", ",2", "column 'f1' must hold finite numbers; found '' in row 4"),
        ("id,label", "name,label", "has no column 'id'; found"),
    ],
)
def test_bad_nodes_are_named(tmp_path, old, new, message):
    write_tables(tmp_path, nodes=NODES.replace(old, new))
    with pytest.raises(ValueError, match=message):
        load_graph(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("c,d", "c,e", r"edges\.csv: column 'target' .*nodes table; found 'e' in row 2"),
        ("NA,2", "NA,nan", "column 'weight' must hold finite numbers; found 'nan' in row 1"),
        ("NA,2", "NA,-2", "edge_weight must be finite and non-negative, found -2.0 at edge 0"),
        ("source", "from", "has no column 'source'"),
    ],
)
def test_bad_edges_are_named(tmp_path, old, new, message):
    write_tables(tmp_path, edges=EDGES.replace(old, new))
    with pytest.raises(ValueError, match=message):
        load_graph(tmp_path)


def test_bad_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"either nodes\.csv or nodes\.parquet, found \[\]"):
        load_graph(tmp_path)
    write_tables(tmp_path)
    write_tables(tmp_path, kind="parquet")
    with pytest.raises(ValueError, match=r"found \['nodes\.csv', 'nodes\.parquet'\]"):
        load_graph(tmp_path)
    for name in ("nodes", "edges"):
        (tmp_path / f"{name}.parquet").unlink()
    np.save(tmp_path / "features.npy", np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"features\.npy must be \[4, F\], got \(3, 2\)"):
        load_graph(tmp_path)
    (tmp_path / "features.npy").unlink()
    write_tables(tmp_path, nodes="id,label\n1,a\n2,b\n", edges="source,target\n1,2\n")
    with pytest.raises(ValueError, match="has no feature columns"):
        load_graph(tmp_path)


def write_package(folder, name, files):
    for path, content in files.items():
        target = folder / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)


@pytest.fixture
def two_packages(tmp_path, monkeypatch):
    """alpha and beta of six modules each, in a site-packages of their own."""
    site = tmp_path / "site-packages"
    write_package(
        site,
        "alpha",
        {
            "__init__.py": '"""Alpha helps."""\nfrom . import core\nfrom .core import thing\n',
            "core.py": '"""The core."""\nimport beta.one as b\ndef computeThing(value): return b\n',
            "deep/__init__.py": "",
            "deep/low.py": "from ..core import thing\nfrom ... import nothing\n",
            "deep/lower.py": "def later():\n    from alpha import core\n",
            "broken.py": "def :\n",
            "tests/test_core.py": "import alpha\n",
        },
    )
    numbers = ("one", "two", "three", "four", "five")
    write_package(
        site,
        "beta",
        {"__init__.py": "import beta.one, beta.two\n"}
        | {f"{word}.py": f"alphaValue = compute_thing_{word} = 1\n" for word in numbers},
    )
    monkeypatch.setattr(python_modules, "source_folders", lambda: [site])
    monkeypatch.setattr(python_modules, "MIN_MODULES", 4)
    monkeypatch.setattr(python_modules, "MIN_DOCUMENTS", 1)
    return site


def test_python_modules_by_hand(two_packages):
    packages = python_modules.find_packages([two_packages])
    graph = python_modules.build_graph(packages)
    names = graph.ids.tolist()
    # broken.py, the tests and the empty alpha.deep are left out
    assert names[:5] == ["alpha", "alpha.core", "alpha.deep.low", "alpha.deep.lower", "beta"]
    assert len(names) == 10
    ends = graph.adjacency.tocoo()
    pairs = {(names[i], names[j]) for i, j in zip(ends.row, ends.col, strict=True) if i < j}
    assert pairs == {
        ("alpha", "alpha.core"),
        ("alpha.core", "beta.one"),
        ("alpha.core", "alpha.deep.low"),
        ("alpha.core", "alpha.deep.lower"),
        ("beta", "beta.one"),
        ("beta", "beta.two"),
    }
    assert graph.texts[:2] == ("Alpha helps.", "The core.")
    assert graph.class_names == ("alpha", "beta")


def test_words_do_not_tell_the_package(two_packages):
    module = python_modules.read_module("alpha.core", two_packages / "alpha" / "core.py")
    assert module.words == ("compute", "thing", "value", "the", "core")
    documents = python_modules.visible_words([module], ("alpha", "beta"))
    assert documents == [["compute", "thing", "value", "the"]]


def test_a_module_without_docstring_is_told_by_what_it_defines(tmp_path):
    source = tmp_path / "core.py"
    source.write_text("class Solver:\n    def __init__(self): ...\n    def solve(self): ...\n")
    assert python_modules.read_module("alpha.core", source).text == "Defines Solver, solve."
    source.write_text("VALUE = 1\n")
    assert python_modules.read_module("alpha.core", source).text == ""


def test_python_modules_is_cached_and_repeatable(two_packages, alone, monkeypatch):
    first = load_graph("python-modules", seed=1)
    assert first.notes == ("3 isolated nodes kept",)
    np.testing.assert_array_equal(first.given[first.train], first.truth[first.train])
    monkeypatch.setattr(python_modules, "build_graph", None)  # a second build would fail
    assert_same_graph(load_graph("python-modules", seed=1), first)
    monkeypatch.setattr(python_modules, "MIN_MODULES", 100)
    with pytest.raises(ValueError, match="needs 2 installed packages of at least 100 modules"):
        load_graph("python-modules")


def test_source_folders_are_those_of_this_python():
    folders = python_modules.source_folders()
    assert any((folder / "json" / "__init__.py").is_file() for folder in folders)
    assert any((folder / "numpy" / "__init__.py").is_file() for folder in folders)


def test_graph_still_to_be_labelled_needs_neither_labels_nor_features(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "edges.csv").write_text("source,target\na,b\nb,c\n")
    (folder / "nodes.csv").write_text("id,text\na,one\nb,\nc,three\n")
    with pytest.raises(ValueError, match="no column 'label'"):
        load_graph(folder)
    graph = load_graph(folder, labels_required=False)
    assert graph.texts == ("one", "", "three")
    assert (graph.given == -1).all()
    assert not graph.train.any()
    assert graph.adjacency.nnz == 4
    arrays = {"edge_index": np.array([[0, 1], [1, 2]]), "texts": np.array(["one", "two", "three"])}
    np.savez(tmp_path / "mine.npz", **arrays)
    assert load_graph(tmp_path / "mine.npz", labels_required=False).features.shape == (3, 1)
    # labels that are there count as training, all of them, and masks are not read
    np.savez(tmp_path / "some.npz", **arrays, y=np.array([0, -1, 1]), test_mask=np.ones(3, bool))
    some = load_graph(tmp_path / "some.npz", labels_required=False)
    assert some.train.tolist() == [True, False, True]
    assert not any("held out" in note or "classes" in note for note in some.notes)
