"""faiss on CPU: its exact search over blocks of candidates, ties put in our order afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import faiss
import torch
from torch import Tensor

from labelnoise.kernels._ranking import EMPTY, largest, pack, unpack
from labelnoise.kernels.nearest_neighbours.task import Search
from labelnoise.kernels.nearest_neighbours.tiled import scaled_rows

QUERY_ROWS = 4096
# scaled to length 1 once, then searched by every block of queries: 64 MB at 512 columns
CANDIDATE_ROWS = 32768


def nearest_neighbours(search: Search) -> tuple[Tensor, Tensor]:
    """See `labelnoise.kernels.nearest_neighbours`."""
    best = torch.full((len(search.queries), search.k), EMPTY)
    with _threads(torch.get_num_threads()):
        for first in range(0, len(search.candidates), CANDIDATE_ROWS):
            candidates = scaled_rows(search.candidates, first, CANDIDATE_ROWS, search.normalise)
            for start in range(0, len(search.queries), QUERY_ROWS):
                queries = scaled_rows(search.queries, start, QUERY_ROWS, search.normalise)
                # column of each query itself, outside this block mostly
                own = torch.arange(start, start + len(queries)) - first
                found = _best_keys(
                    queries, candidates, search.k, own if search.exclude_self else None
                )
                # the low half of a key counts columns down: subtracting shifts them up
                found = torch.where(found == EMPTY, EMPTY, found - first)
                kept = best[start : start + len(queries)]
                kept.copy_(torch.cat([kept, found], dim=1).topk(search.k, dim=1).values)
    return unpack(best)


def _best_keys(queries: Tensor, candidates: Tensor, k: int, own: Tensor | None) -> Tensor:
    """Keys of up to `k` best columns of each query, best first where that matters not."""
    # one more than wanted shows whether faiss, which breaks ties as it likes, had a choice
    wanted = k + 1 + (own is not None)
    if wanted > len(candidates):
        wanted = len(candidates)
    scores, columns = (
        torch.from_numpy(part)
        for part in faiss.knn(
            queries.numpy(), candidates.numpy(), wanted, metric=faiss.METRIC_INNER_PRODUCT
        )
    )
    keys = pack(scores, columns)
    if own is not None:
        keys.masked_fill_(columns == own[:, None], EMPTY)
    keys = keys.sort(dim=1, descending=True).values
    if wanted < len(candidates):
        # of k and more, equal to the last one found: a lower column may have been passed over
        last = scores[:, -1:]
        doubtful = (unpack(keys[:, k - 1])[0] == last[:, 0]).nonzero()[:, 0]
        if len(doubtful):
            every = queries[doubtful] @ candidates.T
            if own is not None:
                here = (own[doubtful] >= 0) & (own[doubtful] < len(candidates))
                every[here.nonzero()[:, 0], own[doubtful][here]] = -torch.inf
            keys[doubtful, :k] = largest(every, k)
    return keys[:, :k]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """faiss on `count` threads; it has its own setting, for the whole process."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
