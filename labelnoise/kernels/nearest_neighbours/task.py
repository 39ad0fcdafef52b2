"""The checked arguments of one search, as every backend receives them."""

from dataclasses import dataclass

import torch
from torch import Tensor

ALLOWED = ("all", "same_label", "different_label")


@dataclass(frozen=True, eq=False)
class Search:
    """One search: see `labelnoise.kernels.nearest_neighbours` for the fields.

    `earlier` allows only candidates whose number is below the query's; `tiled` alone serves it,
    for searches inside groups.
    """

    queries: Tensor
    candidates: Tensor
    k: int
    allowed: str
    query_labels: Tensor
    candidate_labels: Tensor
    exclude_self: bool
    normalise: bool
    earlier: bool = False


def forbid(scores: Tensor, search: Search, first_query: int, first_candidate: int) -> None:
    """Write -inf over the pairs that `search` does not allow, in one tile of scores.

    Args:
        scores: ``[R, W]``, the tile whose corner is (`first_query`, `first_candidate`). Modified.
        search: Its labels and rules.
        first_query: Query of row 0.
        first_candidate: Candidate of column 0.
    """
    rows, columns = scores.shape
    if search.allowed != "all":
        mine = search.query_labels[first_query : first_query + rows, None]
        theirs = search.candidate_labels[None, first_candidate : first_candidate + columns]
        unwanted = mine != theirs if search.allowed == "same_label" else mine == theirs
        scores.masked_fill_(unwanted, -torch.inf)
        # whole lines, so that the common case of few unknown labels costs next to nothing
        scores[(mine[:, 0] < 0).nonzero()[:, 0]] = -torch.inf
        scores[:, (theirs[0] < 0).nonzero()[:, 0]] = -torch.inf
    if search.earlier and first_candidate + columns > first_query:
        query = torch.arange(first_query, first_query + rows, device=scores.device)
        candidate = torch.arange(first_candidate, first_candidate + columns, device=scores.device)
        scores.masked_fill_(candidate[None, :] >= query[:, None], -torch.inf)
    elif search.exclude_self:
        start = max(first_query, first_candidate)
        stop = min(first_query + rows, first_candidate + columns)
        own = torch.arange(start, max(start, stop), device=scores.device)
        scores[own - first_query, own - first_candidate] = -torch.inf
