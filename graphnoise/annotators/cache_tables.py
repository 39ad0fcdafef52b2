"""The SQLite file behind the answer cache and the ledger: its tables, and how it is opened."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FORMAT = "graphnoise answers"
VERSION = 1
# how long a writer waits for another one, seconds; each transaction takes well under a millisecond
BUSY_SECONDS = 30.0
# what SQLite says where it may not write its log beside the file
NOT_WRITABLE = ("readonly", "unable to open")

TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    key TEXT NOT NULL, sample INTEGER NOT NULL, raw TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, seconds REAL NOT NULL,
    model TEXT NOT NULL, created REAL NOT NULL, money REAL, capability TEXT NOT NULL,
    PRIMARY KEY (key, sample));
CREATE TABLE IF NOT EXISTS claims (
    key TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL,
    token TEXT NOT NULL, expires REAL NOT NULL);
CREATE TABLE IF NOT EXISTS capabilities (
    key TEXT PRIMARY KEY, record TEXT NOT NULL, created REAL NOT NULL);
CREATE TABLE IF NOT EXISTS ledger (
    id INTEGER PRIMARY KEY, run TEXT NOT NULL, stage TEXT NOT NULL, time REAL NOT NULL,
    kind TEXT NOT NULL, key TEXT NOT NULL, asked TEXT NOT NULL, model TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, samples INTEGER NOT NULL,
    money REAL, seconds REAL NOT NULL, cached INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS ledger_of_run ON ledger (run, asked, key);
"""


def open_tables(path: str | Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the file, and make it where it is absent.

    Write-ahead log with ``synchronous=NORMAL``: what was committed survives the end of the
    process, also by SIGKILL; a power cut may take the last commits, and never breaks the file.
    One writer, any number of readers, on a local disk (the log needs shared memory).

    Args:
        path: The file; its folder is made if need be.
        read_only: Only look; a run may write at the same time. The file must exist.

    Returns:
        A connection in autocommit mode, usable from any thread, one at a time.

    Raises:
        FileNotFoundError: To be read only, and not there.
        ValueError: Not an answer cache, or one of another version.
    """
    path = Path(path)
    if read_only and not path.is_file():
        raise FileNotFoundError(f"no answer cache at {path}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, an answer cache is a file")
    try:
        if read_only:
            return _open_to_read(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        return _open_to_write(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise ValueError(f"{path} cannot be opened as an answer cache: {error}") from None
        raise ValueError(f"{path} is no answer cache: {error}") from None


@contextmanager
def file_trouble(path: str | Path) -> Iterator[None]:
    """Work on an opened file: damage, a full disk or a lock that never ends is said in a line.

    Raises:
        ValueError: SQLite could not read or write the file.
    """
    try:
        yield
    except sqlite3.ProgrammingError:  # a mistake of ours
        raise
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{path} cannot be used as an answer cache: {error}") from error


def _open_to_write(path: Path) -> sqlite3.Connection:
    connection = _connect(path.absolute().as_uri())
    try:
        # before anything is changed: the file may be somebody else's database
        new = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if not new:
            _check_version(connection, path)
        _use_write_ahead_log(connection)
        connection.execute("PRAGMA synchronous=NORMAL")
        if new:
            connection.executescript(
                f"BEGIN IMMEDIATE; {TABLES}"
                f"INSERT OR IGNORE INTO about VALUES ('format', '{FORMAT}');"
                f"INSERT OR IGNORE INTO about VALUES ('version', '{VERSION}'); COMMIT;"
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _open_to_read(path: Path) -> sqlite3.Connection:
    address = path.absolute().as_uri()
    connection = _connect(f"{address}?mode=ro")
    try:
        _check_version(connection, path)
    except sqlite3.OperationalError as error:
        connection.close()
        if not any(words in str(error) for words in NOT_WRITABLE):
            raise
        # a finished file on a read-only disk: nothing in a log, and none can be made
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise
        connection = _connect(f"{address}?immutable=1")
        _check_or_close(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(address: str) -> sqlite3.Connection:
    return sqlite3.connect(
        address, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Two processes that make the file at once: SQLite does not wait here, so we do."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)


def _check_or_close(connection: sqlite3.Connection, path: Path) -> None:
    try:
        _check_version(connection, path)
    except BaseException:
        connection.close()
        raise


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not tables:
        raise ValueError(f"{path} is empty: nothing has been kept in it yet")
    about: dict[str, str] = {}
    if "about" in tables:
        about = dict(connection.execute("SELECT * FROM about").fetchall())
    if about.get("format") != FORMAT:
        raise ValueError(f"{path} is no answer cache but another SQLite file")
    if about.get("version") != str(VERSION):
        raise ValueError(
            f"{path} is an answer cache of version {about.get('version')},"
            f" this program reads version {VERSION}"
        )
