"""One answer as the cache keeps it, and how a response with several samples becomes answers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# no request has as many: a server that claims more is not believed
MOST_TOKENS = 10**9


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """One sample of a response, raw: labels are read from it again each time.

    Attributes:
        raw: Response as JSON text, with this sample as its only choice.
        prompt_tokens, completion_tokens: As the server counted them, else estimated. The prompt of
            a request with several samples is counted with the first of them.
        seconds: The request took; with the first sample.
        model: As the server returned it.
        created: When it arrived, seconds since 1970.
        money: Dollars; None where the price is unknown.
        capability: Key of the endpoint's record of capabilities, or "".
    """

    raw: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    model: str = ""
    created: float = 0.0
    money: float | None = None
    capability: str = ""

    @property
    def response(self) -> Any:
        """The response, parsed."""
        return json.loads(self.raw)


def split_response(
    response: Mapping[str, Any],
    *,
    money: float | None,
    seconds: float = 0.0,
    created: float = 0.0,
    capability: str = "",
    prompt_tokens: int | None = None,
    completion_tokens: int | None = None,
) -> list[StoredAnswer]:
    """One answer per choice of a response; their tokens, seconds and money sum to the whole.

    Args:
        response: Body of the response. Without ``choices`` (systemone) it is one answer.
        money: What the request cost, None where unknown.
        seconds: It took.
        created: When it arrived, seconds since 1970.
        capability: Key of the endpoint's record.
        prompt_tokens, completion_tokens: Instead of those of ``usage``, where that is absent.

    Returns:
        Answers in the order of the choices; the number the server really gave.
    """
    if prompt_tokens is None:
        prompt_tokens = counted_tokens(response, "prompt_tokens", "input_tokens") or 0
    if completion_tokens is None:
        completion_tokens = counted_tokens(response, "completion_tokens", "output_tokens") or 0
    parts = _one_choice_each(response)
    share, rest = divmod(completion_tokens, max(len(parts), 1))
    return [
        StoredAnswer(
            raw=json.dumps(part, ensure_ascii=False),
            prompt_tokens=0 if i else prompt_tokens,
            # the server counts all samples together; even shares sum to its number
            completion_tokens=share + (i < rest),
            seconds=0.0 if i else seconds,
            model=str(response.get("model") or ""),
            created=created,
            money=None if money is None else (0.0 if i else money),
            capability=capability,
        )
        for i, part in enumerate(parts)
    ]


def counted_tokens(response: Mapping[str, Any], *names: str) -> int | None:
    """Tokens as the server counted them; None where it did not, or not in a number to believe.

    Args:
        response: Body of the response.
        names: Fields of ``usage``; the first one there is counts.
    """
    usage = response.get("usage")
    told = [usage[one] for one in names if one in usage] if isinstance(usage, Mapping) else []
    plausible = told and type(told[0]) is int and 0 <= told[0] <= MOST_TOKENS
    return int(told[0]) if plausible else None


def _one_choice_each(response: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    choices = response.get("choices")
    if not isinstance(choices, list):
        return [response]
    return [{**response, "choices": [choice]} for choice in choices]
