"""What the result is: every score in float64, masked and stably sorted. For tests."""

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from labelnoise.kernels.nearest_neighbours.task import Search, forbid


def nearest_neighbours(search: Search) -> tuple[Tensor, Tensor]:
    """See `labelnoise.kernels.nearest_neighbours`."""
    queries, candidates = search.queries.double(), search.candidates.double()
    if search.normalise:
        # no floor under the length: a row of zeros is the only one left as it is
        queries, candidates = normalize(queries, eps=1e-300), normalize(candidates, eps=1e-300)
    scores = queries @ candidates.T
    forbid(scores, search, 0, 0)
    scores, ids = scores.sort(dim=1, descending=True, stable=True)
    ids = ids.masked_fill(scores == -torch.inf, -1)
    missing = max(0, search.k - len(candidates))
    scores = pad(scores[:, : search.k], (0, missing), value=-torch.inf)
    return scores.float(), pad(ids[:, : search.k], (0, missing), value=-1)
