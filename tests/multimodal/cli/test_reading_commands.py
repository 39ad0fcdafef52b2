"""report, explain, diff and export as a user types them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from multimodal.cli import app
from tests.multimodal.run_folders import random_pairs, write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("cli") / "run", {"a": random_pairs(30)})


def call(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "200"})


def test_report_writes_two_files(folder):
    done = call("report", folder, "--classes", 2, "--no-thumbnails")
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [str(folder / "report.html"), str(folder / "report.json")]
    assert len(json.loads((folder / "report.json").read_text())["gallery"]) == 2


def test_explain_tells_a_pair(folder):
    done = call("explain", folder, "p00007")
    assert done.exit_code == 0, done.output
    for word in ("Pair p00007", "verdict", "text_match", "no 7", "Nearest pairs"):
        assert word in done.stdout
    wrong = call("explain", folder, "p7")
    assert wrong.exit_code == 2
    assert "the nearest are" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_diff_prints_and_writes(folder, tmp_path):
    other = [
        replace(p, verdict="reject", label=None, reason="below_keep_threshold") if i % 3 == 0 else p
        for i, p in enumerate(random_pairs(30))
    ]
    write_run(tmp_path / "other", {"a": other})
    done = call(
        "diff", folder, tmp_path / "other",
        "--html", tmp_path / "d.html", "--json", tmp_path / "d.json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Verdict in A" in done.stdout
    numbers = json.loads((tmp_path / "d.json").read_text())
    assert numbers["both"] == 30
    assert sum(one["rows"] for one in numbers["changes"]) == round(30 * (1 - numbers["same"]))
    assert (tmp_path / "d.html").read_text().startswith("<!doctype html>")


def test_export_writes_what_is_asked(folder, tmp_path):
    done = call("export", folder, "--to", "training_filter", "--out", tmp_path / "keep.npz")
    assert done.exit_code == 0, done.output
    kept = sum(p.verdict in ("keep", "relabel") for p in random_pairs(30))
    assert f"{kept} rows" in done.stdout
    assert len(np.load(tmp_path / "keep.npz")["keys"]) == kept
    only = call(
        "export", folder, "--to", "parquet", "--out", tmp_path / "t.parquet",
        "--verdict", "reject", "--verdict", "abstain",
    )  # fmt: skip
    assert f"{30 - kept} rows" in only.stdout
    wrong = call("export", folder, "--to", "datacomp", "--out", tmp_path / "x.npy")
    assert wrong.exit_code == 2
    assert "--hash-ids" in wrong.stderr


@pytest.mark.parametrize("command", [["report"], ["explain", "x"], ["diff", "."], ["export"]])
def test_a_folder_without_a_run_is_one_line(command, tmp_path):
    name, *rest = command
    more = ["--to", "parquet", "--out", str(tmp_path / "o")] if name == "export" else rest
    done = call(name, tmp_path, *more)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert "holds no run" in done.stderr
