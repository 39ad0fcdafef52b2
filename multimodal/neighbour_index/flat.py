"""All rows compared with all, a block of them in memory at a time."""

import numpy as np
from numpy.typing import NDArray

from multimodal.rows import Rows

# of float32 at 512 columns 64 MB
CANDIDATE_ROWS = 32768


def candidates(
    rows: Rows, searched: NDArray[np.int64], queries: NDArray[np.float32], count: int
) -> NDArray[np.int64]:
    """The `count` rows nearest to each query.

    Args:
        rows: Unit rows.
        searched: Those to look among, ascending ``[M]``.
        queries: ``[n, D]``.
        count: At least 1.

    Returns:
        ``[n, count]`` rows, -1 where there are no more.
    """
    import torch

    from labelnoise.kernels._ranking import EMPTY, pack, unpack
    from labelnoise.kernels.nearest_neighbours import nearest_neighbours

    asking = torch.from_numpy(np.require(queries, requirements=["C", "W"]))
    best = torch.full((len(queries), count), EMPTY)
    for start, block in rows.blocks(CANDIDATE_ROWS):
        begin, end = np.searchsorted(searched, [start, start + len(block)])
        mine = np.array(searched[begin:end])  # torch wants memory that may be written to
        if len(mine) == 0 or len(queries) == 0:
            continue
        block = block[mine - start] if len(mine) < len(block) else block
        similarity, places = nearest_neighbours(
            asking,
            count,
            candidates=torch.from_numpy(np.require(block, requirements=["C", "W"])),
            exclude_self=False,
            normalise=False,
        )
        keys = pack(similarity, torch.from_numpy(mine)[places.clamp(min=0)])
        keys = keys.masked_fill(places < 0, EMPTY)
        best = torch.cat([best, keys], dim=1).topk(count, dim=1).values
    return unpack(best)[1].numpy()
