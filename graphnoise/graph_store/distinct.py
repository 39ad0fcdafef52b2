"""The distinct ids of a stream in ascending order, however many: sorted runs on disk, merged."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graphnoise.graph_store.array_files import ArrayFile, ArrayWriter
from graphnoise.graph_store.header import INTEGER_IDS, TEXT_BYTES, TEXT_OFFSETS

FLAG_BLOCK = 1 << 22


class DistinctIntegers:
    """Distinct int64 of a stream. Small ones are flagged in memory, others go into sorted runs.

    Args:
        folder: Where runs are kept.
        memory: Bytes that it may hold.
    """

    def __init__(self, folder: Path, memory: int) -> None:
        # untouched pages of zeros cost nothing, so that small ids need little
        self._flags = np.zeros(max(memory // 2, 1), bool)
        self._folder, self._memory = folder, memory
        self._pending: list[NDArray[np.int64]] = []
        self._held, self._runs = 0, 0
        self._end = 0

    def add(self, values: NDArray[np.int64]) -> None:
        """Take in some values."""
        if not len(values):
            return
        low, high = int(values.min()), int(values.max())
        if low >= 0 and high < len(self._flags):
            self._flags[values] = True
            self._end = max(self._end, high + 1)
            return
        small = (values >= 0) & (values < len(self._flags))
        self.add(values[small])
        self._pending.append(np.unique(values[~small]))
        self._held += self._pending[-1].nbytes
        if self._held > self._memory // 8:
            self._spill()

    def write(self, folder: Path) -> tuple[int, dict[str, ArrayFile]]:
        """Number of distinct values, and the file that lists them; none where they are 0 .. n-1."""
        if self._pending:
            self._spill()
        flagged = int(np.count_nonzero(self._flags[: self._end]))
        if not self._runs and flagged == self._end:
            return flagged, {}
        writer = ArrayWriter(folder / INTEGER_IDS, np.int64)
        # what is not flagged is negative, or larger than all that is
        flags_written = False
        for block in self._merged():
            cut = int(np.searchsorted(block, 0))
            writer.append(block[:cut])
            if cut < len(block) and not flags_written:
                self._write_flags(writer)
                flags_written = True
            writer.append(block[cut:])
        if not flags_written:
            self._write_flags(writer)
        return writer.rows, {INTEGER_IDS: writer.finish()}

    def _write_flags(self, writer: ArrayWriter) -> None:
        for start in range(0, self._end, FLAG_BLOCK):
            block = self._flags[start : min(start + FLAG_BLOCK, self._end)]
            writer.append(np.flatnonzero(block) + start)

    def _spill(self) -> None:
        run = np.unique(np.concatenate(self._pending))
        np.save(self._folder / f"ids-{self._runs}.npy", run)
        self._pending, self._held, self._runs = [], 0, self._runs + 1

    def _merged(self) -> Iterator[NDArray[np.int64]]:
        paths = [self._folder / f"ids-{k}.npy" for k in range(self._runs)]
        runs = [np.load(path, mmap_mode="r") for path in paths]
        step = max(self._memory // 64 // max(len(runs), 1), 1)
        samples = [run[step::step] for run in runs]
        every = max(len(runs), 1)
        bounds = np.unique(np.concatenate([*samples, np.empty(0, np.int64)]))[every::every]
        places = [np.concatenate([[0], np.searchsorted(run, bounds), [len(run)]]) for run in runs]
        for k in range(len(bounds) + 1 if runs else 0):
            slices = [run[at[k] : at[k + 1]] for run, at in zip(runs, places, strict=True)]
            yield np.unique(np.concatenate(slices))
        for path in paths:
            path.unlink()


class DistinctTexts:
    """Distinct texts of a stream, ordered by their UTF-8 bytes.

    Args:
        folder: Where runs are kept.
        memory: Bytes that it may hold.
    """

    def __init__(self, folder: Path, memory: int) -> None:
        self._folder, self._memory = folder, memory
        self._pending: list[pa.Array] = []
        self._held, self._runs = 0, 0

    def add(self, values: pa.Array) -> None:
        """Take in some values, ``large_string``."""
        self._pending.append(pc.unique(values))
        self._held += self._pending[-1].nbytes
        if self._held > self._memory // 8:
            # many chunks name the same nodes: only what is left after merging counts
            self._pending = [_sorted_texts(self._pending)]
            self._held = self._pending[0].nbytes
            if self._held > self._memory // 16:
                self._spill()

    def write(self, folder: Path) -> tuple[int, dict[str, ArrayFile]]:
        """Number of distinct values, and the files that list them."""
        if self._runs and self._pending:
            self._spill()
        offsets = ArrayWriter(folder / TEXT_OFFSETS, np.int64)
        text = ArrayWriter(folder / TEXT_BYTES, np.uint8)
        offsets.append(np.zeros(1, np.int64))
        for block in self._merged() if self._runs else [_sorted_texts(self._pending)]:
            ends, content = text_buffers(block)
            offsets.append(ends[1:] - ends[0] + text.rows)
            text.append(content[ends[0] : ends[-1]])
        return offsets.rows - 1, {TEXT_OFFSETS: offsets.finish(), TEXT_BYTES: text.finish()}

    def _spill(self) -> None:
        run = _sorted_texts(self._pending)
        table = pa.table({"id": run})
        path = str(self._folder / f"ids-{self._runs}.arrow")
        with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        self._pending, self._held, self._runs = [], 0, self._runs + 1

    def _merged(self) -> Iterator[pa.Array]:
        paths = [self._folder / f"ids-{k}.arrow" for k in range(self._runs)]
        runs = [_mapped_texts(path) for path in paths]
        # as many bounds as there are runs' worths of memory; samples stand for equal shares
        share = 4 * self._runs
        samples = [run.take(pa.array(_shares(len(run), share))) for run in runs]
        ordered = _sorted_texts(samples)
        bounds = ordered.to_pylist()[share // 2 :: max(share // 2, 1)]
        places = [[0, *(_place(run, bound) for bound in bounds), len(run)] for run in runs]
        for k in range(len(bounds) + 1):
            slices = [r.slice(at[k], at[k + 1] - at[k]) for r, at in zip(runs, places, strict=True)]
            yield _sorted_texts(slices)
        del runs
        for path in paths:
            path.unlink()


def text_buffers(block: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Offsets ``[n + 1]`` and bytes of a ``large_string`` array without missing entries."""
    _, ends, content = block.buffers()
    offsets = (
        np.frombuffer(ends, np.int64) if ends is not None and ends.size else np.zeros(1, np.int64)
    )
    text = np.empty(0, np.uint8) if content is None else np.frombuffer(content, np.uint8)
    return offsets[block.offset : block.offset + len(block) + 1], text


def _sorted_texts(parts: list[Any]) -> pa.Array:
    whole = pc.unique(pa.chunked_array(parts, pa.large_string()))
    return whole.take(pc.array_sort_indices(whole))


def _mapped_texts(path: Path) -> pa.Array:
    with pa.memory_map(str(path)) as file:
        column = pa.ipc.open_file(file).read_all()["id"]
    return column.chunk(0)


def _shares(length: int, parts: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, max(length - 1, 0), min(parts, length)).astype(np.int64))


def _place(run: pa.Array, bound: str) -> int:
    """Number of entries below `bound`, by bytes."""
    low, high, wanted = 0, len(run), bound.encode()
    while low < high:
        middle = (low + high) // 2
        if run[middle].as_py().encode() < wanted:
            low = middle + 1
        else:
            high = middle
    return low
