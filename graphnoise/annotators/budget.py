"""A hard budget: what a request may cost is set aside before it is sent."""

import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace

from graphnoise.annotators.base import Usage
from graphnoise.annotators.budget_text import read_caps

# whole numbers of a cost
COUNTED = (
    "calls",
    "sent",
    "cached",
    "repairs",
    "retries",
    "samples",
    "prompt_tokens",
    "completion_tokens",
)
# money is added up in whole units of 10^-12 dollar, so that sums are exact
UNIT = 10**12


@dataclass(frozen=True)
class Budget:
    """Caps; None sets none.

    Attributes:
        calls: Questions, cached ones included.
        tokens: Prompt and completion together.
        money: Dollars.
        seconds: Wall clock of one run, from the making of its purse.

    Raises:
        ValueError: A cap that is negative or no number.
    """

    calls: int | None = None
    tokens: int | None = None
    money: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in (one.name for one in fields(self)):
            cap = getattr(self, name)
            if cap is not None and not (cap >= 0 and math.isfinite(cap)):
                raise ValueError(f"{name} must be at least 0 and finite, got {cap}")

    @classmethod
    def parse(cls, texts: str | Iterable[str]) -> "Budget":
        """A budget as a person writes it: "200", "50k tokens", "$0.50", "30min".

        Args:
            texts: One text per cap; one text may hold several, separated by commas. A bare number
                caps calls. Nothing sets no cap.

        Raises:
            ValueError: Not a cap, or the same cap twice.

        Example:
            >>> Budget.parse("200, $0.50")
            Budget(calls=200, tokens=None, money=0.5, seconds=None)
        """
        return cls(**read_caps(texts))  # type: ignore[arg-type]

    def describe(self) -> str:
        """The caps in words, "" for none; `parse` reads them again."""
        words = {"calls": "{} calls", "tokens": "{} tokens", "money": "${}", "seconds": "{}s"}
        caps = ((form, getattr(self, name)) for name, form in words.items())
        return ", ".join(form.format(_decimal(cap)) for form, cap in caps if cap is not None)


class BudgetPurse:
    """The purse of a run: `spent` plus what is reserved never passes a cap.

    Safe for many threads and for asyncio (nothing waits). Not shared between processes.

    A settlement above its reservation (a server that ignored ``max_tokens``) is counted as it is,
    and nothing more is reserved after that.

    Args:
        budget: The caps.
        already: Spent before, as `Ledger.carried_over` tells of a run that is resumed.
        elapsed: Wall clock seconds of the run before this process.
        clock: Wall clock in seconds.
    """

    def __init__(
        self,
        budget: Budget,
        *,
        already: Usage | None = None,
        elapsed: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget = budget
        self._clock = clock
        self._begin = clock() - elapsed
        self._lock = threading.Lock()
        self._spent = Usage() if already is None else already
        self._reserved = Usage()
        self._outstanding = 0
        self._reached = ""
        if budget.money is not None and self._spent.money is None:
            raise ValueError(unkept_cap(budget.money))
        self._paid = _units(self._spent.money or 0.0)
        self._set_aside = 0

    @property
    def spent(self) -> Usage:
        """What was settled so far, `already` included."""
        with self._lock:
            unknown = self._spent.money is None
            return replace(self._spent, money=None if unknown else self._paid / UNIT)

    @property
    def reserved(self) -> Usage:
        """What is set aside and not settled yet; an unknown price counts as 0 here."""
        with self._lock:
            return replace(self._reserved, money=self._set_aside / UNIT)

    @property
    def outstanding(self) -> int:
        """Reservations not settled yet."""
        with self._lock:
            return self._outstanding

    @property
    def reached(self) -> str:
        """Which cap refused last: "calls", "tokens", "money", "seconds", or "" for none so far."""
        with self._lock:
            return self._reached

    @property
    def elapsed(self) -> float:
        """Wall clock seconds of the run."""
        return self._clock() - self._begin

    def reserve(self, wanted: Usage) -> bool:
        """Set the cost aside; False where it would pass a cap, and then nothing is set aside.

        What a request does not want cannot refuse it: an answer from the cache wants one call and
        no tokens, money or time.

        Raises:
            ValueError: The price is unknown and there is a cap in dollars, or a negative cost.
        """
        self._check(wanted)
        with self._lock:
            cap = self._cap_in_the_way(wanted, self._reserved, self._set_aside)
            if cap:
                self._reached = cap
                return False
            self._reserved = _combined(self._reserved, wanted, 1)
            self._set_aside += _units(wanted.money)
            self._outstanding += 1
            return True

    def could_fit(self, wanted: Usage) -> bool:
        """Whether it would fit if everything set aside were given back: worth waiting for."""
        self._check(wanted)
        with self._lock:
            return not self._cap_in_the_way(wanted, Usage(), 0)

    def settle(self, reserved: Usage, spent: Usage) -> None:
        """Replace a reservation by what was really spent (`Usage()` gives it back).

        Where the price of what was spent is unknown and there is a cap in dollars, the reserved
        money counts as spent.

        Raises:
            ValueError: More is settled than was reserved, or a negative cost.
        """
        _check_positive(spent)
        if spent.money is None and self.budget.money is not None:
            spent = replace(spent, money=reserved.money)
        with self._lock:
            left = _combined(self._reserved, reserved, -1)
            if not self._outstanding or any(getattr(left, name) < 0 for name in COUNTED):
                raise ValueError("settled more than was reserved: settle each reservation once")
            self._outstanding -= 1
            self._reserved = left
            self._set_aside -= _units(reserved.money)
            self._spent = self._spent + spent
            self._paid += _units(spent.money)

    def _check(self, wanted: Usage) -> None:
        _check_positive(wanted)
        if wanted.money is None and self.budget.money is not None:
            raise ValueError(unkept_cap(self.budget.money))

    def _cap_in_the_way(self, wanted: Usage, reserved: Usage, set_aside: int) -> str:
        """Name of the first cap that `wanted` would pass, or ""; the caller holds the lock."""
        budget, spent = self.budget, self._spent
        asked = _units(wanted.money)
        pairs = (
            ("calls", wanted.calls, spent.calls + reserved.calls, budget.calls),
            ("tokens", wanted.tokens, spent.tokens + reserved.tokens, budget.tokens),
            ("money", asked, self._paid + set_aside, _cap_units(budget.money)),
        )
        for name, more, there, cap in pairs:
            if cap is not None and more and there + more > cap:
                return name
        sends = wanted.sent or wanted.tokens or wanted.seconds
        if budget.seconds is not None and sends and self.elapsed + wanted.seconds > budget.seconds:
            return "seconds"
        return ""


def unkept_cap(money: float) -> str:
    """What to say where a cap in dollars meets an unknown price."""
    return (
        f"a budget of ${money:g} cannot be kept: the price of this model is unknown; give it in a"
        " file of prices, or cap calls or tokens instead"
    )


def _decimal(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _check_positive(usage: Usage) -> None:
    for name in (one.name for one in fields(Usage)):
        value = getattr(usage, name)
        if value is not None and not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"{name} of a cost must be at least 0 and finite, got {value}")


def _combined(whole: Usage, part: Usage, sign: int) -> Usage:
    """Sum or difference of what is counted in whole numbers; money is kept in units elsewhere."""
    return Usage(**{one: getattr(whole, one) + sign * getattr(part, one) for one in COUNTED})


def _units(money: float | None) -> int:
    """Units of money, rounded up: rounding must not pass a cap. Unknown is 0."""
    # the quotient of decimal fractions lies a hair beside the whole number
    return math.ceil(round((money or 0.0) * UNIT, 3))


def _cap_units(money: float | None) -> int | None:
    return None if money is None else math.floor(round(money * UNIT, 3))
