"""Answers by content: keys, samples, claims, secrets, and what survives SIGKILL."""

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphnoise.annotators.answer_cache import (
    AnswerCache,
    CacheSizes,
    StoredAnswer,
    request_key,
    split_response,
)
from graphnoise.annotators.ledger import LedgerEntry, read_entries, read_ledger

PROJECT = Path(__file__).resolve().parents[3]
BODY = {
    "model": "m",
    "messages": [{"role": "user", "content": "Which class is «Käse»?"}],
    "temperature": 0.7,
    "max_tokens": 50,
}
SECRET = "sk-proj-0123456789abcdefXYZ"

SHARED = """
import json, os, sys, time
from graphnoise.annotators.answer_cache import AnswerCache, StoredAnswer, request_key
keys = [request_key({"model": "m", "messages": [i]}, "chat") for i in range(1000)]
def answer(i):
    return StoredAnswer(raw=json.dumps({"i": i}), model="m", money=0.5)
"""


def key_of(i: int) -> str:
    return request_key({"model": "m", "messages": [i]}, "chat")


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SHARED + code, *map(str, arguments)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL; the dead process stays unburied until `wait`."""
    os.kill(process.pid, signal.SIGKILL)
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)


def bury(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    process.stdout.close()
    process.wait()


@pytest.fixture
def cache(tmp_path):
    with AnswerCache(tmp_path / "answers.sqlite") as opened:
        yield opened


# keys


def test_key_is_the_hash_of_canonical_json():
    written_by_hand = (
        '{"endpoint_class":"chat","request":{"max_tokens":50,"messages":[{"content":'
        '"Which class is \\u00abK\\u00e4se\\u00bb?","role":"user"}],"model":"m",'
        '"temperature":0.7},"version":1}'
    )
    assert request_key(BODY, "chat") == hashlib.sha256(written_by_hand.encode()).hexdigest()


@pytest.mark.parametrize(
    "same",
    [
        {"n": 5},
        {"seed": None},
        {"max_tokens": 50.0},
        {"stream": False, "user": "me"},
        {"extra_headers": {"Authorization": f"Bearer {SECRET}"}, "timeout": 3},
        {"api_key": SECRET},
        {"extra_body": {"max_tokens": 50, "X-Api-Key": SECRET}},
        {"messages": ({"content": "Which class is «Käse»?", "role": "user"},)},
    ],
)
def test_what_does_not_decide_the_answer_is_not_in_the_key(same):
    assert request_key({**BODY, **same}, "chat") == request_key(BODY, "chat")


def test_every_change_that_decides_the_answer_is_another_key():
    changes = [
        {},
        {"model": "m2"},
        {"messages": [{"role": "user", "content": "Which class is «Kase»?"}]},
        {"messages": [*BODY["messages"], {"role": "user", "content": "?"}]},
        {"temperature": 0.8},
        {"top_p": 0.9},
        {"max_tokens": 51},
        {"seed": 0},
        {"stop": ["\n"]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "b"}}},
        # a class may have any name: it is part of what was asked
        {"questions": {"label": {"criteria": {"Authorization": None}}}},
        {"questions": {"label": {"criteria": {"Api Key": None}}}},
        {"extra_body": {"structured_outputs": {"choice": ["a"]}}},
        {"logprobs": True},
        {"logprobs": 1},
    ]
    keys = {request_key({**BODY, **change}, "chat") for change in changes}
    assert len(keys | {request_key(BODY, "systemone")}) == len(changes) + 1


@given(st.permutations(list(BODY)))
def test_order_of_fields_is_not_in_the_key(order):
    assert request_key({name: BODY[name] for name in order}, "chat") == request_key(BODY, "chat")


def test_bad_bodies_are_refused():
    with pytest.raises(ValueError, match="body must name a model, got fields"):
        request_key({"messages": []}, "chat")
    with pytest.raises(ValueError, match="endpoint_class must name"):
        request_key(BODY, "")
    for value in (float("nan"), {1, 2}):
        with pytest.raises(ValueError, match="body must hold JSON values"):
            request_key({**BODY, "temperature": value}, "chat")


# answers


def test_asking_for_more_samples_adds_only_the_missing_ones(cache):
    key = key_of(0)
    assert cache.missing(key, 3) == [0, 1, 2]
    cache.store_answers(key, {i: StoredAnswer(raw=str(i), created=1.0) for i in range(3)})
    assert cache.missing(key, 3) == []
    assert cache.missing(key, 5) == [3, 4]
    assert cache.store(key, 4, StoredAnswer(raw="4", created=1.0))
    assert cache.missing(key, 5) == [3]
    assert [answer.raw for answer in cache.get(key, 5)] == ["0", "1", "2", "4"]
    assert [answer.raw for answer in cache.get(key)] == ["0"]


def test_everything_of_an_answer_comes_back_and_the_first_one_stays(cache):
    answer = StoredAnswer('{"a": "ü"}', 7, 3, 0.25, "m-2024", 12.5, None, "probe-1")
    assert cache.store("k", 0, answer)
    assert not cache.store("k", 0, StoredAnswer("{}"))
    assert cache.get("k") == [answer]
    assert answer.response == {"a": "ü"}


def test_an_answer_without_a_time_gets_the_present(cache):
    before = time.time()
    cache.store("k", 0, StoredAnswer("{}"))
    assert before <= cache.get("k")[0].created <= time.time()


def test_half_a_character_at_the_end_of_a_reply_does_not_lose_it(cache):
    # a reply cut at the token limit within an emoji
    response = json.loads('{"choices": [{"message": {"content": "ok \\ud83d"}}], "model": "m"}')
    cache.store("k", 0, split_response(response, money=0.0)[0])
    assert cache.get("k")[0].response["choices"] == response["choices"]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=30), st.integers(1, 4))
def test_many_at_once_are_what_one_by_one_gives(tmp_path_factory, stored, n):
    path = tmp_path_factory.mktemp("cache") / "a.sqlite"
    kept: dict[tuple[int, int], str] = {}
    with AnswerCache(path) as cache:
        for number, (key, sample) in enumerate(stored):
            cache.store(key_of(key), sample, StoredAnswer(str(number)))
            kept.setdefault((key, sample), str(number))
        found = cache.get_many(map(key_of, range(6)), n)
        for key in range(6):
            expected = [kept[key, i] for i in range(n) if (key, i) in kept]
            assert [one.raw for one in found[key_of(key)]] == expected
            assert [one.raw for one in cache.get(key_of(key), n)] == expected
            assert cache.missing(key_of(key), n) == [i for i in range(n) if (key, i) not in kept]


def test_more_keys_than_sqlite_takes_in_one_query(cache):
    rows = [(f"k{i}", {0: StoredAnswer(str(i))}) for i in range(2500)]
    cache.import_answers((k, a, LedgerEntry("r", "question", k, "m")) for k, a in rows[:2400])
    found = cache.get_many([key for key, _ in rows])
    assert list(found) == [key for key, _ in rows]
    assert all([a.raw for a in found[f"k{i}"]] == [str(i)] * (i < 2400) for i in range(2500))
    assert cache.sizes() == CacheSizes(answers=2400, requests=2400, claims=0, ledger_rows=2400)


def test_answer_and_ledger_row_are_one_commit(cache):
    entry = LedgerEntry("r", "question", "k", "m", prompt_tokens=3, time=5.0)
    with pytest.raises(ValueError, match="sample index must be at least 0, got -1"):
        cache.store_answers("k", {0: StoredAnswer("{}"), -1: StoredAnswer("{}")}, entry=entry)
    assert cache.sizes() == CacheSizes(0, 0, 0, 0)
    assert cache.store_answers("k", {0: StoredAnswer("{}")}, entry=entry) == 1
    assert read_entries(cache.path) == [entry]


def test_importing_twice_changes_nothing(cache):
    rows = [("k", {0: StoredAnswer("{}")}, LedgerEntry("r", "batch", "k", "m"))]
    assert cache.import_answers(rows) == 1
    assert cache.import_answers(rows) == 0
    assert cache.sizes() == CacheSizes(1, 1, 0, 1)


def test_a_response_with_samples_is_split_without_loss():
    choices = [{"index": i, "message": {"content": f"c{i}"}} for i in range(3)]
    usage = {"prompt_tokens": 100, "completion_tokens": 32}
    answers = split_response(
        {"model": "m-1", "choices": choices, "usage": usage}, money=0.3, seconds=2.0, created=9.0
    )
    assert [one.response["choices"] for one in answers] == [[choice] for choice in choices]
    assert [one.completion_tokens for one in answers] == [11, 11, 10]
    assert [one.prompt_tokens for one in answers] == [100, 0, 0]
    assert [one.money for one in answers] == [0.3, 0.0, 0.0]
    assert [one.seconds for one in answers] == [2.0, 0.0, 0.0]
    assert {one.model for one in answers} == {"m-1"}
    unknown = split_response({"choices": choices}, money=None, prompt_tokens=5)
    assert [(one.money, one.prompt_tokens) for one in unknown] == [(None, 5), (None, 0), (None, 0)]
    systemone = {"answers": {"label": {}}, "usage": {"input_tokens": 8, "output_tokens": 0}}
    assert [one.prompt_tokens for one in split_response(systemone, money=0.0)] == [8]


def test_capabilities_are_kept_and_replaced(cache):
    assert cache.capability("http://host/v1 m") is None
    cache.store_capability("http://host/v1 m", {"n": False})
    cache.store_capability(
        "http://host/v1 m",
        {"n": True, "api_key": SECRET},
        entries=[LedgerEntry("r", "probe", "", "m")],
    )
    assert cache.capability("http://host/v1 m") == {"n": True, "api_key": "[removed]"}
    assert cache.sizes().ledger_rows == 1


# secrets


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def test_keys_get_into_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    own = "ghp-secret-of-the-user"
    echo = {"headers": {"Authorization": "Bearer another-one"}, "echo": [SECRET, own]}
    body = {**BODY, "extra_headers": {"Authorization": f"Bearer {SECRET}"}}
    with AnswerCache(tmp_path / "a.sqlite", secrets=[own]) as cache:
        key = request_key(body, "chat")
        cache.store(key, 0, StoredAnswer(json.dumps(echo), model=f"m {SECRET}"))
        cache.add_entries([LedgerEntry("r", "question", key, f"m {SECRET}")])
        cache.store_capability("server", {"told": f"Bearer {SECRET}", "x-api-key": "another-one"})
        written = everything_in(tmp_path)  # with the write-ahead log
        assert cache.get(key)[0].response == {
            "headers": {"Authorization": "[removed]"},
            "echo": ["[removed]", "[removed]"],
        }
    for secret in (SECRET, own, "another-one"):
        assert secret.encode() not in written + everything_in(tmp_path)


def test_a_class_called_authorization_keeps_its_probability(cache, monkeypatch):
    monkeypatch.setenv("LOCAL_API_KEY", "none")  # a word is no secret
    raw = '{"choice": "Authorization",  "probabilities": {"Authorization": 0.75, "none": 0.25}}'
    cache.store("k", 0, StoredAnswer(raw))
    assert cache.get("k")[0].raw == raw


# claims


def test_a_claim_keeps_others_away_until_it_is_given_back(cache):
    with AnswerCache(cache.path) as other:
        assert cache.claim("k", [0])
        assert not other.claim("k", [0])
        assert not cache.claim("k", [0]), "not even the same object pays twice"
        other.release("k")
        assert not other.claim("k", [0]), "nobody gives back what is not theirs"
        cache.release("k")
        assert other.claim("k", [0])
        assert cache.claim("another", [0])
        other.store_answers("k", {0: StoredAnswer("{}")})
        assert not cache.claim("k", [0]), "answered by now"
        assert cache.claim("k", [1])
    assert cache.sizes().claims == 2


def test_closing_gives_back_every_claim(cache):
    other = AnswerCache(cache.path)
    assert other.claim("k")
    other.close()
    other.close()
    assert cache.claim("k")


def test_claims_of_a_process_that_hangs_expire_and_can_be_renewed(cache):
    with AnswerCache(cache.path, claim_seconds=0.2) as slow:
        assert slow.claim("k")
        assert slow.claim("renewed")
        time.sleep(0.15)
        assert slow.renew("renewed")
        time.sleep(0.1)
        assert cache.claim("k")
        assert not cache.claim("renewed")
        assert not slow.renew("k"), "it is another's now"
        slow.release("k")
    assert not AnswerCache(cache.path).claim("k")


def test_a_claim_from_another_machine_is_not_judged_by_its_process_number(cache):
    with closing(sqlite3.connect(cache.path)) as connection, connection:
        row = ("k", "elsewhere", 2**22 + 1, "1", "token", time.time() + 60)
        connection.execute("INSERT INTO claims VALUES (?, ?, ?, ?, ?, ?)", row)
    assert not cache.claim("k")


def test_who_looks_while_another_claims_waits_and_sees_the_claim(cache):
    told: list[bool] = []
    look = threading.Thread(target=lambda: told.append(cache.claim("k", [0])))
    with closing(sqlite3.connect(cache.path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        look.start()
        time.sleep(0.1)
        row = ("k", "elsewhere", 1, "1", "token", time.time() + 60)
        connection.execute("INSERT INTO claims VALUES (?, ?, ?, ?, ?, ?)", row)
        connection.execute("COMMIT")
        look.join()
    assert told == [False]


def test_a_process_number_used_again_is_not_the_owner(cache):
    other = AnswerCache(cache.path)
    assert other.claim("k")
    with closing(sqlite3.connect(cache.path)) as connection, connection:
        connection.execute("UPDATE claims SET started = '1'")
    assert cache.claim("k")


# real processes

CLAIM_AND_WAIT = """
cache = AnswerCache(sys.argv[1])
assert cache.claim(keys[0], [0])
print("claimed", flush=True)
time.sleep(60)
"""


def test_killed_between_claim_and_store_the_next_process_pays_at_once(tmp_path):
    path = tmp_path / "a.sqlite"
    process = start(CLAIM_AND_WAIT, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    with AnswerCache(path) as cache:
        assert not cache.claim(key_of(0), [0])
        kill(process)
        assert cache.claim(key_of(0), [0]), "dead, although not yet buried"
        cache.release(key_of(0))
        bury(process)
        assert cache.claim(key_of(0), [0])


STORE_MANY = """
cache = AnswerCache(sys.argv[1])
for i in range(1000):
    cache.store(keys[i], 0, answer(i))
    print(i, flush=True)
"""


def test_killed_in_the_middle_everything_whose_store_returned_is_there(tmp_path):
    path = tmp_path / "a.sqlite"
    process = start(STORE_MANY, path)
    assert process.stdout is not None
    seen = [int(process.stdout.readline()) for _ in range(300)]
    kill(process)
    seen += [int(line) for line in process.stdout]
    bury(process)
    with AnswerCache(path) as cache:
        found = cache.get_many(map(key_of, range(1000)))
        there = [i for i in range(1000) if found[key_of(i)]]
        assert there[: len(seen)] == seen
        assert len(there) - len(seen) in (0, 1), "one may be stored and not yet told"
        assert all(found[key_of(i)][0].response == {"i": i} for i in there)
        # a run that goes on pays for the rest only
        assert cache.claim(key_of(len(there)), [0])


PAY_FOR_ALL = """
cache = AnswerCache(sys.argv[1])
paid = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for i in range(200):
    while not cache.get(keys[i]):
        if cache.claim(keys[i], [0]):
            os.write(paid, b"%d\\n" % i)
            cache.store_answers(keys[i], {0: answer(i)})
        else:
            time.sleep(0.0005)
"""


def test_two_processes_at_once_never_both_pay(tmp_path):
    path, paid = tmp_path / "a.sqlite", tmp_path / "paid.txt"
    # they also race to make the file
    processes = [start(PAY_FOR_ALL, path, paid) for _ in range(2)]
    codes = [process.wait() for process in processes]
    for process in processes:
        bury(process)
    assert codes == [0, 0]
    assert sorted(map(int, paid.read_text().split())) == list(range(200))
    with AnswerCache(path, read_only=True) as cache:
        assert cache.sizes() == CacheSizes(answers=200, requests=200, claims=0, ledger_rows=0)


HANG_WHILE_PAYING = PAY_FOR_ALL.replace(
    "cache.store_answers",
    "i == 20 and (print('in flight', flush=True), time.sleep(60))\n            cache.store_answers",
)


def test_killed_beside_another_run_only_what_was_in_flight_is_paid_twice(tmp_path):
    path, paid = tmp_path / "a.sqlite", tmp_path / "paid.txt"
    first = start(HANG_WHILE_PAYING, path, paid)
    assert first.stdout is not None
    assert first.stdout.readline() == "in flight\n"
    second = start(PAY_FOR_ALL, path, paid)
    time.sleep(0.05)
    assert paid.read_text().count("20\n") == 1
    kill(first)
    assert second.wait() == 0
    bury(first)
    bury(second)
    assert sorted(map(int, paid.read_text().split())) == sorted([*range(200), 20])
    with AnswerCache(path) as cache:
        assert cache.sizes() == CacheSizes(answers=200, requests=200, claims=0, ledger_rows=0)


FORK = """
cache = AnswerCache(sys.argv[1])
if os.fork() == 0:
    try:
        cache.get(keys[0])
    except ValueError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
cache.store(keys[0], 0, answer(0))
"""


def test_after_a_fork_the_child_is_told_to_open_its_own(tmp_path):
    process = start(FORK, tmp_path / "a.sqlite")
    told, _ = process.communicate()
    assert told.startswith("an AnswerCache works in the process that opened it")
    assert process.returncode == 0


def test_threads_share_one_object(cache):
    def work(number: int) -> None:
        for i in range(50):
            if cache.claim(key_of(i), [0]):
                entry = LedgerEntry("r", "question", key_of(i), "m", asked=str(i))
                cache.store_answers(key_of(i), {0: StoredAnswer(str(number))}, entry=entry)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.sizes() == CacheSizes(answers=50, requests=50, claims=0, ledger_rows=50)


# opening


def test_reading_while_a_run_writes(cache):
    with AnswerCache(cache.path, read_only=True) as reader:
        assert reader.get("k") == []
        cache.store("k", 0, StoredAnswer("{}"))
        assert len(reader.get("k")) == 1
        for write in (
            lambda: reader.store("k", 1, StoredAnswer("{}")),
            lambda: reader.claim("k"),
            lambda: reader.add_entries([]),
        ):
            with pytest.raises(ValueError, match="was opened to be read only"):
                write()


def test_nothing_is_made_where_one_only_looks(tmp_path):
    with pytest.raises(FileNotFoundError, match="no answer cache at"):
        AnswerCache(tmp_path / "none.sqlite", read_only=True)
    assert list(tmp_path.iterdir()) == []


READ_WHERE_NOTHING_CAN_BE_WRITTEN = """
if os.geteuid() == 0:
    os.setuid(65534)
print(AnswerCache(sys.argv[1], read_only=True).get("k")[0].raw)
try:
    AnswerCache(sys.argv[1])
except ValueError as error:
    print(error)
"""


def test_a_finished_cache_on_a_read_only_disk_can_be_read():
    with tempfile.TemporaryDirectory() as open_to_all:
        folder = Path(open_to_all) / "run"
        with AnswerCache(folder / "a.sqlite") as cache:
            cache.store("k", 0, StoredAnswer("{}"))
        for path, mode in ((folder / "a.sqlite", 0o444), (folder, 0o555), (folder.parent, 0o755)):
            path.chmod(mode)
        process = start(READ_WHERE_NOTHING_CAN_BE_WRITTEN, folder / "a.sqlite")
        told, _ = process.communicate()
        folder.chmod(0o755)
    answer, refusal = told.splitlines()
    assert answer == "{}"
    assert "cannot be opened as an answer cache" in refusal


@pytest.mark.parametrize("read_only", [False, True])
def test_other_files_are_refused_and_left_alone(tmp_path, read_only):
    text, foreign = tmp_path / "notes.txt", tmp_path / "theirs.sqlite"
    text.write_text("notes that are long enough for a header " * 20)
    with closing(sqlite3.connect(foreign)) as connection, connection:
        connection.execute("CREATE TABLE theirs (a)")
    before = [path.read_bytes() for path in (text, foreign)]
    with pytest.raises(ValueError, match=r"notes.txt is no answer cache: file is not a database"):
        AnswerCache(text, read_only=read_only)
    with pytest.raises(ValueError, match=r"theirs.sqlite is no answer cache but another SQLite"):
        AnswerCache(foreign, read_only=read_only)
    assert [path.read_bytes() for path in (text, foreign)] == before
    if not read_only:
        with pytest.raises(ValueError, match="is a folder, an answer cache is a file"):
            AnswerCache(tmp_path)


def test_a_file_of_a_run_that_was_killed_at_once(tmp_path):
    path = tmp_path / "a.sqlite"
    path.touch()
    with pytest.raises(ValueError, match=r"a.sqlite is empty: nothing has been kept in it yet"):
        AnswerCache(path, read_only=True)
    with AnswerCache(path) as cache:
        assert cache.get("k") == []


def test_another_version_is_refused(tmp_path):
    path = tmp_path / "a.sqlite"
    AnswerCache(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE about SET value = '7' WHERE name = 'version'")
    with pytest.raises(ValueError, match="an answer cache of version 7, this program reads"):
        AnswerCache(path)


def test_names_with_special_characters(tmp_path):
    path = tmp_path / "new folder" / "50% ?mode=ro #1 ü.sqlite"
    with AnswerCache(path) as cache:
        cache.store("k", 0, StoredAnswer("{}"))
    with AnswerCache(path, read_only=True) as cache:
        assert len(cache.get("k")) == 1
    assert path.is_file()
    assert all(one.name.startswith(path.name) for one in path.parent.iterdir())


def test_bad_arguments(cache, tmp_path):
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        cache.get("k", 0)
    with pytest.raises(ValueError, match="claim_seconds must be positive, got 0"):
        AnswerCache(tmp_path / "b.sqlite", claim_seconds=0)


def test_a_file_that_breaks_while_it_is_used_is_told_in_a_line(tmp_path):
    path = tmp_path / "answers.sqlite"
    with AnswerCache(path) as cache:
        for i in range(200):
            cache.store(key_of(i), 0, StoredAnswer(raw="{}" * 50), entry=entry_of(i))
    content = bytearray(path.read_bytes())
    content[8192:] = b"x" * (len(content) - 8192)  # the tables are named, their pages are gone
    path.write_bytes(content)
    with AnswerCache(path) as cache:
        for use in (
            lambda: cache.get_many([key_of(i) for i in range(200)]),
            lambda: cache.capability("c"),
            lambda: cache.store(key_of(0), 1, StoredAnswer(raw="{}")),
            lambda: cache.store(
                key_of(0), 1, StoredAnswer(raw="{}")
            ),  # no transaction is left open
        ):
            with pytest.raises(ValueError, match=r"cannot be used as an answer cache: .*malformed"):
                use()
    with pytest.raises(ValueError, match="answer cache"):
        read_ledger(path)


def test_a_full_disk_is_told_in_a_line_and_ends_the_transaction(tmp_path):
    with AnswerCache(tmp_path / "answers.sqlite") as cache:
        cache._connection.execute("PRAGMA max_page_count=20")
        with pytest.raises(ValueError, match=r"cannot be used as an answer cache: .*full"):
            cache.store(key_of(0), 0, StoredAnswer(raw="x" * 10**6))
        assert cache.store(key_of(0), 0, StoredAnswer(raw="{}"))


def entry_of(i: int) -> LedgerEntry:
    return LedgerEntry("run", "question", key_of(i), "m")
