import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graphnoise.annotators.batch_files import collect_batch, write_batch
from graphnoise.annotators.ledger import read_ledger
from tests.graphnoise.annotators.endpoint_cases import CLASSES, PLAIN, endpoint, questions
from tests.graphnoise.annotators.scripted_server import Features, Reply, ScriptedServer

PROJECT = Path(__file__).resolve().parents[3]
CHILD = """
import sys
from pathlib import Path
from tests.graphnoise.annotators.endpoint_cases import endpoint, questions

url, cache, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
with endpoint(url, cache, concurrency=4) as annotator:
    votes = annotator.annotate(questions(count))
    print(votes.labels.tolist(), votes.usage.cached)
"""


def child(server, cache, count):
    command = [sys.executable, "-c", CHILD, server.url, str(cache), str(count)]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the child ended too early"
        assert time.monotonic() < end
        time.sleep(0.005)


def by_number(body):
    content = body["messages"][-1]["content"]
    number = int(content.split("text ")[1].split()[0])
    return Reply(CLASSES.names[number % 3], delay=0.02)


def test_killed_in_the_middle_and_run_again_nothing_is_paid_twice(tmp_path):
    cache, count = tmp_path / "answers.sqlite", 40
    with ScriptedServer(answer=by_number, features=PLAIN) as server:
        process = child(server, cache, count)
        wait_for(lambda: len(server.bodies) >= 15, process)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        with server.lock:
            before = len(server.bodies)
        with endpoint(server, cache) as annotator:
            votes = annotator.annotate(questions(count))
        prompts = server.prompts()
        assert len(server.probes) == 4
    assert before < count
    assert set(prompts) == {prompts[0].replace("text 0 ", f"text {i} ") for i in range(count)}
    # only what was in flight when the process died is asked again
    assert len(prompts) <= count + 4
    assert votes.usage.cached >= before - 4
    # equal to a run that nobody disturbed
    with ScriptedServer(answer=by_number, features=PLAIN) as server, endpoint(server) as annotator:
        whole = annotator.annotate(questions(count))
    for column in ("labels", "probabilities", "rung", "reason", "ranked"):
        np.testing.assert_array_equal(getattr(votes, column), getattr(whole, column))


def test_two_processes_at_once_do_not_pay_twice(tmp_path):
    cache, count = tmp_path / "answers.sqlite", 30

    def slowly(body):
        return replace(by_number(body), delay=0.2)  # so that both meet over the same questions

    with ScriptedServer(answer=slowly, features=PLAIN) as server:
        process = child(server, cache, count)
        wait_for(lambda: len(server.bodies) >= 1, process)
        with endpoint(server, cache) as annotator:
            votes = annotator.annotate(questions(count))
        told, _ = process.communicate(timeout=120)
        prompts = server.prompts()
        assert len(server.probes) == 4
    assert process.returncode == 0
    assert len(prompts) == len(set(prompts)) == count
    assert told.startswith(str(votes.labels.tolist()))
    ledger = read_ledger(cache)
    assert ledger.by_kind["question"].usage.sent == count
    # each run counts each question once, paid or found
    assert [one.usage.calls for one in ledger.by_run.values()] == [count, count]


def test_an_interrupt_leaves_every_answer_in_the_cache(tmp_path):
    cache = tmp_path / "answers.sqlite"

    def interrupt(done, total, what):
        if done == 6:
            os.kill(os.getpid(), signal.SIGINT)

    assert threading.current_thread() is threading.main_thread()
    with ScriptedServer(answer=by_number, features=PLAIN) as server:
        with (
            endpoint(server, cache, concurrency=2) as annotator,
            pytest.raises(KeyboardInterrupt),
        ):
            annotator.annotate(questions(20), progress=interrupt)
        sent = len(server.bodies)
        assert sent < 20
        with endpoint(server, cache) as annotator:
            assert annotator.estimate(questions(20)).usage.cached >= 6
            votes = annotator.annotate(questions(20))
        assert len(server.bodies) <= 20 + 2
    assert votes.labels.tolist() == [i % 3 for i in range(20)]


CHANGES = {
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.9},
    "max_tokens": {"max_tokens": 100},
    "seed": {"seed": 7},
    "prompt": {"prompt": "top_k"},
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_decides_an_answer_makes_a_new_question(name, tmp_path):
    cache = tmp_path / "answers.sqlite"
    with ScriptedServer(features=PLAIN) as server:
        for options in ({}, CHANGES[name], {}, CHANGES[name]):
            with endpoint(server, cache, **options) as annotator:
                annotator.annotate(questions(2))
    assert len(server.bodies) == 4


def test_another_model_is_asked_anew_and_more_samples_only_add_those_missing(tmp_path):
    cache = tmp_path / "answers.sqlite"
    with ScriptedServer(features=Features("none", n=True)) as server:
        for samples in (1, 3, 2):
            with endpoint(server, cache, samples=samples, temperature=0.7) as annotator:
                votes = annotator.annotate(questions(2))
                assert votes.usage.samples == 2 * samples - (2 if samples == 3 else 0)
        assert [body.get("n", 1) for body in server.bodies] == [1, 1, 2, 2]
        # the second time the seed is another one, or the same sample would come again
        assert [body["seed"] for body in server.bodies] == [0, 0, 1, 1]
        with endpoint(server, cache, temperature=0.7) as annotator:
            annotator.model = "another"
            annotator.annotate(questions(2))
    assert len(server.bodies) == 6


def test_a_better_parser_costs_nothing(tmp_path):
    """What is kept is the reply, so that reading it otherwise sends nothing."""
    cache = tmp_path / "answers.sqlite"
    with ScriptedServer([Reply("no class")], features=PLAIN) as server:
        with endpoint(server, cache, repair=False) as annotator:
            assert not annotator.annotate(questions(1)).answered.any()
        with endpoint(server, cache) as annotator:
            votes = annotator.annotate(questions(1))
    assert votes.rung[0] == "repair"
    assert (votes.usage.cached, votes.usage.repairs, votes.usage.sent) == (1, 1, 1)
    assert len(server.bodies) == 2


def test_thousands_of_kept_answers_need_no_server(tmp_path):
    cache = tmp_path / "answers.sqlite"
    with ScriptedServer(answer=lambda body: Reply("Theory"), features=PLAIN) as server:
        with endpoint(server, cache, concurrency=16) as annotator:
            annotator.annotate(questions(40))
        url = server.url
    texts = [f"text {i % 40} of many" for i in range(2_500)]
    with endpoint(url, cache) as annotator:
        votes = annotator.annotate(questions(2_500, texts=texts))
    assert votes.answered.all()
    assert (votes.usage.calls, votes.usage.cached, votes.usage.sent) == (2_500, 2_500, 0)


def test_answers_of_a_batch_are_those_of_the_endpoint(tmp_path):
    cache = tmp_path / "answers.sqlite"
    with ScriptedServer(features=PLAIN) as server, endpoint(server, cache) as annotator:
        with pytest.raises(ValueError, match="probe"):
            annotator.batch_requests(questions(1))
        assert annotator.probe().usage
        annotator.annotate(questions(2))
        texts = [*(f"text {i} of many" for i in range(5)), "", "text 4 of many"]
        asked = questions(7, texts=texts)
        batch = annotator.batch_requests(asked)
        sent = len(server.bodies)
        assert len(batch) == 3
        written = write_batch(batch, tmp_path / "batch")
        lines = [
            json.loads(line)
            for file in written.files
            for line in (tmp_path / "batch" / file.name).read_text().splitlines()
        ]
        results = tmp_path / "results.jsonl"
        with results.open("w") as file:
            for line in reversed(lines):
                body = server.completion(line["body"], Reply("Neural_Networks"))
                answer = {"status_code": 200, "body": body}
                content = {"custom_id": line["custom_id"], "response": answer, "error": None}
                file.write(json.dumps(content) + "\n")
        collect_batch(results, tmp_path / "batch", annotator._opened(), run="r")
        votes = annotator.annotate(asked)
        assert len(server.bodies) == sent
    assert votes.labels.tolist() == [1, 1, 2, 2, 2, -1, 2]
