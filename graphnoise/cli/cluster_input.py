"""What ``graphnoise cluster`` reads: the graph, ids of nodes, labels in files."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from graphnoise.local_clusters.adjacency import Adjacency

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
UNKNOWN = -1
# names of classes begin here: 0 and 1 are what files without names say for "no" and "yes"
FIRST_NAMED = 2
SHOWN = 8


@dataclass(frozen=True, eq=False)
class LabelFile:
    """Labels as a file gives them.

    Attributes:
        ids: One per label, as the file wrote them; None where labels are by position.
        codes: ``[n]`` int64: what the file says where it says numbers, `FIRST_NAMED` and up where
            it says names, -1 where it says nothing.
        names: Class name -> code; empty where the file says numbers.
    """

    ids: Sequence[Any] | None
    codes: NDArray[np.int64]
    names: dict[str, int]


def open_graph(graph: str, root: Path | None = None) -> "Adjacency":
    """The graph in the form local methods read: a store, a known data set or a file.

    Raises:
        ValueError: No such graph, or one that is damaged.
    """
    from graphnoise.local_clusters import as_adjacency

    if is_store(graph):
        return as_adjacency(graph)
    from graphnoise.datasets import load_graph

    return as_adjacency(load_graph(graph, root=root))


def parse_ids(texts: Sequence[str], adjacency: "Adjacency", argument: str) -> list[Any]:
    """Ids in the type the graph has them in: integers or strings.

    Raises:
        ValueError: Not an integer where the ids are integers.
    """
    if not _integer_ids(adjacency):
        return [str(text) for text in texts]
    try:
        return [int(text) for text in texts]
    except ValueError:
        wrong = next(text for text in texts if not str(text).strip().lstrip("+-").isdigit())
        raise ValueError(
            f"{argument}: node ids of this graph are integers, got {wrong!r}"
        ) from None


def seeds_of(texts: Sequence[str], adjacency: "Adjacency") -> list[Any]:
    """The same for a line of a batch; a word that is no id stays one, and is no node's."""
    try:
        return parse_ids(texts, adjacency, "seeds")
    except ValueError:
        return list(texts)


def ids_of(words: str, argument: str) -> list[str]:
    """Ids from a file (one per line, or several with commas between), or from ``ID,ID,...``.

    Raises:
        ValueError: There are none.
    """
    path = Path(words)
    text = _text(path) if path.is_file() else words
    found = [word.strip() for line in text.splitlines() for word in line.split(",")]
    found = [word for word in found if word]
    if not found:
        raise ValueError(f"{argument} must name at least one node, got none in {words!r}")
    return found


def seed_lists(path: Path) -> list[list[str]]:
    """The queries of a batch: one line each, several seeds of one query with commas between.

    Raises:
        OSError: No such file.
        ValueError: It holds none.
    """
    lines = [
        [word.strip() for word in line.split(",") if word.strip()]
        for line in _text(path).splitlines()
    ]
    found = [line for line in lines if line]
    if not found:
        raise ValueError(f"--seeds {path} holds no seeds")
    return found


def read_labels(path: Path) -> LabelFile:
    """Labels from a table with the columns ``id`` and ``label``, a JSON object, or an array.

    Args:
        path: ``.csv``, ``.tsv``, ``.txt`` (tabs), each perhaps ``.gz``; ``.parquet``; ``.json``
            (``{"id": label}``, or a list of objects with "id" and "label"); or ``.npy`` with one
            label per node in the order of the graph.

    Raises:
        OSError: No such file.
        ValueError: It is not in that form.
    """
    kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if not path.is_file():
        raise FileNotFoundError(f"--labels: no file {path}")
    if kind == ".npy":
        return LabelFile(None, *coded(_array(path).tolist()))
    if kind == ".json":
        ids, values = _from_json(path)
    elif kind in SEPARATORS or kind == ".parquet":
        ids, values = _from_table(path, kind)
    else:
        known = [*SEPARATORS, ".parquet", ".json", ".npy"]
        raise ValueError(f"--labels must end in one of {known}, got {path.name!r}")
    return LabelFile(ids, *coded(values))


def coded(values: Sequence[Any]) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Codes of label values, and the names among them; see `LabelFile`.

    Numbers in quotes are numbers, "true" and "false" are 1 and 0, nothing is unknown. As soon as
    one value is a name, all are.
    """
    texts = [_plain(value) for value in values]
    numbers = {text: _number(text) for text in set(texts)}
    if None not in numbers.values():
        return np.array([numbers[text] for text in texts], np.int64), {}
    found = sorted(text for text in numbers if text)
    names = {name: FIRST_NAMED + k for k, name in enumerate(found)}
    return np.array([names.get(text, UNKNOWN) for text in texts], np.int64), names


def target_code(labels: LabelFile, name: str | None) -> int | None:
    """Code of the class called `name`, None where none is asked for.

    Raises:
        ValueError: The file has no such class.
    """
    if name is None:
        return None
    code = labels.names.get(name) if labels.names else _number(name)
    if code is None or code < 0 or not (labels.codes == code).any():
        have = list(labels.names) or np.unique(labels.codes[labels.codes >= 0]).tolist()
        more = ", ..." if len(have) > SHOWN else ""
        shown = ", ".join(map(repr, have[:SHOWN])) + more
        raise ValueError(f"--target-label must be a label of the file ({shown}), got {name!r}")
    return code


def is_store(graph: str) -> bool:
    """Whether a path is a folder with the header of a store."""
    from graphnoise.graph_store.header import HEADER

    return (Path(graph) / HEADER).is_file()


def _integer_ids(adjacency: "Adjacency") -> bool:
    if adjacency.ids is None:
        return True
    return bool(adjacency.ids.names(np.zeros(1, np.int64)).dtype.kind in "iu")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no UTF-8 text") from None


def _array(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"--labels {path} is no array of labels: {error}") from None
    if array.ndim != 1:
        raise ValueError(f"--labels {path} must hold [N] labels, got {list(array.shape)}")
    return array


def _from_json(path: Path) -> tuple[list[Any], list[Any]]:
    try:
        content = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"--labels {path} is no JSON: {error}") from None
    if isinstance(content, dict):
        return list(content), list(content.values())
    if isinstance(content, list) and all(
        isinstance(row, dict) and {"id", "label"} <= set(row) for row in content
    ):
        return [row["id"] for row in content], [row["label"] for row in content]
    raise ValueError(f'--labels {path} must be {{"id": label}} or a list of {{"id", "label"}}')


def _from_table(path: Path, kind: str) -> tuple[list[Any], list[Any]]:
    import pandas as pd

    try:
        if kind == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, sep=SEPARATORS[kind], dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise ValueError(f"--labels {path} is no table: {error}") from None
    if missing := {"id", "label"} - set(table.columns):
        raise ValueError(
            f"--labels {path} must have the columns id and label, found"
            f" {list(table.columns)} without {sorted(missing)}"
        )
    return table["id"].tolist(), table["label"].tolist()


def _plain(value: Any) -> str:
    """A label as text; "" where there is none."""
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    text = str(value).strip()
    return {"true": "1", "false": "0"}.get(text.lower(), text)


def _number(text: str) -> int | None:
    """The number a text says, -1 for any below 0 and for none; None for a name."""
    if not text:
        return UNKNOWN
    try:
        return max(UNKNOWN, int(text))
    except ValueError:
        return None
