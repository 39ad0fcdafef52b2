"""A graph on disk as the methods read it."""

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.graph_store.array_files import check_array, map_array
from graphnoise.graph_store.features import FeatureSource, write_features
from graphnoise.graph_store.header import (
    ID_ORDER,
    INDICES,
    INDPTR,
    INTEGER_IDS,
    STRENGTH,
    TEXT_BYTES,
    TEXT_OFFSETS,
    WEIGHTS,
    Header,
    check_sizes,
    read_header,
    write_header,
)
from graphnoise.graph_store.node_ids import IntegerIds, TextIds
from graphnoise.local_clusters.adjacency import Adjacency, NodeIds
from graphnoise.local_subgraph import GraphArrays


class GraphStore:
    """An undirected graph in a folder, memory-mapped; any number of processes may share one.

    Made by `open_store` or `build_store`. Nothing but the header is read before it is used.

    Attributes:
        path: The folder.
        header: What it says of itself: counts, notes, files with their checksums.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path, self.header = path, header

    @property
    def n_nodes(self) -> int:
        """Number of nodes, N."""
        return self.header.n_nodes

    @property
    def n_edges(self) -> int:
        """Number of undirected edges."""
        return self.header.n_entries // 2

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Facts from the header: source, id kind, whether weighted, counts, notes, versions."""
        header = self.header
        return {
            "source": header.source,
            "ids": header.ids,
            "weighted": WEIGHTS in header.arrays,
            "features": header.n_features,
            "total_volume": header.total_volume,
            "counts": dict(header.counts),
            "notes": header.notes,
            "versions": dict(header.versions),
        }

    @cached_property
    def ids(self) -> NodeIds | None:
        """The caller's ids; None where they are 0 .. N-1."""
        order = self._array(ID_ORDER) if ID_ORDER in self.header.arrays else None
        if self.header.ids == "integer":
            return IntegerIds(self._array(INTEGER_IDS), order)
        if self.header.ids == "text":
            return TextIds(self._array(TEXT_OFFSETS), self._array(TEXT_BYTES), order)
        return None

    @cached_property
    def features(self) -> NDArray[np.float32] | sparse.csr_array | None:
        """Node attributes ``[N, F]`` float32, memory-mapped; None where there are none."""
        names = self.header.features
        if not names:
            return None
        parts = [self._array(name) for name in names]
        if len(parts) == 1:
            return parts[0]
        made = sparse.csr_array((self.n_nodes, self.header.n_features), dtype=np.float32)
        # the constructor would read and check all of it
        made.indptr, made.indices, made.data = parts
        return made

    def adjacency(self) -> Adjacency:
        """The form in which the local methods read it; maps the files, reads nothing."""
        weighted = WEIGHTS in self.header.arrays
        none = np.empty(0)
        arrays = GraphArrays(
            indptr=self._array(INDPTR),
            indices=self._array(INDICES),
            weights=self._array(WEIGHTS) if weighted else none,
            strength=self._array(STRENGTH) if weighted else none,
        )
        return Adjacency(
            arrays, self.header.total_volume, self.ids, self.features, self.header.notes
        )

    def verify(self) -> None:
        """Read every file once and compare its checksum.

        Raises:
            ValueError: A file is damaged; it is named.
        """
        check_sizes(self.path, self.header)
        for name, about in self.header.arrays.items():
            check_array(self.path / name, about)

    def attach_features(self, features: FeatureSource) -> None:
        """Put node attributes beside the graph, in the place of those that are there.

        The files are written aside and count once the header names them, so that a reader sees
        the old ones or the new ones. Other processes keep what they have opened.

        Args:
            features: ``[N, F]`` finite numbers, row i of the node at position i: an array, a scipy
                sparse matrix, or the path of an ``.npy`` file or of an ``.npz`` file as
                ``scipy.sparse.save_npz`` writes it. Stored as float32.

        Raises:
            ValueError: Another shape, or no finite numbers; the store is as before.
        """
        old = self.header.features
        files, width = write_features(self.path, features, self.n_nodes)
        self.header = self.header.with_features(files, width)
        write_header(self.path, self.header)
        for name in set(old) - set(files):
            (self.path / name).unlink(missing_ok=True)
        self.__dict__.pop("features", None)

    def __repr__(self) -> str:
        return f"GraphStore({self.path.name!r}, {self.n_nodes} nodes, {self.n_edges} edges)"

    def _array(self, name: str) -> NDArray[Any]:
        return map_array(self.path / name, self.header.arrays[name])


def open_store(path: str | os.PathLike[str], *, verify: bool = False) -> GraphStore:
    """Open a store; reads its header and the sizes of its files, nothing else.

    Args:
        path: The folder that `build_store` made.
        verify: Read every file and compare checksums as well.

    Raises:
        ValueError: No store, another format version, a damaged header; a file that is missing,
            truncated or, with `verify`, damaged. The file, what was found and what was expected
            are named.
    """
    folder = Path(path)
    header = read_header(folder)
    check_sizes(folder, header)
    store = GraphStore(folder, header)
    if verify:
        store.verify()
    return store
