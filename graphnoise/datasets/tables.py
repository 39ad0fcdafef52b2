"""A graph as two tables in a folder: ``nodes`` and ``edges``, each CSV or Parquet."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graphnoise.graph import SPLITS, UNLABELLED, LabelledGraph, graph_from_arrays

if TYPE_CHECKING:
    from pandas import DataFrame, Series

FORMATS = (".csv", ".parquet")
NODE_COLUMNS = ("id", "label", "truth", "split", "text")


def load_tables(folder: Path, *, seed: int = 0, labels_required: bool = True) -> LabelledGraph:
    """Load ``nodes.csv`` and ``edges.csv`` (or ``.parquet``) from a folder.

    ``nodes``: ``id`` (distinct), ``label`` (class name or number, empty where there is none);
    where wanted ``truth`` (clean label, for scores only), ``split`` (train, validation, test or
    empty; without the column every labelled node is in training and a fifth is held out) and
    ``text``. Every other column is a numeric feature, unless ``features.npy`` ``[N, F]`` lies
    beside. ``edges``: ``source``, ``target``, where wanted ``weight``.

    Classes are the distinct labels and truths, in numeric order if all are integers, else in
    alphabetical order. Row numbers in messages count rows of data from 1.

    Args:
        folder: Holds the files.
        seed: Of the validation nodes held out where there is no ``split``.
        labels_required: False for a graph that is still to be labelled: the column ``label`` may
            be missing or empty, and so may the features (one column of zeros takes their place).

    Raises:
        ValueError: A file or column is missing, an id repeats or is unknown, a label, split,
            weight or feature cannot be read; the message names file, column and row.
    """
    needed = ("id", "label") if labels_required else ("id",)
    nodes_file, nodes = _table(folder, "nodes", needed)
    if "label" not in nodes:
        nodes["label"] = ""
    edges_file, edges = _table(folder, "edges", ("source", "target"))
    position = _positions(nodes["id"], nodes_file)
    columns = [key for key in ("label", "truth") if key in nodes]
    class_names = _class_names(nodes[columns].to_numpy().ravel())
    codes = {name: code for code, name in enumerate(class_names)} | {"": UNLABELLED}
    labels = {key: nodes[key].map(codes).to_numpy(np.int64) for key in columns}
    ends = [_ends(edges[key], position, edges_file) for key in ("source", "target")]
    weight = _numbers(edges["weight"], edges_file) if "weight" in edges else None
    try:
        return graph_from_arrays(
            np.stack(ends),
            _features(folder, nodes, nodes_file, required=labels_required),
            labels["label"],
            masks=_masks(nodes, labels["label"], nodes_file) if labels_required else None,
            edge_weight=weight,
            class_names=class_names,
            seed=seed,
            name=folder.resolve().name,
            truth=labels.get("truth"),
            node_names=_ids(nodes["id"]),
            texts=tuple(nodes["text"]) if "text" in nodes else None,
            labels_required=labels_required,
        )
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error


def _table(folder: Path, name: str, required: tuple[str, ...]) -> tuple[Path, "DataFrame"]:
    """Path and content, every cell as text and missing cells empty."""
    import pandas

    found = [folder / f"{name}{ending}" for ending in FORMATS]
    found = [path for path in found if path.is_file()]
    if len(found) != 1:
        wanted = " or ".join(f"{name}{ending}" for ending in FORMATS)
        raise ValueError(f"{folder} must hold either {wanted}, found {[p.name for p in found]}")
    path = found[0]
    try:
        if path.suffix == ".csv":
            table = pandas.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        else:
            table = _as_text(pandas.read_parquet(path))
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    missing = [key for key in required if key not in table]
    if missing:
        raise ValueError(f"{path} has no column {missing[0]!r}; found {list(table.columns)}")
    return path, table


def _as_text(table: "DataFrame") -> "DataFrame":
    """Cells as in a CSV; integers that a missing cell made floats are integers again."""
    for key in table:
        column = table[key]
        if column.dtype.kind == "f" and key in (*NODE_COLUMNS, "source", "target"):
            whole = column.dropna()
            column = column.astype("Int64") if (whole == whole.round()).all() else column
        table[key] = column.astype(object).where(column.notna(), "").map(str).astype(object)
    return table


def _positions(ids: "Series", path: Path) -> dict[str, int]:
    _refuse(ids == "", ids, path, "an id, not an empty cell")
    _refuse(ids.duplicated(), ids, path, "distinct ids")
    return {name: row for row, name in enumerate(ids)}


def _ids(ids: "Series") -> NDArray[Any]:
    try:
        numbers = ids.to_numpy(np.int64)
    except (ValueError, OverflowError):
        return ids.to_numpy(str)
    # 007 is a name
    return numbers if (numbers.astype(str) == ids.to_numpy(str)).all() else ids.to_numpy(str)


def _ends(column: "Series", position: dict[str, int], path: Path) -> NDArray[np.int64]:
    ends = column.map(position)
    _refuse(ends.isna(), column, path, "an id of the nodes table")
    return ends.to_numpy(np.int64)


def _class_names(cells: NDArray[Any]) -> tuple[str, ...]:
    names = {str(cell) for cell in cells} - {""}
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(sorted(names))


def _masks(
    nodes: "DataFrame", labels: NDArray[np.int64], path: Path
) -> dict[str, NDArray[np.bool_]]:
    if "split" not in nodes:
        return {}
    split = nodes["split"]
    _refuse(~split.isin([*SPLITS, ""]), split, path, f"one of {list(SPLITS)} or empty")
    bare = (labels == UNLABELLED) & split.isin(["train", "validation"])
    _refuse(bare, nodes["label"], path, "a label, as the node is in train or validation")
    masks = {name: (split == name).to_numpy(bool) for name in SPLITS}
    return {name: mask for name, mask in masks.items() if mask.any()}


def _features(folder: Path, nodes: "DataFrame", path: Path, *, required: bool) -> NDArray[Any]:
    columns = [key for key in nodes if key not in NODE_COLUMNS]
    stored = folder / "features.npy"
    if stored.is_file():
        try:
            features = np.load(stored, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{stored} cannot be read: {error}") from error
        if features.ndim != 2 or len(features) != len(nodes):
            raise ValueError(f"{stored} must be [{len(nodes)}, F], got {features.shape}")
        return features
    if not columns and not required:
        return np.zeros((len(nodes), 1), np.float32)
    if not columns:
        raise ValueError(f"{path} has no feature columns, and there is no {stored.name} beside it")
    return np.stack([_numbers(nodes[key], path) for key in columns], axis=1)


def _numbers(column: "Series", path: Path) -> NDArray[np.float64]:
    import pandas

    numbers = pandas.to_numeric(column, errors="coerce").astype(float)
    _refuse(~np.isfinite(numbers), column, path, "finite numbers")
    return numbers.to_numpy(np.float64)


def _refuse(bad: Any, column: "Series", path: Path, wanted: str) -> None:
    rows = np.flatnonzero(np.asarray(bad, dtype=bool))
    if len(rows):
        raise ValueError(
            f"{path}: column {column.name!r} must hold {wanted}; found"
            f" {column.iloc[rows[0]]!r} in row {rows[0] + 1} ({len(rows)} such rows)"
        )
