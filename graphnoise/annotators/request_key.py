"""What makes two requests the same: a hash of everything that decides the answer."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from graphnoise.annotators.credentials import CREDENTIAL_FIELDS, fold_field

# part of every key: raised when the meaning of a key changes
KEY_VERSION = 1
# fields of the client, not of the request
TRANSPORT_FIELDS = frozenset(
    {"extra_headers", "extra_query", "headers", "default_headers", "base_url", "timeout"}
)
# fields of the request that do not decide what one sample says
UNKEYED_FIELDS = frozenset({"n", "stream", "stream_options", "user", "metadata", "service_tier"})


def sendable_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body as a server gets it: no headers, no credentials, `extra_body` merged in.

    Args:
        body: Arguments of the client's call, or a plain request body.

    Returns:
        A new mapping without the fields that are None; the caller's is left alone.
    """
    merged = {**body, **(body.get("extra_body") or {})}
    return {
        name: value
        for name, value in merged.items()
        if value is not None
        and name != "extra_body"
        and name not in TRANSPORT_FIELDS
        and fold_field(name) not in CREDENTIAL_FIELDS
    }


def request_key(body: Mapping[str, Any], endpoint_class: str) -> str:
    """Key of a request in the cache: sha256 of canonical JSON of what decides the answer.

    Model, endpoint class, messages, sampling (temperature, top_p, seed, max_tokens, stop ...),
    structured-output schema and the version of keys. Not in it: the node and the data set, who
    pays (headers and credentials), and ``n``, because samples are rows under one key, so that
    asking for more adds only those that are missing. A body that goes into a batch file has the
    key of the same request sent at once.

    Args:
        body: The request: JSON values; fields that are None count as absent, 0.0 as 0.
        endpoint_class: Which kind of endpoint reads it, such as "chat" or "systemone".

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError: No model, an empty endpoint class, or a value that is no JSON.

    Example:
        >>> body = {"model": "m", "messages": [{"role": "user", "content": "Which class?"}]}
        >>> request_key(body, "chat") == request_key({**body, "n": 5, "seed": None}, "chat")
        True
    """
    if not endpoint_class:
        raise ValueError("endpoint_class must name the kind of endpoint, got ''")
    if not body.get("model"):
        raise ValueError(f"body must name a model, got fields {sorted(body)}")
    kept = {k: _plain(v) for k, v in sendable_body(body).items() if k not in UNKEYED_FIELDS}
    content = {"version": KEY_VERSION, "endpoint_class": endpoint_class, "request": kept}
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"body must hold JSON values: {error}") from None
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _plain(value: Any) -> Any:
    """Whole floats as integers and tuples as lists: equal values have one form."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
