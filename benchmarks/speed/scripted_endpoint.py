"""An OpenAI-compatible server in a process of its own that answers at once, for timing clients.

Run: ``python -m benchmarks.speed.scripted_endpoint``; its address is the first line it prints.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Names a class of the schema it is sent, chosen by the length of the question."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """One completion; 404 for every other path."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = self.path.endswith("/chat/completions")
        content = json.dumps(completion(body) if found else {"error": "not here"}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def completion(body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request that is held to a schema."""
    ((name, answer),) = body["response_format"]["json_schema"]["schema"]["properties"].items()
    asked = str(body["messages"][-1]["content"])
    options = answer.get("enum") or answer["items"]["enum"]
    text = json.dumps({name: options[len(asked) % len(options)]})
    message = {"role": "assistant", "content": text, "refusal": None}
    choices = [
        {"index": i, "message": message, "finish_reason": "stop"} for i in range(body.get("n", 1))
    ]
    usage = {"prompt_tokens": len(asked) // 4, "completion_tokens": 8 * len(choices)}
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"],
        "choices": choices, "usage": usage,
    }  # fmt: skip


@contextmanager
def running() -> Iterator[str]:
    """The address of a server that runs until the block ends."""
    command = [sys.executable, "-m", "benchmarks.speed.scripted_endpoint"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def main() -> None:
    """Serve until terminated."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_address[1]}/v1", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
