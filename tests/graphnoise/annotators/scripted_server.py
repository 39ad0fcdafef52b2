"""An OpenAI-compatible server on loopback that answers by script and remembers what it was sent."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from graphnoise.annotators.capabilities import PROBE_OPTIONS, PROBE_QUESTION


@dataclass(frozen=True)
class Reply:
    """What the server does with one request."""

    text: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "scripted error"
    code: str | None = None
    delay: float = 0.0
    drop: bool = False  # the connection breaks instead of an answer
    usage: bool = True
    finish_reason: str = "stop"
    refusal: str | None = None
    top: Sequence[Mapping[str, float]] = ()  # per token: text -> log-probability, chosen one first
    body: str | None = None  # sent as it is


@dataclass(frozen=True)
class Features:
    """What the server honours; what it does not, it ignores, unless it rejects the field."""

    structured: str = "schema"  # schema, choice, json or none
    n: bool = True
    logprobs: bool = False
    usage: bool = True
    systemone: bool = False
    rejects: frozenset[str] = frozenset()


class ScriptedServer:
    """Answers `script` in order of arrival, then `answer(body)`; probes get `features`."""

    def __init__(
        self,
        script: Sequence[Reply] = (),
        answer: Callable[[Mapping[str, Any]], Reply] = lambda body: Reply("Theory"),
        features: Features | None = None,
    ) -> None:
        self.script, self.answer = list(script), answer
        self.features = Features() if features is None else features
        self.bodies: list[dict[str, Any]] = []  # of questions
        self.probes: list[dict[str, Any]] = []
        self.replies: list[Reply] = []
        self.times: list[float] = []
        self.keys: list[str | None] = []
        self.in_flight = self.greatest = 0
        self.lock, self.closing = threading.Lock(), threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def __enter__(self) -> "ScriptedServer":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def prompts(self) -> list[str]:
        """The last message of every question."""
        return [body["messages"][-1]["content"] for body in self.bodies]

    def choose(self, path: str, body: dict[str, Any]) -> Reply:
        probe = PROBE_QUESTION in json.dumps(body)
        with self.lock:
            (self.probes if probe else self.bodies).append(body)
            self.times.append(time.monotonic())
            if not probe and self.script:
                reply = self.script.pop(0)
                self.replies.append(reply)
                return reply
        if path.endswith("/systemone"):
            return self._systemone(body) if self.features.systemone else Reply(status=404)
        rejected = sorted(self.features.rejects & set(body))
        if rejected:
            return Reply(
                status=400, message=f"Unknown parameter: '{rejected[0]}'.", code="unknown_parameter"
            )
        reply = self._probed(body) if probe else self.answer(body)
        with self.lock:
            self.replies.append(reply)
        return reply

    def _probed(self, body: Mapping[str, Any]) -> Reply:
        constraint = body.get("response_format", {}).get("type")
        top = ({"blue": -0.1, "sky": -2.5},) if self.features.logprobs else ()
        if constraint == "json_schema" and self.features.structured == "schema":
            return Reply(json.dumps({"label": PROBE_OPTIONS[0]}), top=top)
        if "structured_outputs" in body and self.features.structured == "choice":
            return Reply(PROBE_OPTIONS[0], top=top)
        if constraint == "json_object" and self.features.structured in ("schema", "json"):
            return Reply('{"colour": "blue"}', top=top)
        return Reply("blue", top=top)

    def _systemone(self, body: Mapping[str, Any]) -> Reply:
        reply = self.answer(body) if PROBE_QUESTION not in json.dumps(body) else Reply()
        if reply.body is not None or reply.status != 200:
            return reply
        options = list(body["questions"]["label"]["criteria"])
        wanted = reply.text if reply.text in options else options[0]
        rest = 0.3 / max(1, len(options) - 1)
        shares = {name: 0.7 if name == wanted else rest for name in options}
        answer = {"choice": wanted, "confidence": 0.5, "probabilities": shares}
        usage = {"input_tokens": 40, "output_tokens": 0}
        content = {"model": body["model"], "answers": {"label": answer}, "usage": usage}
        return Reply(body=json.dumps(content), delay=reply.delay)

    def completion(self, body: Mapping[str, Any], reply: Reply) -> dict[str, Any]:
        """The body of a good answer."""
        count = body.get("n", 1) if self.features.n else 1
        message = {"role": "assistant", "content": reply.text, "refusal": reply.refusal}
        logprobs = None
        if body.get("logprobs") and reply.top and self.features.logprobs:
            logprobs = {"content": [_token(step) for step in reply.top]}
        choices = [
            {
                "index": i, "message": message, "finish_reason": reply.finish_reason,
                "logprobs": logprobs,
            }
            for i in range(count)
        ]  # fmt: skip
        content: dict[str, Any] = {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "choices": choices,
            "model": f"{body['model']}-2026",
        }  # fmt: skip
        if reply.usage and self.features.usage:
            content["usage"] = {
                "prompt_tokens": 100, "completion_tokens": 5 * count,
                "total_tokens": 100 + 5 * count,
            }  # fmt: skip
        return content


def _token(step: Mapping[str, float]) -> dict[str, Any]:
    ranked = [{"token": text, "logprob": value, "bytes": None} for text, value in step.items()]
    return {**ranked[0], "top_logprobs": ranked}


def _handler(server: ScriptedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.in_flight += 1
                server.greatest = max(server.greatest, server.in_flight)
                server.keys.append(self.headers.get("Authorization"))
            try:
                self._answer(body)
            finally:
                with server.lock:
                    server.in_flight -= 1

        def _answer(self, body: dict[str, Any]) -> None:
            reply = server.choose(self.path, body)
            if reply.delay:
                server.closing.wait(reply.delay)
            if reply.drop:
                self.close_connection = True
                return
            if reply.body is not None:
                content = reply.body
            elif reply.status == 200:
                content = json.dumps(server.completion(body, reply))
            else:
                error = {"message": reply.message, "type": "error", "code": reply.code}
                content = json.dumps({"error": error})
            self._send(reply, content.encode())

        def _send(self, reply: Reply, content: bytes) -> None:
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client gave up, or was killed

        def log_message(self, *_: object) -> None:
            return None

    return Handler
