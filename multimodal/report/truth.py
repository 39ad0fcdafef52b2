"""A file that says which labels are right, for a page that scores; never used to clean."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal.stable_order import stable_keys

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


@dataclass(frozen=True, eq=False)
class Truth:
    """Right class by id, for any number of ids.

    Attributes:
        keys: Hashes of the ids ``[T]``, ascending.
        classes: Class of each ``[T]``; -1 where the file names no class of the run.
        path: The file.
    """

    keys: NDArray[np.uint64]
    classes: NDArray[np.int64]
    path: Path

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def outside(self) -> int:
        """Entries that name no class of the run; they are left out."""
        return int((self.classes < 0).sum())

    def of(self, ids: Sequence[str] | NDArray[np.str_]) -> NDArray[np.int64]:
        """Right class ``[N]`` of each id, -1 where it is not known."""
        if not len(self.keys):
            return np.full(len(ids), -1)
        wanted = stable_keys(ids)
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[place] == wanted, self.classes[place], -1)


def read_truth(path: str | Path, class_names: Sequence[str]) -> Truth:
    """Read a truth file.

    Args:
        path: ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` with the columns ``id`` and ``label``:
            the source's ids, and names of classes (or their numbers, where no class is so called).
        class_names: Of the run.

    Raises:
        ValueError: Another suffix, a column is missing, an id repeats with another label, or no
            label names a class.
    """
    file = Path(path)
    if file.suffix not in SUFFIXES:
        raise ValueError(f"truth must be a {', '.join(SUFFIXES)} file, got {file.name}")
    by_name = {str(number): number for number in range(len(class_names))}
    by_name |= {name: number for number, name in enumerate(class_names)}
    pairs = list(_pairs(file))
    classes = np.array([by_name.get(label, -1) for _, label in pairs], np.int64)
    if len(pairs) and (classes < 0).all():
        raise ValueError(
            f"no label of {file} names a class: found {pairs[0][1]!r}, expected one like"
            f" {class_names[0]!r}"
        )
    keys = stable_keys([one for one, _ in pairs])
    order = np.argsort(keys, kind="stable")
    keys, classes = keys[order], classes[order]
    again = keys[1:] == keys[:-1]
    if (again & (classes[1:] != classes[:-1])).any():
        row = order[1:][again & (classes[1:] != classes[:-1])][0]
        raise ValueError(f"{file} gives two labels to id {pairs[row][0]!r}")
    first = np.concatenate([[True], ~again])[: len(keys)]
    return Truth(keys[first], classes[first], file)


def _pairs(file: Path) -> Iterator[tuple[str, str]]:
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(file)
        _check_columns(file, table.column_names)
        columns = (table[name].to_pylist() for name in ("id", "label"))
        rows = zip(*columns, strict=True)
        yield from ((str(one), str(label)) for one, label in rows if label is not None)
        return
    with file.open(encoding="utf-8", newline="") as lines:
        if file.suffix == ".jsonl":
            for line in lines:
                if line.strip():
                    entry = json.loads(line)
                    _check_columns(file, list(entry))
                    yield str(entry["id"]), str(entry["label"])
            return
        table = csv.DictReader(lines, delimiter="\t" if file.suffix == ".tsv" else ",")
        _check_columns(file, table.fieldnames or [])
        for entry in table:
            if entry["label"]:
                yield entry["id"], entry["label"]


def _check_columns(file: Path, names: Sequence[str]) -> None:
    for name in ("id", "label"):
        if name not in names:
            raise ValueError(f"{file} needs a column {name!r}, found {list(names)[:10]}")
