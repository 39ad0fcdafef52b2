"""How numbers of an annotation run are said."""

from collections.abc import Mapping
from typing import Any

from labelnoise.report.page import count

UNKNOWN = "unknown"
STATES = {
    "done": "finished",
    "budget_reached": "stopped at the budget",
    "interrupted": "interrupted: the same command goes on",
    "running": "running",
}


def dollars(money: float | None) -> str:
    """An amount of money, or "unknown": a price nobody told is not 0.

    Example:
        >>> [dollars(value) for value in (0.0, 0.00042, 1.5, None)]
        ['$0', '$0.00042', '$1.50', 'unknown']
    """
    if money is None:
        return UNKNOWN
    if money == 0:
        return "$0"
    return f"${money:.2f}" if money >= 0.1 else f"${money:.2g}"


def paid(sums: Mapping[str, Any]) -> str:
    """Money of some requests: where some prices are unknown, what was paid at least."""
    known, unknown = sums.get("known_money", sums.get("money")), sums.get("unknown_prices", 0)
    if unknown and known:
        return f"at least {dollars(known)}"
    return dollars(sums.get("money"))


def seconds(value: float) -> str:
    """A duration in the unit a person would take."""
    if value < 120:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def budget(caps: Mapping[str, Any]) -> str:
    """The caps of a run, in words."""
    parts = [f"{count(caps['calls'])} calls"] if caps.get("calls") is not None else []
    if caps.get("tokens") is not None:
        parts.append(f"{count(caps['tokens'])} tokens")
    if caps.get("money") is not None:
        parts.append(dollars(caps["money"]))
    if caps.get("seconds") is not None:
        parts.append(seconds(caps["seconds"]))
    return ", ".join(parts)
