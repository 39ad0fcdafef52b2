import asyncio

import pytest

from graphnoise.annotators.base import Usage
from graphnoise.annotators.budget import Budget, BudgetPurse
from graphnoise.annotators.capabilities import Capabilities, capability_key, probe_chat
from graphnoise.annotators.ledger import read_ledger
from graphnoise.annotators.retrying import EndpointError
from tests.graphnoise.annotators.endpoint_cases import PLAIN, endpoint, questions
from tests.graphnoise.annotators.scripted_server import Features, Reply, ScriptedServer

SERVERS = {
    "everything": (Features("schema", n=True, logprobs=True, systemone=True), 2),
    "no schema but choice": (Features("choice", n=True), 3),
    "JSON mode": (Features("json", n=False), 4),
    "transformers serve: all ignored": (
        Features("none", n=False, usage=False, systemone=True), 4,
    ),
}  # fmt: skip


def found_by(server):
    with endpoint(server) as annotator:
        annotator.annotate(questions(1))
        return annotator.capabilities


@pytest.mark.parametrize("name", SERVERS)
def test_the_answer_tells_what_a_server_does(name):
    features, requests = SERVERS[name]
    with ScriptedServer(features=features) as server:
        found = found_by(server)
    assert found.structured == features.structured
    assert (found.n, found.logprobs, found.usage, found.class_probabilities) == (
        features.n, features.logprobs, features.usage, features.systemone,
    )  # fmt: skip
    assert found.requests == requests == len(server.probes)
    assert found.server == "tiny-2026"
    assert found.probed_at > 1.7e9


@pytest.mark.parametrize("field", ["seed", "n", "logprobs", "response_format"])
def test_a_refused_field_is_found_among_the_others(field):
    features = Features("schema", n=True, logprobs=True, rejects=frozenset({field}))
    with ScriptedServer(features=features) as server:
        found = found_by(server)
    assert found.seed == (field != "seed")
    assert found.n == (field != "n")
    assert found.logprobs == (field != "logprobs")
    assert (found.structured == "schema") == (field != "response_format")


def test_the_field_of_the_token_limit_is_learned():
    class Modern(ScriptedServer):
        def choose(self, path, body):
            reply = super().choose(path, body)
            if "max_tokens" in body:
                said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
                return Reply(status=400, message=said, code="unsupported_parameter")
            return reply

    with Modern(features=PLAIN) as server:
        found = found_by(server)
    assert found.token_field == "max_completion_tokens"
    assert server.bodies[0]["max_completion_tokens"] == 256


def test_a_server_that_breaks_on_a_field_does_not_have_it():
    async def ask(path, body):
        if "n" in body or "logprobs" in body:
            raise EndpointError("status 500", 500)
        message = {"role": "assistant", "content": "blue"}
        return {"choices": [{"message": message}], "model": "old"}

    found = asyncio.run(probe_chat(ask, "old"))
    assert not found.n
    assert not found.logprobs
    assert not found.usage
    assert found.structured == "none"


def test_one_probe_per_address_and_model(tmp_path):
    cache = tmp_path / "answers.sqlite"
    with ScriptedServer(features=PLAIN) as server:
        for _ in range(2):
            with endpoint(server, cache) as annotator:
                annotator.annotate(questions(2))
        assert len(server.probes) == 4
        # the probe does not count as calls of the budget, but is told, with its tokens
        ledger = read_ledger(cache)
        assert ledger.by_kind["probe"].usage.sent == 4
        assert ledger.by_kind["probe"].usage.tokens > 0
        assert ledger.by_kind["probe"].usage.calls == 0
        with ScriptedServer(features=PLAIN) as other, endpoint(other, cache) as annotator:
            assert annotator.capabilities is None
    keys = {capability_key(*one) for one in (("u", "m", "chat"), ("u", "k", "chat"),
            ("v", "m", "chat"), ("u", "m", "systemone"))}  # fmt: skip
    assert len(keys) == 4


def test_a_probe_past_the_budget_is_not_sent():
    with ScriptedServer(features=PLAIN) as server, endpoint(server) as annotator:
        purse = BudgetPurse(Budget(tokens=10))
        votes = annotator.annotate(questions(3), purse=purse)
        assert not server.times
        assert list(votes.reason) == ["budget_reached"] * 3
        assert purse.spent == votes.usage == Usage()


def test_a_record_is_read_back():
    record = Capabilities("choice", logprobs=True, server="m", requests=3)
    assert Capabilities.from_json({**record.to_json(), "of_tomorrow": 1}) == record
