"""``graphnoise annotate``: a real server on loopback, real processes where one must die."""

import csv
import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from graphnoise.cli import app
from graphnoise.cli.annotate.job import AnnotationJob, Question
from graphnoise.cli.folder import RunFolder
from labelnoise.audit import LabelAudit
from labelnoise.visible_text import visible
from tests.graphnoise import tiny_recipe
from tests.graphnoise.annotators.scripted_server import Reply, ScriptedServer

PROJECT = Path(__file__).resolve().parents[2]
PER_CLASS, NAMES = 12, ("Astronomy", "Cooking", "Sailing")
WORDS = ("stars", "butter", "anchor")
N = PER_CLASS * len(NAMES)
# what a stranger may write into a text
MISCHIEF = (
    "<script>alert('stars')</script> {{ 7 * 7 }} {% raw %} \x1b[31mred\x1b]0;owned\x07 \u202eback"
)
HOSTILE, EMPTY, UNCLEAR = 1, 5, 8
OUTPUTS = [
    "adjacency.npz", "answers.sqlite", "audit.parquet", "history.json", "labels.parquet",
    "predictions.parquet", "report.html", "report.json", "run.json",
]  # fmt: skip
BUDGET = 20


@pytest.fixture(autouse=True)
def recipe():
    tiny_recipe.register()
    yield
    tiny_recipe.unregister()


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A folder with a graph of three topics that has no label, and its classes."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    topic = np.repeat(np.arange(len(NAMES)), PER_CLASS)
    texts = [f"Notes on {WORDS[k]}\nPage {i}, about {WORDS[k]}." for i, k in enumerate(topic)]
    texts[HOSTILE], texts[EMPTY], texts[UNCLEAR] = MISCHIEF, "", "Notes on nothing"
    (folder / "graph").mkdir()
    with (folder / "graph" / "nodes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "text"), *((f"n{i}", t) for i, t in enumerate(texts))])
    pairs = [
        (i, int(rng.choice(np.flatnonzero(topic == topic[i])))) for i in range(N) for _ in "12"
    ]
    lines = [f"n{i},n{j}" for i, j in [*pairs, (0, N - 1), (1, PER_CLASS)] if i != j]
    (folder / "graph" / "edges.csv").write_text("\n".join(["source,target", *lines]))
    definitions = {name: f"texts about {word}" for name, word in zip(NAMES, WORDS, strict=True)}
    (folder / "classes.json").write_text(json.dumps(definitions))
    ranked = topic[:, None].copy()
    ranked[2] = 2
    ranked[[EMPTY, UNCLEAR]] = -1
    np.savez(folder / "answers.npz", ranked=ranked, classes=np.array(NAMES))
    return folder


def topic_of(body) -> Reply:
    """A model that sees a word of a class or does not know."""
    text = body["messages"][-1]["content"].split("</text")[0]
    said = [name for name, word in zip(NAMES, WORDS, strict=True) if word in text]
    return Reply(said[0] if said else "I cannot tell.")


@pytest.fixture
def server():
    with ScriptedServer(answer=topic_of) as made:
        yield made


def call(*words, expect: int = 0) -> str:
    """Run the command in this process and return what it says; all of it on a wrong exit code."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    said = result.stdout + result.stderr
    assert result.exit_code == expect, f"{said}\n{result.exception!r}"
    return said


def words_of(data: Path, llm: str, *more, verb: str = "run") -> list[str]:
    fixed = ("annotate", verb, data / "graph", "--classes", data / "classes.json", "--llm", llm)
    rest = ("--recipe", "tiny", "--text-encoder", "none")
    return [str(word) for word in (*fixed, *rest, *more)]


@pytest.fixture(scope="module")
def featured(data) -> Path:
    """The same data with features, so that no encoder is needed."""
    rng = np.random.default_rng(1)
    topic = np.repeat(np.arange(len(NAMES)), PER_CLASS)
    rows = np.eye(len(NAMES), 8)[topic] + 0.2 * rng.normal(size=(N, 8))
    np.save(data / "graph" / "features.npy", rows.astype(np.float32))
    return data


def run(data: Path, llm: str, out: Path, *more, budget=(BUDGET,), expect: int = 0) -> str:
    caps = [word for cap in budget for word in ("--budget", cap)]
    return call(*words_of(data, llm, "--out", out, *caps, *more), expect=expect)


def llm_of(server: ScriptedServer) -> str:
    return f"openai:test-model@{server.url}"


def record(out: Path) -> dict:
    return json.loads((out / "run.json").read_text())


def labels(out: Path, *, without=("cached", "created", "seconds")) -> list[dict]:
    rows = pq.read_table(out / "labels.parquet").to_pylist()
    return [{key: value for key, value in row.items() if key not in without} for row in rows]


def test_replayed_answers_become_a_label_for_every_node(featured, tmp_path):
    out = tmp_path / "run"
    said = run(featured, f"replay:{featured / 'answers.npz'}", out)
    assert "finished" in said
    assert sorted(path.name for path in out.iterdir()) == [
        name for name in OUTPUTS if name != "answers.sqlite"
    ]
    # the oracle: what the file says of the first nodes with a text
    recorded = np.load(featured / "answers.npz")["ranked"][:, 0]
    asked = [i for i in range(N) if i != EMPTY][:BUDGET]
    rows = labels(out)
    assert [row["node"] for row in rows] == asked
    assert [row["label"] for row in rows] == recorded[asked].tolist()
    audit = LabelAudit.read(out / "audit.parquet")
    assert len(audit) == N
    given = dict(zip(audit.ids.tolist(), audit.given.tolist(), strict=True))
    assert [given[f"n{i}"] for i in asked] == recorded[asked].tolist()
    # one answer is wrong, and its neighbours say so
    wrong = audit.select(audit.ids == "n2")
    assert wrong.reason.tolist() == ["llm_and_neighbours_disagree"]
    assert wrong.label.tolist() == [0]
    told = record(out)
    assert told["answers"] == {
        "asked": BUDGET, "answered": BUDGET - 1, "abstained": 1,
        "believed_right": pytest.approx(told["answers"]["believed_right"]),
    }  # fmt: skip
    assert told["status"] == "done"
    assert told["scores"] == {}
    assert sum(told["labels"]["origins"].values()) == N

    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert "already done" in run(featured, f"replay:{featured / 'answers.npz'}", out)
    assert before == {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert json.loads(call("annotate", "status", out, "--json"))["state"] == "done"


def test_plan_and_dry_run_send_nothing_and_tell_what_a_run_does(featured, tmp_path, server):
    caps = ("--budget", BUDGET)
    planned = call(*words_of(featured, llm_of(server), *caps, verb="plan"))
    dry = call(*words_of(featured, llm_of(server), *caps, "--dry-run"))
    assert server.bodies == server.probes == []
    assert not list(tmp_path.iterdir())
    assert f"calls {BUDGET}," in " ".join(planned.split())
    run(featured, llm_of(server), tmp_path / "run", "--no-repair")
    assert record(tmp_path / "run")["ledger"]["by_kind"]["question"]["calls"] == BUDGET
    first = server.bodies[0]["messages"]
    for message in first:
        assert message["content"] in planned
        assert message["content"] in dry
    assert len(re.findall(r"^node n\d+: \d+ prompt tokens$", dry, re.MULTILINE)) == 3
    assert sum(visible(content) in dry for content in server.prompts()) == 3
    planned = call(
        *words_of(featured, llm_of(server), *caps, "--out", tmp_path / "run", verb="plan")
    )
    assert f"of which {BUDGET // 2 * 2} are answered in the cache" in " ".join(planned.split())


def test_plan_says_that_a_cap_in_dollars_cannot_be_kept(featured):
    def plan(llm, cap):
        return call(*words_of(featured, llm, "--budget", 5, "--budget", cap, verb="plan"))

    told = "cannot be kept"
    assert told in plan("openai:nobody@https://llm.example.org/v1", "$0.50")
    assert told not in plan("openai:nobody@https://llm.example.org/v1", "9k tokens")
    assert told not in plan("openai:nobody@http://127.0.0.1:9/v1", "$0.50")


def test_budget_is_hard_and_a_larger_one_goes_on(featured, tmp_path, server):
    out, whole, llm = tmp_path / "run", tmp_path / "whole", llm_of(server)
    small = (BUDGET, "1500 tokens")
    said = run(featured, llm, out, "--no-repair", budget=small)
    first = record(out)
    assert first["status"] == "budget_reached"
    assert "stopped at the budget" in said
    assert first["ledger"]["total"]["tokens"] <= 1500
    assert 0 < first["answers"]["answered"] < BUDGET - 1
    reasons = [row["reason"] for row in labels(out)]
    assert "budget_reached" in reasons
    assert "already done" in run(featured, llm, out, "--no-repair", budget=small)
    # a smaller cap is no reason to begin again
    assert "already done" in run(featured, llm, out, "--no-repair", budget=(5, "1500 tokens"))
    # what earlier attempts paid counts against the new cap
    run(featured, llm, out, "--no-repair", budget=(BUDGET, "1800 tokens"))
    assert record(out)["status"] == "budget_reached"
    paid = first["ledger"]["total"]["tokens"]
    assert paid < record(out)["ledger"]["total"]["tokens"] <= 1800
    n = len(server.bodies)
    said = run(featured, llm, out, "--no-repair", budget=(BUDGET, "1M tokens"))
    assert "resuming" in said
    assert record(out)["status"] == "done"
    assert len(server.bodies) - n == BUDGET - n
    assert len({json.dumps(body["messages"]) for body in server.bodies}) == BUDGET
    run(featured, llm, whole, "--no-repair")
    assert labels(out) == labels(whole)
    for name in ("audit.parquet", "predictions.parquet"):
        ours, theirs = (pq.read_table(folder / name).to_pandas() for folder in (out, whole))
        pandas.testing.assert_frame_equal(ours, theirs)
    shown = json.loads(call("annotate", "ledger", out, "--json"))
    assert shown["by_kind"]["question"]["sent"] == BUDGET
    # the probe of the server belongs to the first round
    assert shown["by_stage"]["Q1"]["sent"] == BUDGET // 2
    assert "question" in call("annotate", "ledger", out)


IN_A_PROCESS = """
from tests.graphnoise import tiny_recipe
tiny_recipe.register()
from graphnoise.cli import main
main()
"""


def start(*words) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", IN_A_PROCESS, *map(str, words)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENAI_API_KEY": "sk-hush-hush-hush-1234"},
    )


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_run_resumes_and_pays_for_nothing_twice(featured, tmp_path, how):
    out, whole, together = tmp_path / "run", tmp_path / "whole", 4
    with ScriptedServer(answer=topic_of) as server:
        plain, gone = server.answer, threading.Event()

        def answer(body) -> Reply:
            # in the second round the model thinks until the process is gone
            if len(server.bodies) > BUDGET // 2 + 3:
                gone.wait(60)
            return plain(body)

        server.answer = answer
        more = ("--no-repair", "--concurrency", str(together))
        process = start(
            *words_of(featured, llm_of(server), "--out", out, "--budget", BUDGET, *more)
        )
        deadline = time.monotonic() + 120
        while len(server.bodies) <= BUDGET // 2 + 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        during = json.loads(call("annotate", "status", out, "--json"))
        assert during["state"] == "running"
        assert 0 < during["asked"] < BUDGET
        assert "another process is working" in run(featured, llm_of(server), out, *more, expect=2)
        process.send_signal(how)
        said = process.communicate(timeout=60)[1].decode()
        gone.set()
        if how == signal.SIGKILL:
            assert process.returncode == -signal.SIGKILL
        else:
            assert process.returncode == 130, said
            assert said.strip().splitlines() == ["interrupted; run the same command to resume"]
        assert json.loads(call("annotate", "status", out, "--json"))["state"] == "interrupted"
        assert "not finished" in call("annotate", "ledger", out)
        assert "its run is not finished" in call("report", out, expect=2)
        server.answer = plain
        assert "resuming" in run(featured, llm_of(server), out, *more)
        sent = [json.dumps(body["messages"]) for body in server.bodies]
        assert len(set(sent)) == BUDGET
        # at most what was on its way when it died is sent again
        assert len(sent) <= BUDGET + together
        assert sorted(path.name for path in out.iterdir() if path.suffix[:7] != ".sqlite") == [
            name for name in OUTPUTS if name != "answers.sqlite"
        ]
        run(featured, llm_of(server), whole, *more)
        assert labels(out) == labels(whole)
    for path in out.iterdir():
        assert b"hush-hush" not in path.read_bytes()


def test_hostile_texts_stay_text_everywhere(featured, tmp_path, server):
    out = tmp_path / "run"
    run(featured, llm_of(server), out, "--no-repair")
    page = (out / "report.html").read_text()
    assert "<script>alert" not in page
    dry = call(*words_of(featured, llm_of(server), "--budget", N, "--dry-run"))
    said = [
        dry,
        call(*words_of(featured, llm_of(server), "--budget", N, verb="plan")),
        call("explain", out, f"n{HOSTILE}"),
    ]
    for text in (*said, page):
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
    for text in (dry, said[2]):
        assert "{{ 7 * 7 }} {% raw %}" in text
        assert r"\x1b[31mred" in text
    # an instruction inside a text changes no other answer, and a broken page shows in its size
    assert len(page) < 3_000_000
    json.loads((out / "report.json").read_text())


def test_explain_shows_the_prompt_that_was_sent_and_the_raw_reply(featured, tmp_path, server):
    out = tmp_path / "run"
    run(featured, llm_of(server), out)
    said = call("explain", out, "n0")
    assert server.prompts()[0] in said
    assert "\nreply\n" in said
    assert "Astronomy" in said.split("\nreply\n")[1]
    assert "test-model-2026" in said
    # the unclear one was asked twice, and has no label
    unclear = call("explain", out, f"n{UNCLEAR}")
    assert "reply to the second question" in unclear
    assert unclear.count("I cannot tell.") >= 2
    assert "no_class_named" in unclear
    assert "asked no" in " ".join(call("explain", out, f"n{N - 1}").split())
    page = (out / "report.html").read_text()
    (out / "report.html").unlink()
    call("report", out)
    assert (out / "report.html").read_text() == page


def test_exports_agree_with_the_audit(featured, tmp_path):
    out = tmp_path / "run"
    run(featured, f"replay:{featured / 'answers.npz'}", out)
    audit = LabelAudit.read(out / "audit.parquet")
    names = [*NAMES, ""]
    for suffix in ("csv", "parquet"):
        path = tmp_path / f"labels.{suffix}"
        assert f"{N} nodes" in call("annotate", "export", out, "--out", path)
        if suffix == "csv":
            with path.open(newline="") as file:
                rows = list(csv.DictReader(file))
        else:
            rows = pq.read_table(path).to_pylist()
        assert [row["id"] for row in rows] == [f"n{i}" for i in range(N)]
        assert [row["label"] for row in rows] == [names[k] for k in audit.label]
        assert [row["verdict"] for row in rows] == audit.verdict.tolist()
        assert np.allclose([float(row["quality"]) for row in rows], audit.quality)
        assert [row["rung"] or "" for row in rows[:3]] == ["replay"] * 3
        assert rows[UNCLEAR]["abstention"] == "not_recorded"
        assert not rows[-1]["rung"]
    call("annotate", "export", out, "--out", tmp_path / "y.npz")
    with np.load(tmp_path / "y.npz") as arrays:
        assert arrays["y"].tolist() == audit.label.tolist()
        assert (arrays["label_mask"] == (audit.label >= 0)).all()
        assert arrays["annotator_mask"].sum() == BUDGET - 1
        assert arrays["class_names"].tolist() == list(NAMES)
    call("annotate", "export", out, "--out", tmp_path / "p.csv", "--what", "predictions")
    call("annotate", "export", out, "--out", tmp_path / "a.csv", "--what", "audit")
    call("annotate", "export", out, "--out", tmp_path / "c.parquet", "--what", "cleanlab")
    frame = pq.read_table(tmp_path / "c.parquet").to_pydict()
    assert frame["is_label_issue"] == [v in ("relabel", "reject") for v in audit.verdict]
    for words, message in (
        (("x.txt",), "--out must end in"),
        (("x.csv", "--what", "everything"), "--what must be one of"),
        (("x.npz", "--what", "audit"), "leave --what out"),
    ):
        assert message in call("annotate", "export", out, "--out", *words, expect=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--budget", "$1"), "--budget needs a number of calls"),
        (("--budget", "many"), "many"),
        (("--budget", 5, "--recipe", "tinyy"), "did you mean 'tiny'?"),
        (("--budget", 5, "--selector", "random"), "recipe 'tiny' chooses its nodes itself"),
        (("--budget", 5, "--set", "step=2"), "did you mean 'steps'?"),
        (("--budget", 5, "--api-key-env", "sk-abcdefgh"), "not a key"),
        (("--budget", 5, "--samples", 3), "temperature must be above 0"),
        (("--budget", 5, "--prompt", "zero-shot"), "template must be one of"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_folder(featured, tmp_path, server, words, message):
    out = tmp_path / "run"
    said = call(*words_of(featured, llm_of(server), "--out", out, *words), expect=2)
    assert message in said
    assert len(said.strip().splitlines()) == 1
    assert "abcdefgh" not in said
    assert not out.exists()
    assert server.bodies == []


def test_what_is_missing_is_named(featured, tmp_path, server):
    llm = llm_of(server)
    assert "--out FOLDER is needed" in call(*words_of(featured, llm, "--budget", 5), expect=2)
    bare = ("annotate", "run", featured / "graph", "--llm", llm, "--budget", 5)
    rest = ("--recipe", "tiny", "--text-encoder", "none", "--out", tmp_path / "run")
    assert "names no classes" in call(*bare, *rest, expect=2)
    assert "no run of" in call("annotate", "status", tmp_path, expect=2)
    assert "there is no folder" in call("annotate", "status", tmp_path / "x", expect=2)
    said = call(*words_of(featured, "openai:m", "--budget", 5, "--dry-run", "--model", "m"))
    assert "prompt tokens" in said


@pytest.mark.parametrize("content", ["[1]", '{"kind": "annotation"}', "{", "null"])
def test_a_damaged_record_is_one_line(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    for command in ("status", "ledger"):
        assert "run.json is damaged" in call("annotate", command, tmp_path, expect=2)


def test_folder_belongs_to_one_job_and_force_keeps_what_was_paid(featured, tmp_path, server):
    out, llm = tmp_path / "run", llm_of(server)
    run(featured, llm, out, "--no-repair")
    n = len(server.bodies)
    assert "holds another run" in run(featured, llm, out, "--no-repair", "--seed", 1, expect=2)
    run(featured, llm, out, "--no-repair", "--set", "steps=1", "--force")
    # another recipe setting asks the same questions: all of them are there
    assert len(server.bodies) == n
    told = record(out)
    assert told["ledger"]["total"]["cached"] == BUDGET
    assert told["ledger"]["total"]["money"] == 0
    with sqlite3.connect(out / "answers.sqlite") as connection:
        assert connection.execute("SELECT count(DISTINCT run) FROM ledger").fetchone() == (2,)
    connection.close()


def test_no_answer_at_all_says_why(featured, tmp_path):
    with ScriptedServer(answer=lambda body: Reply("No idea.")) as server:
        said = run(featured, llm_of(server), tmp_path / "run", "--no-repair", expect=2)
    assert f"no node has an answer (no_class_named {BUDGET}x)" in said
    assert said.strip().splitlines()[-1].startswith("error: ")


def test_an_annotator_that_fails_says_why_itself(featured, tmp_path):
    """An error of the annotator is told, not that nothing was answered."""
    said = run(featured, "embedding:nope", tmp_path / "run", expect=2)
    assert "text encoder must be one of" in said
    assert not (tmp_path / "run").exists()


def test_interrupt_before_the_record_leaves_a_resumable_folder(featured, tmp_path, monkeypatch):
    llm, out = f"replay:{featured / 'answers.npz'}", tmp_path / "run"

    def interrupted(self, record):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "commit", interrupted)
        assert "run the same command to resume" in run(featured, llm, out, expect=130)
    assert json.loads(call("annotate", "status", out, "--json"))["state"] == "interrupted"
    run(featured, llm, out)
    assert record(out)["status"] == "done"


def test_key_follows_what_decides_the_result(featured):
    answers = featured / "answers.npz"
    job = AnnotationJob(str(featured / "graph"), f"replay:{answers}")
    assert job.key() == AnnotationJob(str(featured / "graph"), f"replay:{answers}").key()
    others = [
        AnnotationJob(str(featured / "graph"), f"replay:{answers}", seed=1),
        AnnotationJob(str(featured / "graph"), f"replay:{answers}#ranked"),
        AnnotationJob(str(featured / "graph"), f"replay:{answers}", recipe="tiny"),
        AnnotationJob(
            str(featured / "graph"), f"replay:{answers}", question=Question(temperature=0.5)
        ),
        AnnotationJob(str(featured / "graph"), f"replay:{answers}", featured / "classes.json"),
    ]
    assert len({job.key(), *(one.key() for one in others)}) == 6
    with pytest.raises(ValueError, match="no user name"):
        AnnotationJob("cora", "openai:m@https://me:secret@host/v1").key()


def test_settings_of_a_recipe_are_found_inside_it():
    from graphnoise.cli.annotate.work import chosen_recipe

    job = AnnotationJob("cora", "simulated", recipe="locle", selector="random")
    recipe = chosen_recipe(job)
    assert recipe.settings.selector == "random"
    other = AnnotationJob("cora", "simulated", recipe="tiny", overrides=("steps=7",))
    assert chosen_recipe(other).steps == 7
    wrong = AnnotationJob("cora", "simulated", recipe="locle", overrides=("nope=7",))
    with pytest.raises(ValueError, match=r"no setting 'nope', there are .*'selector'"):
        chosen_recipe(wrong)


def test_help_is_light():
    heavy = ("torch", "pandas", "numpy", "scipy", "openai", "jinja2", "transformers", "sqlite3")
    code = (
        "import sys; sys.argv = ['graphnoise', *sys.argv[1:]]\n"
        "from graphnoise.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('LOADED', [name for name in {heavy!r} if name in sys.modules])"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for words, expected in ((("--help",), "ledger"), (("run", "--help"), "--budget")):
        command = [sys.executable, "-c", code, "annotate", *words]
        said = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True).stdout.decode()
        assert expected in said
        assert said.rstrip().endswith("LOADED []")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 10
