"""PyTorch on any device: `QUERY_ROWS` x `CANDIDATE_ROWS` scores live at once, whatever N and M."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from labelnoise.kernels._ranking import EMPTY, largest, unpack
from labelnoise.kernels.nearest_neighbours.task import Search, forbid

QUERY_ROWS = 1024
CANDIDATE_ROWS = 4096


def nearest_neighbours(search: Search) -> tuple[Tensor, Tensor]:
    """See `labelnoise.kernels.nearest_neighbours`."""
    shape = len(search.queries), search.k
    scores = search.queries.new_empty(shape, dtype=torch.float32)
    ids = search.queries.new_empty(shape, dtype=torch.int64)
    for start in range(0, len(search.queries), QUERY_ROWS):
        block = slice(start, start + QUERY_ROWS)
        scores[block], ids[block] = unpack(_best_keys(search, start))
    return scores, ids


def _best_keys(search: Search, first_query: int) -> Tensor:
    """Keys ``[R, k]``, best first, of the block of queries that starts at `first_query`."""
    queries = scaled_rows(search.queries, first_query, QUERY_ROWS, search.normalise)
    best = torch.full((len(queries), search.k), EMPTY, device=queries.device)
    n_candidates = len(search.candidates)
    if search.earlier:
        n_candidates = min(n_candidates, first_query + len(queries))
    for first in range(0, n_candidates, CANDIDATE_ROWS):
        scores = queries @ scaled_rows(search.candidates, first, CANDIDATE_ROWS, search.normalise).T
        forbid(scores, search, first_query, first)
        # later candidates lose ties, so only a strictly better one can enter
        worst_kept, _ = unpack(best[:, -1])
        rows = (scores.amax(dim=1) > worst_kept).nonzero()[:, 0]
        if len(rows) < len(queries):
            scores = scores[rows]
        if len(rows):
            found = largest(scores, min(search.k, scores.shape[1]))
            # the low half of a key counts columns down: subtracting shifts them up
            found = torch.where(found == EMPTY, EMPTY, found - first)
            best[rows] = torch.cat([best[rows], found], dim=1).topk(search.k, dim=1).values
    return best


def scaled_rows(features: Tensor, start: int, count: int, normalise: bool) -> Tensor:
    """Float32 rows ``start .. start + count - 1``, of length 1 where `normalise`."""
    block = features[start : start + count].float()
    # any positive floor would bend very short rows; this one only guards a row of zeros
    return normalize(block, eps=torch.finfo(torch.float32).tiny) if normalise else block
