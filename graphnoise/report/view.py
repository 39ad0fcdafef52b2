"""What a report needs of a graph: who is linked to whom, and what each node is said to be."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.graph import UNLABELLED


@dataclass(frozen=True, eq=False)
class GraphView:
    """A graph with its labels and a method's predictions; small enough to be kept with a run.

    Attributes:
        adjacency: Edge weights ``[N, N]``, CSR, symmetric.
        ids: The caller's node ids ``[N]``.
        split: "train", "validation", "test" or "" per node ``[N]``.
        given: Given labels ``[N]``, -1 where there is none.
        predicted: The method's class ``[N]``.
        confidence: The method's probability of it ``[N]``.
        class_names: One name per class.
        truth: True classes ``[N]`` where known, else None.
        texts: A text per node, or None.
    """

    adjacency: sparse.csr_array
    ids: NDArray[Any]
    split: NDArray[np.str_]
    given: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]
    class_names: tuple[str, ...]
    truth: NDArray[np.int64] | None = None
    texts: tuple[str, ...] | None = None

    @cached_property
    def strength(self) -> NDArray[np.float64]:
        """Weighted degree ``[N]``."""
        return np.asarray(self.adjacency.sum(axis=1), dtype=np.float64).ravel()

    @property
    def shown(self) -> NDArray[np.int64]:
        """Class drawn for each node ``[N]``: the given one, else the predicted one."""
        return np.where(self.given != UNLABELLED, self.given, self.predicted)

    def position(self, node: str) -> int:
        """Row of the node with this id, written as text.

        Raises:
            ValueError: No node has it.
        """
        found = np.flatnonzero(self.ids.astype(str) == node)
        if len(found) == 0:
            first, last = self.ids[0], self.ids[-1]
            raise ValueError(
                f"node {node!r} is not in this graph of {len(self.ids)} nodes"
                f" (ids run from {first} to {last})"
            )
        return int(found[0])

    def neighbours(self, node: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Neighbours of a node and their influence, strongest first.

        The influence is the entry of ``D^-1/2 A D^-1/2``: what one step of label propagation
        takes from that neighbour. Equal influences keep the order of the nodes.
        """
        start, end = self.adjacency.indptr[node : node + 2]
        others = self.adjacency.indices[start:end].astype(np.int64)
        weights = self.adjacency.data[start:end].astype(np.float64)
        influence = weights / np.sqrt(self.strength[node] * self.strength[others] + 1e-300)
        order = np.argsort(-influence, kind="stable")
        return others[order], influence[order]
