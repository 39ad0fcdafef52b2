"""The caller's ids of nodes, looked up on disk in a few pages each."""

from bisect import bisect_left
from typing import Any

import numpy as np
from numpy.typing import NDArray


class IntegerIds:
    """Ids are distinct integers.

    Args:
        table: Id of each position ``[N]`` int64, perhaps memory-mapped.
        order: Positions in ascending order of their ids ``[N]`` int64; None where that is 0 .. N-1.
    """

    def __init__(self, table: NDArray[np.int64], order: NDArray[np.int64] | None = None) -> None:
        self._table, self._order = table, order

    def positions(self, ids: NDArray[Any]) -> NDArray[np.int64]:
        """Position of each id; -1 where there is no such node. Text is read as a number."""
        wanted, valid = as_integers(ids)
        found = np.searchsorted(self._table, wanted, sorter=self._order)
        inside = valid & (found < len(self._table))
        if self._order is not None:
            found[inside] = self._order[found[inside]]
        inside[inside] = self._table[found[inside]] == wanted[inside]
        return np.where(inside, found, -1)

    def names(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Id of each position."""
        return np.asarray(self._table[positions])


class TextIds:
    """Ids are distinct texts.

    Args:
        offsets: Where each id begins in `text` ``[N + 1]`` int64.
        text: All ids one after the other in UTF-8, uint8.
        order: Positions in ascending order of the bytes of their ids ``[N]`` int64; None where
            that is 0 .. N-1.
    """

    def __init__(
        self,
        offsets: NDArray[np.int64],
        text: NDArray[np.uint8],
        order: NDArray[np.int64] | None = None,
    ) -> None:
        self._offsets, self._text, self._order = offsets, text, order

    def positions(self, ids: NDArray[Any]) -> NDArray[np.int64]:
        """Position of each id; -1 where there is no such node. Numbers are looked up as text."""
        return np.array([self._find(str(one).encode()) for one in np.ravel(ids)], np.int64)

    def names(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """Id of each position, as an array of Python's ``str``."""
        made = np.empty(len(positions), object)
        made[:] = [self._bytes(int(at)).decode() for at in positions]
        return made

    def _find(self, wanted: bytes) -> int:
        n_nodes = len(self._offsets) - 1
        rank = bisect_left(range(n_nodes), wanted, key=lambda k: self._bytes(self._at(k)))
        if rank == n_nodes:
            return -1
        position = self._at(rank)
        return position if self._bytes(position) == wanted else -1

    def _at(self, rank: int) -> int:
        return rank if self._order is None else int(self._order[rank])

    def _bytes(self, position: int) -> bytes:
        return self._text[self._offsets[position] : self._offsets[position + 1]].tobytes()


def as_integers(ids: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Ids as integers, and which of them are integers at all (text may be)."""
    given = np.ravel(ids)
    if given.dtype.kind in "iu":
        fits = given <= np.iinfo(np.int64).max
        return given.astype(np.int64), np.asarray(fits)
    read = [_integer(one) for one in given]
    valid = np.array([one is not None for one in read], bool)
    return np.array([one or 0 for one in read], np.int64), valid


def _integer(one: Any) -> int | None:
    try:
        number = int(str(one))
    except ValueError:
        return None
    # "007" and "7" are two texts; only one of them is how the number is written
    fits = str(number) == str(one).strip() and -(2**63) <= number < 2**63
    return number if fits else None
