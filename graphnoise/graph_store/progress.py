"""How much memory a build may take, and whom it tells how far it is."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

# step, how far, of how much (None where that is not known)
Progress: TypeAlias = Callable[[str, int, int | None], None]

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
LEAST_MEMORY = 1 << 20
# what the interpreter and its libraries take before the first edge is read
PROGRAM_BYTES = 500 * 10**6
# bytes that a chunk's text, ends, keys and copies take per edge; that sorting takes per entry
BYTES_PER_EDGE, BYTES_PER_ENTRY = 256, 128
# larger pieces are no faster
MOST_EDGES, MOST_ENTRIES = 1 << 21, 1 << 23


@dataclass(frozen=True)
class Plan:
    """Sizes of the pieces in which a build works.

    Attributes:
        memory: Bytes for arrays.
        n_nodes: Number of nodes, where the caller says it.
        add: Whether weights of repeated edges are added up; else the largest counts.
        progress: Told of every piece, or None.
    """

    memory: int
    n_nodes: int | None = None
    add: bool = False
    progress: Progress | None = None

    @property
    def chunk_rows(self) -> int:
        """Edges read at a time."""
        return min(max(self.memory // BYTES_PER_EDGE // 2, 256), MOST_EDGES)

    @property
    def piece_entries(self) -> int:
        """Entries sorted at a time, by each of two threads."""
        return min(max(self.memory // BYTES_PER_ENTRY // 2, 256), MOST_ENTRIES)

    def tell(self, step: str, done: int, total: int | None) -> None:
        """Report how far a step is."""
        if self.progress is not None:
            self.progress(step, done, total)


def memory_for_arrays(max_memory: int | str) -> int:
    """What is left of the memory for arrays, in bytes; at least half of it.

    Args:
        max_memory: Bytes, or text such as "2GB" or "500 MB".

    Raises:
        ValueError: No such amount, or below 1 MiB.
    """
    given = max_memory
    if isinstance(max_memory, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?\s*", max_memory.upper())
        if found is None:
            raise ValueError(f"max_memory must be an amount such as 2GB, got {max_memory!r}")
        max_memory = int(float(found[1]) * UNITS[found[2]])
    if max_memory < LEAST_MEMORY:
        raise ValueError(f"max_memory must be at least {LEAST_MEMORY} bytes, got {given}")
    return max(max_memory // 2, max_memory - PROGRAM_BYTES)


def n_threads() -> int:
    """Threads that sort beside the one that writes."""
    return min(os.cpu_count() or 1, 2)
