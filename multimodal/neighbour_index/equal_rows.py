"""Rows that are equal bit by bit: one of them is searched, the others follow it."""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal.rows import Rows

DIGEST_BYTES = 16


@dataclass(frozen=True, eq=False)
class EqualRows:
    """Who is searched, and whom each of them stands for.

    Attributes:
        first: Rows to search ``[M]`` int64, ascending: no zeros, of equal rows the one that comes
            first in the order asked for.
        originals: ``[c]`` int64, ascending, each a member of `first`;
        copies: ``[c]`` int64, another row that equals it, in that order within one original.
    """

    first: NDArray[np.int64]
    originals: NDArray[np.int64]
    copies: NDArray[np.int64]

    def original_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row searched in place of each row."""
        if len(self.copies) == 0:
            return numbers
        by_copy = np.argsort(self.copies)
        place = np.searchsorted(self.copies, numbers, sorter=by_copy)
        place = by_copy[place.clip(max=len(by_copy) - 1)]
        return np.where(self.copies[place] == numbers, self.originals[place], numbers)

    def copies_of(self, original: int, most: int) -> NDArray[np.int64]:
        """The first `most` rows that equal `original`."""
        start, stop = np.searchsorted(self.originals, [original, original + 1])
        return self.copies[start : min(stop, start + most)]

    def has_copies(self, originals: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether others equal each of these rows."""
        if len(self.originals) == 0:
            return np.zeros(originals.shape, np.bool_)
        place = np.searchsorted(self.originals, originals).clip(max=len(self.originals) - 1)
        return np.asarray(self.originals[place] == originals)

    def write(self, folder: Path) -> None:
        """Write the three arrays."""
        for name in ("first", "originals", "copies"):
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)

    @classmethod
    def open(cls, folder: Path) -> "EqualRows":
        """Read them, memory-mapped where long."""
        first = np.load(folder / "first.npy", mmap_mode="r", allow_pickle=False)
        originals, copies = (
            np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("originals", "copies")
        )
        return cls(first, originals, copies)


def find_equal_rows(rows: Rows, keys: NDArray[np.uint64] | None = None) -> EqualRows:
    """Find them by a 128-bit hash, in one pass.

    Args:
        rows: ``[N, D]``.
        keys: ``[N]``, the order of rows that are equal; None: their own.

    Raises:
        ValueError: A row holds NaN or infinity.
    """
    digests = bytearray()
    full = np.empty(len(rows), np.bool_)
    for start, block in rows.blocks():
        if not np.isfinite(block).all():
            raise ValueError("rows must be finite, found NaN or infinity")
        full[start : start + len(block)] = block.any(axis=1)
        # + 0 turns -0.0 into 0.0, its equal
        for row in block + np.float32(0):
            digests += blake2b(row, digest_size=DIGEST_BYTES).digest()
    numbers = np.flatnonzero(full)
    halves = np.frombuffer(digests, np.uint64).reshape(-1, 2)[numbers]
    rank = numbers if keys is None else keys[numbers]
    order = np.lexsort((rank, halves[:, 1], halves[:, 0]))
    rank = rank[order]
    halves = halves[order]
    starts = np.ones(len(order), np.bool_)
    starts[1:] = (halves[1:] != halves[:-1]).any(axis=1)
    original = numbers[order[starts]][np.cumsum(starts) - 1]
    copies, originals = numbers[order[~starts]], original[~starts]
    by_original = np.lexsort((rank[~starts], originals))
    return EqualRows(np.sort(original[starts]), originals[by_original], copies[by_original])
