"""Answers of an LLM, kept by what was asked: nothing that was paid for is paid for again."""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from graphnoise.annotators.cache_tables import file_trouble, open_tables
from graphnoise.annotators.claims import ClaimOwner, is_gone
from graphnoise.annotators.credentials import (
    known_secrets,
    without_credentials,
    without_secrets,
)
from graphnoise.annotators.ledger import LedgerEntry, write_entries
from graphnoise.annotators.request_key import request_key, sendable_body
from graphnoise.annotators.stored_answer import StoredAnswer, split_response

__all__ = [
    "AnswerCache",
    "CacheSizes",
    "StoredAnswer",
    "request_key",
    "sendable_body",
    "split_response",
]

# longer than any request with its retries; a crashed process on this machine is noticed at once
CLAIM_SECONDS = 600.0
# keys per query: SQLite takes at least 999 values
KEYS_AT_ONCE = 900
COLUMNS = tuple(one.name for one in fields(StoredAnswer))
INSERT = f"INSERT OR IGNORE INTO answers VALUES (?, ?, {', '.join('?' * len(COLUMNS))})"


@dataclass(frozen=True)
class CacheSizes:
    """How much a cache holds: answers, requests they belong to, claims held, ledger rows."""

    answers: int
    requests: int
    claims: int
    ledger_rows: int


class AnswerCache:
    """Answers by content key and sample index, in an SQLite file, with the ledger beside them.

    Whatever `store`, `store_answers`, `add_entries` or `store_capability` wrote is committed when
    they return and survives the end of the process, also by SIGKILL. A power cut may take the last
    commits and leaves the file whole (``synchronous=NORMAL`` in a write-ahead log).

    API keys stay out: `request_key` ignores headers and credentials, and what is stored loses
    texts of credential fields and every known secret (variables ``*_API_KEY`` and `secrets`).

    One object may be used by many threads, not across a fork.

    Args:
        path: The file, made where absent.
        read_only: Only look, while a run may write. Writing then raises ValueError.
        claim_seconds: After which another process may take over a claim.
        secrets: More texts that must never be stored, such as a key from a variable that is not
            called ``*_API_KEY``.

    Raises:
        FileNotFoundError: To be read only, and not there.
        ValueError: Not an answer cache, or one of another version.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        read_only: bool = False,
        claim_seconds: float = CLAIM_SECONDS,
        secrets: Iterable[str] = (),
    ) -> None:
        if not claim_seconds > 0:
            raise ValueError(f"claim_seconds must be positive, got {claim_seconds}")
        self.path = Path(path)
        self.read_only = read_only
        self._claim_seconds = claim_seconds
        self._secrets = known_secrets(secrets)
        self._connection = open_tables(path, read_only=read_only)
        self._lock = threading.Lock()
        self._owner = ClaimOwner()

    def __enter__(self) -> "AnswerCache":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back every claim and close the file; a second time does nothing."""
        with self._lock:
            if self._owner.pid == os.getpid() and not self.read_only:
                try:
                    self._connection.execute(
                        "DELETE FROM claims WHERE token = ?", (self._owner.token,)
                    )
                except sqlite3.ProgrammingError:
                    return  # closed already
                except sqlite3.DatabaseError:
                    pass  # whatever is wrong with the file was told where it was used
            self._connection.close()

    # answers

    def get(self, key: str, n: int = 1) -> list[StoredAnswer]:
        """The answers with a sample index under `n`, in that order; fewer where some are missing.

        Args:
            key: From `request_key`.
            n: Samples wanted, at least 1.
        """
        return self.get_many([key], n)[key]

    def get_many(self, keys: Iterable[str], n: int = 1) -> dict[str, list[StoredAnswer]]:
        """`get` of many keys at once; a key without answers has an empty list."""
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        found: dict[str, list[StoredAnswer]] = {key: [] for key in keys}
        wanted = list(found)
        names = ", ".join(COLUMNS)
        for start in range(0, len(wanted), KEYS_AT_ONCE):
            part = wanted[start : start + KEYS_AT_ONCE]
            query = (
                f"SELECT key, {names} FROM answers WHERE key IN ({_marks(part)})"
                " AND sample < ? ORDER BY key, sample"
            )
            for key, *values in self._read(query, [*part, n]):
                found[key].append(StoredAnswer(*values))
        return found

    def missing(self, key: str, n: int = 1) -> list[int]:
        """Sample indices under `n` that have no answer yet, ascending."""
        query = "SELECT sample FROM answers WHERE key = ? AND sample < ?"
        there = {sample for (sample,) in self._read(query, [key, n])}
        return [sample for sample in range(n) if sample not in there]

    def store(
        self, key: str, sample: int, answer: StoredAnswer, *, entry: LedgerEntry | None = None
    ) -> bool:
        """Keep one answer; the claim stays. See `store_answers`."""
        return self._store(key, {sample: answer}, entry, release=False) == 1

    def store_answers(
        self, key: str, answers: Mapping[int, StoredAnswer], *, entry: LedgerEntry | None = None
    ) -> int:
        """Keep the answers of one request and its ledger row, and give back the claim, at once.

        An answer that is there already stays as it is: what was read from it stays true.

        Args:
            key: From `request_key`.
            answers: By sample index.
            entry: The request's row of the ledger; written whether or not the answers were new.

        Returns:
            How many of them were new.

        Raises:
            ValueError: A negative sample index, or the cache is read only.
        """
        return self._store(key, answers, entry, release=True)

    def import_answers(
        self, requests: Iterable[tuple[str, Mapping[int, StoredAnswer], LedgerEntry]]
    ) -> int:
        """Keep the answers of many requests in one commit; claims stay.

        The row of a request is written only where one of its answers was new, so that importing
        the same twice changes nothing.

        Args:
            requests: Key, answers by sample index, and row of the ledger.

        Returns:
            How many answers were new.
        """
        total = 0
        with self._writing() as connection:
            for key, answers, entry in requests:
                new = self._insert(connection, key, answers)
                if new:
                    write_entries(connection, [self._clean_entry(entry)])
                total += new
        return total

    # claims

    def claim(self, key: str, samples: Sequence[int] | None = None) -> bool:
        """Announce that this process is about to pay for an answer.

        True means: nobody else pays while the claim lasts, and the samples were still missing.
        Give it back by `release` (or `store_answers`) however the request ends. A claim ends after
        `claim_seconds`, and at once where its process has ended on this machine.

        Args:
            key: From `request_key`.
            samples: Indices about to be asked for; None where any number may be there.

        Returns:
            False where one of the samples is there by now, or another owner (also another cache
            object of this process, or this object itself) holds the claim: look again later.
        """
        with self._writing() as connection:
            if samples is not None and self._any_there(connection, key, samples):
                return False
            held = connection.execute(
                "SELECT host, pid, started, expires FROM claims WHERE key = ?", (key,)
            ).fetchone()
            if held and held[3] > time.time() and not is_gone(*held[:3]):
                return False
            mine = self._owner
            connection.execute(
                "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?, ?)",
                (key, mine.host, mine.pid, mine.started, mine.token, self._claim_end()),
            )
            return True

    def renew(self, key: str) -> bool:
        """Let a claim last `claim_seconds` from now; False where it is no longer ours."""
        with self._writing() as connection:
            done = connection.execute(
                "UPDATE claims SET expires = ? WHERE key = ? AND token = ?",
                (self._claim_end(), key, self._owner.token),
            )
            return done.rowcount == 1

    def release(self, key: str) -> None:
        """Give back a claim of this object; nothing where it has none."""
        with self._writing() as connection:
            self._drop_claim(connection, key)

    # ledger and capabilities

    def add_entries(self, entries: Iterable[LedgerEntry]) -> None:
        """Write rows of the ledger in one commit, such as those of many cached answers."""
        with self._writing() as connection:
            write_entries(connection, [self._clean_entry(entry) for entry in entries])

    def capability(self, key: str) -> dict[str, Any] | None:
        """What is known about an endpoint, or None.

        Args:
            key: Names base URL, model and server version; the caller's choice.
        """
        for (record,) in self._read("SELECT record FROM capabilities WHERE key = ?", [key]):
            content: dict[str, Any] = json.loads(record)
            return content
        return None

    def store_capability(
        self, key: str, record: Mapping[str, Any], *, entries: Iterable[LedgerEntry] = ()
    ) -> None:
        """Keep what a probe found, in place of an older record, with the rows of its requests."""
        text = json.dumps(dict(record), ensure_ascii=False, allow_nan=False)
        values = (key, _storable(without_credentials(text, self._secrets)), time.time())
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO capabilities VALUES (?, ?, ?)", values)
            write_entries(connection, [self._clean_entry(entry) for entry in entries])

    def sizes(self) -> CacheSizes:
        """How much there is."""
        query = """SELECT (SELECT count(*) FROM answers),
            (SELECT count(DISTINCT key) FROM answers),
            (SELECT count(*) FROM claims), (SELECT count(*) FROM ledger)"""
        return CacheSizes(*self._read(query, [])[0])

    # inside

    def _store(
        self,
        key: str,
        answers: Mapping[int, StoredAnswer],
        entry: LedgerEntry | None,
        *,
        release: bool,
    ) -> int:
        with self._writing() as connection:
            new = self._insert(connection, key, answers)
            if entry is not None:
                write_entries(connection, [self._clean_entry(entry)])
            if release:
                self._drop_claim(connection, key)
        return new

    def _insert(
        self, connection: sqlite3.Connection, key: str, answers: Mapping[int, StoredAnswer]
    ) -> int:
        if any(sample < 0 for sample in answers):
            raise ValueError(f"a sample index must be at least 0, got {min(answers)}")
        return sum(
            connection.execute(INSERT, (key, sample, *self._row_of(answer))).rowcount
            for sample, answer in answers.items()
        )

    def _row_of(self, answer: StoredAnswer) -> tuple[Any, ...]:
        created = answer.created or time.time()
        raw = _storable(without_credentials(answer.raw, self._secrets))
        model = _storable(without_secrets(answer.model, self._secrets))
        return astuple(replace(answer, raw=raw, model=model, created=created))

    def _clean_entry(self, entry: LedgerEntry) -> LedgerEntry:
        model = _storable(without_secrets(entry.model, self._secrets))
        return replace(entry, model=model, time=entry.time or time.time())

    def _claim_end(self) -> float:
        return time.time() + self._claim_seconds

    def _drop_claim(self, connection: sqlite3.Connection, key: str) -> None:
        mine = (key, self._owner.token)
        connection.execute("DELETE FROM claims WHERE key = ? AND token = ?", mine)

    @staticmethod
    def _any_there(connection: sqlite3.Connection, key: str, samples: Sequence[int]) -> bool:
        query = f"SELECT 1 FROM answers WHERE key = ? AND sample IN ({_marks(samples)}) LIMIT 1"
        return connection.execute(query, (key, *samples)).fetchone() is not None

    def _read(self, query: str, values: Sequence[Any]) -> list[Any]:
        self._check_process()
        with self._lock, file_trouble(self.path):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, committed when the block ends well."""
        self._check_process()
        if self.read_only:
            raise ValueError(f"{self.path} was opened to be read only")
        with self._lock, file_trouble(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended it already
                    self._connection.execute("ROLLBACK")
                raise

    def _check_process(self) -> None:
        if self._owner.pid != os.getpid():
            raise ValueError(
                "an AnswerCache works in the process that opened it; open it again after a fork"
            )


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _storable(text: str) -> str:
    """Text that is UTF-8; the half of a character that a cut-off reply ends in is escaped.

    Inside JSON the escape means the same.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
