"""A real ``transformers serve`` on loopback, offline, with a tiny model; a run that is killed."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from graphnoise.annotators.base import Questions
from graphnoise.annotators.endpoint import EndpointAnnotator
from graphnoise.annotators.ledger import read_entries, read_ledger
from graphnoise.annotators.options import AnnotatorOptions
from labelnoise.class_list import ClassList

# a quiet machine needs half a minute, a busy one its time
pytestmark = pytest.mark.timeout(900)

PROJECT = Path(__file__).resolve().parents[3]
NEEDED = ("openai", "fastapi", "uvicorn", "pydantic", "accelerate")
START_SECONDS = 600
N_NODES, BUDGET, TOGETHER = 60, 50, 2
NAMES = ("Neural Networks", "Theory", "Rule Learning")
CHAT, PROBABILITIES = "chat/completions", "systemone"
ASKED = re.compile(r'"POST /v1/(\S+) HTTP/1\.1" \d+')
ANNOTATE = """
from tests.graphnoise import tiny_recipe
tiny_recipe.register()
from graphnoise.cli import main
main()
"""


class Server:
    """``transformers serve`` in a process of its own; its log tells what it was asked."""

    def __init__(self, model: Path, folder: Path):
        # without this folder, the list of models is an error when offline
        (folder / "hub").mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.model, self.log = model, folder / "log.txt"
        program = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(model)]
        place = ["--host", "127.0.0.1", "--port", str(self.port)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*program, *place, "--device", "cpu", "--dtype", "float32"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ
                | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder), "OMP_NUM_THREADS": "1"},
            )

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def wait(self):
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                with direct.open(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                pass
            time.sleep(0.3)
        pytest.fail(f"the server did not come up: {self.log.read_text()[-2000:]}")

    def answered(self, *paths):
        """How many requests to these paths it says it answered, those it refused included."""
        return sum(path in paths for path in ASKED.findall(self.log.read_text()))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=120)


@pytest.fixture(scope="module")
def server(tiny_model, tmp_path_factory):
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        message = f"transformers serve needs {missing}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    made = Server(tiny_model, tmp_path_factory.mktemp("serve"))
    try:
        made.wait()
        yield made
        stopped = made.stop()
        assert stopped in (0, -signal.SIGTERM)
        assert "Finished server process" in made.log.read_text()
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A ring of texts without labels; two nodes have the same text."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "graph").mkdir()
    texts = [f"On bounds, part {min(v, N_NODES - 2)}\nAn abstract." for v in range(N_NODES)]
    texts[3] = texts[2]
    with (folder / "graph" / "nodes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "text"), *enumerate(texts)])
    with (folder / "graph" / "edges.csv").open("w", newline="") as file:
        ring = [(v, (v + 1) % N_NODES) for v in range(N_NODES)]
        csv.writer(file).writerows([("source", "target"), *ring])
    rows = np.random.default_rng(0).normal(size=(N_NODES, 4))
    np.save(folder / "graph" / "features.npy", rows.astype(np.float32))
    (folder / "classes.txt").write_text("\n".join(NAMES))
    return folder, texts


def annotate(server, folder, out):
    words = ["annotate", "run", folder / "graph", "--classes", folder / "classes.txt"]
    words += ["--llm", f"systemone:{server.model}@{server.url}", "--budget", BUDGET, "--out", out]
    words += ["--recipe", "tiny", "--text-encoder", "none", "--concurrency", TOGETHER]
    # so slow that there is a middle
    words += ["--requests-per-minute", 900]
    return subprocess.Popen(
        [sys.executable, "-c", ANNOTATE, *map(str, words)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def test_killed_midway_and_resumed_it_asks_nothing_twice(server, data, tmp_path):
    folder, texts = data
    out = tmp_path / "run"
    first = annotate(server, folder, out)
    end = time.monotonic() + START_SECONDS
    while server.answered(PROBABILITIES) < 20 and first.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    first.kill()
    said, _ = first.communicate(timeout=60)
    assert first.returncode == -signal.SIGKILL, said.decode()
    assert not (out / "run.json").exists()
    kept = len(read_entries(out / "answers.sqlite"))
    assert 0 < kept < BUDGET

    second = annotate(server, folder, out)
    said, _ = second.communicate(timeout=START_SECONDS)
    assert second.returncode == 0, said.decode()
    entries = read_entries(out / "answers.sqlite")
    paid = [one.key for one in entries if one.kind == "question" and not one.cached]
    distinct = len(set(texts[:BUDGET]))
    assert len(paid) == len(set(paid)) == distinct < BUDGET
    # by the server's own log: what was in flight when the process died is all that was lost
    probes = sum(one.kind == "probe" for one in entries)
    assert distinct + probes <= server.answered(PROBABILITIES) <= distinct + probes + TOGETHER
    assert read_ledger(out / "answers.sqlite").total.usage.calls == BUDGET

    labels = pq.read_table(out / "labels.parquet").to_pylist()
    assert len(labels) == BUDGET
    assert {row["rung"] for row in labels} == {"class_probabilities"}
    assert all(0 < row["confidence"] <= 1 for row in labels)
    assert labels[2]["label"] == labels[3]["label"]

    # done: the same command asks nothing
    before = server.answered(PROBABILITIES)
    third = annotate(server, folder, out)
    said, _ = third.communicate(timeout=START_SECONDS)
    assert third.returncode == 0, said.decode()
    assert server.answered(PROBABILITIES) == before


def test_chat_is_probed_repaired_and_abstained_from(server, tmp_path):
    texts = ("On bounds.", "On rules.")
    asked = Questions(np.arange(2), texts, ClassList(NAMES))
    options = AnnotatorOptions(cache=tmp_path / "answers.sqlite", max_tokens=8)
    before = server.answered(CHAT, PROBABILITIES)
    with EndpointAnnotator(str(server.model), server.url, options) as annotator:
        votes = annotator.annotate(asked)
        found = annotator.capabilities
    # accepted with status 200 and ignored
    assert not found.logprobs
    assert not found.n
    assert found.usage
    # random weights name no class: one more question each, then no label
    assert votes.labels.tolist() == [-1, -1]
    assert set(votes.reason) <= {"empty_reply", "no_class_named", "cut_off"}
    assert votes.usage.repairs == 2
    assert votes.usage.calls == 4
    entries = read_entries(tmp_path / "answers.sqlite")
    # probes look at both paths
    assert len(entries) == server.answered(CHAT, PROBABILITIES) - before
    assert [one.kind for one in entries].count("repair") == 2
    total = read_ledger(tmp_path / "answers.sqlite").total.usage
    assert total.prompt_tokens > 0
    assert total.money == 0
    json.dumps(votes.records)
