"""Where edges come from: one file per kind of source, one line here to register it."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

# what a path's name ends in, perhaps followed by one of COMPRESSED -> module and function
FILES = {
    ".csv": "graphnoise.graph_store.sources.text:text_file",
    ".tsv": "graphnoise.graph_store.sources.text:text_file",
    ".txt": "graphnoise.graph_store.sources.text:text_file",
    ".edges": "graphnoise.graph_store.sources.text:text_file",
    ".parquet": "graphnoise.graph_store.sources.parquet:parquet_file",
    ".npz": "graphnoise.graph_store.sources.npz:npz_file",
    ".pt": "graphnoise.graph_store.sources.pyg:pyg_file",
}
# top-level package of an object's type -> module and function
OBJECTS = {
    "networkx": "graphnoise.graph_store.sources.networkx_graph:networkx_graph",
    "torch_geometric": "graphnoise.graph_store.sources.pyg:pyg_data",
    "graphnoise": "graphnoise.graph_store.sources.matrix:labelled_graph",
    "scipy": "graphnoise.graph_store.sources.matrix:matrix",
}
COMPRESSED = (".gz", ".bz2", ".zst")


@dataclass(frozen=True)
class SourceOptions:
    """How a source is read.

    Attributes:
        weights: Column of the weights, by name, or by number counted from 1 where a text has no
            header; for networkx the edge attribute. None: the weights that a source has of its
            own (entries of a matrix, ``edge_weight``); False: every edge counts 1.
        source_column, target_column: Of text and Parquet, named as the weights are; by default
            the usual names, else the first two columns.
        separator: Of text: one character, "whitespace", or None to look at the first line.
        header: Whether a text begins with column names; None to look at the first lines.
        ids: "integer", "text", or None to look at the first lines.
        n_nodes: Where integer ids are 0 .. n_nodes-1, used or not; None: the nodes are those that
            an edge names.
    """

    weights: str | bool | None = None
    source_column: str | None = None
    target_column: str | None = None
    separator: str | None = None
    header: bool | None = None
    ids: str | None = None
    n_nodes: int | None = None

    def __post_init__(self) -> None:
        if self.ids not in (None, "integer", "text"):
            raise ValueError(f"ids must be 'integer', 'text' or None, got {self.ids!r}")
        if self.n_nodes is not None and self.n_nodes < 0:
            raise ValueError(f"n_nodes must not be negative, got {self.n_nodes}")


class EdgeChunk(NamedTuple):
    """Some edges, in the order of the source.

    Attributes:
        source, target: ``[n]`` int64, or Arrow ``large_string`` arrays for text ids.
        weight: ``[n]`` float64, or None where all are 1.
    """

    source: Any
    target: Any
    weight: NDArray[np.float64] | None


class EdgeSource(Protocol):
    """A list of edges that can be read more than once, in chunks.

    Attributes:
        description: Name and kind, no folders.
        id_kind: "position" (ends are 0 .. n_nodes-1), "integer" or "text".
        n_nodes: Where the source knows it, else None.
        node_names: The caller's ids by position, where `id_kind` is "position" and they differ.
        features: ``[N, F]`` where the source has some.
        notes: What was left aside.
    """

    description: str
    id_kind: str
    n_nodes: int | None
    node_names: NDArray[Any] | None
    features: Any
    notes: tuple[str, ...]

    def identity(self) -> Mapping[str, Any]:
        """What tells this source from another or from itself after a change; plain values."""

    def chunks(self, rows: int) -> Iterator[EdgeChunk]:
        """All edges, about so many at a time.

        Raises:
            ValueError: Something in the source is no edge.
        """


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Edges held in memory.

    Attributes:
        description: See `EdgeSource`.
        ends: ``[2, E]`` integers in 0 .. n_nodes-1.
        weight: ``[E]`` or None.
        n_nodes: Number of nodes.
        node_names, features, notes: See `EdgeSource`.
    """

    description: str
    ends: NDArray[Any]
    weight: NDArray[Any] | None
    n_nodes: int
    node_names: NDArray[Any] | None = None
    features: Any = None
    notes: tuple[str, ...] = ()
    id_kind: str = "position"

    def __post_init__(self) -> None:
        if self.ends.ndim != 2 or self.ends.shape[0] != 2:
            raise ValueError(f"edges must be [2, E], got {tuple(self.ends.shape)}")
        if self.ends.size and self.ends.dtype.kind not in "iu":
            raise ValueError(f"ends of edges must be integers, got dtype {self.ends.dtype}")
        if self.weight is not None and self.weight.shape != self.ends.shape[1:]:
            raise ValueError(
                f"edge weights must be [{self.ends.shape[1]}], one per edge, got"
                f" {tuple(self.weight.shape)}"
            )
        if self.weight is not None and self.weight.size and self.weight.dtype.kind not in "biuf":
            raise ValueError(f"edge weights must be real numbers, got {self.weight.dtype}")

    def identity(self) -> Mapping[str, Any]:
        """A digest of the arrays."""
        parts = [self.ends, self.weight, self.node_names]
        digests = [None if part is None else array_digest(part) for part in parts]
        return {"digests": digests, "n_nodes": self.n_nodes}

    def chunks(self, rows: int) -> Iterator[EdgeChunk]:
        """Slices of the arrays."""
        for start in range(0, self.ends.shape[1], rows):
            source, target = self.ends[:, start : start + rows].astype(np.int64)
            weight = self.weight
            part = None if weight is None else weight[start : start + rows].astype(np.float64)
            yield EdgeChunk(source, target, part)


def open_source(source: Any, options: SourceOptions) -> EdgeSource:
    """The edges of a path or an object.

    Raises:
        FileNotFoundError: No such file.
        ValueError: No kind of source is registered for it, or it cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        return _open_file(Path(source), options)
    for kind in type(source).__mro__:
        target = OBJECTS.get(kind.__module__.partition(".")[0])
        if target is not None:
            return _load(target)(source, options)
    raise ValueError(
        "source must be a path, a scipy sparse matrix, a networkx graph, PyG Data or a"
        f" LabelledGraph, got {type(source).__name__}"
    )


def array_digest(array: NDArray[Any]) -> str:
    """Digest of type, shape and content; objects count as their text."""
    plain = np.asarray(array)
    if plain.dtype.kind not in "biuf":
        plain = np.frombuffer("\0".join(str(one) for one in plain.flat).encode(), np.uint8)
    digest = hashlib.blake2b(f"{plain.dtype.str}{array.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(plain).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def file_identity(path: Path) -> Mapping[str, Any]:
    """Name, size and time of the last change of a file."""
    found = path.stat()
    return {"name": path.name, "size": found.st_size, "changed": found.st_mtime_ns}


def _open_file(path: Path, options: SourceOptions) -> EdgeSource:
    if not path.is_file():
        raise FileNotFoundError(f"no such file of edges: {path}")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ".txt"
    if suffix not in FILES:
        raise ValueError(
            f"a file of edges must end in one of {list(FILES)} (text also in {list(COMPRESSED)}"
            f" after that), got {path.name!r}"
        )
    return _load(FILES[suffix])(path, options)


def _load(target: str) -> Callable[[Any, SourceOptions], Any]:
    module, _, name = target.partition(":")
    made: Callable[[Any, SourceOptions], Any] = getattr(import_module(module), name)
    return made
