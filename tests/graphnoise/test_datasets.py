import io
import pickle
import tarfile
import warnings
import zipfile
from collections import defaultdict

import numpy as np
import pytest
from scipy import sparse

from graphnoise.datasets import DATASETS, load_graph
from graphnoise.datasets.archives import extract
from graphnoise.datasets.places import Places, Remote, cache_folder
from graphnoise.datasets.splits import fixed_counts_split, per_class_split


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
