"""The list of classes: names, definitions, synonyms and the texts their prototypes are made of."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from labelnoise.atomic_files import replacing

KEYS = ("name", "definition", "synonyms", "texts")
WORD = re.compile(r"[^\W_]+")
# plurals that no rule makes; both sides of a comparison are folded, so few are needed
IRREGULAR = {
    "men": "man",
    "women": "woman",
    "children": "child",
    "people": "person",
    "feet": "foot",
    "teeth": "tooth",
    "geese": "goose",
    "mice": "mouse",
    "scarves": "scarf",
    "leaves": "leaf",
    "knives": "knife",
    "wolves": "wolf",
    "shelves": "shelf",
    "calves": "calf",
    "loaves": "loaf",
}
SYNONYM_SEPARATOR = re.compile(r"[|;]")


@dataclass(frozen=True)
class ClassList:
    """K classes in order; a class is known by its number 0 .. K - 1.

    Attributes:
        names: K names, different from each other but for case.
        definitions: A sentence per class, "" for none. Default: all "".
        synonyms: Other names per class; none may name two classes. Default: none.
        texts: Pieces of text per class for textual prototypes: the caller encodes each and
            averages, or joins them. Default: name with synonyms, then the definition.

    Raises:
        ValueError: No class, an empty or repeated name, a synonym of two classes, or attributes
            of different lengths.

    Example:
        >>> classes = ClassList(("Shirts", "Polo Shirts"), synonyms=(("chemise",), ()))
        >>> classes.index_of("CHEMISE"), classes.index_of("1"), classes.index_of("hat")
        (0, 1, None)
        >>> classes.find_in_text("Men's polo-shirt, blue")
        1
    """

    names: tuple[str, ...]
    definitions: tuple[str, ...] = ()
    synonyms: tuple[tuple[str, ...], ...] = ()
    texts: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("names must hold at least one class, got none")
        # frozen: absent columns are filled in once, here
        object.__setattr__(self, "definitions", self.definitions or ("",) * len(self.names))
        object.__setattr__(self, "synonyms", self.synonyms or ((),) * len(self.names))
        object.__setattr__(self, "texts", self.texts or self._default_texts())
        for column in ("definitions", "synonyms", "texts"):
            found = len(getattr(self, column))
            if found != len(self.names):
                raise ValueError(
                    f"{column} must have {len(self.names)} items like names, got {found}"
                )
        for number, name in enumerate(self.names):
            if not _fold_case(name):
                raise ValueError(f"names must not be empty, name {number} is {name!r}")
        _ = self._by_label  # finds names and synonyms that mean two classes

    def __len__(self) -> int:
        return len(self.names)

    def index_of(self, label: str) -> int | None:
        """The class a label names, or None.

        A name, else a synonym, both whatever the case and with ``_`` and ``-`` as blanks, else
        the number of a class as text ("3").
        """
        found = self._by_label.get(_fold_case(label))
        digits = label.strip()
        if found is None and digits.isascii() and digits.isdigit() and len(digits) < 10:
            number = int(digits)
            found = number if number < len(self.names) else None
        return found

    def find_in_text(self, text: str) -> int | None:
        """The class whose name or synonym stands in a text, or None.

        Whole words, singular or plural, whatever the case. The name with most words wins, and
        among those the last one: titles of products end in the noun that says what they are.
        """
        words = [fold_plural(word) for word in WORD.findall(text.casefold())]
        for length in self._lengths:
            for start in range(len(words) - length, -1, -1):
                found = self._by_words.get(tuple(words[start : start + length]))
                if found is not None:
                    return found
        return None

    @cached_property
    def _by_label(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for number, name in enumerate(self.names):
            other = found.setdefault(_fold_case(name), number)
            if other != number:
                raise ValueError(f"names must differ, {name!r} is class {other} and {number}")
        for number, others in enumerate(self.synonyms):
            for synonym in filter(_fold_case, others):
                other = found.setdefault(_fold_case(synonym), number)
                if other != number:
                    raise ValueError(
                        f"synonym {synonym!r} must mean one class, it means"
                        f" {self.names[other]!r} and {self.names[number]!r}"
                    )
        return found

    @cached_property
    def _by_words(self) -> dict[tuple[str, ...], int]:
        """Folded words of every name and synonym; one that folds to another's name: the first."""
        found: dict[tuple[str, ...], int] = {}
        for label, number in self._by_label.items():
            words = tuple(fold_plural(word) for word in WORD.findall(label))
            if words:
                found.setdefault(words, number)
        return found

    @cached_property
    def _lengths(self) -> list[int]:
        return sorted({len(words) for words in self._by_words}, reverse=True)

    def _default_texts(self) -> tuple[tuple[str, ...], ...]:
        return tuple(
            tuple(filter(None, (", ".join((name, *synonyms)), definition)))
            for name, synonyms, definition in zip(
                self.names, self.synonyms, self.definitions, strict=False
            )
        )


def fold_plural(word: str) -> str:
    """One form for singular and plural of an English word in lower case.

    Example:
        >>> [fold_plural(word) for word in ("watches", "shirts", "berries", "dress", "scarves")]
        ['watch', 'shirt', 'berry', 'dress', 'scarf']
    """
    if word in IRREGULAR:
        return IRREGULAR[word]
    if len(word) < 4 or word.endswith(("ss", "us", "is")) or not word.endswith("s"):
        return word
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("sses", "shes", "ches", "xes", "zzes")):
        return word[:-2]
    return word[:-1]


def read_classes(path: str | Path) -> ClassList:
    """The classes of a file.

    ``.txt``: a name per line. ``.csv`` / ``.tsv``: columns name, definition, synonyms (separated
    by ``|`` or ``;``). ``.json``, ``.yaml``, ``.yml``: a list of names, or of mappings with the
    keys name, definition, synonyms, texts (lists of text), or one mapping name -> definition or
    name -> such a mapping; any of them may stand under a key ``classes``.

    Args:
        path: The file, UTF-8.

    Returns:
        The classes in the order of the file.

    Raises:
        ValueError: Another suffix, or content that is none of the above; names file and entry.
        OSError: The file cannot be read.
    """
    path = Path(path)
    readers = {
        ".txt": _read_lines,
        ".csv": _read_table,
        ".tsv": _read_table,
        ".json": _read_json,
        ".yaml": _read_yaml,
        ".yml": _read_yaml,
    }
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: classes must be one of {list(readers)}, got {path.suffix!r}")
    try:
        return _classes_of(readers[path.suffix.lower()](path))
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: {in_a_line(error)}") from None


def write_classes(classes: ClassList, path: str | Path) -> None:
    """Write classes as JSON (``.json``) so that `read_classes` gives the same list.

    Raises:
        ValueError: Another suffix.
    """
    path = Path(path)
    if path.suffix.lower() != ".json":
        raise ValueError(f"path must end in .json, got {path.name!r}")
    columns = (classes.names, classes.definitions, classes.synonyms, classes.texts)
    rows = [dict(zip(KEYS, row, strict=True)) for row in zip(*columns, strict=True)]
    with replacing(path) as temporary:
        text = json.dumps({"classes": rows}, indent=1, ensure_ascii=False)
        temporary.write_text(f"{text}\n", encoding="utf-8")


def in_a_line(error: Exception) -> str:
    """What parsers say on several lines, on one."""
    return " ".join(str(error).split())


def _classes_of(content: Any) -> ClassList:
    if isinstance(content, Mapping) and set(content) == {"classes"}:
        content = content["classes"]
    if isinstance(content, Mapping):
        content = [
            {"name": name, **(value if isinstance(value, Mapping) else {"definition": value})}
            for name, value in content.items()
        ]
    if not isinstance(content, list):
        raise ValueError(f"classes must be a list or a mapping, got {type(content).__name__}")
    rows = [_row_of(number, entry) for number, entry in enumerate(content)]
    given = any(row[3] for row in rows)
    plain = ClassList(
        tuple(row[0] for row in rows), tuple(row[1] for row in rows), tuple(row[2] for row in rows)
    )
    if not given:
        return plain
    texts = tuple(row[3] or default for row, default in zip(rows, plain.texts, strict=True))
    return ClassList(plain.names, plain.definitions, plain.synonyms, texts)


def _row_of(number: int, entry: Any) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
    if not isinstance(entry, Mapping):
        entry = {"name": entry}
    unknown = [key for key in entry if key not in KEYS]
    if unknown or "name" not in entry:
        raise ValueError(f"class {number} must have keys of {list(KEYS)}, got {list(entry)}")
    name, definition = entry["name"], entry.get("definition") or ""
    # YAML reads a class called 7 or no as a number or a truth value
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise ValueError(f"the name of class {number} must be text (quote it), got {name!r}")
    if not isinstance(definition, str):
        raise ValueError(f"the definition of class {number} must be text, got {definition!r}")
    texts = (_strings(entry.get(key), key, number) for key in ("synonyms", "texts"))
    return (str(name).strip(), definition.strip(), *texts)  # type: ignore[return-value]


def _strings(value: Any, key: str, number: int) -> tuple[str, ...]:
    if isinstance(value, str):
        value = SYNONYM_SEPARATOR.split(value) if key == "synonyms" else [value]
    if not isinstance(value, Sequence | None) or not all(isinstance(v, str) for v in value or ()):
        raise ValueError(f"{key} of class {number} must be a list of texts, got {value!r}")
    return tuple(item.strip() for item in value or () if item.strip())


def _read_lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        if "name" not in (reader.fieldnames or ()):
            raise ValueError(f"a column 'name' is needed, found {reader.fieldnames}")
        return [{key: row[key] or "" for key in KEYS if key in row} for row in reader]


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8-sig"))


def _read_yaml(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _fold_case(label: str) -> str:
    return " ".join(label.casefold().replace("_", " ").replace("-", " ").split())
