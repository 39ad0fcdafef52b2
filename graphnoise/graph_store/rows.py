"""Third pass: the sorted pieces, appended to the arrays of the store."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphnoise.graph_store.array_files import ArrayFile, ArrayWriter
from graphnoise.graph_store.compiled import row_starts, row_sums
from graphnoise.graph_store.header import INDICES, INDPTR, STRENGTH, WEIGHTS
from graphnoise.graph_store.pieces import Entries, Spill

COLUMN_BITS, COLUMN_MASK = np.uint64(32), np.uint64(0xFFFFFFFF)
# columns are int32 below so many nodes
INT32_NODES = 1 << 31
ROW_BLOCK = 1 << 20
# the last digits of a sum depend on its blocks, so these follow nothing else
SUMMED_AT_ONCE = 1 << 20
# how much may have to be done again after a kill
MARK_ENTRIES = 1 << 25


class RowWriter:
    """Appends entries in ascending order to the CSR arrays.

    Args:
        store: Where the files go.
        n_nodes: Number of rows.
        weighted: Whether there are weights.
        state: What `state` said when the files were last on the disk; or empty.
    """

    def __init__(self, store: Path, n_nodes: int, *, weighted: bool, state: dict[str, Any]) -> None:
        self.n_nodes, self.weighted = n_nodes, weighted
        columns = np.int32 if n_nodes < INT32_NODES else np.int64
        types: dict[str, Any] = {INDPTR: np.int64, INDICES: columns}
        if weighted:
            types |= {WEIGHTS: np.float64, STRENGTH: np.float64}
        files = state.get("files", {})
        self._files = {
            name: ArrayWriter(store / name, dtype, state=tuple(files.get(name, (0, 0))))
            for name, dtype in types.items()
        }
        # sum of the weights of the row that is not complete yet
        self._carry = float(state.get("carry", 0.0))

    @property
    def n_entries(self) -> int:
        """Entries written so far."""
        return self._files[INDICES].rows

    def append(self, entries: Entries) -> None:
        """Write entries that follow those written before."""
        keys, values = entries.keys, entries.values
        if not len(keys):
            return
        last, before = int(keys[-1] >> COLUMN_BITS), self.n_entries
        self._append_starts(keys, last + 1, before)
        if self.weighted:
            self._files[WEIGHTS].append(values)
            self._append_sums(keys, values, last)
        self._files[INDICES].append((keys & COLUMN_MASK).view(np.int64))

    def state(self) -> dict[str, Any]:
        """Bring all onto the disk and say how far it is."""
        for file in self._files.values():
            file.flush()
        files = {name: list(file.state) for name, file in self._files.items()}
        return {"files": files, "carry": self._carry}

    def finish(self) -> dict[str, ArrayFile]:
        """Complete the rows that have no entries any more, and close."""
        none = np.empty(0, np.uint64)
        self._append_starts(none, self.n_nodes + 1, self.n_entries)
        if self.weighted and self.n_nodes:
            self._append_sums(none, np.empty(0), self.n_nodes)
        return {name: file.finish() for name, file in self._files.items()}

    def close(self) -> None:
        """Leave the files as they are."""
        for file in self._files.values():
            file.close()

    def _append_starts(self, keys: NDArray[np.uint64], stop: int, before: int) -> None:
        file, at = self._files[INDPTR], 0
        while file.rows < stop:
            block = np.empty(min(stop - file.rows, ROW_BLOCK), np.int64)
            at = row_starts(keys, at, file.rows, before, block)
            file.append(block)

    def _append_sums(
        self, keys: NDArray[np.uint64], values: NDArray[np.float64], stop: int
    ) -> None:
        file, at = self._files[STRENGTH], 0
        while file.rows < stop:
            block = np.empty(min(stop - file.rows, ROW_BLOCK))
            at = row_sums(keys, values, at, file.rows, self._carry, block)
            file.append(block)
            self._carry = 0.0
        if len(keys):
            open_row = np.empty(1)
            row_sums(keys, values, at, stop, self._carry, open_row)
            self._carry = float(open_row[0])


def write_rows(
    spill: Spill,
    writer: RowWriter,
    *,
    done: int,
    note: Callable[[int], None],
    tell: Callable[[int, int], None],
) -> None:
    """Sort, merge and append every piece.

    Args:
        spill: The pieces.
        writer: Where they go.
        done: Pieces that `writer` holds already.
        note: Called with the number of pieces once in a while, to remember it.
        tell: Called with the pieces done and all of them.
    """
    marked = writer.n_entries
    for number, entries in enumerate(spill.entries(done), start=done + 1):
        writer.append(entries)
        if writer.n_entries - marked >= MARK_ENTRIES:
            marked = writer.n_entries
            note(number)
        tell(number, len(spill.pieces))


def total_volume(strength: NDArray[np.float64]) -> float:
    """Sum of all strengths, in blocks of a fixed size, so that every build finds the same."""
    return float(
        sum(
            float(strength[start : start + SUMMED_AT_ONCE].sum())
            for start in range(0, len(strength), SUMMED_AT_ONCE)
        )
    )


def count_empty_rows(indptr: NDArray[np.int64]) -> int:
    """Number of nodes without neighbours, counted in blocks."""
    empty = 0
    for start in range(0, len(indptr) - 1, ROW_BLOCK):
        empty += int(np.count_nonzero(np.diff(indptr[start : start + ROW_BLOCK + 1]) == 0))
    return empty
