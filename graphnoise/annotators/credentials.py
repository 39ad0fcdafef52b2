"""Keeping API keys out of everything that is written: cache, ledger, batch files."""

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

# names of fields that carry a credential, folded by `fold_field`
CREDENTIAL_FIELDS = frozenset(
    {
        "accesstoken",
        "apikey",
        "authorization",
        "authtoken",
        "bearertoken",
        "clientsecret",
        "cookie",
        "openaiapikey",
        "proxyauthorization",
        "secretkey",
        "setcookie",
        "xapikey",
    }
)
REMOVED = "[removed]"
# shorter values are words ("none", "EMPTY", "test") that local servers take for a key
SHORTEST_SECRET = 12


def fold_field(name: str) -> str:
    """One form of ``X-Api-Key``, ``x_api_key`` and ``xApiKey``."""
    return name.casefold().replace("_", "").replace("-", "")


def known_secrets(more: Iterable[str] = ()) -> tuple[str, ...]:
    """Values of every environment variable called ``*_API_KEY``, and `more`; longest first.

    Values under 12 characters are left out: they are words a local server takes for a key.
    """
    named = (value for name, value in os.environ.items() if name.upper().endswith("API_KEY"))
    found = {secret.strip() for secret in (*named, *more)}
    return tuple(sorted((one for one in found if len(one) >= SHORTEST_SECRET), key=len)[::-1])


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """The text with every known secret replaced."""
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, REMOVED)
    return text


def without_credentials(raw: str, secrets: Iterable[str] = ()) -> str:
    """JSON text with known secrets and the texts of credential fields replaced.

    A server may echo the headers of the request, and a paid answer is not thrown away for it.
    Numbers under such a name stay: a class may be called "Authorization" and have a probability.

    Args:
        raw: JSON text; other text only loses the known secrets.
        secrets: See `known_secrets`.

    Returns:
        The same text, character by character, where there was nothing to replace.
    """
    raw = without_secrets(raw, secrets)
    folded = fold_field(raw)
    if not any(f'"{field}"' in folded for field in CREDENTIAL_FIELDS):
        return raw
    try:
        content = json.loads(raw)
    except ValueError:
        return raw
    cleaned = _clean(content)
    return raw if cleaned == content else json.dumps(cleaned, ensure_ascii=False)


def _clean(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: REMOVED
            if isinstance(inner, str) and fold_field(name) in CREDENTIAL_FIELDS
            else _clean(inner)
            for name, inner in value.items()
        }
    return [_clean(inner) for inner in value] if isinstance(value, list) else value
