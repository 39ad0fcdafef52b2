"""Batch files out and in: the same table in any order, nothing sent twice."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from graphnoise.annotators.answer_cache import AnswerCache, StoredAnswer, request_key
from graphnoise.annotators.base import Usage
from graphnoise.annotators.batch_files import (
    BatchLimits,
    BatchRequest,
    collect_batch,
    note_batch_id,
    read_batch_state,
    write_batch,
)
from graphnoise.annotators.batch_state import locked
from graphnoise.annotators.ledger import read_entries, read_ledger

PROJECT = Path(__file__).resolve().parents[3]
SECRET = "sk-proj-0123456789abcdefXYZ"


def body(number: int, model: str = "gpt-4o-mini") -> dict[str, object]:
    message = {"role": "user", "content": f"text {number} «ü»\nsecond line"}
    return {"model": model, "messages": [message], "temperature": 0}


def requests(n: int, samples: int = 1) -> list[BatchRequest]:
    return [BatchRequest(body(number), n=samples) for number in range(n)]


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def answer(asked: dict[str, object], *, tokens: tuple[int, int] | None = (1000, 100)) -> str:
    """What a server gives for a line."""
    asked_body = asked["body"]
    assert isinstance(asked_body, dict)
    content = asked_body["messages"][0]["content"]
    choices = [
        {"index": i, "message": {"content": f"{i}: {content}"}, "finish_reason": "stop"}
        for i in range(asked_body.get("n", 1))
    ]
    usage = tokens and {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    reply = {"model": f"{asked_body['model']}-2024-07-18", "choices": choices, "usage": usage}
    response = {"status_code": 200, "request_id": "r", "body": reply}
    return result(asked, response=response)


def result(asked: dict[str, object], **content: object) -> str:
    name = asked["custom_id"]
    parts = {"id": f"batch_req_{name}", "custom_id": name, "response": None, "error": None}
    return json.dumps({**parts, **content}) + "\n"


def failed(asked: dict[str, object], **content: object) -> str:
    return result(asked, error={"code": "batch_expired", "message": "too late"}, **content)


def served(folder: Path) -> list[str]:
    return [
        answer(line) for path in sorted(folder.glob("batch-*.jsonl")) for line in lines_of(path)
    ]


@pytest.fixture
def cache(tmp_path):
    with AnswerCache(tmp_path / "cache" / "answers.sqlite") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "batches"


# out


def test_lines_are_what_the_queue_reads(folder):
    written = write_batch([BatchRequest(body(0)), BatchRequest(body(1), first=3, n=2)], folder)
    assert [(one.name, one.requests) for one in written.files] == [("batch-0001.jsonl", 2)]
    path = folder / "batch-0001.jsonl"
    assert written.files[0].bytes == path.stat().st_size
    keys = [request_key(body(i), "chat") for i in range(2)]
    assert lines_of(path) == [
        {
            "custom_id": f"{keys[0]}-0",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": body(0),
        },
        {
            "custom_id": f"{keys[1]}-3",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {**body(1), "n": 2},
        },
    ]


def test_further_samples_are_drawn_with_another_seed_under_the_same_key(folder):
    seeded = {**body(0), "seed": 7}
    write_batch([BatchRequest(seeded, first=first, n=3) for first in (0, 3)], folder)
    lines = lines_of(folder / "batch-0001.jsonl")
    assert [line["body"]["seed"] for line in lines] == [7, 10]
    key = request_key(seeded, "chat")
    assert [line["custom_id"] for line in lines] == [f"{key}-0", f"{key}-3"]


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [
        (BatchLimits(requests=3), [3, 3, 1]),
        (BatchLimits(requests=7), [7]),
        (BatchLimits(bytes=700), None),
    ],
)
def test_files_keep_their_limits_and_lose_nothing(folder, limits, sizes):
    written = write_batch(requests(7), folder, limits=limits)
    assert sizes is None or [one.requests for one in written.files] == sizes
    assert len(written.files) > (limits.requests < 7)
    assert all((folder / one.name).stat().st_size <= limits.bytes for one in written.files)
    names = [line["custom_id"] for one in written.files for line in lines_of(folder / one.name)]
    assert names == [one.custom_id for one in requests(7)]


def test_a_file_holds_one_model(folder):
    mixed = [BatchRequest(body(i, model)) for i in range(3) for model in ("a", "b")]
    written = write_batch(mixed, folder)
    assert [(one.model, one.requests) for one in written.files] == [("a", 3), ("b", 3)]
    for one in written.files:
        assert {line["body"]["model"] for line in lines_of(folder / one.name)} == {one.model}


def test_equal_requests_are_one_line_and_the_same_answer_as_sent_at_once(folder):
    spelled = {**body(0), "extra_body": {"temperature": 0.0}, "extra_headers": {"A": "b"}}
    twins = [BatchRequest(body(0)), BatchRequest(spelled, n=2), BatchRequest(body(0))]
    written = write_batch(twins, folder)
    (line,) = lines_of(folder / written.files[0].name)
    assert line["custom_id"] == f"{request_key(body(0), 'chat')}-0"
    assert line["body"]["n"] == 2
    assert not {"extra_headers", "extra_body"} & set(line["body"])


def test_what_is_under_way_is_not_written_twice(folder):
    write_batch(requests(3), folder)
    more = write_batch(requests(5), folder)
    assert more.under_way == 3
    assert [(one.name, one.requests) for one in more.files] == [("batch-0002.jsonl", 2)]
    nothing = write_batch(requests(5), folder)
    assert (nothing.files, nothing.under_way) == ((), 5)
    lost = write_batch(requests(5), folder, again=True)
    assert [(one.name, one.requests) for one in lost.files] == [("batch-0003.jsonl", 5)]


def test_the_record_is_there_when_it_returns_and_keeps_the_batch_id(folder):
    write_batch(requests(3), folder, limits=BatchLimits(requests=2))
    state = read_batch_state(folder)
    assert [one.batch_id for one in state.files] == [None, None]
    assert state.pending == 3
    note_batch_id(folder, "batch-0002.jsonl", "batch_abc")
    note_batch_id(folder, "batch-0002.jsonl", "batch_abc")
    assert [one.batch_id for one in read_batch_state(folder).files] == [None, "batch_abc"]
    with pytest.raises(ValueError, match="was uploaded as batch batch_abc already, got batch_x"):
        note_batch_id(folder, "batch-0002.jsonl", "batch_x")
    with pytest.raises(ValueError, match=r"no batch file 'b.jsonl', there are \['batch-0001"):
        note_batch_id(folder, "b.jsonl", "batch_x")


KILLED_BEFORE_THE_RECORD = """
import os, signal, sys
from graphnoise.annotators import batch_files
batch_files.write_batch_state = lambda folder, state: os.kill(os.getpid(), signal.SIGKILL)
bodies = [{"model": "m", "messages": [i]} for i in range(30)]
limits = batch_files.BatchLimits(requests=3)
batch_files.write_batch(map(batch_files.BatchRequest, bodies), sys.argv[1], limits=limits)
"""


def test_killed_while_writing_no_file_is_left_that_nobody_knows(folder):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_BEFORE_THE_RECORD, str(folder)], cwd=PROJECT, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(list(folder.glob("batch-*.jsonl"))) == 10
    assert read_batch_state(folder).files == ()
    (folder / "batch-0001_output.jsonl").write_text("results that a user keeps here")
    written = write_batch(requests(4), folder, limits=BatchLimits(requests=3))
    ours = {one.name for one in written.files}
    assert ours == {"batch-0001.jsonl", "batch-0002.jsonl"}
    assert {path.name for path in folder.glob("batch-*")} == {*ours, "batch-0001_output.jsonl"}
    assert [line["custom_id"] for line in lines_of(folder / "batch-0001.jsonl")] == [
        one.custom_id for one in requests(3)
    ]


def test_keys_get_into_no_file(folder, monkeypatch):
    with_credentials = {**body(0), "api_key": SECRET, "extra_headers": {"Authorization": SECRET}}
    write_batch([BatchRequest(with_credentials)], folder)
    assert all(SECRET not in path.read_text() for path in folder.iterdir())
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    leaking = {**body(1), "messages": [{"role": "user", "content": f"my key is {SECRET}"}]}
    with pytest.raises(ValueError, match="a request holds an API key") as caught:
        write_batch([BatchRequest(leaking)], folder)
    assert SECRET not in str(caught.value)


def test_half_a_character_is_written_as_its_escape(folder):
    half = {"model": "m", "messages": [{"role": "user", "content": "cut \ud83d"}]}
    write_batch([BatchRequest(half)], folder)
    assert lines_of(folder / "batch-0001.jsonl")[0]["body"] == half


# in


def table(cache: AnswerCache, n: int, samples: int = 1) -> list[list[tuple[str, float | None]]]:
    keys = [one.key for one in requests(n)]
    found = cache.get_many(keys, samples)
    return [[(one.raw, one.money) for one in found[key]] for key in keys]


def test_any_order_gives_the_same_table(tmp_path, folder):
    write_batch(requests(40, samples=2), folder, limits=BatchLimits(requests=15))
    lines = served(folder)
    tables = []
    for seed in range(3):
        shuffled = random.Random(seed).sample(lines, len(lines)) if seed else lines
        first, second = tmp_path / "out.jsonl", tmp_path / "out2.jsonl"
        first.write_text("".join(shuffled[:17]))
        second.write_text("".join(shuffled[17:]))
        with AnswerCache(tmp_path / f"{seed}.sqlite") as cache:
            found = collect_batch([second, first], folder, cache)
            assert (found.stored, found.known, found.failures) == (80, 0, ())
            tables.append((table(cache, 40, 2), read_ledger(cache.path).total.usage))
    assert tables[0] == tables[1] == tables[2]
    samples = tables[0][0][7]
    contents = [json.loads(raw)["choices"][0]["message"]["content"] for raw, _ in samples]
    assert contents == [f"{i}: text 7 «ü»\nsecond line" for i in range(2)]


def test_answers_cost_the_batch_price_and_stand_in_the_ledger(folder, cache, tmp_path):
    write_batch(requests(4), folder)
    out = tmp_path / "out.jsonl"
    out.write_text("".join(served(folder)))
    collect_batch(out, folder, cache, run="r", stage="Q0")
    # half of 0.15 and 0.60 dollars per million
    money = (1000 * 0.15 + 100 * 0.60) / 1e6 / 2
    assert cache.get(requests(1)[0].key)[0].money == pytest.approx(money)
    ledger = read_ledger(cache.path, "r")
    assert ledger.by_kind["batch"] == ledger.by_stage["Q0"] == ledger.total
    usage = ledger.total.usage
    assert usage.money == pytest.approx(4 * money)
    assert usage == Usage(
        calls=4, sent=4, samples=4, prompt_tokens=4000, completion_tokens=400, money=usage.money
    )
    assert set(ledger.by_model) == {"gpt-4o-mini-2024-07-18"}


@pytest.mark.parametrize(
    ("model", "base_url", "tokens", "money"),
    [
        ("unknown-model", None, (10, 10), None),
        ("gpt-4o-mini", "https://elsewhere.example.org/v1", (10, 10), None),
        ("gpt-4o-mini", None, None, None),  # no usage: not free
        ("unknown-model", "http://127.0.0.1:8000/v1", (10, 10), 0.0),
    ],
)
def test_unknown_prices_stay_unknown(folder, cache, tmp_path, model, base_url, tokens, money):
    write_batch([BatchRequest(body(0, model))], folder)
    (line,) = lines_of(folder / "batch-0001.jsonl")
    out = tmp_path / "out.jsonl"
    out.write_text(answer(line, tokens=tokens))
    collect_batch(out, folder, cache, base_url=base_url)
    assert cache.get(BatchRequest(body(0, model)).key)[0].money == money
    assert read_ledger(cache.path).total.usage.money == money


def test_collecting_twice_and_what_the_cache_has_change_nothing(folder, cache, tmp_path):
    write_batch(requests(3), folder)
    cache.store(requests(1)[0].key, 0, StoredAnswer("answered meanwhile"))
    out = tmp_path / "out.jsonl"
    out.write_text("".join(served(folder)))
    found = collect_batch(out, folder, cache)
    assert (found.stored, found.known, found.pending) == (2, 1, 0)
    before = table(cache, 3), read_entries(cache.path)
    found = collect_batch([out, out], folder, cache)
    assert (found.stored, found.known) == (0, 6)
    assert (table(cache, 3), read_entries(cache.path)) == before
    assert before[0][0][0][0] == "answered meanwhile"


def test_failed_lines_are_told_and_sent_again(folder, cache, tmp_path):
    write_batch(requests(7), folder)
    lines = lines_of(folder / "batch-0001.jsonl")
    refused = {"status_code": 429, "body": {"error": {"message": "slow down", "code": None}}}
    empty = {"status_code": 200, "body": {"choices": []}}
    errors, out = tmp_path / "errors.jsonl", tmp_path / "out.jsonl"
    errors.write_text(
        failed(lines[0])
        + result(lines[1], response=refused)
        + result(lines[2], response=empty)
        + result(lines[3], response={"status_code": 500, "body": {}})
        + result(lines[4])
    )
    out.write_text(answer(lines[5]))
    found = collect_batch([errors, out], folder, cache)
    assert [(one.key, one.first, one.reason) for one in found.failures] == [
        (requests(7)[i].key, 0, reason)
        for i, reason in enumerate(
            ["batch_expired", "slow down", "no_answer", "status_500", "no_response"]
        )
    ]
    assert (found.stored, found.pending) == (1, 1)
    assert len(read_entries(cache.path)) == 1
    again = write_batch(requests(7), folder)
    assert (again.files[0].requests, again.under_way) == (5, 2)
    # an old file of errors, read again, does not send a line a third time
    assert collect_batch(errors, folder, cache).failures == ()
    assert write_batch(requests(7), folder).files == ()
    # the second attempt may fail in its own right
    errors.write_text(failed(lines[0], id="batch_req_of_the_second_file"))
    assert len(collect_batch(errors, folder, cache).failures) == 1
    # and an answer that came after all ends it
    out.write_text("".join(map(answer, lines)))
    errors.write_text(failed(lines[0], id="batch_req_of_a_third_file"))
    found = collect_batch([out, errors], folder, cache)
    assert (found.stored, found.known, found.failures, found.pending) == (6, 1, (), 0)


def test_fewer_samples_than_asked_leave_the_rest_missing(folder, cache, tmp_path):
    write_batch([BatchRequest(body(0), n=3)], folder)
    (line,) = lines_of(folder / "batch-0001.jsonl")
    out = tmp_path / "out.jsonl"
    out.write_text(answer({**line, "body": {**line["body"], "n": 2}}))
    assert collect_batch(out, folder, cache).short == 1
    assert cache.missing(requests(1)[0].key, 3) == [2]
    assert write_batch([BatchRequest(body(0), first=2)], folder).files[0].requests == 1


@pytest.mark.parametrize("stranger", ["somebody-0", f"{'0' * 64}-0"])
def test_lines_that_were_never_written_are_refused_and_nothing_is_stored(
    folder, cache, tmp_path, stranger
):
    write_batch(requests(3), folder)
    out = tmp_path / "out.jsonl"
    out.write_text("".join(served(folder)) + failed({"custom_id": stranger}))
    with pytest.raises(ValueError, match=rf"out.jsonl, line 4: '{stranger}' was never written in"):
        collect_batch(out, folder, cache)
    assert table(cache, 3) == [[], [], []]
    assert read_batch_state(folder).pending == 3


def test_a_last_line_that_was_cut_off_waits_for_the_next_time(folder, cache, tmp_path):
    write_batch(requests(3), folder)
    out = tmp_path / "out.jsonl"
    whole = "".join(served(folder)).encode()
    out.write_bytes(whole[:-30])
    found = collect_batch(out, folder, cache)
    assert (found.stored, found.cut_off, found.pending) == (2, ("out.jsonl",), 1)
    out.write_bytes(whole[:-1])  # only the end of the line is absent
    found = collect_batch(out, folder, cache)
    assert (found.stored, found.known, found.cut_off, found.pending) == (1, 2, (), 0)


@pytest.mark.parametrize("line", ["{", "[]", '{"custom_id": 5}', "null"])
def test_damage_in_the_middle_is_an_error(folder, cache, tmp_path, line):
    write_batch(requests(1), folder)
    out = tmp_path / "out.jsonl"
    out.write_text(f"\n{line}\n" + served(folder)[0])
    with pytest.raises(ValueError, match=r"out.jsonl, line 2: a result must be JSON with a custom"):
        collect_batch(out, folder, cache)
    assert table(cache, 1) == [[]]


# mistakes


def test_mistakes(folder):
    with pytest.raises(ValueError, match="a file takes 50 bytes, one request has "):
        write_batch(requests(1), folder, limits=BatchLimits(bytes=50))
    assert read_batch_state(folder).files == ()
    with pytest.raises(ValueError, match="limits must be positive, got 0 and "):
        BatchLimits(requests=0)
    with pytest.raises(ValueError, match="first must be >= 0 and n >= 1, got 0 and 0"):
        BatchRequest(body(0), n=0)
    with (
        locked(folder),
        pytest.raises(ValueError, match="another process is writing batch files in"),
    ):
        write_batch(requests(1), folder)
    for damage in ("{", '{"version": 9}', "{}"):
        (folder / "batches.json").write_text(damage)
        with pytest.raises(ValueError, match=r"batches.json is no record of batch files: "):
            read_batch_state(folder)
