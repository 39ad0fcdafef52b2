import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import labelnoise
from multimodal.cli import app
from multimodal.cli.asked import n_bytes, size
from multimodal.methods import CLEANING_METHODS
from multimodal.run_folder import open_run
from tests.multimodal.engine.toy_parts import make_corpus, plant_damage
from tests.multimodal.engine.worker_sources import compiled_sources  # noqa: F401 (a fixture)

PROJECT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "faiss", "PIL", "transformers", "open_clip", "ray", "numba", "pandas", "numpy")
HELP_CPU_SECONDS = 1.0


def call(*arguments, code=0):
    """Output of a command in this process, errors included."""
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == code, result.output
    return result.output


def cpu_seconds(*arguments):
    with subprocess.Popen([sys.executable, *arguments], cwd=PROJECT, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert b"clean" in run.stdout.read()
        _, status, usage = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    assert run.returncode == 0
    return usage.ru_utime + usage.ru_stime


def test_help_is_quick_and_loads_nothing_heavy():
    loaded = f"import sys, multimodal, multimodal.cli; print(*set(sys.modules) & set({HEAVY}))"
    command = [sys.executable, "-W", "error", "-c", loaded]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    assert min(cpu_seconds("-m", "multimodal", "--help") for _ in range(3)) < HELP_CPU_SECONDS
    assert call("--version") == f"multimodal {labelnoise.__version__}\n"
    for command in ("plan", "clean", "status"):
        assert "Usage" in call(command, "--help")


def test_methods_are_listed():
    printed = call("methods")
    assert all(name in printed for name in CLEANING_METHODS)
    assert "open_clip" in printed


@pytest.fixture
def asked(tmp_path):
    """A corpus with given vectors, and what to say to clean it."""
    return words_for(tmp_path)


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory):
    """What to say, and the folder in which it was done."""
    folder = tmp_path_factory.mktemp("cleaned")
    call("clean", *words_for(folder), "--out", folder / "out")
    return words_for(folder), folder / "out"


def words_for(folder):
    if not (folder / "tars").exists():
        make_corpus(folder / "tars")
        (folder / "classes.txt").write_text("red\ngreen\nblue\n")
        generator = np.random.default_rng(0)
        np.save(folder / "rows.npy", generator.normal(size=(27, 8)).astype(np.float32))
        ids = [f"{number:04d}" for number in range(27)]
        (folder / "rows.ids.json").write_text(json.dumps(ids))
    return [
        folder / "tars", "--classes", folder / "classes.txt", "--method", "neighbour_vote",
        "--image-encoder", f"file:{folder / 'rows.npy'}", "--set", "k=9", "--workers", "1",
    ]  # fmt: skip


def test_plan_says_what_is_needed_and_makes_nothing(asked, tmp_path):
    planned = call("plan", *asked, "--measure")
    assert "about 27 in 3 shards" in planned
    assert "neighbour_vote" in planned
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "classes.txt", "rows.ids.json", "rows.npy", "tars",
    ]  # fmt: skip


def test_done_once_and_replaced_only_when_told(cleaned):
    asked, out = cleaned
    run, written = open_run(out), (out / "run.json").stat().st_mtime_ns
    assert len(run.audit()) == 27
    assert [shard.name for shard in run.corpus().shards] == list(run.shards)
    printed = call("clean", *asked, "--out", out)
    assert "27 in 3 shards" in printed
    assert run.table_hash[:16] in printed
    assert (out / "run.json").stat().st_mtime_ns == written
    shown = call("status", out)
    assert run.table_hash[:16] in shown
    assert "3/3" in shown
    assert "holds another run" in call("clean", *asked, "--out", out, "--seed", 1, code=2)
    call("clean", *asked, "--out", out, "--set", "k=5", "--force")
    assert open_run(out).record["settings"]["k"] == 5
    assert open_run(out).table_hash != run.table_hash


def test_status_while_a_run_is_not_finished(cleaned, tmp_path):
    out = shutil.copytree(cleaned[1], tmp_path / "out")
    (out / "run.json").unlink()
    (out / "work/ingest/00001_stats.json").write_text("{")
    printed = call("status", out)
    assert "not finished" in printed
    assert "2/3" in printed
    assert "holds no run" in call("status", tmp_path, code=2)


def test_failed_shards_are_named_and_exit_with_3(asked, tmp_path):
    plant_damage(tmp_path / "tars")
    printed = call("clean", *asked, "--out", tmp_path / "out", "--max-bad-share", 0.95, code=3)
    assert "00200: 1 of 1 records are broken" in printed
    assert "00200: 1 of 1" in call("status", tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--max-memory", "10MB"], "needs about 0.* GB of memory.*most is for workers"),
        (["--max-memory", "lots"], "--max-memory must be a size such as 6GB, got 'lots'"),
        (["--method", "capra"], "method must be one of .*did you mean 'capro'"),
        (["--set", "k"], "--set must read name=value"),
        (["--column", "colour=x"], "--column must read PART=NAME"),
        (["--text-cleaning", "none"], "--text-cleaning must be ours or paper"),
        (["--image-encoder", "file:nowhere.npy"], "nowhere.npy"),
    ],
)
def test_errors_are_one_line(asked, tmp_path, options, words):
    printed = call("clean", *asked, "--out", tmp_path / "out", *options, code=2)
    assert printed.startswith("error: ")
    assert len(printed.splitlines()) == 1
    assert re.search(words, printed)


def test_sizes():
    assert [n_bytes(text) for text in ("6GB", "800m", "1.5 TB", "12")] == [
        6 * 10**9, 800 * 10**6, 15 * 10**11, 12
    ]  # fmt: skip
    assert [size(count) for count in (6.04e9, 1.5e6, 999)] == ["6.0 GB", "1.5 MB", "1 kB"]


def test_interrupted_and_taken_up_again(asked, tmp_path):
    out = tmp_path / "out"
    words = [sys.executable, "-m", "multimodal", "clean", *map(str, asked), "--out", str(out)]
    process = subprocess.Popen(words, cwd=PROJECT, stderr=subprocess.PIPE, start_new_session=True)
    while not (out / "job.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    # as a terminal does it: to the whole group
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.decode().strip() == "interrupted; run the same command to resume"
    assert "not finished" in call("status", out)
    call("clean", *asked, "--out", out)
    assert open_run(out).record["rows"] == 27
