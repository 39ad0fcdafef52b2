"""What a server really does with the fields of a request, found out by asking it.

Status 200 proves nothing: fields are dropped silently. Only the answer tells.
"""

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Any, TypeAlias

from graphnoise.annotators.retrying import EndpointError

CHAT, SYSTEMONE = "/chat/completions", "/systemone"
# options that no model would name by itself: an answer among them was constrained
PROBE_QUESTION = "Which colour has a clear sky by day? Answer in one word."
PROBE_OPTIONS = ("left", "right")
PROBE_TOKENS = 64
TOP_LOGPROBS = 10
# raised when what is probed changes, so that old records are not read
RECORD_VERSION = 1
# a server that knows no field says so with one of these
REJECTED = (400, 405, 422, 500, 501)

Ask: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True)
class Capabilities:
    """What one model behind one address does.

    Attributes:
        structured: How an answer can be constrained: "schema", "choice", "json" or "none".
        logprobs: Whether it tells log-probabilities of tokens with their rivals.
        n: Whether one request may ask for several samples.
        seed: Whether the field is taken; whether it is honoured is not known.
        usage: Whether it counts tokens.
        class_probabilities: Whether ``/systemone`` answers.
        token_field: Name of the field that limits an answer.
        server: The model as the server names it, with its fingerprint where it has one.
        probed_at: Seconds since 1970.
        requests: Requests the probe took.
    """

    structured: str = "none"
    logprobs: bool = False
    n: bool = False
    seed: bool = True
    usage: bool = False
    class_probabilities: bool = False
    token_field: str = "max_tokens"
    server: str = ""
    probed_at: float = 0.0
    requests: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Capabilities":
        """From `to_json`; fields of another version are left out."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in known})


def capability_key(url: str, model: str, endpoint_class: str) -> str:
    """Key of the record in the cache: address, model and kind of endpoint."""
    content = json.dumps([RECORD_VERSION, url, model, endpoint_class])
    return sha256(content.encode()).hexdigest()


def answer_schema(options: tuple[str, ...], key: str = "label") -> dict[str, Any]:
    """``response_format`` for an object whose `key` is one of the options."""
    return named_schema(
        {
            "type": "object",
            "properties": {key: {"type": "string", "enum": list(options)}},
            "required": [key],
            "additionalProperties": False,
        }
    )


def named_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """``response_format`` for a JSON schema."""
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": dict(schema)},
    }


async def probe_chat(ask: Ask, model: str, *, classes_too: bool = True) -> Capabilities:
    """Find out what a chat endpoint does: one small request, a few more where it is refused.

    Args:
        ask: Sends a body to a path below the address; raises `EndpointError` for a refusal.
        model: Name of the model.
        classes_too: Whether to try ``/systemone``.

    Raises:
        EndpointError: The plainest request is refused: wrong key, model or address.
    """
    probe = _Probe(ask, model)
    everything = {**_SEED, **_SAMPLES, **_LOGPROBS, **_SCHEMA}
    answer = await probe.send(everything)
    if answer is None:
        found = await _one_by_one(probe)
    else:
        found = _observed(answer) | {"structured": "schema" if _keeps_schema(answer) else "none"}
    if found["structured"] == "none":
        found["structured"] = await _weaker_constraint(probe)
    if classes_too:
        found["class_probabilities"] = await _answers_systemone(probe)
    return Capabilities(
        **found, token_field=probe.token_field, probed_at=time.time(), requests=probe.requests
    )


async def probe_systemone(ask: Ask, model: str) -> Capabilities:
    """Find out whether ``/systemone`` answers.

    Raises:
        EndpointError: It does not.
    """
    probe = _Probe(ask, model)
    if not await _answers_systemone(probe):
        raise EndpointError(
            f"the server has no {SYSTEMONE} for model {model!r}; it belongs to `transformers"
            " serve`: ask another server with openai:MODEL@URL"
        )
    return Capabilities(
        usage=True, class_probabilities=True, probed_at=time.time(), requests=probe.requests
    )


_SEED = {"seed": 1}
_SAMPLES = {"n": 2}
_LOGPROBS = {"logprobs": True, "top_logprobs": 5}
_SCHEMA = {"response_format": answer_schema(PROBE_OPTIONS)}
_CHOICE = {"structured_outputs": {"choice": list(PROBE_OPTIONS)}}
_JSON = {"response_format": {"type": "json_object"}}


class _Probe:
    """Sends probes and counts them."""

    def __init__(self, ask: Ask, model: str) -> None:
        self.ask, self.model = ask, model
        self.token_field, self.requests = "max_tokens", 0

    async def send(
        self, extra: Mapping[str, Any], *, required: bool = False, note: str = ""
    ) -> Mapping[str, Any] | None:
        """The answer, or None where the server refuses the fields."""
        message = {"role": "user", "content": f"{PROBE_QUESTION}{note}"}
        # temperature 1: some servers give one sample only at 0, some models know no other
        body = {
            "model": self.model, "messages": [message], "temperature": 1,
            self.token_field: PROBE_TOKENS, **extra,
        }  # fmt: skip
        self.requests += 1
        try:
            return await self.ask(CHAT, body)
        except EndpointError as error:
            if "max_completion_tokens" in str(error) and self.token_field == "max_tokens":
                self.token_field = "max_completion_tokens"
                return await self.send(extra, required=required, note=note)
            if required or error.status not in REJECTED:
                raise
            return None


async def _one_by_one(probe: _Probe) -> dict[str, Any]:
    plain = await probe.send({}, required=True)
    found = _observed(plain)
    found["seed"] = await probe.send(_SEED) is not None
    found["n"] = _observed(await probe.send(_SAMPLES))["n"]
    found["logprobs"] = _observed(await probe.send(_LOGPROBS))["logprobs"]
    kept = _keeps_schema(await probe.send(_SCHEMA))
    return found | {"structured": "schema" if kept else "none"}


async def _weaker_constraint(probe: _Probe) -> str:
    answer = await probe.send(_CHOICE)
    if _text(answer).strip() in PROBE_OPTIONS:
        return "choice"
    # some servers want the word in the question; a model left free would obey it
    answer = await probe.send(_JSON, note=" Write no JSON.")
    try:
        return "json" if isinstance(json.loads(_text(answer)), dict) else "none"
    except ValueError:
        return "none"


async def _answers_systemone(probe: _Probe) -> bool:
    probe.requests += 1
    try:
        answer = await probe.ask(SYSTEMONE, systemone_body(probe.model, "", PROBE_OPTIONS))
    except EndpointError as error:
        if error.status is None:
            raise
        return False
    try:
        found = answer["answers"]["label"]["probabilities"]
    except (KeyError, TypeError):
        return False
    return isinstance(found, Mapping) and set(found) == set(PROBE_OPTIONS)


def systemone_body(
    model: str, text: str, options: tuple[str, ...], question: str = PROBE_QUESTION
) -> dict[str, Any]:
    """A question with a choice, as ``/systemone`` takes it."""
    criteria: dict[str, str | None] = dict.fromkeys(options)
    label = {"type": "choice", "instructions": question, "criteria": criteria}
    return {"model": model, "state": text or "A clear sky.", "questions": {"label": label}}


def _observed(answer: Mapping[str, Any] | None) -> dict[str, Any]:
    content = answer or {}
    choices = _choices(content)
    logprobs = choices[0].get("logprobs") if choices else None
    tokens = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    first = tokens[0] if isinstance(tokens, list) and tokens else None
    server = " ".join(
        str(content[name]) for name in ("model", "system_fingerprint") if content.get(name)
    )
    return {
        "n": len(choices) == 2,
        "logprobs": isinstance(first, Mapping) and bool(first.get("top_logprobs")),
        "usage": bool(content.get("usage")),
        "server": server,
    }


def _keeps_schema(answer: Mapping[str, Any] | None) -> bool:
    try:
        content = json.loads(_text(answer))
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("label") in PROBE_OPTIONS


def _text(answer: Mapping[str, Any] | None) -> str:
    message = next((one.get("message") for one in _choices(answer or {})), None)
    return str(message.get("content") or "") if isinstance(message, Mapping) else ""


def _choices(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The choices of an answer that have the form of one: nobody knows what a server sends."""
    found = answer.get("choices")
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
