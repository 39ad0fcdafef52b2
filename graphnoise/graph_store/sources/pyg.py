"""Edges of PyG ``Data``, from memory or from a ``.pt`` file."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from graphnoise.graph_store.sources import ArraySource, SourceOptions
from graphnoise.pyg import as_array, as_matrix, edges_of


def pyg_file(path: Path, options: SourceOptions) -> ArraySource:
    """PyG ``Data``, or a dictionary of its tensors, saved by ``torch.save``; never unpickled.

    Raises:
        ValueError: Neither, or objects that only unpickling could read.
    """
    from torch_geometric.data import Data
    from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
    from torch_geometric.data.storage import GlobalStorage

    # plain containers; PyG declares only some of those that its own Data consists of, and these
    # must not be named again: the block forgets on leaving what it was given
    declared = torch.serialization.get_safe_globals()
    needed = (Data, DataEdgeAttr, DataTensorAttr, GlobalStorage)
    containers = [container for container in needed if container not in declared]
    try:
        with torch.serialization.safe_globals(containers):
            content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        # torch raises its unpickler's errors, which share no class of their own
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path.name} cannot be read as tensors: {first}") from error
    if isinstance(content, dict) and "edge_index" in content:
        content = Data.from_dict(content)
    if not isinstance(content, Data):
        raise ValueError(
            f"{path.name} must hold PyG Data or its dictionary, found {type(content).__name__}"
        )
    return pyg_data(content, options, description=f"{path.name} (PyG Data)")


def pyg_data(data: Any, options: SourceOptions, *, description: str = "PyG Data") -> ArraySource:
    """``edge_index`` or ``adj_t``, ``edge_weight`` and ``x`` of PyG ``Data``.

    Raises:
        ValueError: Not ``Data``, or without edges.
    """
    from torch_geometric.data import Data

    if not isinstance(data, Data):
        raise ValueError(f"source must be torch_geometric.data.Data, got {type(data).__name__}")
    ends, weight, notes = edges_of(data)
    names = data.get("node_names")
    features = data.get("x")
    known = len(names) if names is not None else data.num_nodes
    return ArraySource(
        description,
        ends,
        None if options.weights is False or weight is None else np.asarray(weight),
        int(known or 0),
        node_names=None if names is None else np.asarray(names),
        features=None if features is None else _matrix_or_array(features),
        notes=notes,
    )


def _matrix_or_array(features: Any) -> Any:
    dense = isinstance(features, torch.Tensor) and features.layout == torch.strided
    return as_array(features) if dense else as_matrix(features)
