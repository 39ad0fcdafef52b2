"""PyG ``Data`` in, `LabelledGraph` inside, ``Data`` out."""

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from graphnoise.graph import LabelledGraph, graph_from_arrays

if TYPE_CHECKING:
    from torch_geometric.data import Data

DEFAULT_TRUTH = "y_true"
MASK_NAMES = {"train": "train_mask", "validation": "val_mask", "test": "test_mask"}
COMPRESSED_LAYOUTS = (torch.sparse_csr, torch.sparse_csc)


def as_graph(
    data: "Data | LabelledGraph", *, split: int = 0, truth: str = DEFAULT_TRUTH
) -> LabelledGraph:
    """Bring PyG ``Data`` into the checked form; a `LabelledGraph` is returned as it is.

    Args:
        data: With ``x`` ``[N, F]`` (dense, torch sparse or scipy), ``y`` ``[N]`` (the given
            labels, -1 for none) and edges: ``edge_index`` (COO ``[2, E]``, ``EdgeIndex``, a sparse
            matrix) or ``adj_t``. Read where present: ``edge_weight`` or a one-dimensional
            ``edge_attr`` ``[E]``, ``train_mask``, ``val_mask``, ``test_mask`` (``[N]`` or
            ``[N, S]``), ``class_names``, ``node_names``, ``texts``, ``name``. Not modified.
        split: Column of masks ``[N, S]``; 0 as in the published splits.
        truth: Attribute with the clean labels ``[N]``, for scores only. The default need not
            be there; another name must.

    Raises:
        TypeError: `data` is neither of the two.
        ValueError: Features, edges or labels are missing or malformed, `split` is out of range.
    """
    if isinstance(data, LabelledGraph):
        return data
    from torch_geometric.data import Data

    if not isinstance(data, Data):
        raise TypeError(
            f"data must be a LabelledGraph or torch_geometric.data.Data, got {type(data).__name__}"
        )
    features, labels = _present(data, "x"), _present(data, "y")
    edges, weight, notes = edges_of(data)
    clean = _optional(data, truth)
    if clean is None and truth != DEFAULT_TRUTH:
        raise ValueError(f"data has no attribute {truth!r}, named as the truth")
    names, node_names = _optional(data, "class_names"), _optional(data, "node_names")
    texts = _optional(data, "texts")
    graph = graph_from_arrays(
        edges,
        as_matrix(features),
        as_array(labels),
        masks=_masks(data, split),
        edge_weight=weight,
        class_names=None if names is None else tuple(str(name) for name in names),
        name=str(_optional(data, "name") or "graph"),
        truth=None if clean is None else as_array(clean),
        node_names=None if node_names is None else np.asarray(node_names),
        texts=None if texts is None else tuple(texts),
    )
    return replace(graph, notes=(*notes, *graph.notes))


def to_data(graph: LabelledGraph, *, dense_features: bool = True) -> "Data":
    """The graph as PyG ``Data``; ``y`` holds the given labels, ``y_true`` the truth if known.

    ``as_graph(to_data(graph))`` gives the same graph back.

    Args:
        graph: Its arrays are copied where torch could otherwise write through them.
        dense_features: Whether ``x`` is dense, which most PyG layers want; False leaves CSR
            features a torch CSR tensor, which can be a hundred times smaller.
    """
    from torch_geometric.data import Data

    coordinates = graph.adjacency.tocoo()
    edges = np.stack([coordinates.row, coordinates.col]).astype(np.int64)
    data = Data(
        x=_feature_tensor(graph, dense_features),
        edge_index=torch.from_numpy(edges),
        y=torch.from_numpy(graph.given.copy()),
        train_mask=torch.from_numpy(graph.train.copy()),
    )
    # an empty mask says nothing, and reading one back would be an error
    if graph.validation.any():
        data.val_mask = torch.from_numpy(graph.validation.copy())
    if graph.test.any():
        data.test_mask = torch.from_numpy(graph.test.copy())
    if (coordinates.data != 1).any():
        data.edge_weight = torch.from_numpy(coordinates.data.astype(np.float32))
    if graph.truth is not None:
        data.y_true = torch.from_numpy(graph.truth.copy())
    if graph.node_names is not None:
        data.node_names = graph.node_names.tolist()
    if graph.texts is not None:
        data.texts = list(graph.texts)
    data.class_names, data.name = list(graph.class_names), graph.name
    return data


def _present(data: "Data", key: str) -> Any:
    value = _optional(data, key)
    if value is None:
        raise ValueError(f"data has no {key!r}; found {sorted(data.keys())}")
    return value


def _optional(data: "Data", key: str) -> Any:
    return data.get(key)


def as_array(value: Any) -> NDArray[Any]:
    """A tensor, wherever it lives, or anything numpy reads, as an array."""
    # EdgeIndex is a Tensor subclass whose own conversions keep its metadata
    if isinstance(value, Tensor):
        return value.detach().cpu().as_subclass(Tensor).numpy()
    return np.asarray(value)


def as_matrix(value: Any) -> NDArray[Any] | sparse.csr_array:
    """Features ``[N, F]`` dense or as scipy CSR, from dense, torch sparse, or anything with coo."""
    if _is_sparse(value):
        rows, columns, weights, shape = _coordinates(value)
        weights = np.ones(len(rows), np.float32) if weights is None else weights
        return sparse.csr_array((weights, (rows, columns)), shape=shape)
    return as_array(value)


def _is_sparse(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.layout != torch.strided
    return sparse.issparse(value) or hasattr(value, "coo")


def _coordinates(
    value: Any,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None, tuple[int, ...]]:
    """Rows, columns, values (None where all are one) and shape of any sparse matrix."""
    if sparse.issparse(value):
        matrix = value.tocoo()
        return matrix.row, matrix.col, matrix.data, tuple(matrix.shape)
    if isinstance(value, Tensor):
        tensor = value.detach().cpu()
        if tensor.layout in COMPRESSED_LAYOUTS:
            tensor = tensor.to_sparse_coo()
        tensor = tensor.coalesce()
        rows, columns = tensor.indices().numpy()
        return rows, columns, tensor.values().numpy(), tuple(tensor.shape)
    # torch_sparse.SparseTensor: coo() -> row, col, value or None
    rows, columns, weights = value.coo()
    sizes = tuple(int(size) for size in value.sizes())
    return as_array(rows), as_array(columns), None if weights is None else as_array(weights), sizes


def edges_of(data: "Data") -> tuple[NDArray[Any], NDArray[Any] | None, tuple[str, ...]]:
    """End points ``[2, E]``, weights ``[E]`` or None, and what was left aside."""
    key = "edge_index" if _optional(data, "edge_index") is not None else "adj_t"
    value = _optional(data, key)
    if value is None:
        raise ValueError(f"data has neither 'edge_index' nor 'adj_t'; found {sorted(data.keys())}")
    if not _is_sparse(value):
        weight, notes = _weights(data)
        return as_array(value), weight, notes
    rows, columns, weights, shape = _coordinates(value)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"{key} must be a square matrix, got {shape}")
    # a transposed matrix holds targets in its rows
    ends = (columns, rows) if key == "adj_t" else (rows, columns)
    return np.stack(ends), weights, ()


def _weights(data: "Data") -> tuple[NDArray[Any] | None, tuple[str, ...]]:
    weight = _optional(data, "edge_weight")
    if weight is not None:
        return as_array(weight).reshape(-1), ()
    attributes = _optional(data, "edge_attr")
    if attributes is None:
        return None, ()
    if attributes.ndim == 1:
        return as_array(attributes), ()
    return None, (f"edge_attr of shape {tuple(attributes.shape)} not used",)


def _masks(data: "Data", split: int) -> dict[str, NDArray[Any]]:
    masks = {}
    for key, attribute in MASK_NAMES.items():
        value = _optional(data, attribute)
        if value is None:
            continue
        mask = as_array(value)
        if mask.ndim == 2:
            if not 0 <= split < mask.shape[1]:
                raise ValueError(
                    f"split must lie in 0 .. {mask.shape[1] - 1} for {attribute}, got {split}"
                )
            mask = mask[:, split]
        masks[key] = mask
    return masks


def _feature_tensor(graph: LabelledGraph, dense: bool) -> Tensor:
    if not sparse.issparse(graph.features):
        return torch.from_numpy(np.array(graph.features))
    matrix = sparse.csr_array(graph.features)
    if dense:
        return torch.from_numpy(matrix.toarray())
    with warnings.catch_warnings():
        # torch announces its CSR tensors as beta once per process
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int64)),
            torch.from_numpy(matrix.indices.astype(np.int64)),
            torch.from_numpy(matrix.data.copy()),
            size=matrix.shape,
            check_invariants=True,
        )
