"""Opening a store: lazily, checked, shared, and never half built."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from typer.testing import CliRunner

import graphnoise.graph_store.store as store_module
from graphnoise.cli import app
from graphnoise.graph_store import build_store, open_store, progress
from graphnoise.graph_store.array_files import HEADER_BYTES, npy_header
from graphnoise.graph_store.header import _checksum
from graphnoise.graph_store.workplace import Workplace
from tests.graphnoise.graph_store.graphs import content, matrix_of, random_edges, write_lines

PROJECT = Path(__file__).resolve().parents[3]
# dies at the given report of progress, after having marked whatever can be marked
KILLED = """
import os, signal, sys
from graphnoise.graph_store import build_store, progress, rows
from graphnoise.graph_store.workplace import Workplace
rows.MARK_ENTRIES, progress.LEAST_MEMORY = 100, 1
source, out, stop, where, weights = sys.argv[1:]
left = int(stop)
def die(*said):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
noted = Workplace.note
def note(place, step, content):
    if where == "before":
        die()
    noted(place, step, content)
    if where == "after":
        die()
Workplace.note = note
build_store(source, out, max_memory=120_000, weights=weights or None,
            progress=die if where == "progress" else None)
"""


def python(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", *map(str, arguments)],
        cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def weighted(tmp_path) -> Path:
    edges = random_edges(2, n_nodes=200, n_edges=4000)
    weights = np.random.default_rng(2).random(4000)
    path = write_lines(tmp_path / "edges.txt", [*(edges * 3 + 1), weights])
    build_store(path, tmp_path / "store", weights="3", features=None)
    return tmp_path


@pytest.mark.parametrize(
    ("where", "stop", "resumed"),
    [
        ("progress", 3, {"read ids", "spread edges", "sort rows"}),
        ("before", 2, {"spread edges", "sort rows"}),
        ("after", 2, {"sort rows"}),
        ("after", 9, {"sort rows"}),
    ],
)
def test_killed_anywhere_and_run_again_gives_the_same_bytes(
    weighted, monkeypatch, where, stop, resumed
):
    process = python(KILLED, weighted / "edges.txt", weighted / "again", stop, where, "3")
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said
    assert not (weighted / "again").exists()
    monkeypatch.setattr(progress, "LEAST_MEMORY", 1)
    told: list[tuple[str, int, int | None]] = []
    build_store(
        weighted / "edges.txt", weighted / "again", weights="3", max_memory=120_000,
        progress=lambda *words: told.append(words),
    )  # fmt: skip
    assert {step for step, *_ in told} == resumed
    # of the sorted pieces, those marked as done stay done
    assert (told[0][0] == "sort rows" and told[0][1] > 5) == (stop == 9)
    assert content(weighted / "again") == content(weighted / "store")
    assert not (weighted / ".again.building").exists()


def test_finished_passes_are_not_repeated(weighted, monkeypatch):
    path, steps = weighted / "edges.txt", list[str]()

    def stop(step: str, done: int, total: int | None) -> None:
        steps.append(step)
        if step == "sort rows":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_store(path, weighted / "again", weights="3", progress=stop)
    assert set(steps) == {"read ids", "spread edges", "sort rows"}
    steps.clear()
    build_store(path, weighted / "again", weights="3", progress=lambda s, *_: steps.append(s))
    assert set(steps) == {"sort rows"}
    assert content(weighted / "again") == content(weighted / "store")


def test_two_builders_of_one_store(tmp_path):
    path = write_lines(tmp_path / "edges.txt", [[1], [2]])
    with (
        Workplace(tmp_path / "store", "key").locked(),
        pytest.raises(ValueError, match="another process is building"),
    ):
        build_store(path, tmp_path / "store")
    build_store(path, tmp_path / "store")


def test_opening_reads_no_array(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    build_store(sparse.csr_array(np.ones((3, 3))), folder)
    header = json.loads((folder / "header.json").read_text())
    # a tebibyte of nothing: it could be neither read nor held
    length = 1 << 38
    size = HEADER_BYTES + 4 * length
    with (folder / "indices.npy").open("r+b") as file:
        file.write(npy_header("<i4", (length,)))
        file.truncate(size)
    header["arrays"]["indices.npy"] |= {"shape": [length], "bytes": size}
    header["n_entries"] = length
    header["checksum"] = _checksum(header)
    (folder / "header.json").write_text(json.dumps(header))
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "map_array", pytest.fail)
        store = open_store(folder)
        assert (store.n_nodes, store.n_edges) == (3, length // 2)
    arrays = store.adjacency().arrays
    assert arrays.indices.flags.writeable
    assert len(arrays.indices) == length
    assert arrays.indices[-1] == 0
    arrays.indices[-1] = 9
    assert open_store(folder).adjacency().arrays.indices[-1] == 0


def test_arrays_are_plain_npy(weighted):
    for path in (weighted / "store").glob("*.npy"):
        assert len(np.load(path, allow_pickle=False))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "indices.npy").unlink(), "indices.npy is missing, expected"),
        (lambda f: os.truncate(f / "indptr.npy", 500), "found 500 bytes, expected"),
        (lambda f: (f / "header.json").unlink(), "is no graph store: found no header.json"),
        (lambda f: (f / "header.json").write_text('{"form'), "is damaged: expected JSON"),
        (lambda f: edit(f, version=99), "expected format version 1, found 99"),
        (lambda f: edit(f, format="zip"), "expected format 'graphnoise graph store', found 'zip'"),
        (lambda f: edit(f, n_nodes=7), "header.json is damaged: found checksum"),
    ],
)
def test_damage_is_named(weighted, damage, message):
    damage(weighted / "store")
    with pytest.raises(ValueError, match=message):
        open_store(weighted / "store")


def edit(folder: Path, **values: object) -> None:
    path = folder / "header.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("at", [20, HEADER_BYTES, -1])
def test_a_flipped_bit_is_found_by_verifying(weighted, at):
    path = weighted / "store" / "weights.npy"
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)
    store = open_store(weighted / "store")
    with pytest.raises(ValueError, match=r"weights.npy is damaged"):
        store.verify()
    with pytest.raises(ValueError, match=r"weights.npy is damaged"):
        open_store(weighted / "store", verify=True)


def test_processes_share_a_store(weighted):
    program = (
        "import sys\nfrom graphnoise.graph_store import open_store\n"
        "store = open_store(sys.argv[1], verify=True)\nprint('open', flush=True)\n"
        "sys.stdin.readline()\narrays = store.adjacency().arrays\n"
        "arrays.weights[:] = arrays.weights * 2\nprint(arrays.weights.sum(), flush=True)"
    )
    command = [sys.executable, "-c", program, str(weighted / "store")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": PROJECT}
    before = content(weighted / "store")
    two = [subprocess.Popen(command, **pipes) for _ in range(2)]
    assert [one.stdout.readline() for one in two] == ["open\n"] * 2
    sums = [float(one.communicate("go\n")[0]) for one in two]
    expected = open_store(weighted / "store").adjacency().arrays.weights.sum() * 2
    assert sums == pytest.approx([expected] * 2)
    assert content(weighted / "store") == before


def test_attached_features(tmp_path):
    matrix = sparse.csr_array(np.ones((3, 3)))
    store = build_store(matrix, tmp_path / "store")
    assert store.features is None
    first = np.arange(6.0).reshape(3, 2)
    store.attach_features(first)
    assert np.array_equal(store.features, first)
    reader = open_store(tmp_path / "store")
    held = reader.features
    np.save(tmp_path / "x.npy", first.astype(np.float64) + 1)
    store.attach_features(tmp_path / "x.npy")
    assert np.array_equal(held, first)
    again = open_store(tmp_path / "store", verify=True)
    assert np.array_equal(again.adjacency().features, first + 1)
    sparse.save_npz(tmp_path / "x.npz", sparse.csr_array(np.eye(3, 5)))
    again.attach_features(tmp_path / "x.npz")
    last = open_store(tmp_path / "store", verify=True)
    assert np.array_equal(last.features.toarray(), np.eye(3, 5))
    assert len(list((tmp_path / "store").glob("features*"))) == 3
    for bad, message in [
        (np.ones((2, 2)), r"must be \[3, F\]"),
        (np.array([[1], [np.inf], [1]]), "infinity at node 1"),
        (sparse.csr_array(np.array([[0], [0], [np.nan]])), "infinity at node 2"),
        (np.array([["a"], ["b"], ["c"]]), "must be real numbers"),
        (tmp_path / "x.csv", "must be an .npy or .npz file"),
    ]:
        with pytest.raises(ValueError, match=message):
            last.attach_features(bad)
    assert open_store(tmp_path / "store", verify=True).header.n_features == 5
    assert build_store(matrix, tmp_path / "store").header.n_features == 5


def test_command_line(tmp_path):
    def call(*words: object, expect: int = 0) -> str:
        result = CliRunner().invoke(app, ["build-store", *map(str, words)])
        assert result.exit_code == expect, result.output
        return result.stdout + result.stderr

    path, out = tmp_path / "edges.csv", tmp_path / "store"
    path.write_text("ann,bob,2\nbob,cid,3\nbob,ann,1\n")
    np.save(tmp_path / "x.npy", np.ones((3, 2)))
    words = (path, "--out", out, "--weights", "3", "--features", tmp_path / "x.npy")
    said = call(*words)
    for part in ("2 of 3 read", "nodes", "text", "1 repeated", "2 per node"):
        assert part in said
    assert "already done" in call(*words)
    assert "holds another store" in call(path, "--out", out, expect=2)
    assert "already done" not in call(path, "--out", out, "--force")
    assert not len(open_store(out).adjacency().arrays.weights)
    assert np.array_equal(matrix_of(open_store(out)).toarray(), [[0, 1, 0], [1, 0, 1], [0, 1, 0]])
