"""``graphnoise cluster``: real processes where one must die, typer's runner elsewhere."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from graphnoise.cli import app, cluster_batch
from graphnoise.cli.cluster_input import FIRST_NAMED, coded, ids_of, read_labels, seed_lists
from graphnoise.cli.cluster_job import ClusterJob
from graphnoise.report.cluster_files import read_cluster

PROJECT = Path(__file__).resolve().parents[2]
PER_BLOCK, N_BLOCKS = 40, 3
N_NODES = PER_BLOCK * N_BLOCKS
MISCHIEF = "<script>alert(1)</script>"
ISOLATED = "alone"
MASS = ("--mass", "600")


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    """Three communities with features of their own and names for nodes; one node has no edge."""
    rng = np.random.default_rng(0)
    block = np.repeat(np.arange(N_BLOCKS), PER_BLOCK)
    same = block[:, None] == block
    edges = np.argwhere(np.triu(rng.random(same.shape) < np.where(same, 0.3, 0.01), 1))
    names = [*(f"n{i}" for i in range(N_NODES)), ISOLATED]
    names[1] = MISCHIEF
    folder = tmp_path_factory.mktemp("graph")
    words = rng.poisson(0.1 + 0.8 * (np.arange(30) % N_BLOCKS == np.append(block, 0)[:, None]))
    nodes = pd.DataFrame({"id": names, "label": [f"topic {k}" for k in (*block, 0)]})
    nodes.to_csv(folder / "nodes.csv", index=False)
    np.save(folder / "features.npy", words.astype(np.float32))
    pairs = [[names[u], names[v]] for u, v in edges.tolist()]
    pd.DataFrame(pairs, columns=["source", "target"]).to_csv(folder / "edges.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> Path:
    """Topic of each node, a fifth of them wrong; five nodes missing, two that do not exist."""
    rng = np.random.default_rng(1)
    block = np.repeat(np.arange(N_BLOCKS), PER_BLOCK)
    wrong = rng.random(N_NODES) < 0.2
    topic = np.where(wrong, rng.integers(0, N_BLOCKS, N_NODES), block)
    rows = [("n0" if i == 0 else f"n{i}", f"topic {topic[i]}") for i in range(N_NODES) if i != 1]
    rows = [*rows[:-5], ("ghost", "topic 0"), ("spook", "topic 1")]
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    pd.DataFrame(rows, columns=["id", "label"]).to_csv(path, index=False)
    return path


def call(*words, expect: int = 0) -> str:
    """Run the command in this process and return what it says; all of it on a wrong exit code."""
    result = CliRunner().invoke(app, ["cluster", *(str(word) for word in words)])
    said = result.stdout + result.stderr
    assert result.exit_code == expect, f"{said}\n{result.exception!r}"
    return said


def one(graph, *words, seed="n0", expect=0) -> str:
    return call(graph, "--seed-node", seed, *words, expect=expect)


def as_record(graph, *words, seed="n0") -> dict:
    return json.loads(one(graph, *MASS, *words, "--json", seed=seed))


def inside(record) -> float:
    """Share of the members that are in the first community."""
    numbers = [1 if name == MISCHIEF else int(name[1:]) for name in record["nodes"]]
    return float(np.mean(np.array(numbers) < PER_BLOCK))


def test_facts_and_top_members_are_said(graph):
    said = one(graph, *MASS)
    for name in ("size", "conductance", "volume", "mass", "touched", "certificate", "converged"):
        assert re.search(rf"^ {name} +\S", said, re.M), name
    assert "of 121 nodes" in said
    assert re.search(r"^ n0 ", said, re.M)
    assert len(re.findall(r"^ n\d+ ", said, re.M)) <= 10


def test_json_is_alone_on_stdout_and_holds_the_cluster(graph):
    record = as_record(graph)
    assert record["seeds"] == ["n0"]
    assert record["mass"] == 600
    assert len(record["nodes"]) == record["size"] == len(record["score"])
    assert record["nodes"][0] == "n0"
    assert inside(record) > 0.9
    assert record["certificate"]["excess"] <= 0.1
    assert record["sweep"]["size"][0] == 1


def test_without_a_mass_one_is_found_and_told(graph):
    assert re.search(r"mass [\d.]+ found", one(graph))
    pushed = one(graph, "--method", "pagerank")
    assert not re.search(r"^ mass ", pushed, re.M)
    assert re.search(r"residual <= \S+ of the degree", pushed)


def test_several_seeds_make_one_cluster(graph):
    record = json.loads(call(graph, "--seed-node", "n0", "--seed-node", "n5", *MASS, "--json"))
    assert record["seeds"] == ["n0", "n5"]


def test_labels_say_which_members_are_believed(graph, labels):
    assert as_record(graph, "--labels", labels)["method"] == "refined_flow_diffusion"
    # labels as they are in the file; the default method corrects them
    published = ("--method", "label_flow_diffusion")
    record = as_record(graph, "--labels", labels, *published)
    assert set(record["labels"]) <= {1, 0, -1}
    notes = " ".join(record["notes"])
    assert "have no label" in notes
    assert "2 labels are of no node" in notes
    # n0's own label is its class; asking for another turns the labels around
    other = as_record(graph, "--labels", labels, "--target-label", "topic 1", *published)
    believed = dict(zip(record["nodes"], record["labels"], strict=True))
    for name, label in zip(other["nodes"], other["labels"], strict=True):
        assert not (label == 1 and believed.get(name) == 1)


def test_rounding_by_labels_keeps_the_believed(graph, labels):
    assert set(as_record(graph, "--labels", labels, "--rounding", "labels")["labels"]) == {1}


def test_labels_from_examples_and_from_the_seed(graph, tmp_path):
    (tmp_path / "in.txt").write_text("n0\nn2,n3\n\nn4\nn5\n")
    away = ",".join(f"n{i}" for i in range(50, 60))
    record = as_record(graph, "--positives", tmp_path / "in.txt", "--negatives", away)
    assert inside(record) > 0.9
    assert np.mean(np.array(record["labels"]) == 1) > 0.7
    assert inside(as_record(graph, "--labels-from-seed")) > 0.8


def test_settings_reach_the_method(graph):
    assert as_record(graph, "--set", "tolerance=0.001")["settings"]["tolerance"] == 0.001


def test_limits_end_a_query_and_are_told(graph):
    said = one(graph, *MASS, "--max-edges", 20)
    assert "no: the edge visits allowed (max_edges) were used up" in " ".join(said.split())


@pytest.mark.parametrize("name", ["c.json", "c.parquet"])
def test_out_file_reads_back(graph, tmp_path, name):
    said = one(graph, *MASS, "--out", tmp_path / name)
    assert f"written  {tmp_path / name}" in said
    assert read_cluster(tmp_path / name).nodes.tolist() == as_record(graph)["nodes"]


def test_out_folder_holds_record_members_and_page(graph, labels, tmp_path):
    words = ("--labels", labels, "--target-label", "topic 0", "--out", tmp_path / "run")
    one(graph, *MASS, *words, seed=MISCHIEF)
    found = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert found == ["cluster.json", "members.csv", "page.html"]
    with (tmp_path / "run" / "members.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == read_cluster(tmp_path / "run/cluster.json").nodes.tolist()
    page = (tmp_path / "run" / "page.html").read_text()
    assert MISCHIEF not in page
    assert "&lt;script&gt;alert(1)" in page
    assert re.findall(r"(?:src|href)=\"(?!#)|https?://", page) == []


def test_page_and_plot(graph, labels, tmp_path):
    one(graph, *MASS, "--labels", labels, "--page", tmp_path / "p.html",
        "--plot", tmp_path / "p.png")  # fmt: skip
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert "topic" not in (tmp_path / "p.html").read_text()
    # neighbours outside have labels too
    assert "not in the cluster, label 0" in (tmp_path / "p.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "flow"), "cluster method must be one of"),
        (("--set", "tolerence=1"), "did you mean 'tolerance'?"),
        (("--rounding", "top"), "rounding must be one of"),
        (("--rounding", "labels"), "needs labels"),
        (("--mass", "-3"), "mass must be positive"),
        (("--max-edges", "0"), "max_edges must be positive"),
        (("--positives", "n0"), "go together"),
        (("--target-label", "x"), "add --labels"),
        (("--labels", "nowhere.csv"), "no file nowhere.csv"),
        (("--plot", "p.gif"), "--plot must end in one of"),
        (("--page", "p.pdf"), "--page must end in one of"),
        (("--out", "c.xlsx"), "--out must be a folder or end in one of"),
        (("--threads", "2"), "belong to --seeds"),
        (("--labels-from-seed", "--positives", "n0", "--negatives", "n1"), "one place"),
        (("--seeds", "s.txt", "--out", "d"), "give one of them"),
    ],
)
def test_bad_input_is_one_line(graph, words, message):
    said = one(graph, *(() if "--mass" in words else MASS), *words, expect=2)
    assert message in said
    assert said.startswith("error: ")
    assert len(said.strip().splitlines()) == 1


def test_bad_seeds_and_graphs_are_named(graph, tmp_path):
    assert "'nobody'" in one(graph, *MASS, seed="nobody", expect=2)
    assert "isolated" in one(graph, *MASS, seed=ISOLATED, expect=2)
    assert "name a seed" in call(graph, expect=2)
    assert "did you mean 'cora'?" in one("coraa", expect=2)
    (tmp_path / "header.json").write_text("{}")
    assert "header.json" in one(tmp_path, expect=2)


def test_bad_label_files_are_named(graph, labels, tmp_path):
    def said(name, content):
        (tmp_path / name).write_text(content)
        return one(graph, *MASS, "--labels", tmp_path / name, expect=2)

    assert "found none among 2 ids" in said("a.csv", "id,label\nx,1\ny,0\n")
    assert "must have the columns id and label" in said("b.csv", "node,label\nn0,1\n")
    assert "is no JSON" in said("c.json", "{")
    assert "must be {" in said("d.json", "[1, 2]")
    assert "must end in one of" in said("e.xlsx", "")
    np.save(tmp_path / "f.npy", np.zeros(5, int))
    assert "[121]" in one(graph, *MASS, "--labels", tmp_path / "f.npy", expect=2)
    asked = one(graph, *MASS, "--labels", labels, "--target-label", "topic", expect=2)
    assert "('topic 0', 'topic 1', 'topic 2'), got 'topic'" in asked


def test_integer_ids_are_integers(tmp_path):
    edges = np.array([[0, 1, 2, 2, 3, 4, 5], [1, 2, 0, 3, 4, 5, 3]])
    np.savez(tmp_path / "g.npz", edge_index=edges, y=[0, 0, 0, 1, 1, 1], x=np.eye(6))
    record = json.loads(one(tmp_path / "g.npz", "--mass", 5, "--json", seed=1))
    assert record["seeds"] == [1]
    said = one(tmp_path / "g.npz", "--mass", 5, seed="a", expect=2)
    assert "--seed-node: node ids of this graph are integers, got 'a'" in said


def test_store_answers_as_the_file_does_and_a_damaged_one_is_refused(graph, seeds, tmp_path):
    store, out = tmp_path / "store", tmp_path / "out"
    said = CliRunner().invoke(app, ["build-store", str(graph / "edges.csv"), "--out", str(store)])
    assert said.exit_code == 0, said.stderr
    found, wanted = as_record(store), as_record(graph)
    assert found["nodes"] == wanted["nodes"]
    assert found["conductance"] == pytest.approx(wanted["conductance"])
    assert "no node 'nobody'" in one(store, *MASS, seed="nobody", expect=2)
    batch(store, seeds, out)
    # the store's header stands for its content: another graph in its place is another job
    header = json.loads((store / "header.json").read_text())
    (store / "header.json").write_text(json.dumps(header | {"n_nodes": 1}))
    assert "header.json is damaged" in one(store, *MASS, expect=2)
    assert "holds another run" in batch(store, seeds, out, expect=2)


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "json", "list.json", "parquet"])
def test_label_files_of_every_kind_say_the_same(tmp_path, kind):
    path = tmp_path / f"labels.{kind}"
    table = pd.DataFrame({"id": ["7", "8", "9", "10"], "label": ["cat", "dog", "", "cat"]})
    if kind == "json":
        path.write_text('{"7": "cat", "8": "dog", "9": null, "10": "cat"}')
    elif kind == "list.json":
        path.write_text(table.to_json(orient="records"))
    elif kind == "parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    found = read_labels(path)
    assert list(found.ids or ()) == ["7", "8", "9", "10"]
    assert found.names == {"cat": FIRST_NAMED, "dog": FIRST_NAMED + 1}
    assert found.codes.tolist() == [FIRST_NAMED, FIRST_NAMED + 1, -1, FIRST_NAMED]


def test_labels_by_position(graph, tmp_path):
    array = np.append(np.repeat(np.arange(N_BLOCKS), PER_BLOCK) == 0, True)
    np.save(tmp_path / "labels.npy", array)
    record = as_record(graph, "--labels", tmp_path / "labels.npy", "--rounding", "labels")
    assert inside(record) == 1


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        (["1", "0", "", "-1", "-7"], [1, 0, -1, -1, -1]),
        ([True, False, None], [1, 0, -1]),
        (["true", "False"], [1, 0]),
        ([2.0, float("nan"), 5.0], [2, -1, 5]),
        # two names are classes, not yes and no
        (["no", "yes"], [FIRST_NAMED, FIRST_NAMED + 1]),
        (["1", "b"], [FIRST_NAMED, FIRST_NAMED + 1]),
    ],
)
def test_label_values(values, codes):
    assert coded(values)[0].tolist() == codes


def test_ids_come_from_a_file_or_from_the_command(tmp_path):
    (tmp_path / "ids.txt").write_text("a\n b, c\n\n")
    assert ids_of(str(tmp_path / "ids.txt"), "--positives") == ["a", "b", "c"]
    assert ids_of("a, b,", "--positives") == ["a", "b"]
    assert seed_lists(tmp_path / "ids.txt") == [["a"], ["b", "c"]]
    with pytest.raises(ValueError, match="--positives must name at least one node"):
        ids_of(" , ", "--positives")


# --- many seeds -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> Path:
    lines = [*(f"n{i}" for i in range(2, 60)), "nobody", ISOLATED, "n2, n3", "n4,n4", MISCHIEF]
    path = tmp_path_factory.mktemp("seeds") / "seeds.txt"
    path.write_text("\n".join(lines) + "\n\n")
    return path


def batch(graph, seeds, out, *words, expect=0) -> str:
    return call(graph, "--seeds", seeds, "--out", out, *MASS, *words, expect=expect)


def rows_of(out: Path) -> list[dict]:
    return [
        json.loads(line)
        for path in sorted(out.glob("clusters-*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def bytes_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("clusters-*.jsonl")}


@pytest.fixture(scope="module")
def finished(graph, seeds, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("batch") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster_batch, "BLOCK", 16)
        said = batch(graph, seeds, out, "--threads", "1")
    assert re.search(r"errors +3", said)
    return out


def test_batch_answers_every_line_in_order(graph, finished):
    rows = rows_of(finished)
    assert [row["query"] for row in rows] == list(range(63))
    assert rows[0]["nodes"] == as_record(graph, seed="n2")["nodes"]
    assert rows[60]["seeds"] == ["n2", "n3"]
    assert rows[62]["seeds"] == [MISCHIEF]
    assert not {"seconds", "sweep"} & set(rows[0])


def test_batch_records_what_went_wrong(finished):
    errors = {row["seeds"][0]: row["error"] for row in rows_of(finished) if "error" in row}
    assert set(errors) == {"nobody", ISOLATED, "n4"}
    assert "isolated" in errors[ISOLATED]
    assert "twice" in errors["n4"]


def test_batch_folder_is_whole_and_counts(finished):
    names = sorted(path.name for path in finished.iterdir())
    blocks = [f"clusters-0000{k}{end}" for k in range(4) for end in (".jsonl", ".stats.json")]
    assert names == sorted([*blocks, "run.json"])
    record = json.loads((finished / "run.json").read_text())
    assert (record["rows"], record["errors"], record["blocks"]) == (63, 3, 4)
    assert record["median_milliseconds"] > 0


def test_same_command_again_does_nothing(graph, seeds, finished):
    before = {path.name: path.stat().st_mtime_ns for path in finished.iterdir()}
    assert "already done" in batch(graph, seeds, finished)
    assert before == {path.name: path.stat().st_mtime_ns for path in finished.iterdir()}


def test_other_work_in_the_folder_is_refused_and_force_replaces_it(
    graph, seeds, finished, tmp_path, monkeypatch
):
    monkeypatch.setattr(cluster_batch, "BLOCK", 16)
    out = tmp_path / "out"
    batch(graph, seeds, out, "--rounding", "sweep")
    assert "holds another run" in batch(graph, seeds, out, expect=2)
    batch(graph, seeds, out, "--force", "--threads", "2")
    # and two threads write what one wrote
    assert bytes_of(out) == bytes_of(finished)


KILLED = """
import os, signal
from graphnoise.cli import cluster_batch
cluster_batch.BLOCK = 16
write, count = cluster_batch.write_json, 0
def write_and_die(path, content):
    global count
    count += path.name.endswith("stats.json")
    if count == 3:  # the rows of the third block are there, its stats are not
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, content)
cluster_batch.write_json = write_and_die
from graphnoise.cli import main
main()
"""


def test_killed_batch_resumes_with_the_same_bytes(graph, seeds, finished, tmp_path, monkeypatch):
    out = tmp_path / "out"
    command = ("cluster", graph, "--seeds", seeds, "--out", out, *MASS, "--threads", "2")
    died = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, command)],
        cwd=PROJECT,
        check=False,
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    left = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
    assert left == [
        "clusters-00000.jsonl", "clusters-00000.stats.json", "clusters-00001.jsonl",
        "clusters-00001.stats.json", "clusters-00002.jsonl", "job.json",
    ]  # fmt: skip
    kept = (out / "clusters-00000.jsonl").stat().st_mtime_ns
    (out / "clusters-00001.jsonl").write_text("damaged")
    (out / ".clusters-00002.stats.json.1.tmp").write_text("half")
    monkeypatch.setattr(cluster_batch, "BLOCK", 16)
    assert "resuming: 1 blocks are done" in batch(graph, seeds, out)
    assert bytes_of(out) == bytes_of(finished)
    assert (out / "clusters-00000.jsonl").stat().st_mtime_ns == kept
    first, second = (json.loads((o / "run.json").read_text()) for o in (out, finished))
    assert first["sha256"] == second["sha256"]
    assert not list(out.glob(".*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--json",), "give --seed-node"),
        (("--plot", "p.png"), "give --seed-node"),
        (("--threads", "0"), "--threads must be at least 1"),
        (("--method", "flow"), "cluster method must be one of"),
    ],
)
def test_bad_batch_is_one_line_and_leaves_no_folder(graph, seeds, tmp_path, words, message):
    said = batch(graph, seeds, tmp_path / "out", *words, expect=2)
    assert message in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_batch_needs_a_folder_and_seeds(graph, seeds, tmp_path):
    assert "needs --out FOLDER" in call(graph, "--seeds", seeds, expect=2)
    (tmp_path / "empty.txt").write_text("\n , \n")
    assert "holds no seeds" in batch(graph, tmp_path / "empty.txt", tmp_path / "out", expect=2)


def test_key_follows_what_decides_the_rows(seeds, labels, tmp_path):
    from graphnoise.cli.cluster_job import Believed

    first = ClusterJob("g").key(seeds, "graph")
    assert first == ClusterJob("elsewhere").key(seeds, "graph")
    assert first != ClusterJob("g").key(seeds, "other")
    assert first != ClusterJob("g", mass=3.0).key(seeds, "graph")
    assert first != ClusterJob("g").key(labels, "graph")
    believed = ClusterJob("g", believed=Believed(file=labels)).key(seeds, "graph")
    copy = tmp_path / "copy.csv"
    copy.write_bytes(labels.read_bytes())
    assert believed == ClusterJob("g", believed=Believed(file=copy)).key(seeds, "graph")
    copy.write_text("id,label\nn0,1\n")
    assert believed != ClusterJob("g", believed=Believed(file=copy)).key(seeds, "graph")


def test_cluster_methods_are_listed():
    said = CliRunner().invoke(app, ["methods"]).stdout
    assert "label_flow_diffusion" in said
    assert "ppr_class_means" in said


def test_help_loads_nothing_heavy():
    watched = ("torch", "numba", "pandas", "pyarrow", "numpy", "scipy", "jinja2", "matplotlib")
    code = (
        "import sys; sys.argv = ['graphnoise', 'cluster', '--help']\n"
        "from graphnoise.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('LOADED', [name for name in {watched!r} if name in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, check=True, capture_output=True
    ).stdout.decode()
    assert "--seed-node" in said
    assert said.rstrip().endswith("LOADED []")
