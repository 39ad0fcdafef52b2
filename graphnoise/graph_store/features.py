"""Node attributes beside a graph: checked and copied in blocks of rows."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.graph_store.array_files import ArrayFile, ArrayWriter

FeatureSource: TypeAlias = NDArray[Any] | sparse.sparray | str | os.PathLike[str]
BLOCK_BYTES = 1 << 24


def write_features(
    folder: Path, features: Any, n_nodes: int
) -> tuple[Mapping[str, ArrayFile], int]:
    """Write attributes as float32, under names that follow from their content.

    Args:
        folder: Of the store.
        features: See `GraphStore.attach_features`.
        n_nodes: Rows that there must be.

    Returns:
        File name -> description, one of a dense array or indptr, indices, data of a CSR matrix;
        and the number of columns.

    Raises:
        ValueError: Another shape, or no finite numbers.
    """
    matrix = load_features(features)
    if len(matrix.shape) != 2 or matrix.shape[0] != n_nodes:
        raise ValueError(
            f"features must be [{n_nodes}, F], one row per node, got {tuple(matrix.shape)}"
        )
    if matrix.dtype.kind not in "biuf":
        raise ValueError(f"features must be real numbers, got dtype {matrix.dtype}")
    width = int(matrix.shape[1])
    if not sparse.issparse(matrix):
        return dict([_copy(folder, "features", matrix, np.float32, ())]), width
    csr = sparse.csr_array(matrix)
    csr.sum_duplicates()
    return dict(
        [
            _copy(folder, "features_indptr", csr.indptr, np.int64, ()),
            _copy(folder, "features_indices", csr.indices, np.int32, ()),
            _copy(folder, "features_data", csr.data, np.float32, csr.indptr),
        ]
    ), width


def load_features(features: Any) -> Any:
    """The array or matrix that a path names, memory-mapped where possible; or `features` itself.

    Raises:
        ValueError: Another kind of file, or one that holds Python objects.
    """
    if not isinstance(features, str | os.PathLike):
        return features if sparse.issparse(features) else np.asarray(features)
    path = Path(features)
    try:
        if path.suffix == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False)
        if path.suffix == ".npz":
            return sparse.load_npz(path)
    except (ValueError, EOFError, KeyError) as error:
        raise ValueError(f"features {path} cannot be read: {error}") from error
    raise ValueError(f"features must be an .npy or .npz file, got {path.name!r}")


def _copy(
    folder: Path, stem: str, array: NDArray[Any], dtype: Any, indptr: Any
) -> tuple[str, ArrayFile]:
    temporary = folder / f".{stem}.{os.getpid()}.tmp"
    columns = array.shape[1:]
    rows = max(BLOCK_BYTES // max(4 * math.prod(columns), 1), 1)
    writer = ArrayWriter(temporary, dtype, columns=columns)
    try:
        for start in range(0, len(array), rows):
            # a value too large for float32 becomes infinite here and is refused below
            with np.errstate(over="ignore"):
                block = np.asarray(array[start : start + rows]).astype(dtype)
            finite = np.isfinite(block).reshape(len(block), -1).all(axis=1)
            if not finite.all():
                row = start + int(np.argmin(finite))
                node = np.searchsorted(indptr, row, side="right") - 1 if len(indptr) else row
                raise ValueError(f"features must be finite, found NaN or infinity at node {node}")
            writer.append(block)
        about = writer.finish()
        # a name of its own for each content: the files a header names are never written to
        name = f"{stem}-{about.crc32:08x}-{about.bytes}.npy"
        os.replace(temporary, folder / name)
    finally:
        writer.close()
        temporary.unlink(missing_ok=True)
    return name, about
