"""Every request of a run, paid or cached, and what they sum to."""

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from graphnoise.annotators.base import Usage
from graphnoise.annotators.cache_tables import file_trouble, open_tables

KINDS = {
    "question": "A question, first time or from the cache.",
    "repair": "A second question after a reply that could not be read.",
    "probe": "A small request that finds out what the endpoint can do.",
    "retry": "An attempt that failed and was sent again; its question has a row of its own.",
    "sample": "A further sample of a question, where the server gives one per request.",
    "batch": "A line of a batch file that was collected.",
}
# kinds that are no question and so no call of a method's budget; their tokens and money count
NO_CALLS = ("retry", "probe", "sample")


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One request.

    Attributes:
        run: Id of the run that asked.
        kind: Of `KINDS`.
        key: Of the request in the cache.
        model: As the server returned it, else as asked.
        stage: Of the method, such as "Q0"; "" where it has none.
        asked: What the question was about, such as a node; makes a cached answer that a resumed
            run meets again the same row. "" where unknown: every row counts.
        prompt_tokens, completion_tokens: Used by this request; 0 where cached.
        samples: Answers received.
        money: Dollars; None where the price is unknown; 0 where cached.
        seconds: Waited.
        cached: Answered from the cache: nothing was sent.
        time: Seconds since 1970; 0 means when it is written.

    Raises:
        ValueError: An unknown kind, or a cached row that cost something.
    """

    run: str
    kind: str
    key: str
    model: str
    stage: str = ""
    asked: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    samples: int = 0
    money: float | None = 0.0
    seconds: float = 0.0
    cached: bool = False
    time: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {list(KINDS)}, got {self.kind!r}")
        if self.cached and (self.prompt_tokens or self.completion_tokens or self.money != 0):
            raise ValueError("a cached answer costs neither tokens nor money")

    @property
    def usage(self) -> Usage:
        """What the row counts for."""
        spent = Usage(
            samples=self.samples,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            money=self.money,
            seconds=self.seconds,
        )
        return spent + _counts(self.kind, self.cached, 1)


@dataclass(frozen=True)
class LedgerSum:
    """What some rows sum to.

    Attributes:
        usage: Their sum; money is None as soon as one price is unknown.
        known_money: Dollars of the rows whose price is known: at least this was paid.
        unknown_prices: Rows whose price is unknown.
    """

    usage: Usage = field(default_factory=Usage)
    known_money: float = 0.0
    unknown_prices: int = 0

    def __add__(self, other: "LedgerSum") -> "LedgerSum":
        return LedgerSum(
            self.usage + other.usage,
            self.known_money + other.known_money,
            self.unknown_prices + other.unknown_prices,
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values; money is null where unknown."""
        return {
            **asdict(self.usage),
            "tokens": self.usage.tokens,
            "known_money": self.known_money,
            "unknown_prices": self.unknown_prices,
        }


@dataclass(frozen=True)
class Ledger:
    """What a run, or everything in a cache, cost.

    Attributes:
        run: Id of the run, or None: all of them.
        total: Of every row.
        by_kind, by_model, by_stage, by_run: The same rows, grouped.
    """

    run: str | None
    total: LedgerSum
    by_kind: Mapping[str, LedgerSum]
    by_model: Mapping[str, LedgerSum]
    by_stage: Mapping[str, LedgerSum]
    by_run: Mapping[str, LedgerSum]

    @property
    def carried_over(self) -> Usage:
        """What a resumed run has spent before: `already` of its purse.

        Calls, cached answers, repairs and samples are 0: the resumed run walks through the same
        questions and counts each of them, now answered from the cache, again. So a question that
        failed before counts when it is asked again, and not for its first time. Requests in flight
        when a process was killed have no row: they may have been billed, and nobody can tell.
        """
        spent = self.total.usage
        return Usage(
            sent=spent.sent,
            retries=spent.retries,
            prompt_tokens=spent.prompt_tokens,
            completion_tokens=spent.completion_tokens,
            money=spent.money,
            seconds=spent.seconds,
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values for a file or a report."""
        groups = {
            name: {key: one.as_json() for key, one in getattr(self, name).items()}
            for name in ("by_kind", "by_model", "by_stage", "by_run")
        }
        return {"run": self.run, "total": self.total.as_json(), **groups}

    def rows(self, group: str = "kind") -> list[dict[str, Any]]:
        """Rows of a table, dearest first: the group's name and its sums; the total last.

        Args:
            group: "kind", "model", "stage" or "run".
        """
        groups: dict[str, Mapping[str, LedgerSum]] = {
            "kind": self.by_kind,
            "model": self.by_model,
            "stage": self.by_stage,
            "run": self.by_run,
        }
        if group not in groups:
            raise ValueError(f"group must be one of {list(groups)}, got {group!r}")
        ordered = sorted(
            groups[group].items(), key=lambda one: (-one[1].known_money, -one[1].usage.tokens)
        )
        return [{group: name, **one.as_json()} for name, one in (*ordered, ("total", self.total))]


def read_ledger(path: str | Path, run: str | None = None) -> Ledger:
    """Sum the rows of an answer cache; a run may be writing at the same time.

    Args:
        path: The cache.
        run: Only the rows of this run; None takes all.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not an answer cache.
    """
    columns = ("kind", "model", "stage", "run")
    sums: dict[str, dict[str, LedgerSum]] = {column: {} for column in columns}
    total = LedgerSum()
    for names, one in _grouped(path, run):
        total = total + one
        for column, name in zip(columns, names, strict=True):
            sums[column][name] = sums[column].get(name, LedgerSum()) + one
    return Ledger(run, total, *(dict(sorted(sums[column].items())) for column in columns))


def read_entries(path: str | Path, run: str | None = None) -> list[LedgerEntry]:
    """Every row of a cache's ledger, in the order in which they were written."""
    names = ", ".join(COLUMNS)
    where, values = ("", ()) if run is None else ("WHERE run = ?", (run,))
    with file_trouble(path), closing(open_tables(path, read_only=True)) as connection:
        found = connection.execute(f"SELECT {names} FROM ledger {where} ORDER BY id", values)
        return [
            LedgerEntry(**{**dict(zip(COLUMNS, row, strict=True)), "cached": bool(row[CACHED])})
            for row in found
        ]


def write_entries(connection: sqlite3.Connection, entries: Iterable[LedgerEntry]) -> None:
    """Add rows inside the caller's transaction.

    A cached answer that has a row of the same run, kind, stage and question already is the same
    call, met again by a resumed run: it adds none, so the ledger of a run that was killed and
    resumed equals that of an undisturbed one.
    """
    marks = ", ".join("?" * len(COLUMNS))
    insert = f"INSERT INTO ledger ({', '.join(COLUMNS)})"
    for entry in entries:
        values = tuple(getattr(entry, name) for name in COLUMNS)
        if entry.cached and entry.asked:
            same = (entry.run, entry.asked, entry.key, entry.kind, entry.stage)
            connection.execute(f"{insert} SELECT {marks} WHERE NOT EXISTS ({SAME})", values + same)
        else:
            connection.execute(f"{insert} VALUES ({marks})", values)


def _counts(kind: str, cached: bool, rows: int) -> Usage:
    """The countable part of so many rows of one kind."""
    return Usage(
        calls=0 if kind in NO_CALLS else rows,
        sent=0 if cached else rows,
        cached=rows if cached else 0,
        repairs=rows if kind == "repair" else 0,
        retries=rows if kind == "retry" else 0,
    )


COLUMNS = tuple(one.name for one in fields(LedgerEntry))
CACHED = COLUMNS.index("cached")
SAME = "SELECT 1 FROM ledger WHERE run = ? AND asked = ? AND key = ? AND kind = ? AND stage = ?"


def _grouped(path: str | Path, run: str | None) -> list[tuple[tuple[str, ...], LedgerSum]]:
    where, values = ("", ()) if run is None else ("WHERE run = ?", (run,))
    query = f"""
        SELECT kind, model, stage, run, cached, count(*), sum(money IS NULL),
               coalesce(sum(money), 0), sum(prompt_tokens), sum(completion_tokens),
               sum(samples), sum(seconds)
        FROM ledger {where} GROUP BY kind, model, stage, run, cached"""
    with file_trouble(path), closing(open_tables(path, read_only=True)) as connection:
        return [(row[:4], _sum_of(row)) for row in connection.execute(query, values)]


def _sum_of(row: tuple[Any, ...]) -> LedgerSum:
    kind, cached, rows, unknown, money, prompt, completion, samples, seconds = row[0], *row[4:]
    spent = Usage(
        samples=samples,
        prompt_tokens=prompt,
        completion_tokens=completion,
        money=None if unknown else money,
        seconds=seconds,
    )
    return LedgerSum(spent + _counts(kind, bool(cached), rows), money, unknown)
