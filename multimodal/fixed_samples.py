"""Samples that depend on what a row is called, not on where it lies."""

import numpy as np
from numpy.typing import NDArray

from multimodal.probe.folds import row_keys


def fixed_sample(
    ids: NDArray[np.str_], size: int, *, usable: NDArray[np.bool_] | None = None, seed: int = 0
) -> NDArray[np.int64]:
    """Rows of a sample that stays the same however the rows are numbered or cut into shards.

    The rows whose ids have the smallest hash, in the order of the hash.

    Args:
        ids: ``[N]``, unique.
        size: Rows wanted; fewer come where fewer are usable.
        usable: Which rows ``[N]`` may be chosen; all by default.
        seed: Another seed, another sample.

    Example:
        >>> names = np.array(["a", "b", "c", "d"])
        >>> first, turned = fixed_sample(names, 2), fixed_sample(names[::-1], 2)
        >>> bool((names[first] == names[::-1][turned]).all())
        True
    """
    rows = np.arange(len(ids)) if usable is None else np.flatnonzero(usable)
    order = np.lexsort((ids[rows], row_keys(ids[rows], seed=seed)))[:size]
    return rows[order].astype(np.int64)
