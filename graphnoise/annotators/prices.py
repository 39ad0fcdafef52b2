"""What a token costs: a table with date and source that a user can put their own in front of."""

import datetime
import ipaddress
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from labelnoise.class_list import in_a_line

# where the openai client asks without an address
DEFAULT_SERVER = "api.openai.com"
PER_MILLION = 1_000_000
NEEDED = ("models", "prompt", "completion", "date", "source")
ALLOWED = (*NEEDED, "servers", "batch")


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens.

    Attributes:
        prompt, completion: Of a token sent and of a token received.
        batch: Share of the price in the batch queue; None where there is none.
        date: Since when, or when it was read.
        source: Where it was read.
    """

    prompt: float
    completion: float
    batch: float | None = None
    date: str = ""
    source: str = ""

    def money(self, prompt_tokens: int, completion_tokens: int, *, batch: bool = False) -> float:
        """Dollars of so many tokens.

        Args:
            prompt_tokens, completion_tokens: How many.
            batch: By way of the batch queue.

        Raises:
            ValueError: There is no batch price.
        """
        if batch and self.batch is None:
            raise ValueError(f"there is no batch price in this entry: {self.describe()}")
        whole = self.prompt * prompt_tokens + self.completion * completion_tokens
        return whole / PER_MILLION * (self.batch if batch and self.batch is not None else 1.0)

    def describe(self) -> str:
        """One line for a plan or a report."""
        if self == LOCAL:
            return "local: tokens and seconds, no money"
        origin = ", ".join(filter(None, (self.source, self.date)))
        return f"${self.prompt:g} / ${self.completion:g} per million tokens ({origin})"

    def as_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        return asdict(self)


LOCAL = Price(0.0, 0.0, batch=1.0, source="an address of this machine")


@dataclass(frozen=True)
class PricedModels:
    """An entry of the table: what it is the price of, in patterns of file names."""

    models: tuple[str, ...]
    servers: tuple[str, ...]
    price: Price

    def match(self, model: str, server: str) -> bool:
        """Whether the entry is about this model on this server, whatever the case."""
        return any(fnmatchcase(model.lower(), one.lower()) for one in self.models) and any(
            fnmatchcase(server.lower(), one.lower()) for one in self.servers
        )


@dataclass(frozen=True)
class PriceTable:
    """Entries in the order in which they are tried."""

    entries: tuple[PricedModels, ...]

    def price_of(self, model: str, base_url: str | None = None) -> Price | None:
        """The price of a model, or None where it is unknown. Unknown is not 0.

        Args:
            model: As asked for, or as the server returned it.
            base_url: Address of the endpoint; None is where the client asks by itself. The same
                model may cost something else at another host, so an entry names its hosts.

        Returns:
            The first entry that matches; 0 on an address of this machine that no entry names.
        """
        server = server_of(base_url)
        for entry in self.entries:
            if entry.match(model, server):
                return entry.price
        return LOCAL if is_loopback(server) else None


def price_of(
    model: str, base_url: str | None = None, *, prices: PriceTable | None = None
) -> Price | None:
    """`PriceTable.price_of` of a table, of ours where None.

    Example:
        >>> price_of("some-model", "https://llm.example.org/v1") is None
        True
        >>> price_of("some-model", "http://127.0.0.1:8000/v1").money(1000, 10)
        0.0
    """
    return (load_prices() if prices is None else prices).price_of(model, base_url)


def load_prices(user_file: str | Path | None = None) -> PriceTable:
    """Our table, with the entries of a user's file in front.

    Args:
        user_file: YAML or JSON, a list of entries with the keys models (names or patterns),
            prompt, completion (dollars per million tokens), date, source, and optionally servers
            (host names or patterns; any where absent) and batch (share of the price in the batch
            queue).

    Raises:
        ValueError: Something else in the file; names file and entry.
        OSError: The file cannot be read.
    """
    ours = _read_entries(Path(__file__).with_name("prices.yaml"))
    return PriceTable((*(_read_entries(Path(user_file)) if user_file is not None else ()), *ours))


def server_of(base_url: str | None) -> str:
    """Host name of an address, with or without a scheme."""
    if base_url is None:
        return DEFAULT_SERVER
    address = base_url if "//" in base_url else f"//{base_url}"
    return urlsplit(address).hostname or ""


def is_loopback(server: str) -> bool:
    """Whether a host name or address means this machine."""
    if server == "localhost" or server.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(server).is_loopback
    except ValueError:
        return False


def _read_entries(path: Path) -> tuple[PricedModels, ...]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        if not isinstance(content, list):
            raise ValueError(f"prices must be a list of entries, got {type(content).__name__}")
        return tuple(_entry_of(number, entry) for number, entry in enumerate(content))
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {in_a_line(error)}") from None


def _entry_of(number: int, entry: Any) -> PricedModels:
    if not isinstance(entry, Mapping):
        raise ValueError(f"price {number} must be a mapping, got {entry!r}")
    absent = [key for key in NEEDED if key not in entry]
    unknown = [key for key in entry if key not in ALLOWED]
    if absent or unknown:
        raise ValueError(
            f"price {number} must have {list(NEEDED)} and may have {list(ALLOWED[5:])}:"
            f" absent {absent}, unknown {unknown}"
        )
    batch = entry.get("batch")
    price = Price(
        prompt=_amount(number, "prompt", entry["prompt"]),
        completion=_amount(number, "completion", entry["completion"]),
        batch=None if batch is None else _amount(number, "batch", batch),
        date=_date(entry["date"]),
        source=str(entry["source"]),
    )
    models = _names(number, "models", entry["models"])
    return PricedModels(models, _names(number, "servers", entry.get("servers", "*")), price)


def _amount(number: int, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key} of price {number} must be a number, got {value!r}")
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{key} of price {number} must be at least 0 and finite, got {value}")
    return float(value)


def _names(number: int, key: str, value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise ValueError(f"{key} of price {number} must be a list of names, got {value!r}")
    return tuple(names)


def _date(value: Any) -> str:
    # YAML reads 2025-04-14 as a date
    return value.isoformat() if isinstance(value, datetime.date) else str(value)
