"""Rows in lists by their nearest centre; a search multiplies each list with all who probe it.

faiss looks through its inverted lists one query at a time, which reads a list once per query.
Here the queries are sorted by list, so that a list is read once per block of queries and the work
is a product of matrices: about a tenth of the time at 512 columns.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal.methods.base import Progress, silent
from multimodal.rows import BLOCK_ROWS, Rows, forget_pages

# similarities to centres computed at once: 1024 x 4096 of them are 16 MB
CENTRE_QUERIES = 1024
# of one list: a tile of similarities
TILE_QUERIES, TILE_ROWS = 4096, 8192
# of a file, read before its pages are given back: 256 MB at 512 columns
MAPPED_ROWS = 2**18
# products of unit rows may differ by this with the order of additions; centres closer to each
# other than that are compared in one fixed order
DOUBT = 1e-5
FILES = ("centres", "offsets", "numbers", "vectors")


@dataclass(frozen=True)
class Plan:
    """How many lists to lay out, by k-means over how many rows of each."""

    n_lists: int
    training_rows: int
    rounds: int
    seed: int


@dataclass(frozen=True, eq=False)
class InvertedLists:
    """List l holds the places ``offsets[l] : offsets[l + 1]``.

    Attributes:
        centres: ``[L, D]`` float32, of length 1.
        offsets: ``[L + 1]`` int64.
        numbers: Row at each place ``[M]`` int64, ascending within a list.
        vectors: Its vector ``[M, D]`` float16.
    """

    centres: NDArray[np.float32]
    offsets: NDArray[np.int64]
    numbers: NDArray[np.int64]
    vectors: NDArray[np.float16]

    def candidates(
        self, queries: NDArray[np.float32], count: int, *, probes: int
    ) -> NDArray[np.int64]:
        """Up to `count` rows ``[n, count]`` near each query, best first, -1 where no more found."""
        import torch

        from multimodal.neighbour_index.compiled import keep_best

        similarity = np.full((len(queries), count), -np.inf, np.float32)
        ids = np.full((len(queries), count), -1, np.int64)
        lists = nearest_centres(queries, self.centres, min(probes, len(self.centres)))
        order = np.argsort(lists, axis=None, kind="stable")
        askers = order // lists.shape[1]
        bounds = np.searchsorted(lists.reshape(-1)[order], np.arange(len(self.centres) + 1))
        read = 0
        for number in np.flatnonzero(np.diff(bounds)):
            asking = askers[bounds[number] : bounds[number + 1]]
            for first in range(self.offsets[number], self.offsets[number + 1], TILE_ROWS):
                places = slice(first, min(first + TILE_ROWS, self.offsets[number + 1]))
                read += places.stop - places.start
                if read > MAPPED_ROWS:
                    forget_pages(self.vectors)
                    read = 0
                # a copy, as torch wants memory that may be written to
                held = torch.from_numpy(np.array(self.vectors[places])).float().T
                for start in range(0, len(asking), TILE_QUERIES):
                    tile = asking[start : start + TILE_QUERIES]
                    found = torch.from_numpy(queries[tile]) @ held
                    keep_best(found.numpy(), tile, self.numbers[places], similarity, ids)
        return ids

    def write(self, folder: Path) -> None:
        """Write the arrays; vectors that lie in `folder` already stay."""
        for name in FILES:
            array = getattr(self, name)
            path = folder / f"{name}.npy"
            if not (isinstance(array, np.memmap) and Path(str(array.filename)) == path.resolve()):
                np.save(path, array, allow_pickle=False)

    @classmethod
    def open(cls, folder: Path) -> "InvertedLists":
        """Vectors memory-mapped, the rest read."""
        centres, offsets, numbers = (
            np.load(folder / f"{name}.npy", allow_pickle=False) for name in FILES[:3]
        )
        vectors = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
        return cls(centres, offsets, numbers, vectors)


def build(
    rows: Rows,
    searched: NDArray[np.int64],
    plan: Plan,
    *,
    folder: Path | None = None,
    progress: Progress = silent,
) -> InvertedLists:
    """Lay out lists for the rows `searched` (ascending, not empty).

    Args:
        rows: Unit rows.
        searched: Those to put into lists.
        plan: See `Plan`.
        folder: Where the vectors are written, instead of being held in memory.
        progress: Told about both passes over the rows.

    Raises:
        ImportError: faiss is missing.
    """
    progress("laying out neighbour lists", 0.0)
    centres = _centres(rows, searched, plan)
    chosen = np.empty(len(searched), np.int64)
    for start in range(0, len(searched), BLOCK_ROWS):
        block = rows.gather(searched[start : start + BLOCK_ROWS])
        chosen[start : start + len(block)] = nearest_centres(block, centres, 1)[:, 0]
        progress("assigning neighbour lists", (start + len(block)) / len(searched))
    order = np.argsort(chosen, kind="stable")
    numbers = np.ascontiguousarray(searched[order])
    offsets = np.zeros(len(centres) + 1, np.int64)
    np.cumsum(np.bincount(chosen, minlength=len(centres)), out=offsets[1:])
    vectors = _space(folder, (len(numbers), rows.shape[1]))
    for start in range(0, len(numbers), BLOCK_ROWS):
        block = rows.gather(numbers[start : start + BLOCK_ROWS])
        vectors[start : start + len(block)] = block
        forget_pages(vectors)
        progress("filling neighbour lists", (start + len(block)) / len(numbers))
    return InvertedLists(centres, offsets, numbers, vectors)


def _space(folder: Path | None, shape: tuple[int, int]) -> NDArray[np.float16]:
    if folder is None:
        return np.empty(shape, np.float16)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / "vectors.npy"
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)


def _centres(rows: Rows, searched: NDArray[np.int64], plan: Plan) -> NDArray[np.float32]:
    """k-means by direction over a sample, on one thread so that it has one result."""
    if find_spec("faiss") is None:
        raise ImportError("inverted lists need faiss: pip install faiss-cpu")
    import faiss

    generator = np.random.default_rng(plan.seed)
    size = min(len(searched), plan.n_lists * plan.training_rows)
    sample = np.sort(generator.choice(searched, size, replace=False))
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        clustering = faiss.Kmeans(
            rows.shape[1],
            min(plan.n_lists, size),
            niter=plan.rounds,
            seed=plan.seed,
            spherical=True,
            min_points_per_centroid=1,
            max_points_per_centroid=plan.training_rows,
        )
        clustering.train(rows.gather(sample))
    finally:
        faiss.omp_set_num_threads(before)
    return np.asarray(clustering.centroids, np.float32)


def nearest_centres(
    queries: NDArray[np.float32], centres: NDArray[np.float32], count: int
) -> NDArray[np.int64]:
    """The `count` centres nearest to each query ``[n, count]``, the same in every search.

    Where the last one taken and the first one left are too close to call, both sides of the line
    are compared again, in one fixed order of additions.
    """
    import torch

    nearest = np.empty((len(queries), count), np.int64)
    held = torch.from_numpy(np.ascontiguousarray(centres)).T
    for start in range(0, len(queries), CENTRE_QUERIES):
        block = queries[start : start + CENTRE_QUERIES]
        similarity = torch.from_numpy(np.require(block, requirements=["C", "W"])) @ held
        values, places = similarity.topk(min(count + 1, len(centres)), dim=1)
        nearest[start : start + len(block)] = places[:, :count].numpy()
        if count < len(centres):
            close = (values[:, count - 1] - values[:, count] < DOUBT).nonzero()[:, 0].numpy()
            again = np.einsum("nd,ld->nl", block[close], centres, optimize=False)
            nearest[start + close] = np.argsort(-again, axis=1, kind="stable")[:, :count]
    return nearest
