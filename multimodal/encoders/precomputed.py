"""Rows that were computed elsewhere: a column of the records, or a file beside a list of ids."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from labelnoise.text_encoders.placement import encoder_key
from labelnoise.text_encoders.unit_rows import unit_rows
from multimodal.encoders.base import EncoderSettings, Family
from multimodal.records import Record

# tried in this order beside rows.npy when the spec names no list of ids
IDS_BESIDE = ("{}.ids.json", "{}.ids.txt", "{}_ids.json", "{}_ids.txt", "{}.json", "{}.txt")


class ColumnRows:
    """Rows that the records carry in a column.

    Args:
        column: Its name in `Record.embeddings`.
        space: Columns of one space are aligned; empty: the column is alone.
    """

    def __init__(self, column: str, space: str = "") -> None:
        if not column:
            raise ValueError("column:NAME needs the name of a column, got none")
        self.column = column
        self.key = encoder_key("column", {"column": column})
        self.space = space or self.key
        self.width = 0

    def lookup(self, records: Sequence[Record]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Unit rows ``[n, D]`` and which were found ``[n]``; see `PrecomputedEncoder`."""
        found = [
            None
            if record.embeddings.get(self.column) is None
            else np.asarray(record.embeddings[self.column], np.float32).reshape(-1)
            for record in records
        ]
        widths = {len(row) for row in found if row is not None} | ({self.width} - {0})
        if len(widths) > 1:
            raise ValueError(f"rows of column {self.column!r} have lengths {sorted(widths)}")
        self.width = widths.pop() if widths else 0
        rows = np.zeros((len(found), self.width), np.float32)
        for i, row in enumerate(found):
            if row is not None:
                rows[i] = row
        rows = unit_rows(rows)
        return rows, np.asarray(rows.any(axis=1))


class FileRows:
    """Rows of a ``.npy`` file, found by the record's id or its image's file name.

    An id matches, in this order: the record's `id`; its `image_name`; the last part of the
    image's name; that part without its suffix. Names without folder or suffix that stand for
    several rows match nothing.

    Args:
        path: Float rows ``[N, D]``, memory-mapped.
        ids: N ids: a JSON list of texts, or one per line. None looks beside the file for the
            names of `IDS_BESIDE`.
        space: Files of one space are aligned; empty: the file is alone.

    Raises:
        ValueError: No such files, another kind of array, or another number of ids.
    """

    def __init__(self, path: Path, ids: Path | None = None, space: str = "") -> None:
        if path.suffix != ".npy" or not path.is_file():
            raise ValueError(f"file:PATH must name a .npy file that is there, got {str(path)!r}")
        self._path = path
        self._rows = np.load(path, mmap_mode="r", allow_pickle=False)
        if self._rows.ndim != 2 or self._rows.dtype.kind != "f":
            raise ValueError(
                f"{path} must hold float rows [N, D], found {self._rows.dtype}"
                f" {list(self._rows.shape)}"
            )
        self.ids_path = ids or _ids_beside(path)
        self._ids = _read_ids(self.ids_path)
        if len(self._ids) != len(self._rows):
            raise ValueError(
                f"{self.ids_path} has {len(self._ids)} ids for {len(self._rows)} rows of {path}"
            )
        self.width = int(self._rows.shape[1])
        self._space = space

    @cached_property
    def key(self) -> str:
        """Names the content of both files."""
        facts = {}
        for part, path in (("rows", self._path), ("ids", self.ids_path)):
            with path.open("rb") as file:
                facts[part] = hashlib.file_digest(file, "sha256").hexdigest()
        return encoder_key("file", facts)

    @property
    def space(self) -> str:
        """As given, else the key."""
        return self._space or self.key

    def lookup(self, records: Sequence[Record]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Unit rows ``[n, D]`` and which were found ``[n]``; see `PrecomputedEncoder`."""
        numbers = np.array([self._number(record) for record in records], np.int64)
        known = numbers >= 0
        rows = np.zeros((len(records), self.width), np.float32)
        rows[known] = self._rows[numbers[known]]
        rows = unit_rows(rows)
        return rows, np.asarray(rows.any(axis=1))

    def _number(self, record: Record) -> int:
        # -1: not among the ids
        for name in (record.id, record.image_name):
            if name in self._exact:
                return self._exact[name]
        for name in _short_names(record.image_name):
            if name in self._short:
                return self._short[name]
        return self._short.get(record.id, -1)

    @cached_property
    def _exact(self) -> dict[str, int]:
        return {name: i for i, name in reversed(list(enumerate(self._ids)))}

    @cached_property
    def _short(self) -> dict[str, int]:
        numbers: dict[str, int] = {}
        for i, name in enumerate(self._ids):
            for short in set(_short_names(name)):
                numbers[short] = -1 if numbers.get(short, i) != i else i
        return numbers


def _short_names(name: str) -> Iterator[str]:
    if name:
        yield PurePosixPath(name).name
        yield PurePosixPath(name).stem


def _ids_beside(path: Path) -> Path:
    names = [pattern.format(path.stem) for pattern in IDS_BESIDE]
    for name in names:
        if (path.parent / name).is_file():
            return path.parent / name
    raise ValueError(
        f"no list of ids beside {path}: name it as file:{path.name}@IDS.json, or call it one of"
        f" {names}"
    )


def _read_ids(path: Path) -> list[str]:
    if not path.is_file():
        raise ValueError(f"there is no list of ids at {path}")
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        return text.splitlines()
    ids = json.loads(text)
    if not isinstance(ids, list) or not all(isinstance(name, str | int) for name in ids):
        raise ValueError(f"{path} must hold a JSON list of ids, found {type(ids).__name__}")
    return [str(name) for name in ids]


def _column(argument: str, settings: EncoderSettings) -> ColumnRows:
    name, _, space = argument.partition("#")
    return ColumnRows(name, space)


def _file(argument: str, settings: EncoderSettings) -> FileRows:
    paths, _, space = argument.partition("#")
    path, _, ids = paths.partition("@")
    return FileRows(Path(path), Path(ids) if ids else None, space)


COLUMN = Family(image=_column, text=_column)
FILE = Family(image=_file, text=_file)
