"""CSV, TSV and JSON-lines tables in pieces: found in one pass, then read piece by piece.

A piece starts at a byte, so that reading it does not parse what stands before. Bytes that are no
UTF-8 come out as lone surrogates, which `multimodal.corpus.fields` marks.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from multimodal.corpus.sources import open_file

# of a line; a longer one is damaged, and is read in pieces that fail one by one
MAX_LINE = 16 * 2**20
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Piece:
    """Neighbouring rows of a table.

    Attributes:
        offset: Byte where the first row begins.
        first_row: Its number.
        rows: How many.
    """

    offset: int
    first_row: int
    rows: int


@dataclass(frozen=True)
class Table:
    """A table file.

    Attributes:
        path: Path or URL; ``.jsonl`` holds an object per line, ``.tsv`` is separated by tabs,
            all others by commas, with names in the first row.
        columns: Names of a CSV's columns; of a JSON-lines file, the keys of its first object.
    """

    path: str
    columns: tuple[str, ...]

    def rows(self, piece: Piece) -> Iterator[dict[str, Any] | str]:
        """Rows of a piece: column -> value, or what is wrong with the row.

        Raises:
            OSError: The file cannot be read.
        """
        with open_file(self.path) as stream:
            stream.seek(piece.offset)
            for number, (_, row) in enumerate(_parsed(stream, self.path, self.columns)):
                if number == piece.rows:
                    return
                yield row


def open_table(path: str, rows_per_piece: int) -> tuple[Table, list[Piece]]:
    """A table and where its pieces begin: one pass over the file.

    Args:
        path: Path or URL.
        rows_per_piece: Rows of each piece but the last.

    Returns:
        The table and its pieces in order; no piece for a table without rows.

    Raises:
        ValueError: A CSV without a header or with a repeated name; no line of a JSON-lines file
            is an object.
        OSError: The file cannot be read.
    """
    with open_file(path) as stream:
        columns = () if is_json_lines(path) else _header(stream, path)
        pieces: list[Piece] = []
        row_number = 0
        for offset, row in _parsed(stream, path, columns):
            if is_json_lines(path) and not columns and isinstance(row, dict):
                columns = tuple(row)
            if row_number % rows_per_piece == 0:
                pieces.append(Piece(offset, row_number, rows_per_piece))
            row_number += 1
    if pieces:
        last = pieces[-1]
        pieces[-1] = Piece(last.offset, last.first_row, row_number - last.first_row)
    if pieces and not columns:
        raise ValueError(f"{path}: no line is a JSON object")
    return Table(path, columns), pieces


def is_json_lines(path: str) -> bool:
    """Whether a path is that of a JSON-lines table, packed or not."""
    return any(ending in path.rpartition("/")[2].lower() for ending in (".jsonl", ".ndjson"))


def _parsed(
    stream: BinaryIO, path: str, columns: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """(byte where it begins, row or what is wrong with it) from here to the end."""
    lines = _Lines(stream)
    return _json_rows(lines) if is_json_lines(path) else _csv_rows(lines, path, columns)


def _json_rows(lines: "_Lines") -> Iterator[tuple[int, dict[str, Any] | str]]:
    while True:
        start = lines.offset
        line = next(lines, None)
        if line is None:
            return
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield start, f"the line is no JSON: {error}"
            continue
        yield start, row if isinstance(row, dict) else "the line is no JSON object"


def _csv_rows(
    lines: "_Lines", path: str, columns: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    reader = csv.reader(lines, delimiter=_delimiter(path))
    while True:
        start = lines.offset
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield start, f"the row is no CSV: {error}"
            continue
        if cells is None:
            return
        if not cells:
            continue
        if len(cells) != len(columns):
            yield start, f"the row has {len(cells)} cells, the header {len(columns)}"
            continue
        yield start, dict(zip(columns, cells, strict=True))


def _header(stream: BinaryIO, path: str) -> tuple[str, ...]:
    """Names in the first row; leaves the stream behind it."""
    lines = _Lines(stream)
    try:
        names = next(csv.reader(lines, delimiter=_delimiter(path)), [])
    except csv.Error as error:
        raise ValueError(f"{path}: the header is no CSV: {error}") from None
    if not any(names):
        raise ValueError(f"{path}: the first row must hold the names of the columns")
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ValueError(f"{path}: names of columns must differ, {sorted(repeated)} are repeated")
    return tuple(names)


def _delimiter(path: str) -> str:
    return "\t" if ".tsv" in path.rpartition("/")[2].lower() else ","


class _Lines:
    """Lines of a stream as text, with the byte where the next one begins."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.offset = stream.tell()

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._stream.readline(MAX_LINE)
        if not line:
            raise StopIteration
        if self.offset == 0:
            line, self.offset = line.removeprefix(BOM), len(BOM) * line.startswith(BOM)
        self.offset += len(line)
        return line.decode("utf-8", "surrogateescape")
