"""The nearest rows of every row by cosine: exact up to a size, from inverted lists above it.

The answer depends neither on how rows are cut into searches nor on the number of threads: what a
search finds is measured again in one fixed order of additions and sorted by that, and rows that are
equal bit by bit are searched as one.
"""

from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from multimodal.methods.base import Progress, silent
from multimodal.neighbour_index import flat, inverted_lists
from multimodal.neighbour_index.equal_rows import EqualRows, find_equal_rows
from multimodal.neighbour_index.files import read_header, remove_header, write_header
from multimodal.neighbour_index.ranking import rank
from multimodal.rows import Rows

METHODS = ("auto", "flat", "ivf")
# rows of one search: bounds what it holds to about 200 MB at 512 columns
SEARCH_ROWS = 32768
# candidates beyond those asked for: the search scores in half precision or in any order of
# additions, so its last places may be taken by the wrong one of two nearly equal rows
SPARE = 8


class Neighbours(NamedTuple):
    """Of each row, best first: `ids` ``[N, k]`` int64, -1 where there is none, and the cosines
    `similarity` ``[N, k]`` float32, -inf there.
    """

    ids: NDArray[np.int64]
    similarity: NDArray[np.float32]


@dataclass(frozen=True)
class NeighbourSettings:
    """How neighbours are looked for.

    Attributes:
        flat_up_to: Rows up to which "auto" compares all with all. 100,000 of width 512 take about
            100 s on one core, and every doubling four times that.
        lists: Inverted lists; None: ``2 sqrt(N)``, where finding a list and searching it cost
            about as much.
        probes: Lists searched per row. 32 find 96 % of the ten nearest of 25,000 CIFAR images,
            16 find 88 %, 48 find 98 %; what is missed is replaced by the next nearest.
        training_rows: Rows per list that the lists are laid out by.
        rounds: Of k-means.
        seed: Of the rows that k-means sees and starts from.
    """

    flat_up_to: int = 100_000
    lists: int | None = None
    probes: int = 32
    training_rows: int = 32
    rounds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"flat_up_to": 0, "lists": 1, "probes": 1, "training_rows": 1, "rounds": 1}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise ValueError(f"{name} must be at least {low}, got {value}")


DEFAULTS = NeighbourSettings()


def find_neighbours(
    rows: Rows,
    k: int,
    *,
    method: str = "auto",
    settings: NeighbourSettings = DEFAULTS,
    keys: NDArray[np.uint64] | None = None,
    progress: Progress = silent,
) -> Neighbours:
    """The `k` rows with the largest cosine to each row, the row itself left out.

    Args:
        rows: Unit rows ``[N, D]``; a row of zeros (nothing to compare) has and is no neighbour.
        k: Neighbours per row, at least 1. Where there are fewer, -1 and -inf fill the row.
        method: "flat" compares all rows with all, "ivf" a row with those of the nearest inverted
            lists, "auto" chooses by size.
        settings: See `NeighbourSettings`.
        keys: ``[N]`` of `multimodal.stable_order.stable_keys`, or None.
        progress: Told about building and searching.

    Returns:
        See `Neighbours`. Equal cosines: the smaller key first, so that numbering changes nothing;
        without keys the lower row. Beside it, memory is bounded
        whatever N, but for about 20 bytes per row and, for "ivf", 2 bytes per number in `rows`.

    Raises:
        ValueError: `k` or `method` is outside the ranges above.
        ImportError: "ivf" without faiss.

    Example:
        >>> rows = Rows([np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)])
        >>> find_neighbours(rows, 1).ids.tolist()
        [[1], [0], [1]]
    """
    index = build_index(rows, method=method, settings=settings, keys=keys, progress=progress)
    found = Neighbours(np.empty((len(rows), k), np.int64), np.empty((len(rows), k), np.float32))
    for start, block in rows.blocks(SEARCH_ROWS):
        stop = start + len(block)
        part = index.search(block, first_row=start, k=k)
        found.ids[start:stop], found.similarity[start:stop] = part
        progress("finding neighbours", stop / len(rows))
    return found


def build_index(
    rows: Rows,
    *,
    method: str = "auto",
    settings: NeighbourSettings = DEFAULTS,
    keys: NDArray[np.uint64] | None = None,
    folder: Path | None = None,
    progress: Progress = silent,
) -> "NeighbourIndex":
    """What searches of any part of the rows share.

    Args:
        rows: See `find_neighbours`; the index keeps reading from it.
        method: See `find_neighbours`.
        settings: See `NeighbourSettings`.
        keys: See `find_neighbours`; not written.
        folder: Where the index is written at once, as `NeighbourIndex.write` would: its copy of
            the rows for "ivf" then never is in memory.
        progress: Told about the rows done.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, got {method!r}")
    if method == "auto":
        small = len(rows) <= settings.flat_up_to
        method = "flat" if small or find_spec("faiss") is None else "ivf"
    if folder is not None:
        remove_header(folder)
    equal = find_equal_rows(rows, keys)
    lists = None
    if method == "ivf" and len(equal.first):
        plan = inverted_lists.Plan(
            n_lists=settings.lists or max(1, round(2 * len(equal.first) ** 0.5)),
            training_rows=settings.training_rows,
            rounds=settings.rounds,
            seed=settings.seed,
        )
        lists = inverted_lists.build(rows, equal.first, plan, folder=folder, progress=progress)
    index = NeighbourIndex(rows, method, settings, equal, lists, keys)
    if folder is not None:
        index.write(folder)
    return index


@dataclass(frozen=True, eq=False)
class NeighbourIndex:
    """Answers for any run of rows; made by `build_index` or read by `open`.

    Attributes:
        rows: What is searched.
        method: "flat" or "ivf".
        settings: It was built with.
        equal: Which rows are the same.
        lists: The inverted lists; None for "flat".
        keys: Who comes first of equally near rows; None: the lower row.
    """

    rows: Rows
    method: str
    settings: NeighbourSettings
    equal: EqualRows
    lists: inverted_lists.InvertedLists | None
    keys: NDArray[np.uint64] | None = None

    def search(self, queries: NDArray[np.float32], *, first_row: int, k: int) -> Neighbours:
        """Neighbours of the rows from `first_row` on.

        Args:
            queries: ``rows.read(first_row, first_row + n)``, ``[n, D]``.
            first_row: Number of the first of them.
            k: See `find_neighbours`.

        Raises:
            ValueError: `k` is below 1, or `queries` do not lie in the rows.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        n_rows, width = self.rows.shape
        if queries.shape[1:] != (width,) or not 0 <= first_row <= n_rows - len(queries):
            raise ValueError(
                f"queries must be rows of the {n_rows} x {width} searched,"
                f" got {list(queries.shape)} from row {first_row}"
            )
        found = Neighbours(
            np.full((len(queries), k), -1, np.int64),
            np.full((len(queries), k), -np.inf, np.float32),
        )
        for start in range(0, len(queries), SEARCH_ROWS):
            block = queries[start : start + SEARCH_ROWS]
            able = np.flatnonzero(block.any(axis=1))
            numbers = first_row + start + able
            block = np.ascontiguousarray(block[able], dtype=np.float32)
            candidates = self._candidates(block, k + 1 + SPARE)
            ids, similarity = rank(
                self.rows, self.equal, block, numbers, candidates, k, keys=self.keys
            )
            found.ids[start + able], found.similarity[start + able] = ids, similarity
        return found

    def _candidates(self, queries: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        if self.lists is None:
            return flat.candidates(self.rows, self.equal.first, queries, count)
        return self.lists.candidates(queries, count, probes=self.settings.probes)

    def write(self, folder: Path) -> None:
        """Write all but the rows into `folder`; the header, which makes it complete, last."""
        folder.mkdir(parents=True, exist_ok=True)
        remove_header(folder)
        self.equal.write(folder)
        if self.lists is not None:
            self.lists.write(folder)
        write_header(
            folder,
            {
                "method": self.method,
                "rows": list(self.rows.shape),
                "settings": asdict(self.settings),
                "has_lists": self.lists is not None,
            },
        )

    @classmethod
    def open(
        cls, folder: Path, rows: Rows, *, keys: NDArray[np.uint64] | None = None
    ) -> "NeighbourIndex":
        """The index in `folder`, memory-mapped.

        Args:
            folder: Written by `write`.
            rows: The rows it was built from.
            keys: The keys it was built with.

        Raises:
            FileNotFoundError: No complete index is there.
            ValueError: It belongs to rows of another shape.
        """
        header: dict[str, Any] = read_header(folder)
        if tuple(header["rows"]) != rows.shape:
            raise ValueError(
                f"the index in {folder} is of {header['rows']} rows and columns,"
                f" got {list(rows.shape)}"
            )
        return cls(
            rows,
            header["method"],
            NeighbourSettings(**header["settings"]),
            EqualRows.open(folder),
            inverted_lists.InvertedLists.open(folder) if header["has_lists"] else None,
            keys,
        )
