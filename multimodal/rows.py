"""Matrices of many rows that may lie in several files: read by block, gathered by number."""

import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# rows held at once: 32 MB of float32 at 512 columns, large enough for BLAS
BLOCK_ROWS = 16384


class Rows:
    """A matrix ``[N, D]`` in one or more pieces, each an array or a memory-mapped file.

    Values come out as float32 whatever is stored (float16 halves the reading).

    Args:
        pieces: Arrays ``[n_i, D]`` of one float dtype and width, stacked in order. At least one.

    Raises:
        ValueError: No piece, or pieces of different widths.

    Example:
        >>> rows = Rows([np.eye(2, dtype=np.float16), np.zeros((1, 2), np.float16)])
        >>> rows.shape, rows.gather(np.array([2, 0])).tolist()
        ((3, 2), [[0.0, 0.0], [1.0, 0.0]])
    """

    def __init__(self, pieces: Sequence[NDArray[Any]]) -> None:
        if not pieces:
            raise ValueError("pieces must hold at least one array, got none")
        widths = {piece.shape[1:] for piece in pieces}
        if len(widths) > 1 or len(next(iter(widths))) != 1:
            raise ValueError(f"pieces must all be [n, D] of one D, got {sorted(widths)}")
        self._pieces = list(pieces)
        self._starts = np.cumsum([0, *(len(piece) for piece in pieces)])

    @classmethod
    def open(cls, paths: Sequence[Path]) -> "Rows":
        """Pieces memory-mapped from ``.npy`` files."""
        return cls([np.load(path, mmap_mode="r", allow_pickle=False) for path in paths])

    @property
    def shape(self) -> tuple[int, int]:
        """``(N, D)``."""
        return int(self._starts[-1]), int(self._pieces[0].shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return Rows, (self._pieces,)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows ``start .. stop - 1`` as float32, cut at N."""
        stop = min(stop, len(self))
        parts = [
            piece[max(0, start - first) : stop - first]
            for piece, first in zip(self._pieces, self._starts, strict=False)
            if first < stop and first + len(piece) > start
        ]
        if not parts:
            return np.empty((0, self.shape[1]), np.float32)
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return np.asarray(joined, dtype=np.float32)

    def blocks(self, size: int = BLOCK_ROWS) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(number of the first row, rows) of consecutive blocks."""
        for start in range(0, len(self), size):
            yield start, self.read(start, start + size)

    def pieces(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """(number of the first row, stored array) of each piece, in order, dtype as stored."""
        yield from zip(self._starts[:-1].tolist(), self._pieces, strict=True)

    def gather(self, numbers: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Rows ``[n, D]`` by number, in the order asked for; repeats are read once.

        Raises:
            IndexError: A number outside ``0 .. N - 1``.
        """
        wanted, places = np.unique(np.asarray(numbers), return_inverse=True)
        if len(wanted) and (wanted[0] < 0 or wanted[-1] >= len(self)):
            raise IndexError(f"numbers must lie in 0 .. {len(self) - 1}, got {wanted[[0, -1]]}")
        found = np.empty((len(wanted), self.shape[1]), np.float32)
        cuts = np.searchsorted(wanted, self._starts)
        for piece, start, begin, end in zip(
            self._pieces, self._starts[:-1], cuts[:-1], cuts[1:], strict=True
        ):
            if end > begin:
                found[begin:end] = piece[wanted[begin:end] - start]
        return found[places.reshape(-1)]


def as_rows(matrix: "Rows | NDArray[Any]") -> Rows:
    """The matrix as `Rows`; an array becomes one piece."""
    return matrix if isinstance(matrix, Rows) else Rows([np.asarray(matrix)])


def forget_pages(array: NDArray[Any]) -> None:
    """Give back what a memory-mapped array holds of its file in memory; any other stays as it is.

    Pages that are needed again come back from the system's cache, where what was written waits for
    the disk. A pass over a large file then does not end with all of it counted as ours.
    """
    if isinstance(array, np.memmap) and array.mode != "c" and hasattr(mmap, "MADV_DONTNEED"):
        mapped: mmap.mmap = array._mmap  # type: ignore[attr-defined]
        mapped.madvise(mmap.MADV_DONTNEED)
