"""A graph in one file, ``.npz`` or ``.safetensors``, with the keys of PyG's ``Data``."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.graph import UNLABELLED, LabelledGraph, graph_from_arrays

SUFFIXES = (".npz", ".safetensors")
MASKS = {"train": "train_mask", "validation": "val_mask", "test": "test_mask"}
SPARSE_PARTS = ("data", "indices", "indptr", "shape")
TEXT_KEYS = ("class_names", "node_names", "texts", "name")
# JSON of what is text; bytes in an .npz, metadata in a .safetensors
STRINGS = "strings"


def load_path(path: Path, *, seed: int = 0, labels_required: bool = True) -> LabelledGraph:
    """Load a graph from a folder of tables or a single file.

    Args:
        path: Folder (see `graphnoise.datasets.tables`), ``.npz`` or ``.safetensors``.
        seed: Of the validation nodes held out where the input names none.
        labels_required: False for a graph that is still to be labelled.

    Raises:
        ValueError: Another kind of file, or bad content.
    """
    if path.is_dir():
        from graphnoise.datasets.tables import load_tables

        return load_tables(path, seed=seed, labels_required=labels_required)
    return load_file(path, seed=seed, labels_required=labels_required)


def load_file(path: Path, *, seed: int = 0, labels_required: bool = True) -> LabelledGraph:
    """Load a graph from an ``.npz`` or ``.safetensors`` file. Pickled objects are never read.

    Keys, as the attributes of PyG's ``Data``: ``edge_index`` ``[2, E]``; ``x`` ``[N, F]``, or
    ``x_data``, ``x_indices``, ``x_indptr``, ``x_shape`` of a CSR matrix; ``y`` ``[N]``, -1 for no
    label. Where wanted: ``edge_weight`` ``[E]``, ``train_mask``, ``val_mask``, ``test_mask``
    ``[N]``, ``y_true`` ``[N]``. In an ``.npz`` also ``class_names``, ``node_names`` and ``texts``
    as text arrays. The sparse format of the Amazon and Coauthor files (``adj_*``, ``attr_*``,
    ``labels``) is read too, all its labels being given.

    Args:
        path: The file.
        seed: Of the validation nodes held out where there is no ``val_mask``.
        labels_required: False for a graph that is still to be labelled: the masks are not read,
            and ``y`` may be missing, and so may ``x`` (a column of zeros takes its place).

    Raises:
        ValueError: A key is missing or holds objects; or what `graph_from_arrays` refuses.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"a graph is a folder or one of {list(SUFFIXES)}, got {str(path)!r}")
    content = _read_npz(path) if path.suffix == ".npz" else _read_safetensors(path)
    if "adj_data" in content:
        return _from_archive(path, seed)
    if not labels_required:
        content |= _placeholders(content)
    missing = [key for key in ("edge_index", "y") if key not in content]
    if missing:
        raise ValueError(f"{path} has no key {missing[0]!r}; found {sorted(content)}")
    masks = {key: content[name] for key, name in MASKS.items() if name in content}
    node_names, texts = content.get("node_names"), content.get("texts")
    names = content.get("class_names")
    try:
        return graph_from_arrays(
            content["edge_index"],
            _features(content),
            content["y"],
            masks=masks,
            edge_weight=content.get("edge_weight"),
            class_names=None if names is None else tuple(map(str, names)),
            seed=seed,
            name=str(content.get("name", path.stem)),
            truth=content.get("y_true"),
            node_names=None if node_names is None else np.asarray(node_names),
            texts=None if texts is None else tuple(map(str, texts)),
            labels_required=labels_required,
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def save_graph(graph: LabelledGraph, path: Path) -> None:
    """Write a graph so that `load_file` gives it back; notes are not kept.

    The file appears whole or not at all.

    Args:
        graph: Any.
        path: Ends in ``.npz`` or ``.safetensors``.

    Raises:
        ValueError: Another ending.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"path must end in one of {list(SUFFIXES)}, got {str(path)!r}")
    arrays, strings = _arrays(graph), json.dumps(_strings(graph))
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        if path.suffix == ".npz":
            arrays[STRINGS] = np.frombuffer(strings.encode(), dtype=np.uint8)
            np.savez_compressed(temporary, allow_pickle=False, **arrays)
        else:
            from safetensors.numpy import save_file

            whole = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
            save_file(whole, temporary, metadata={STRINGS: strings})
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _arrays(graph: LabelledGraph) -> dict[str, NDArray[Any]]:
    ends = graph.adjacency.tocoo()
    arrays = {
        "edge_index": np.stack([ends.row, ends.col]),
        "edge_weight": ends.data,
        "y": graph.given,
        "train_mask": graph.train,
    }
    if sparse.issparse(graph.features):
        matrix = sparse.csr_array(graph.features)
        arrays |= {f"x_{part}": np.asarray(getattr(matrix, part)) for part in SPARSE_PARTS}
    else:
        arrays["x"] = np.asarray(graph.features)
    # an empty mask says nothing, and reading one back would be an error
    if graph.validation.any():
        arrays["val_mask"] = graph.validation
    if graph.test.any():
        arrays["test_mask"] = graph.test
    if graph.truth is not None:
        arrays["y_true"] = graph.truth
    if graph.node_names is not None and graph.node_names.dtype.kind in "iu":
        arrays["node_names"] = graph.node_names
    return arrays


def _strings(graph: LabelledGraph) -> dict[str, Any]:
    strings: dict[str, Any] = {"class_names": list(graph.class_names), "name": graph.name}
    if graph.node_names is not None and graph.node_names.dtype.kind not in "iu":
        strings["node_names"] = [str(name) for name in graph.node_names]
    if graph.texts is not None:
        strings["texts"] = list(graph.texts)
    return strings


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as packed:
            content = {key: packed[key] for key in packed if not key.startswith(("adj_", "attr_"))}
            content |= {"adj_data": None} if "adj_data" in packed else {}
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    coded = content.pop(STRINGS, None)
    return content | ({} if coded is None else _texts(coded.tobytes(), path))


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as packed:
            content = {key: packed.get_tensor(key) for key in packed.keys()}  # noqa: SIM118
            metadata = packed.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return content | _texts(metadata.get(STRINGS, "{}"), path)


def _texts(coded: str | bytes, path: Path) -> dict[str, Any]:
    try:
        strings = json.loads(coded)
    except ValueError as error:
        raise ValueError(f"{path}: {STRINGS!r} is no JSON: {error}") from error
    return {key: value for key, value in strings.items() if key in TEXT_KEYS}


def _placeholders(content: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in for labels and features that a graph to be labelled need not have."""
    n_nodes = next((len(content[key]) for key in ("texts", "x", "y") if key in content), 0)
    values: dict[str, Any] = {}
    if "y" not in content:
        values["y"] = np.full(n_nodes, UNLABELLED, np.int64)
    if "x" not in content and "x_data" not in content:
        values["x"] = np.zeros((n_nodes, 1), np.float32)
    return values


def _features(content: Mapping[str, Any]) -> Any:
    if "x" in content:
        return content["x"]
    keys = [f"x_{part}" for part in SPARSE_PARTS]
    missing = [key for key in keys if key not in content]
    if missing:
        raise ValueError(f"no key 'x', and of the sparse form {keys} no {missing}")
    data, indices, pointers, shape = (content[key] for key in keys)
    matrix = sparse.csr_array((data, indices, pointers), shape=tuple(shape))
    matrix.check_format(full_check=True)
    return matrix


def _from_archive(path: Path, seed: int) -> LabelledGraph:
    from graphnoise.datasets.npz_archives import read_archive

    adjacency, features, labels = read_archive(path)
    ends = adjacency.tocoo()
    edges = np.stack([ends.row, ends.col])
    return graph_from_arrays(
        edges, features, labels, edge_weight=ends.data, seed=seed, name=path.stem
    )
