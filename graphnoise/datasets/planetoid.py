"""Cora, CiteSeer and PubMed from the Planetoid raw files, with the public split."""

import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.datasets.places import Places, Remote
from graphnoise.graph import LabelledGraph, graph_from_arrays

URL = "https://github.com/kimiyoung/planetoid/raw/master/data/"
PARTS = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")
N_VALIDATION = 500
# PyG's name of the folder, and the classes in the order of the label columns
SETS = {
    "cora": (
        "Cora",
        (
            "Theory",
            "Reinforcement Learning",
            "Genetic Algorithms",
            "Neural Networks",
            "Probabilistic Methods",
            "Case Based",
            "Rule Learning",
        ),
    ),
    "citeseer": ("CiteSeer", ("AI", "ML", "IR", "DB", "Agents", "HCI")),
    "pubmed": ("PubMed", ("Diabetes Experimental", "Diabetes Type 2", "Diabetes Type 1")),
}
# all that the files hold: arrays, sparse matrices, a dictionary of lists; old name -> where it is
HARMLESS = {
    ("collections", "defaultdict"): "collections",
    ("__builtin__", "list"): "builtins",
    ("builtins", "list"): "builtins",
    ("_codecs", "encode"): "_codecs",
    ("numpy", "ndarray"): "numpy",
    ("numpy", "dtype"): "numpy",
    ("numpy.core.multiarray", "_reconstruct"): "numpy._core.multiarray",
    ("numpy._core.multiarray", "_reconstruct"): "numpy._core.multiarray",
    ("scipy.sparse.csr", "csr_matrix"): "scipy.sparse",
    ("scipy.sparse._csr", "csr_matrix"): "scipy.sparse",
}


def load_planetoid(name: str, places: Places, seed: int = 0) -> LabelledGraph:
    """Load one of `SETS`: features divided by their row sum, 20 per class / 500 / 1000 nodes.

    Args:
        name: "cora", "citeseer" or "pubmed".
        places: Where to look; PyG's folder ``Cora/raw`` is one of the layouts.
        seed: Unused: the split is the published one.

    Source:
        Yang et al., "Revisiting Semi-Supervised Learning with Graph Embeddings", ICML 2016.
    """
    folder_name, class_names = SETS[name]
    files = tuple(f"ind.{name}.{part}" for part in PARTS)
    layouts = (f"planetoid/{folder_name}/raw", f"{folder_name}/raw", "raw", ".")
    folder = places.fetch(name, Remote(files, layouts, URL))
    features, labels, edges, n_train = _read(folder, name)
    nodes = np.arange(len(labels))
    test = np.zeros(len(labels), bool)
    test[np.loadtxt(folder / files[-1], dtype=np.int64)] = True
    return graph_from_arrays(
        edges,
        _rows_sum_to_one(features),
        labels,
        masks={
            "train": nodes < n_train,
            "validation": (nodes >= n_train) & (nodes < n_train + N_VALIDATION),
            "test": test,
        },
        class_names=class_names,
        truth=labels,
        name=name,
    )


def _read(
    folder: Path, name: str
) -> tuple[sparse.csr_array, NDArray[np.int64], NDArray[np.int64], int]:
    """Features, labels, edges ``[2, E]`` and number of training nodes."""
    parts = {part: _unpickle(folder / f"ind.{name}.{part}") for part in PARTS[:-1]}
    order = np.loadtxt(folder / f"ind.{name}.test.index", dtype=np.int64)
    first, n_labelled = int(order.min()), parts["allx"].shape[0]
    if first != n_labelled or len(order) != parts["tx"].shape[0]:
        raise ValueError(f"{folder}: ind.{name}.test.index does not continue ind.{name}.allx")
    # row i of tx is node order[i]; positions nobody names are isolated nodes without features
    n_test = int(order.max()) - first + 1
    place = sparse.csr_array(
        (np.ones(len(order)), (order - first, np.arange(len(order)))), shape=(n_test, len(order))
    )
    features = sparse.vstack([parts["allx"], place @ sparse.csr_array(parts["tx"])], format="csr")
    one_hot = np.concatenate([parts["ally"], place @ parts["ty"]])
    neighbours = parts["graph"]
    ends = [np.repeat(list(neighbours), [len(others) for others in neighbours.values()])]
    ends.append(np.concatenate([np.asarray(others) for others in neighbours.values()]))
    return (
        sparse.csr_array(features),
        one_hot.argmax(axis=1).astype(np.int64),
        np.stack(ends).astype(np.int64),
        parts["y"].shape[0],
    )


def _rows_sum_to_one(features: sparse.csr_array) -> sparse.csr_array:
    total = np.asarray(features.sum(axis=1)).reshape(-1)
    return sparse.csr_array(sparse.diags_array(1 / np.where(total > 0, total, 1)) @ features)


class _HarmlessUnpickler(pickle.Unpickler):
    """Pickle run over `HARMLESS` alone: a downloaded pickle can otherwise call anything."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in HARMLESS:
            raise ValueError(f"refused to load {module}.{name} from a Planetoid file")
        return super().find_class(HARMLESS[module, name], name)


def _unpickle(path: Path) -> Any:
    try:
        return _HarmlessUnpickler(BytesIO(path.read_bytes()), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError) as error:
        raise ValueError(f"{path} is no Planetoid file: {error}") from error
