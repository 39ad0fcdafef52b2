"""Edge lists as text: CSV, TSV, SNAP's format; compressed or not."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv

from graphnoise.graph_store.sources import EdgeChunk, SourceOptions, file_identity
from graphnoise.graph_store.sources.columns import (
    SOURCE_NAMES,
    TARGET_NAMES,
    choose_columns,
    edge_chunk,
)

COMMENT = re.compile(rb"^[#%][^\n]*(?:\n|\Z)", re.M)
SPACES, EDGES_OF_LINES = re.compile(rb"[ \t]+"), re.compile(rb"^ | (?=\r?$)", re.M)
WHITESPACE = "whitespace"
LOOK_BYTES = 1 << 16
# what a line of two numbers takes in the usual files; only the size of a chunk depends on it
LINE_BYTES = 16
# smaller than a block, so that a block is parsed by several threads
PARSE_BYTES = 1 << 22


@dataclass(frozen=True)
class TextLayout:
    """How the lines of a file are cut.

    Attributes:
        separator: One character, or `WHITESPACE`.
        names: Of the columns; "1", "2", ... without a header.
        has_header: Whether the first line that is no comment names them.
        columns: The chosen ones.
        kind: "integer" or "text".
    """

    separator: str
    names: tuple[str, ...]
    has_header: bool
    columns: tuple[str, ...]
    kind: str


class TextFile:
    """An edge list as text; see `EdgeSource`."""

    n_nodes, node_names, features = None, None, None
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, layout: TextLayout) -> None:
        self.path, self.layout = path, layout
        self.description, self.id_kind = f"{path.name} (text)", layout.kind

    def identity(self) -> Mapping[str, Any]:
        """File and layout."""
        layout = self.layout
        return {
            **file_identity(self.path),
            "separator": layout.separator,
            "columns": list(layout.columns),
            "header": layout.has_header,
            "ids": layout.kind,
        }

    def chunks(self, rows: int) -> Iterator[EdgeChunk]:
        """Blocks of whole lines, each parsed by all cores."""
        skip = self.layout.has_header
        for raw in _blocks(self.path, max(rows * LINE_BYTES, 1 << 10)):
            block = _clean(raw, self.layout.separator)
            if skip and _has_lines(block):
                block, skip = _rest(block), False
            if _has_lines(block):
                yield self._parse(block)

    def _parse(self, block: bytes) -> EdgeChunk:
        layout, where = self.layout, self.path.name
        id_type = pa.int64() if layout.kind == "integer" else pa.large_string()
        types = dict.fromkeys(layout.columns[:2], id_type)
        types |= dict.fromkeys(layout.columns[2:], pa.float64())
        try:
            table = csv.read_csv(
                pa.BufferReader(block),
                read_options=csv.ReadOptions(column_names=layout.names, block_size=PARSE_BYTES),
                parse_options=csv.ParseOptions(delimiter=_delimiter(layout.separator)),
                convert_options=csv.ConvertOptions(
                    column_types=types, include_columns=layout.columns,
                    null_values=[""], strings_can_be_null=True,
                ),
            )  # fmt: skip
        except pa.ArrowInvalid as error:
            hint = "; ids that are no integers need ids='text'" if "to int64" in str(error) else ""
            raise ValueError(f"{where} cannot be read: {error}{hint}") from error
        return edge_chunk(where, [table[name] for name in layout.columns], layout.kind)


def text_file(path: Path, options: SourceOptions) -> TextFile:
    """An edge list as text: one edge per line; lines that begin with # or % are comments.

    Raises:
        ValueError: No two columns, or a column that is named is not there.
    """
    first = next(_blocks(path, LOOK_BYTES), b"")
    text = COMMENT.sub(b"", first).decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip()]
    separator = options.separator or _separator(lines)
    if separator != WHITESPACE and len(separator) != 1:
        raise ValueError(f"separator must be one character or {WHITESPACE!r}, got {separator!r}")
    table = [_cells(line, separator) for line in lines]
    if not table:
        empty = TextLayout(separator, ("1", "2"), False, ("1", "2"), options.ids or "integer")
        return TextFile(path, empty)
    has_header = _has_header(table, options) if options.header is None else options.header
    names = table[0] if has_header else [str(k + 1) for k in range(len(table[0]))]
    columns = choose_columns(path.name, names, options)
    ends = [names.index(name) for name in columns[:2]]
    cells = [row[k] for row in table[has_header:] for k in ends if k < len(row)]
    kind = options.ids or ("integer" if all(map(_is_integer, cells)) else "text")
    return TextFile(path, TextLayout(separator, tuple(names), has_header, columns, kind))


def _blocks(path: Path, size: int) -> Iterator[bytes]:
    """The file, decompressed, in pieces that end with a line."""
    try:
        with pa.input_stream(path, compression="detect") as stream:
            rest = b""
            while piece := stream.read(size):
                cut = piece.rfind(b"\n") + 1
                if cut:
                    yield rest + piece[:cut]
                    rest = piece[cut:]
                else:
                    rest += piece
            if rest:
                yield rest
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from error


def _clean(block: bytes, separator: str) -> bytes:
    """Without comments, and with single blanks where blanks separate."""
    if block[:1] in (b"#", b"%") or b"\n#" in block or b"\n%" in block:
        block = COMMENT.sub(b"", block)
    if separator == WHITESPACE:
        if b"\t" in block or b"  " in block:
            block = SPACES.sub(b" ", block)
        if block[:1] == b" " or b"\n " in block or b" \n" in block or b" \r" in block:
            block = EDGES_OF_LINES.sub(b"", block)
    return block


def _has_lines(block: bytes) -> bool:
    return bool(block) and not block.isspace()


def _rest(block: bytes) -> bytes:
    """What follows the first line that is not blank."""
    return block.lstrip().partition(b"\n")[2]


def _delimiter(separator: str) -> str:
    return " " if separator == WHITESPACE else separator


def _separator(lines: list[str]) -> str:
    for one in ("\t", ",", ";", "|"):
        if lines and one in lines[0].strip():
            return one
    return WHITESPACE


def _cells(line: str, separator: str) -> list[str]:
    cells = line.split() if separator == WHITESPACE else line.split(separator)
    return [cell.strip().strip('"') for cell in cells]


def _has_header(table: list[list[str]], options: SourceOptions) -> bool:
    named = (options.weights, options.source_column, options.target_column)
    if any(isinstance(name, str) and name in table[0] and not name.isdigit() for name in named):
        return True
    if {cell.lower() for cell in table[0]} & {*SOURCE_NAMES, *TARGET_NAMES}:
        return True
    below = [_is_integer(cell) for row in table[1:2] for cell in row[:2]]
    return bool(below) and all(below) and not any(map(_is_integer, table[0][:2]))


def _is_integer(cell: str) -> bool:
    digits = cell.removeprefix("-")
    # other digits than these are numbers to Python and not to the parser
    return digits.isascii() and digits.isdigit() and abs(int(digits)) < 2**63
