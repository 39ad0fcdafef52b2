"""Amazon, Coauthor and CitationFull from the sparse ``.npz`` files their authors publish."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.datasets.places import Places, Remote
from graphnoise.datasets.splits import fixed_counts_split, per_class_split
from graphnoise.graph import LabelledGraph, graph_from_arrays

_SHCHUR = "https://github.com/shchur/gnn-benchmark/raw/master/data/npz/"
_BOJCHEVSKI = "https://github.com/abojchevski/graph2gauss/raw/master/data/"


@dataclass(frozen=True)
class Archive:
    """One file: its name, PyG's folder for it, and where it comes from."""

    file: str
    folder: str
    url: str = _SHCHUR


ARCHIVES = {
    "amazon-photo": Archive("amazon_electronics_photo.npz", "Photo"),
    "amazon-computers": Archive("amazon_electronics_computers.npz", "Computers"),
    "coauthor-cs": Archive("ms_academic_cs.npz", "CS"),
    "coauthor-physics": Archive("ms_academic_phy.npz", "Physics"),
    "corafull": Archive("cora.npz", "cora", _BOJCHEVSKI),
    "citeseer-full": Archive("citeseer.npz", "citeseer", _BOJCHEVSKI),
    "dblp": Archive("dblp.npz", "dblp", _BOJCHEVSKI),
}


def load_archive(name: str, places: Places, seed: int = 0) -> LabelledGraph:
    """Load one of `ARCHIVES`.

    Features say which words occur, as in PyG's loaders (the Coauthor files hold counts), so that
    results compare. The split is drawn: 20 per class / 500 / 1000, for CoraFull ERASE's 20 and 30
    per class and the rest.

    Args:
        name: Key of `ARCHIVES`.
        places: Where to look.
        seed: Of the split.
    """
    archive = ARCHIVES[name]
    layouts = ("graphs", f"{archive.folder}/raw", "raw", ".")
    folder = places.fetch(name, Remote((archive.file,), layouts, archive.url))
    adjacency, features, labels = read_archive(folder / archive.file)
    features.data = (features.data > 0).astype(np.float32)
    draw = per_class_split if name == "corafull" else fixed_counts_split
    ends = adjacency.tocoo()
    return graph_from_arrays(
        np.stack([ends.row, ends.col]),
        features,
        labels,
        masks=draw(labels, seed=seed),
        truth=labels,
        name=name,
    )


def read_archive(path: Path) -> tuple[sparse.csr_array, sparse.csr_array, NDArray[np.int64]]:
    """Adjacency, features and labels of a file with ``adj_*``, ``attr_*`` and ``labels``.

    Raises:
        ValueError: A key is missing, or holds Python objects: pickles are never loaded.
    """
    with np.load(path, allow_pickle=False) as content:
        labels = _numbers(content, "labels", path)
        return _matrix(content, "adj", path), _matrix(content, "attr", path), labels.astype(int)


def _matrix(content: Any, key: str, path: Path) -> sparse.csr_array:
    data, indices, pointers, shape = (
        _numbers(content, f"{key}_{part}", path) for part in ("data", "indices", "indptr", "shape")
    )
    try:
        matrix = sparse.csr_array((data, indices, pointers), shape=tuple(shape))
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise ValueError(f"{path}: {key}_* is no CSR matrix: {error}") from error
    return matrix


def _numbers(content: Any, key: str, path: Path) -> NDArray[Any]:
    if key not in content:
        raise ValueError(f"{path} has no key {key!r}; found {sorted(content)}")
    try:
        return np.asarray(content[key])
    except ValueError as error:
        raise ValueError(f"{path}: key {key!r} cannot be read: {error}") from error
