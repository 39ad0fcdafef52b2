"""Edges in an ``.npz`` file; pickled objects are never read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.graph_store.sources import ArraySource, SourceOptions
from graphnoise.graph_store.sources.matrix import matrix

PARTS = ("data", "indices", "indptr", "shape")


def npz_file(path: Path, options: SourceOptions) -> ArraySource:
    """One of three layouts.

    ``adj_data``, ``adj_indices``, ``adj_indptr``, ``adj_shape`` (the Amazon and Coauthor files;
    features in ``attr_*`` or ``attr_matrix``); ``data``, ``indices``, ``indptr``, ``shape`` as
    ``scipy.sparse.save_npz`` writes a CSR matrix; ``edge_index`` ``[2, E]``, where wanted
    ``edge_weight``, ``x`` and ``num_nodes``.

    Raises:
        ValueError: Another layout, or a key that holds Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            return _source(path, content, options)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from error


def _source(path: Path, content: Any, options: SourceOptions) -> ArraySource:
    said = f"{path.name} (npz)"
    if "adj_data" in content:
        features = _csr(content, "attr_") if "attr_data" in content else None
        if "attr_matrix" in content:
            features = content["attr_matrix"]
        return matrix(_csr(content, "adj_"), options, description=said, features=features)
    if "indptr" in content:
        kind = content["format"].item() if "format" in content else b"csr"
        if kind not in (b"csr", "csr"):
            raise ValueError(f"a saved matrix must be CSR, found {kind!r}")
        return matrix(_csr(content, ""), options, description=said)
    if "edge_index" in content:
        return _edge_list(said, content, options)
    raise ValueError(
        "expected the keys adj_data, adj_indices, ..., or data, indices, indptr, shape, or"
        f" edge_index; found {sorted(content)}"
    )


def _csr(content: Mapping[str, NDArray[Any]], prefix: str) -> sparse.csr_array:
    missing = [prefix + part for part in PARTS if prefix + part not in content]
    if missing:
        raise ValueError(f"no key {missing[0]!r}; found {sorted(content)}")
    data, indices, indptr, shape = (content[prefix + part] for part in PARTS)
    made = sparse.csr_array((data, indices, indptr), shape=tuple(shape))
    made.check_format(full_check=True)
    return made


def _edge_list(
    said: str, content: Mapping[str, NDArray[Any]], options: SourceOptions
) -> ArraySource:
    ends = content["edge_index"]
    features, weight = content.get("x"), content.get("edge_weight")
    n_nodes = int(ends.max(initial=-1)) + 1
    if "num_nodes" in content:
        n_nodes = int(content["num_nodes"])
    elif features is not None:
        n_nodes = len(features)
    return ArraySource(
        said, ends, None if options.weights is False else weight, n_nodes, features=features
    )
