"""Examples shown before a question, read from the caller's file."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from graphnoise.annotators.base import Exemplar, Questions
from labelnoise.class_list import ClassList

COLUMNS = ("text", "label")


def read_exemplars(path: str | Path, classes: ClassList) -> tuple[Exemplar, ...]:
    """Texts with their classes, in the order of the file.

    Args:
        path: ``.csv`` with the columns text and label, or ``.jsonl`` with these keys; classes by
            name, synonym or number.
        classes: The classes.

    Raises:
        ValueError: Another suffix, a row without text or with an unknown class; names file and
            row.
        OSError: The file cannot be read.
    """
    path = Path(path)
    readers = {".csv": _table, ".jsonl": _lines}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: examples must be one of {list(readers)}, got {path.suffix!r}")
    found = []
    for number, row in enumerate(readers[path.suffix.lower()](path), start=1):
        if not isinstance(row, dict) or any(row.get(name) in (None, "") for name in COLUMNS):
            raise ValueError(f"{path}: row {number} needs a text and a label")
        label = classes.index_of(str(row["label"]))
        if label is None:
            raise ValueError(f"{path}: row {number}: {row['label']!r} is none of the classes")
        found.append(Exemplar(str(row["text"]), label))
    if not found:
        raise ValueError(f"{path}: needs at least one example")
    return tuple(found)


def with_exemplars(questions: Questions, path: Path | None) -> Questions:
    """The questions with the examples of a file, where they have none and a file is named.

    Raises:
        ValueError: As `read_exemplars`.
    """
    if path is None or questions.exemplars:
        return questions
    return replace(questions, exemplars=_read_once(Path(path), questions.classes))


# a run asks in parts, and all of them with the same examples
_CACHED: dict[tuple[Path, int], tuple[ClassList, tuple[Exemplar, ...]]] = {}


def _read_once(path: Path, classes: ClassList) -> tuple[Exemplar, ...]:
    key = (path, path.stat().st_mtime_ns)
    if key not in _CACHED or _CACHED[key][0] != classes:
        _CACHED[key] = (classes, read_exemplars(path, classes))
    return _CACHED[key][1]


def _table(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            yield from csv.DictReader(file)
        except csv.Error as error:
            raise ValueError(f"{path}: {error}") from None


def _lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(filter(str.strip, file), start=1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}: row {number} is no JSON: {error}") from None
