"""Bodies with status 200 that no server should send: no traceback, and nothing paid is lost."""

import json
from typing import Any

import numpy as np
import pytest

from graphnoise.annotators.ledger import read_ledger
from graphnoise.annotators.stored_answer import counted_tokens
from tests.graphnoise.annotators.endpoint_cases import PLAIN, endpoint, questions
from tests.graphnoise.annotators.scripted_server import Reply, ScriptedServer


def body(**more: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": "Theory"}, **more.pop("choice", {})}], **more}


def logprobs(content: Any) -> dict[str, Any]:
    return body(choice={"logprobs": content})


READ = {
    "negative counts": body(usage={"prompt_tokens": -5, "completion_tokens": -3}),
    "counts in words": body(usage={"prompt_tokens": "many", "completion_tokens": None}),
    "counts beyond integers of SQLite": body(usage={"prompt_tokens": 10**23}),
    "counts that are truth values": body(usage={"prompt_tokens": True}),
    "no object": body(usage=[1]),
    "a model that is an object": body(model={"a": 1}),
    "an end that is an object": body(choice={"finish_reason": {"a": 1}}),
    "log-probabilities, a word": logprobs("Theory"),
    "log-probabilities without rivals": logprobs({"content": [{"token": "Theory"}]}),
    "log-probabilities, null": logprobs(
        {"content": [{"token": "Theory", "top_logprobs": [{"token": None, "logprob": None}]}]}
    ),
    "log-probabilities, not a number": logprobs(
        {"content": [{"token": "Theory", "top_logprobs": [{"token": "Theory", "logprob": np.nan}]}]}
    ),
    "a number that is none": body(x=np.nan),
}
UNREAD = {
    "null": "null",
    "a list": "[]",
    "no choices": '{"choices": []}',
    "choices in words": '{"choices": "Theory"}',
    "a choice in words": '{"choices": ["Theory"]}',
    "choices by name": '{"choices": {"a": 1}}',
    "a message in words": '{"choices": [{"message": "Theory"}]}',
    "brackets without end": '{"choices": [{"message": {"content": "Theory"}}], "x": ' + "[" * 9000,
    "half a body": '{"choices": [{"message": {"con',
}


@pytest.mark.parametrize("name", READ)
def test_an_odd_body_with_an_answer_is_read_and_kept(tmp_path, name):
    sent = json.dumps(READ[name])
    with ScriptedServer(answer=lambda _: Reply(body=sent), features=PLAIN) as server:
        for _ in "12":
            with endpoint(server, tmp_path / "c.sqlite") as annotator:
                votes = annotator.annotate(questions(2))
            np.testing.assert_array_equal(votes.labels, [1, 1])
            assert np.isfinite(votes.probabilities).all()
    assert len(server.bodies) == 2
    assert votes.usage.tokens >= 0
    assert 0 <= read_ledger(tmp_path / "c.sqlite").total.usage.tokens < 10_000


@pytest.mark.parametrize("name", UNREAD)
def test_a_body_without_an_answer_is_a_failed_request(tmp_path, name):
    odd = ScriptedServer(answer=lambda _: Reply(body=UNREAD[name]), features=PLAIN)
    with odd as server, endpoint(server, tmp_path / "c.sqlite") as annotator:
        votes = annotator.annotate(questions(1))
    assert votes.reason.tolist() == ["request_failed"]


@pytest.mark.parametrize("name", [*READ, *UNREAD])
def test_a_probe_survives_every_body(name):
    """Whatever a server does with a probe, its capabilities are told or it is refused in a line."""
    sent = UNREAD.get(name) or json.dumps(READ[name])

    class Odd(ScriptedServer):
        def _probed(self, _: Any) -> Reply:
            return Reply(body=sent)

    with Odd(answer=lambda _: Reply("Theory")) as server, endpoint(server) as annotator:
        said = ""
        try:
            votes = annotator.annotate(questions(1))
        except ValueError as error:
            said = str(error)
    assert votes.labels.tolist() == [1] if not said else len(said.splitlines()) == 1


def test_counts_are_believed_within_reason():
    assert counted_tokens({"usage": {"input_tokens": 7}}, "prompt_tokens", "input_tokens") == 7
    assert counted_tokens({"usage": {"prompt_tokens": 0}}, "prompt_tokens") == 0
    assert counted_tokens({}, "prompt_tokens") is None
