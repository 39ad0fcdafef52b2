"""Raw values of a source to the fields of a record: texts, labels, ids; broken ones are marked."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.corpus.columns import ColumnNames
from multimodal.records import TEXT_FIELDS, Problem, Record

# what a decoder leaves for bytes that are no UTF-8, and what JSON's \\ud800 makes: no text at all
SURROGATE = re.compile("[\ud800-\udfff]")
REPLACEMENT = "\ufffd"


def make_record(
    values: Mapping[str, Any],
    names: ColumnNames,
    *,
    default_id: str,
    image: bytes | None = None,
    image_name: str = "",
    problem: Problem | None = None,
    class_names: Sequence[str] = (),
) -> Record:
    """A record from the raw values of its source.

    Args:
        values: Column -> value: text, bytes, number, list, array or None.
        names: Resolved columns.
        default_id: Id where `values` has none.
        image: The encoded image.
        image_name: Where it came from.
        problem: What is already known to be wrong; stands before what is found here.
        class_names: Names of labels that are numbers (a Hugging Face `ClassLabel`); -1 is none.

    Returns:
        The record; broken text is repaired for display and the record marked `text_broken`.
    """
    broken = []
    texts = {}
    for part in TEXT_FIELDS:
        text, sound = as_text(values.get(getattr(names, part)))
        if text:
            texts[part] = text
        if not sound:
            broken.append(part)
    identity, id_sound = as_text(values.get(names.id or ""))
    labels, labels_sound = as_labels(
        values.get(names.label or ""), names.label_separator, class_names
    )
    broken += [part for part, sound in (("id", id_sound), ("label", labels_sound)) if not sound]
    if broken and problem is None:
        problem = Problem("text_broken", f"in {', '.join(broken)}")
    embeddings, wrong = _embeddings(values, names.embeddings)
    return Record(
        id=identity or default_id,
        texts=texts,
        labels=labels,
        image=image,
        image_name=image_name,
        embeddings=embeddings,
        problem=problem or wrong,
    )


def as_text(value: Any) -> tuple[str, bool]:
    """A value as text, and whether it was sound Unicode; lists are joined by ``, ``."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, bytes | bytearray | memoryview):
        text = bytes(value).decode("utf-8", "surrogateescape")
    elif _is_nothing(value):
        return "", True
    elif isinstance(value, list | tuple | np.ndarray):
        parts = [as_text(item) for item in value]
        return ", ".join(text for text, _ in parts if text), all(sound for _, sound in parts)
    elif isinstance(value, Mapping):
        text = json.dumps(value, default=str, ensure_ascii=False)
    elif isinstance(value, float) and value.is_integer():
        text = str(int(value))  # numbers with gaps become floats on their way through tables
    else:
        text = str(value)
    repaired = SURROGATE.sub(REPLACEMENT, text)
    return repaired.strip(), repaired == text


def as_labels(
    value: Any, separator: str = "", class_names: Sequence[str] = ()
) -> tuple[tuple[str, ...], bool]:
    """Labels as written, each once, and whether they were sound Unicode."""
    if isinstance(value, str) and separator:
        items: Sequence[Any] = value.split(separator)
    elif isinstance(value, list | tuple | np.ndarray):
        items = list(value)
    else:
        items = [value]
    parts = [as_text(_named(item, class_names)) for item in items]
    labels = tuple(dict.fromkeys(text for text, _ in parts if text))
    return labels, all(sound for _, sound in parts)


def _is_nothing(value: Any) -> bool:
    """None, NaN, or what pandas says instead (by name: it is not loaded for that)."""
    if isinstance(value, float | np.floating):
        return bool(value != value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _named(item: Any, class_names: Sequence[str]) -> Any:
    if not class_names or isinstance(item, bool) or not isinstance(item, int | np.integer):
        return item
    number = int(item)
    if number < 0:
        return None
    return class_names[number] if number < len(class_names) else item


def _embeddings(
    values: Mapping[str, Any], columns: Sequence[str]
) -> tuple[dict[str, NDArray[Any]], Problem | None]:
    """Rows of the named columns; one that is absent or no row of numbers breaks the record."""
    rows: dict[str, NDArray[Any]] = {}
    for name in columns:
        value = values.get(name)
        try:
            row = np.asarray(value)
            row = row if row.dtype.kind == "f" else row.astype(np.float32)
        except (TypeError, ValueError):
            return rows, Problem("record_broken", f"{name} is no row of numbers")
        if value is None or row.ndim != 1 or not np.isfinite(row).all():
            return rows, Problem("record_broken", f"{name} is no row of finite numbers")
        rows[name] = row
    return rows, None
