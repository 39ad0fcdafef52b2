"""The line to one server: key from the environment, no proxy to this machine, one try per call."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from graphnoise.annotators.credentials import known_secrets, without_secrets
from graphnoise.annotators.options import DEFAULT_KEY, clean_address
from graphnoise.annotators.prices import is_loopback, server_of
from graphnoise.annotators.retrying import EndpointError, Trouble, UnreadableBody, judge

if TYPE_CHECKING:
    from openai import AsyncOpenAI

# local servers want some key and read none
NO_KEY = "none"
ADDRESS_VARIABLE = "OPENAI_BASE_URL"


class RequestFailed(Exception):
    """One try failed.

    Attributes:
        trouble: What happened, judged; its message holds no key.
    """

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble


class Connection:
    """One server, asked through the ``openai`` client with its own retries switched off.

    Args:
        url: Address such as ``http://127.0.0.1:8000/v1``; None takes what the client takes.
        timeout: Seconds until a request counts as failed.
        key_variable: Environment variable with the key; a server on this machine needs none.

    Raises:
        EndpointError: The key holds characters that no header can carry.
        ImportError: The ``openai`` client is not installed.
    """

    def __init__(self, url: str | None, *, timeout: float, key_variable: str = DEFAULT_KEY) -> None:
        key = read_key(key_variable)
        self.url = url = known_address(url)
        self.key_variable, self._has_key = key_variable, bool(key)
        self._secrets = (*known_secrets(), *([key] if len(key) > 4 else []))
        self._client = _client(url, timeout, key or NO_KEY)

    async def post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Send one request, once.

        Args:
            path: Below the address, such as ``/chat/completions``.
            body: JSON values.

        Raises:
            RequestFailed: Whatever the server or the network did.
        """
        try:
            answer: Any = await self._client.post(path, cast_to=object, body=body)
            if not isinstance(answer, Mapping):
                raise UnreadableBody("status 200 without a JSON object")
        except Exception as error:
            failure = UnreadableBody("status 200 with broken JSON") if _broken(error) else error
            trouble = judge(failure)
        else:
            return answer
        # outside of the handler: nothing of the request hangs on the error that is raised
        raise RequestFailed(replace(trouble, message=self._told(trouble, path)))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _told(self, trouble: Trouble, path: str) -> str:
        message = without_secrets(trouble.message, self._secrets)
        if trouble.status in (401, 403) and not self._has_key:
            message += f"; the environment variable {self.key_variable} with the key is not set"
        return f"{self.url or 'the default address'}{path}: {message}"


def read_key(variable: str) -> str:
    """The key in an environment variable, "" where it is not set.

    Raises:
        EndpointError: It holds characters that no header can carry; it is not repeated.
    """
    key = (os.environ.get(variable) or "").strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise EndpointError(
            f"the environment variable {variable} must hold a key: letters, digits and signs"
            " without blanks"
        )
    return key


def known_address(url: str | None) -> str | None:
    """The address, or the one that the client would read from the environment; None: its own."""
    found = url or os.environ.get(ADDRESS_VARIABLE)
    return clean_address(found) if found else None


def _client(url: str | None, timeout: float, key: str) -> "AsyncOpenAI":
    try:
        import openai
    except ImportError:
        raise ImportError("an endpoint needs openai: pip install 'graphnoise[llm]'") from None
    http = openai.DefaultAsyncHttpxClient(
        # without its environment the client knows no proxy
        trust_env=not is_loopback(server_of(url)),
        # http has no certificates, and reading the list of them takes longer than an answer
        verify=not (url or "").lower().startswith("http://"),
        # a redirect would carry texts elsewhere
        follow_redirects=False,
    )
    return openai.AsyncOpenAI(
        api_key=key, base_url=url, timeout=timeout, max_retries=0, http_client=http
    )


def _broken(error: Exception) -> bool:
    """Whether the client could not read JSON; other ValueErrors are mistakes of ours."""
    if isinstance(error, RecursionError):  # brackets without end
        return True
    return isinstance(error, ValueError) and type(error).__name__ == "JSONDecodeError"
