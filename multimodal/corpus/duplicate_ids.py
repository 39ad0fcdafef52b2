"""Which rows of a corpus repeat the id of an earlier row: exact, in 8 bytes a row plus sorting."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# ids of one shard, or how to get them
Ids = Sequence[str] | NDArray[Any] | Callable[[], Sequence[str] | NDArray[Any]]


def mark_duplicates(shards: Sequence[Ids]) -> list[NDArray[np.bool_]]:
    """For each shard, which of its ids stand earlier in the corpus; the first one is no duplicate.

    Ids are hashed to 64 bits; only rows whose hash occurs twice are read again and compared as
    text, so the answer is exact. About 40 bytes per row are held at the peak, never all ids.

    Args:
        shards: Ids of each shard in order: a sequence (pyarrow arrays too), or a function that
            reads them, called at most twice.

    Returns:
        A mask ``[n_i]`` per shard.

    Raises:
        ValueError: A shard has another number of ids when read again.

    Example:
        >>> [mask.tolist() for mask in mark_duplicates([["a", "b", "a"], lambda: ["b", "c"]])]
        [[False, False, True], [True, False]]
    """
    hashes = [_hashed(_read(ids)) for ids in shards]
    sizes = [len(part) for part in hashes]
    starts = np.cumsum([0, *sizes])
    suspects = _rows_with_company(np.concatenate([*hashes, np.empty(0, np.uint64)]))
    del hashes
    repeats = np.zeros(starts[-1], dtype=np.bool_)
    repeats[suspects[_repeated(shards, sizes, starts, suspects)]] = True
    return np.split(repeats, starts[1:-1]) if shards else []


def _rows_with_company(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Rows whose hash another row has too, ascending."""
    if not len(hashes):
        return np.empty(0, np.int64)
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    same = np.concatenate([[False], ordered[1:] == ordered[:-1], [False]])
    return np.sort(order[same[:-1] | same[1:]])


def _repeated(
    shards: Sequence[Ids],
    sizes: Sequence[int],
    starts: NDArray[np.int64],
    suspects: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Which of the suspects repeat the text of one before them."""
    import pandas as pd

    cuts = np.searchsorted(suspects, starts)
    texts = []
    for ids, size, start, first, last in zip(
        shards, sizes, starts[:-1], cuts[:-1], cuts[1:], strict=True
    ):
        if last > first:
            read = _read(ids)
            if len(read) != size:
                raise ValueError(f"a shard had {size} ids and now has {len(read)}")
            texts.append(read[suspects[first:last] - start])
    joined = np.concatenate([*texts, np.empty(0, object)])
    return pd.Series(joined, dtype=object).duplicated().to_numpy()


def _read(ids: Ids) -> NDArray[Any]:
    found = ids() if callable(ids) else ids
    if hasattr(found, "to_pylist"):  # pyarrow
        found = found.to_pylist()
    return np.asarray(found, dtype=object)


def _hashed(ids: NDArray[Any]) -> NDArray[np.uint64]:
    from pandas.util import hash_array

    return hash_array(ids, categorize=False)
