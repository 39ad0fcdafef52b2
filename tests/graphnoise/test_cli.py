"""The command line: real processes where a process must die, typer's runner elsewhere."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import sparse
from typer.testing import CliRunner

import labelnoise
from graphnoise.cli import app
from graphnoise.cli.folder import RunFolder
from graphnoise.cli.job import Job
from graphnoise.cli.settings import chosen_settings
from graphnoise.methods.erase_settings import EraseSettings
from labelnoise.audit import LabelAudit

PROJECT = Path(__file__).resolve().parents[2]
PER_CLASS, N_CLASSES = 70, 3
OUTPUTS = (
    "adjacency.npz audit.parquet history.json predictions.parquet report.html report.json run.json"
)
SETTINGS = ("--noise", "uniform:0.3", "--seed", "1")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A data root whose `corafull` is three small communities."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(N_CLASSES), PER_CLASS)
    same = labels[:, None] == labels[None, :]
    edges = np.triu(rng.random(same.shape) < np.where(same, 0.08, 0.004), 1)
    words = (rng.random((len(labels), 30)) < 0.05) | (np.arange(30) % N_CLASSES == labels[:, None])
    arrays = {"labels": labels}
    for key, dense in (("adj", edges | edges.T), ("attr", words)):
        matrix = sparse.csr_array(dense.astype(np.float32))
        arrays |= {f"{key}_{part}": getattr(matrix, part) for part in ("data", "indices", "indptr")}
        arrays[f"{key}_shape"] = np.array(matrix.shape)
    folder = tmp_path_factory.mktemp("root")
    np.savez(folder / "cora.npz", **arrays)
    return folder


def call(*words, expect: int = 0) -> str:
    """Run the command in this process and return what it says; all of it on a wrong exit code."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    said = result.stdout + result.stderr
    assert result.exit_code == expect, f"{said}\n{result.exception!r}"
    return said


def denoise(root: Path, out: Path, *words, method: str = "ppr_class_means", expect: int = 0) -> str:
    fixed = ("corafull", "--method", method, "--root", root, "--out", out)
    return call("denoise", *fixed, *SETTINGS, *words, expect=expect)


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "finished"
    denoise(root, out)
    return out


def record(out: Path) -> dict:
    return json.loads((out / "run.json").read_text())


def test_finished_run_holds_its_results_and_nothing_else(finished):
    assert sorted(path.name for path in finished.iterdir()) == OUTPUTS.split()
    audit, said = LabelAudit.read(finished / "audit.parquet"), record(finished)
    labelled = said["data"]["train"] + said["data"]["validation"]
    assert len(audit) == labelled == N_CLASSES * 50
    found = said["labels"]["detection"]
    assert found["wrong"] == said["noise"]["flipped"]
    assert said["noise"]["realised_rate"] == pytest.approx(found["wrong"] / labelled)
    assert found["auroc"] > 0.9
    assert sum(said["labels"]["counts"].values()) == labelled
    assert said["settings"]["n_steps"] == 10
    assert said["scores"]["test"] > 0.8


def test_predictions_cover_every_node(finished):
    table = pq.read_table(finished / "predictions.parquet").to_pydict()
    assert table["id"] == list(range(N_CLASSES * PER_CLASS))
    audit = LabelAudit.read(finished / "audit.parquet")
    assert [table["given"][i] for i in audit.ids] == audit.given.tolist()
    right = np.mean(
        [p == t for p, t, s in zip(table["predicted"], table["truth"], table["split"], strict=True)
         if s == "test"]
    )  # fmt: skip
    assert right == pytest.approx(record(finished)["scores"]["test"])
    total = [sum(table[f"probability{k}"][i] for k in ("", "_2", "_3")) for i in range(5)]
    assert total == pytest.approx([1] * 5, abs=1e-5)


def test_same_command_again_does_nothing(root, finished):
    before = {path.name: path.stat().st_mtime_ns for path in finished.iterdir()}
    assert "already done" in denoise(root, finished)
    assert before == {path.name: path.stat().st_mtime_ns for path in finished.iterdir()}


def test_folder_of_another_run_is_refused_and_force_replaces_it(root, finished, tmp_path):
    out = tmp_path / "run"
    denoise(root, out, "--set", "n_steps=2")
    first = record(out)
    said = denoise(root, out, "--set", "n_steps=3", expect=2)
    assert "holds another run" in said
    assert record(out) == first
    denoise(root, out, "--force")
    assert record(out)["key"] == record(finished)["key"]
    assert (out / "audit.parquet").read_bytes() == (finished / "audit.parquet").read_bytes()


def test_folder_with_strangers_is_refused(root, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    assert "holds thesis.txt" in denoise(root, tmp_path, expect=2)
    assert "holds thesis.txt" in denoise(root, tmp_path, "--force", expect=2)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_report_needs_no_data_and_writes_the_same_page(finished):
    page = (finished / "report.html").read_bytes()
    (finished / "report.html").unlink()
    call("report", finished)
    assert (finished / "report.html").read_bytes() == page
    data = json.loads((finished / "report.json").read_text())
    assert data["run"]["key"] == record(finished)["key"]
    assert data["summary"]["detection"] == record(finished)["labels"]["detection"]


def test_explain_tells_a_labelled_from_an_unlabelled_node(finished):
    audit = LabelAudit.read(finished / "audit.parquet")
    worst = audit.ids[audit.quality.argmin()]
    said = call("explain", finished, worst)
    assert audit.reasons[audit.reason[audit.quality.argmin()]] in " ".join(said.split())
    assert "neighbours" in said
    unlabelled = np.setdiff1d(np.arange(N_CLASSES * PER_CLASS), audit.ids)[0]
    assert "given label none" in " ".join(call("explain", finished, unlabelled).split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "erasee"), "did you mean 'erase'?"),
        (("--noise", "uniform"), "noise must read KIND:RATE"),
        (("--epochs", "5"), "this method trains no epochs"),
        (("--preset", "cora"), "this method has no presets"),
        (("--set", "n_step=3"), "did you mean 'n_steps'?"),
        (("--set", "n_steps=many"), "--set n_steps must be int, got 'many'"),
        (("--device", "toaster"), "--device must be 'cpu' or 'cuda'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_folder(root, tmp_path, words, message):
    said = denoise(root, tmp_path / "run", *words, expect=2)
    assert message in said
    assert said.startswith("error: ")
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_unknown_graph_node_and_folder_are_named(finished, tmp_path):
    assert "did you mean 'cora'?" in call("denoise", "coraa", "--out", tmp_path / "x", expect=2)
    assert "node '9999' is not in this graph" in call("explain", finished, 9999, expect=2)
    assert "holds no finished run" in call("report", tmp_path, expect=2)


def test_ctrl_c_says_how_to_resume_and_the_same_command_finishes(
    root, finished, tmp_path, monkeypatch
):
    def interrupted(self, record):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "commit", interrupted)
        assert "run the same command to resume" in denoise(root, tmp_path / "run", expect=130)
    assert "its run is not finished" in call("report", tmp_path / "run", expect=2)
    denoise(root, tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == OUTPUTS.split()
    assert record(tmp_path / "run")["key"] == record(finished)["key"]


KILLED_AFTER_THE_FIRST_CHECKPOINT = """
import os, signal
from graphnoise import training
save = training._save
def save_and_die(*arguments):
    save(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
training._save = save_and_die
from graphnoise.cli import main
main()
"""


def test_killed_training_resumes_with_the_same_result(root, tmp_path):
    words = ("--epochs", "60", "--set", "network.hidden=8")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    denoise(root, whole, *words, method="gcn")
    command = ("denoise", "corafull", "--method", "gcn", "--root", root, "--out", broken)
    died = subprocess.run(
        [sys.executable, "-c", KILLED_AFTER_THE_FIRST_CHECKPOINT, *command, *SETTINGS, *words],
        cwd=PROJECT,
        check=False,
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    assert sorted(path.name for path in broken.iterdir()) == ["checkpoint.pt", "job.json"]
    (broken / ".audit.parquet.1.tmp").write_bytes(b"half")  # what a kill while writing leaves
    assert "resuming" in denoise(root, broken, *words, method="gcn")
    for name in ("audit.parquet", "predictions.parquet", "history.json"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    assert sorted(path.name for path in broken.iterdir()) == OUTPUTS.split()


def test_two_processes_do_not_share_a_folder(root, tmp_path):
    with RunFolder(tmp_path / "run", "key").locked():
        assert "another process is working" in denoise(root, tmp_path / "run", expect=2)
    denoise(root, tmp_path / "run")


def test_data_that_changed_since_the_run_began_is_refused(root, tmp_path, monkeypatch):
    def interrupted(self, record):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "commit", interrupted)
        denoise(root, tmp_path / "run", expect=130)
    job = json.loads((tmp_path / "run" / "job.json").read_text())
    (tmp_path / "run" / "job.json").write_text(json.dumps(job | {"data_sha256": "other"}))
    assert "the data changed" in denoise(root, tmp_path / "run", expect=2)


def test_help_and_version_load_nothing_heavy():
    watched = ("torch", "pandas", "pyarrow", "numpy", "scipy", "jinja2", "torch_geometric")
    code = (
        "import sys; sys.argv = ['graphnoise', sys.argv[1]]\n"
        "from graphnoise.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('LOADED', [name for name in {watched!r} if name in sys.modules])"
    )
    for flag, expected in (("--help", "denoise"), ("--version", labelnoise.__version__)):
        said = subprocess.run(
            [sys.executable, "-c", code, flag], cwd=PROJECT, check=True, capture_output=True
        ).stdout.decode()
        assert expected in said
        assert said.rstrip().endswith("LOADED []")


def test_methods_and_datasets_are_listed():
    assert "ppr_class_means" in call("methods")
    assert "coauthor-cs" in call("datasets")


def test_key_follows_what_decides_the_result(tmp_path):
    file = tmp_path / "graph.npz"
    file.write_bytes(b"one")
    first = Job(graph=str(file)).key()
    assert Job(graph=str(file)).key() == first
    assert Job(graph=str(file), seed=1).key() != first
    file.write_bytes(b"two")
    assert Job(graph=str(file)).key() != first
    noisy = Job(graph="cora", noise="uniform:0.3", seed=4)
    assert noisy.key() == Job(graph="cora", noise="uniform:0.3", seed=4, noise_seed=4).key()


def test_settings_are_read_by_type():
    chosen = chosen_settings(
        EraseSettings(),
        preset="citeseer",
        epochs=7,
        overrides=["alpha=1", "patience=None", "unit_length=true", "fan_out=[3, 2]"],
    )
    assert (chosen.epsilon, chosen.epochs, chosen.alpha) == (0.4, 7, 1.0)
    assert (chosen.patience, chosen.unit_length, chosen.fan_out) == (None, True, (3, 2))
    for override in ("alpha=true", "n_steps=2.5", "unit_length=1", "propagation=x", "alpha.x=1"):
        with pytest.raises(ValueError, match="--set"):
            chosen_settings(EraseSettings(), preset=None, epochs=None, overrides=[override])
