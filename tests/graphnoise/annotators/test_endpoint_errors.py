import asyncio
import email.utils
import os
import random
import time

import openai
import pytest

from graphnoise.annotators.base import ABSTAIN
from graphnoise.annotators.budget import Budget, BudgetPurse
from graphnoise.annotators.endpoint import EndpointAnnotator
from graphnoise.annotators.ledger import read_ledger
from graphnoise.annotators.options import AnnotatorOptions
from graphnoise.annotators.retrying import EndpointError, Pace, Patience, judge, retry_after
from tests.graphnoise.annotators.endpoint_cases import PLAIN, QUICK, ask_one, endpoint, questions
from tests.graphnoise.annotators.scripted_server import Features, Reply, ScriptedServer

PASSING = {
    "429 with Retry-After": Reply(status=429, headers={"Retry-After": "0.2"}),
    "429 without": Reply(status=429),
    "500": Reply(status=500),
    "503": Reply(status=503),
    "broken connection": Reply(drop=True),
    "a page of a proxy": Reply(body="<html>Bad gateway</html>"),
    "no choices": Reply(body='{"choices": []}'),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_tried_again(name):
    with ScriptedServer([PASSING[name], Reply("Theory")], features=PLAIN) as server:
        votes = ask_one(server)
    assert votes.labels[0] == 1
    assert len(server.bodies) == 2
    assert (votes.usage.calls, votes.usage.retries) == (1, 1)
    assert votes.usage.sent == 2 + len(server.probes)


def test_retry_after_is_kept():
    script = [Reply(status=429, headers={"Retry-After": "0.3"}), Reply("Theory")]
    with ScriptedServer(script, features=PLAIN) as server:
        ask_one(server)
    asked, again = server.times[-2:]
    assert again - asked >= 0.3


def test_retry_after_holds_every_request():
    script = [Reply(status=429, headers={"Retry-After": "0.3"})]
    with (
        ScriptedServer(script, lambda body: Reply("Theory", delay=0.05), PLAIN) as server,
        endpoint(server, concurrency=2) as annotator,
    ):
        annotator.annotate(questions(8))
    begin = server.times[len(server.probes)]
    # one other request was in flight already; nothing else left within the time asked for
    assert sum(0.02 < at - begin < 0.28 for at in server.times[len(server.probes) :]) <= 1


def test_a_time_out_is_tried_again_and_counts_as_paid():
    script = [Reply("Theory", delay=1.0), Reply("Theory")]
    purse = BudgetPurse(Budget(tokens=100_000))
    with (
        ScriptedServer(script, features=PLAIN) as server,
        endpoint(server, timeout=0.25, max_tokens=50) as annotator,
    ):
        votes = annotator.annotate(questions(1), purse=purse)
    assert votes.labels[0] == 1
    # the answer that was lost may have been billed: prompt and all tokens it was allowed
    assert purse.spent.completion_tokens >= 50
    assert purse.reserved.tokens == purse.outstanding == 0
    assert purse.spent == votes.usage


def test_giving_up_is_recorded_and_the_others_go_on(tmp_path):
    def answer(body):
        return Reply(status=500) if "text 1 " in str(body) else Reply("Theory")

    cache = tmp_path / "answers.sqlite"
    with (
        ScriptedServer(answer=answer, features=PLAIN) as server,
        endpoint(server, cache) as annotator,
    ):
        votes = annotator.annotate(questions(4))
    assert list(votes.labels) == [1, ABSTAIN, 1, 1]
    assert votes.reason[1] == "request_failed"
    assert "status 500" in votes.records[1]["message"]
    assert votes.usage.retries == QUICK.retries
    ledger = read_ledger(cache)
    assert ledger.by_kind["retry"].usage.retries == QUICK.retries
    assert ledger.total.usage.calls == votes.usage.calls == 4
    assert ledger.total.usage.sent == votes.usage.sent
    assert ledger.total.usage.tokens == votes.usage.tokens


def test_a_server_that_is_gone_stops_the_run(tmp_path):
    cache = tmp_path / "answers.sqlite"
    script = [Reply("Theory")] * 3
    with ScriptedServer(script, lambda body: Reply(status=503), PLAIN) as server:
        with endpoint(server, cache, concurrency=1) as annotator:
            with pytest.raises(EndpointError, match=r"4 questions in a row.*status 503"):
                annotator.annotate(questions(50))
            sent = len(server.bodies)
            assert sent == 3 + QUICK.failures * (QUICK.retries + 1)
            server.answer = lambda body: Reply("Theory")
            votes = annotator.annotate(questions(50))
        assert len(server.bodies) == sent + 47
    assert votes.answered.all()


REFUSED = {
    400: "unknown_parameter",
    401: "invalid_api_key",
    403: None,
    404: "model_not_found",
    429: "insufficient_quota",
}


@pytest.mark.parametrize("status", REFUSED)
def test_what_no_retry_mends_stops_at_once_and_loses_nothing(status, tmp_path):
    refusal = Reply(status=status, message="the server's own words", code=REFUSED[status])

    def answer(body):
        return refusal if "text 5 " in str(body) else Reply("Theory", delay=0.05)

    cache = tmp_path / "answers.sqlite"
    with (
        ScriptedServer(answer=answer, features=PLAIN) as server,
        endpoint(server, cache, concurrency=3) as annotator,
    ):
        with pytest.raises(EndpointError, match=f"status {status}: the server's own words"):
            annotator.annotate(questions(30))
        refused = sum("text 5 " in str(body) for body in server.bodies)
        answered = len(server.bodies) - refused
        assert refused == 1
        assert annotator.estimate(questions(30)).usage.cached == answered
    assert answered < 30


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_probe_stops_the_run(status, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    class Refusing(ScriptedServer):
        def choose(self, path, body):
            super().choose(path, body)
            return Reply(status=status, message="no")

    with (
        Refusing() as server,
        endpoint(server) as annotator,
        pytest.raises(EndpointError, match=f"status {status}: no") as found,
    ):
        annotator.annotate(questions(3))
    assert len(server.probes) == 1
    assert not server.bodies
    assert ("OPENAI_API_KEY" in str(found.value)) == (status != 404)


def test_nobody_listening_is_told_quickly():
    with (
        endpoint("http://127.0.0.1:9/v1") as annotator,
        pytest.raises(EndpointError, match=r"127\.0\.0\.1:9/v1.*connection failed"),
    ):
        annotator.annotate(questions(3))


def test_a_text_that_is_too_long_is_shortened_and_the_record_says_so(tmp_path):
    limit = 900

    def answer(body):
        length = sum(len(message["content"]) for message in body["messages"])
        if length > limit:
            said = f"This model's maximum context length is {limit} characters"
            return Reply(status=400, message=said, code="context_length_exceeded")
        return Reply("Theory")

    asked = questions(2, texts=["word " * 600, "short text"])
    with (
        ScriptedServer(answer=answer, features=PLAIN) as server,
        endpoint(server, tmp_path / "answers.sqlite") as annotator,
    ):
        votes = annotator.annotate(asked)
        paid = votes.usage.samples
        again = annotator.annotate(asked)
    assert list(votes.labels) == [1, 1]
    assert 0 < votes.records[0]["text_kept"] < 0.5
    assert votes.records[1]["text_kept"] == 1
    assert votes.usage.calls == again.usage.calls == 2
    assert (paid, again.usage.cached) == (2, 2)
    assert list(again.labels) == [1, 1]


def test_a_frame_that_is_too_long_by_itself_is_given_up():
    refusal = Reply(status=400, message="prompt is too long")
    with ScriptedServer(answer=lambda body: refusal, features=PLAIN) as server:
        votes = ask_one(server)
    assert votes.reason[0] == "request_failed"
    assert "too long" in votes.records[0]["message"]


def test_a_text_that_is_filtered_stops_only_itself():
    def answer(body):
        filtered = Reply(status=400, message="filtered", code="content_filter")
        return filtered if "text 1 " in str(body) else Reply("Theory")

    with ScriptedServer(answer=answer, features=PLAIN) as server, endpoint(server) as annotator:
        votes = annotator.annotate(questions(3))
    assert votes.labels.tolist() == [1, ABSTAIN, 1]
    assert votes.reason[1] == "refusal"
    assert len(server.bodies) == 3


def test_proxies_are_not_asked_for_this_machine(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with ScriptedServer(features=PLAIN) as server:
        assert ask_one(server).labels[0] == 1


KEY = "sk-recognisable-0123456789abcdef"


def test_the_key_reaches_the_server_and_no_file_record_or_message(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_LLM_TOKEN", KEY)
    cache = tmp_path / "answers.sqlite"

    def answer(body):
        if "text 3 " in str(body):
            return Reply(status=401, message=f"Incorrect API key provided: {KEY}")
        return Reply(f"Theory, asked with {KEY}")

    with (
        ScriptedServer(answer=answer, features=PLAIN) as server,
        endpoint(server, cache, api_key_env="MY_LLM_TOKEN") as annotator,
    ):
        votes = annotator.annotate(questions(3))
        with pytest.raises(EndpointError, match="Incorrect API key") as found:
            annotator.annotate(questions(4))
        files = [path for path in tmp_path.iterdir() if path.is_file()]
        assert any(path.suffix == ".sqlite" for path in files)
        written = b"".join(path.read_bytes() for path in files)
        settings = str(annotator.settings()) + repr(annotator.__dict__)
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert votes.answered.all()
    assert KEY.encode() not in written
    assert KEY not in str(votes.records) + settings
    error = found.value
    while error is not None:
        assert KEY not in str(error)
        error = error.__cause__ or error.__context__


def test_another_key_than_the_named_one_is_never_sent(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ScriptedServer(features=PLAIN) as server:
        ask_one(server, api_key_env="NOT_SET_ANYWHERE")
    assert KEY not in str(server.keys)


def test_a_key_that_no_header_can_carry_is_not_repeated(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "two words\nsecret")
    with (
        endpoint("http://127.0.0.1:9/v1") as annotator,
        pytest.raises(EndpointError, match="OPENAI_API_KEY") as found,
    ):
        annotator.annotate(questions(1))
    assert "secret" not in str(found.value)


def test_addresses_come_from_the_environment_too(monkeypatch):
    with ScriptedServer(features=PLAIN) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with EndpointAnnotator("tiny", None, AnnotatorOptions()) as annotator:
            assert annotator.annotate(questions(1)).labels[0] == 1
            assert annotator.settings()["url"] == server.url


@pytest.mark.parametrize(("limits", "tokens"), [((1200, None), 1), ((None, 60_000), 50)])
def test_rates_are_kept(limits, tokens):
    async def turns():
        pace, begin = Pace(*limits), time.monotonic()
        started = []

        async def one():
            await pace.turn(tokens)
            started.append(time.monotonic() - begin)

        await asyncio.gather(*(one() for _ in range(5)))
        pace.hold(0.2)
        held = time.monotonic()
        await pace.turn(tokens)
        return sorted(started), time.monotonic() - held

    started, held = asyncio.run(turns())
    assert all(at >= 0.05 * i - 1e-3 for i, at in enumerate(started))
    assert held >= 0.2


def test_limits_reach_the_requests():
    with (
        ScriptedServer(features=PLAIN) as server,
        endpoint(server, requests_per_minute=6000, tokens_per_minute=10**6) as annotator,
    ):
        assert annotator.annotate(questions(5)).answered.all()


def test_waits_grow_vary_and_end():
    patience = Patience(first_wait=1.0, longest_wait=5.0)
    draw = random.Random(0)
    for attempt, longest in enumerate([1, 2, 4, 5, 5]):
        waits = [patience.wait(attempt, None, draw) for _ in range(200)]
        assert longest / 2 <= min(waits) < max(waits) <= longest
        assert len(set(waits)) == 200
    assert patience.wait(0, 7.5, draw) == 7.5
    first = [patience.wait(i, None, random.Random(1)) for i in range(4)]
    assert first == [patience.wait(i, None, random.Random(1)) for i in range(4)]


def test_a_server_that_asks_for_too_long_a_wait_is_given_up():
    script = [Reply(status=429, headers={"Retry-After": "3600"}, message="come back later")]
    begin = time.monotonic()
    with ScriptedServer(script, features=PLAIN) as server:
        votes = ask_one(server)
    assert time.monotonic() - begin < 60
    assert votes.reason[0] == "request_failed"


def test_dates_are_waits_too():
    now = 1_700_000_000.0
    date = email.utils.formatdate(now + 12, usegmt=True)
    assert retry_after({"retry-after": date}, now) == pytest.approx(12)
    assert retry_after({"retry-after": email.utils.formatdate(now - 5, usegmt=True)}, now) == 0
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert retry_after({"retry-after": "-1"}) is None
    assert retry_after({"retry-after": "inf"}) is None
    assert retry_after({}) is None


def test_other_errors_are_not_swallowed():
    with pytest.raises(KeyError):
        judge(KeyError("a mistake of ours"))
    assert issubclass(openai.APITimeoutError, openai.APIConnectionError)
    assert os.environ.get("NOT_SET_ANYWHERE") is None


def test_a_rejected_field_in_the_middle_is_told():
    features = Features(structured="none", n=False, rejects=frozenset({"top_p"}))
    with (
        ScriptedServer(features=features) as server,
        endpoint(server, top_p=0.9) as annotator,
        pytest.raises(EndpointError, match="Unknown parameter: 'top_p'"),
    ):
        annotator.annotate(questions(2))
