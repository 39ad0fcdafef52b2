"""When a failed request is sent again, and when: errors are judged, waits drawn, rates paced."""

import asyncio
import email.utils
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# what servers say when a prompt is longer than their model reads
TOO_LONG = re.compile(
    r"context[ _](length|window|size)|maximum context|max_model_len|too many (input )?tokens"
    r"|(prompt|input|request|text) is too long|reduce the length|longer than the maximum",
    re.IGNORECASE,
)
# 400 because of the text, not of the request: the other texts are none the worse for it
FILTERED = ("content_filter", "content_policy_violation")
# 429 that no waiting mends: the account is empty
NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached")
AGAIN = (408, 409, 425, 429)


class EndpointError(ValueError):
    """Something that no retry mends; what was answered before it is kept.

    Attributes:
        status: Of the server's answer; None where there was none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Patience:
    """How long a request is tried.

    Attributes:
        retries: Times it is sent again.
        first_wait: Seconds before the first retry; each further wait is twice as long.
        longest_wait: Of one wait that is drawn.
        longest_asked: Of one wait that the server asks for; one that asks for more is given up.
        failures: Questions given up one after the other until the run stops: the server is gone,
            and every further question would wait in vain.
    """

    retries: int = 6
    first_wait: float = 0.5
    longest_wait: float = 60.0
    longest_asked: float = 300.0
    failures: int = 8

    def wait(self, attempt: int, asked: float | None, draw: random.Random) -> float:
        """Seconds before retry `attempt` = 0, 1, ...: what the server asked for, else drawn.

        A drawn wait lies in the upper half of ``first_wait 2^attempt``, so that clients that were
        refused together do not return together.
        """
        if asked is not None:
            return asked
        longest = min(self.longest_wait, self.first_wait * 2.0 ** min(attempt, 60))
        return longest * (0.5 + 0.5 * draw.random())


@dataclass(frozen=True)
class Trouble:
    """A failed request, judged.

    Attributes:
        kind: "again" (a retry may mend it), "too_long" (a shorter prompt may), "refusal" (of this
            text), or "stop".
        message: What happened, for people; holds no secret that the caller's redaction knows.
        wait: Seconds the server asked for, or None.
        billed: Whether the server may have done the work: the answer was lost, not refused.
        status: Of the answer; None where there was none.
    """

    kind: str
    message: str
    wait: float | None = None
    billed: bool = False
    status: int | None = None


def judge(error: Exception) -> Trouble:
    """What a failure of the ``openai`` client means.

    Args:
        error: What it raised.

    Raises:
        Exception: `error` itself where it is no failure of a request.
    """
    import openai

    if isinstance(error, openai.APITimeoutError):
        return Trouble("again", "the request timed out", billed=True)
    if isinstance(error, openai.APIConnectionError):
        cause = type(error.__cause__).__name__ if error.__cause__ else "unknown"
        # a refused connection never reached the server
        return Trouble("again", f"the connection failed ({cause})", billed=cause != "ConnectError")
    if isinstance(error, openai.APIStatusError):
        return _judge_status(error.status_code, error.response.headers, error.body, error.code)
    if isinstance(error, UnreadableBody):
        return Trouble("again", str(error), billed=True)
    raise error


class UnreadableBody(Exception):
    """Status 200 with something that is no answer: a page of a proxy, half a JSON object."""


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds a server asks to wait, or None: ``retry-after-ms``, seconds, or a date.

    Example:
        >>> retry_after({"retry-after": "2.5"}), retry_after({"retry-after": "soon"})
        (2.5, None)
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    asked = headers.get("retry-after")
    seconds = _number(asked)
    if seconds is not None or asked is None:
        return seconds
    try:
        date = email.utils.parsedate_to_datetime(asked)
    except ValueError:
        return None
    return max(0.0, date.timestamp() - (time.time() if now is None else now))


class Pace:
    """Spreads requests evenly below a rate, and holds all of them when the server asks for it.

    Args:
        requests_per_minute: At most; None sets no limit.
        tokens_per_minute: At most, reserved ones counted; None sets no limit.
    """

    def __init__(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        self._per_request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._per_token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._next = self._held_until = 0.0

    async def turn(self, tokens: int) -> None:
        """Wait until a request of this many tokens may be sent."""
        now = time.monotonic()
        start = max(now, self._next)
        self._next = start + max(self._per_request, tokens * self._per_token)
        while (wait := max(start, self._held_until) - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    def hold(self, seconds: float) -> None:
        """Send nothing for this long: the limit of a server holds for all requests."""
        self._held_until = max(self._held_until, time.monotonic() + seconds)


def _judge_status(
    status: int, headers: Mapping[str, str], body: object, code: str | None
) -> Trouble:
    said = _said(body)
    message = f"status {status}" + (f": {said}" if said else "")
    kind, wait = "stop", None
    if (status >= 500 and status != 501) or (status in AGAIN and code not in NO_CREDIT):
        kind, wait = "again", retry_after(headers)
    elif status in (400, 422) and code in FILTERED:
        kind = "refusal"
    elif status == 413 or (
        status in (400, 422) and (code == "context_length_exceeded" or TOO_LONG.search(said))
    ):
        kind = "too_long"
    return Trouble(kind, message, wait, status=status)


def _said(body: object) -> str:
    """The server's own words, shortened: pages of proxies are long."""
    content: Any = body
    if isinstance(content, Mapping):
        content = content.get("message") or content.get("detail") or content.get("error") or ""
    return " ".join(str(content or "").split())[:300]


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < float("inf") else None
