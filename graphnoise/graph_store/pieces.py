"""The scattered entries in pieces that fit in memory, each sorted, repeated edges merged."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphnoise.graph_store.compiled import keep_distinct, merge_equal
from graphnoise.graph_store.progress import Plan, n_threads
from graphnoise.graph_store.scatter import COUNTS, KEYS, VALUES

KEY_BYTES = 8
SAMPLES_PER_PIECE = 64


@dataclass(frozen=True)
class Piece:
    """Entries of consecutive ranges of rows; of one range too large for memory, some keys only.

    Attributes:
        first, stop: Ranges.
        low, high: Only keys in ``low .. high - 1``; `high` None for no bound.
    """

    first: int
    stop: int
    low: int = 0
    high: int | None = None


@dataclass(frozen=True)
class Entries:
    """Distinct entries in ascending order.

    Attributes:
        keys: ``[n]`` uint64.
        values: Weights beside them, or ``[0]``.
    """

    keys: NDArray[np.uint64]
    values: NDArray[np.float64]


class Spill:
    """What the second pass wrote, as pieces of bounded size.

    Args:
        folder: Where it is.
        weighted: Whether there are weights.
        plan: Sizes, and how equal entries are merged.
    """

    def __init__(self, folder: Path, *, weighted: bool, plan: Plan) -> None:
        self._folder, self._weighted, self._plan = folder, weighted, plan
        counts = np.load(folder / COUNTS)
        starts = np.cumsum(counts.reshape(-1)) - counts.reshape(-1)
        self._starts, self._counts = starts.reshape(counts.shape), counts
        self.pieces = list(self._cut())

    def entries(self, skip: int) -> Iterator[Entries]:
        """Sorted and merged pieces in order, all but the first `skip`; some are made ahead."""
        ahead: list[Future[Entries]] = []
        with ThreadPoolExecutor(n_threads()) as pool:
            for piece in self.pieces[skip:]:
                ahead.append(pool.submit(self._sorted, piece))
                if len(ahead) == n_threads():
                    yield ahead.pop(0).result()
            for future in ahead:
                yield future.result()

    def _cut(self) -> Iterator[Piece]:
        totals, room = self._counts.sum(axis=0), self._plan.piece_entries
        first, held = 0, 0
        for k, size in enumerate(totals):
            if held and held + size > room:
                yield Piece(first, k)
                first, held = k, 0
            held += int(size)
            if size > room:
                yield from self._split(k, int(size))
                first, held = k + 1, 0
        if held:
            yield Piece(first, len(totals))

    def _split(self, at: int, size: int) -> Iterator[Piece]:
        """Cut one range by keys, at even shares of a sample of them."""
        wanted = 2 * -(-size // self._plan.piece_entries)
        stride = max(size // (SAMPLES_PER_PIECE * wanted), 1)
        whole = Piece(at, at + 1)
        samples = [part[::stride] for part in self._read(KEYS, np.dtype(np.uint64), whole)]
        ordered = np.sort(np.concatenate(samples))
        bounds = np.unique(ordered[:: max(len(ordered) // wanted, 1)][1:]).tolist()
        for low, high in zip([0, *bounds], [*bounds, None], strict=True):
            yield Piece(at, at + 1, low, high)

    def _read(self, name: str, dtype: np.dtype[Any], piece: Piece) -> Iterator[NDArray[Any]]:
        """What each chunk holds of the piece's ranges, in the order of the chunks."""
        sizes = self._counts[:, piece.first : piece.stop].sum(axis=1)
        with (self._folder / name).open("rb") as file:
            for start, size in zip(self._starts[:, piece.first], sizes, strict=True):
                file.seek(int(start) * dtype.itemsize)
                yield np.fromfile(file, dtype, int(size))

    def _load(self, piece: Piece) -> Entries:
        keys = self._read(KEYS, np.dtype(np.uint64), piece)
        if piece.low == 0 and piece.high is None:
            values = self._whole(VALUES, np.float64, piece) if self._weighted else np.empty(0)
            return Entries(self._whole(KEYS, np.uint64, piece), values)
        high = np.uint64(2**64 - 1 if piece.high is None else piece.high - 1)
        masks, parts = [], []
        for part in keys:
            masks.append((part >= np.uint64(piece.low)) & (part <= high))
            parts.append(part[masks[-1]])
        kept = np.concatenate(parts)
        if not self._weighted:
            return Entries(kept, np.empty(0))
        weights = self._read(VALUES, np.dtype(np.float64), piece)
        return Entries(
            kept, np.concatenate([part[m] for part, m in zip(weights, masks, strict=True)])
        )

    def _whole(self, name: str, dtype: Any, piece: Piece) -> NDArray[Any]:
        made = np.empty(int(self._counts[:, piece.first : piece.stop].sum()), dtype)
        at = 0
        for part in self._read(name, made.dtype, piece):
            made[at : at + len(part)] = part
            at += len(part)
        return made

    def _sorted(self, piece: Piece) -> Entries:
        found = self._load(piece)
        if not self._weighted:
            found.keys.sort()
            return Entries(found.keys[: keep_distinct(found.keys)], found.values)
        # stable, so that weights are added up in the order of the source: the sums of the two
        # directions of an edge are the same to the last bit
        order = np.argsort(found.keys, kind="stable")
        keys, values = found.keys[order], found.values[order]
        n = merge_equal(keys, values, self._plan.add)
        return Entries(keys[:n], values[:n])
