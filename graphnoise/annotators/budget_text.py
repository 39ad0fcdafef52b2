"""Caps as a person writes them: ``200``, ``50k tokens``, ``$0.50``, ``30min``."""

import re
from collections.abc import Iterable

NUMBER = r"(?P<number>\d+(?:\.\d+)?|\.\d+)"
SCALES = {"": 1, "k": 1_000, "m": 1_000_000}
# unit -> (cap, how much of it)
UNITS = {
    **dict.fromkeys(("", "call", "calls", "question", "questions"), ("calls", 1)),
    **dict.fromkeys(("token", "tokens"), ("tokens", 1)),
    **dict.fromkeys(("$", "usd", "dollar", "dollars"), ("money", 1)),
    **dict.fromkeys(("cent", "cents"), ("money", 0.01)),
    **dict.fromkeys(("s", "sec", "second", "seconds"), ("seconds", 1)),
    **dict.fromkeys(("min", "minute", "minutes"), ("seconds", 60)),
    **dict.fromkeys(("h", "hour", "hours"), ("seconds", 3600)),
}
MONEY = re.compile(rf"\$\s*{NUMBER}(?P<scale>)(?P<unit>)", re.IGNORECASE)
# k and M only where no time can be meant: 30min is half an hour and 5m is nothing
SCALE = r"(?P<scale>k(?=$)|[km](?=\s*(?:token|call|question))|)"
COUNT = re.compile(rf"{NUMBER}\s*{SCALE}\s*(?P<unit>[a-z$]*)", re.IGNORECASE)
WHOLE = ("calls", "tokens")
EXAMPLES = "200, 200 calls, 50k tokens, $0.50 or 30min"


def read_caps(texts: str | Iterable[str]) -> dict[str, int | float]:
    """Caps by name of `Budget`'s attributes.

    Args:
        texts: One text per cap; one text may hold several, separated by commas.

    Raises:
        ValueError: Not a cap, or the same cap twice.

    Example:
        >>> read_caps(["200", "50k tokens, $0.50"])
        {'calls': 200, 'tokens': 50000, 'money': 0.5}
    """
    caps: dict[str, int | float] = {}
    for text in (texts,) if isinstance(texts, str) else texts:
        for part in filter(str.strip, text.split(",")):
            name, value = _read_cap(part.strip())
            if name in caps:
                raise ValueError(
                    f"a budget has one cap on {name}, got {part.strip()!r} after {caps[name]}"
                    " (write thousands without a comma)"
                )
            caps[name] = value
    return caps


def _read_cap(text: str) -> tuple[str, int | float]:
    dollars = MONEY.fullmatch(text)
    found = dollars or COUNT.fullmatch(text)
    unit = "$" if dollars else found["unit"].lower() if found else None
    if found is None or unit not in UNITS:
        raise ValueError(f"a budget is written like {EXAMPLES}, got {text!r}")
    name, each = UNITS[unit]
    # decimal fractions such as 1.1M are whole numbers again after rounding at the 6th place
    value = round(float(found["number"]) * SCALES[found["scale"].lower()] * each, 6)
    if name not in WHOLE:
        return name, value
    if not value.is_integer():
        raise ValueError(f"a cap on {name} is a whole number, got {text!r}")
    return name, int(value)
