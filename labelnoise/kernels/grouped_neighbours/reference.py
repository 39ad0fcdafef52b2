"""What the result is: one group after the other, every score in float64. For tests."""

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from labelnoise.kernels.grouped_neighbours.task import GroupSearch


def grouped_neighbours(search: GroupSearch) -> tuple[Tensor, Tensor]:
    """See `labelnoise.kernels.grouped_neighbours`."""
    queries, rows = search.queries.double(), search.rows.double()
    if search.normalise:
        # no floor under the length: a row of zeros is the only one left as it is
        queries, rows = normalize(queries, eps=1e-300), normalize(rows, eps=1e-300)
    shape = len(queries), search.k
    scores = rows.new_full(shape, -torch.inf, dtype=torch.float32)
    ids = rows.new_full(shape, -1, dtype=torch.int64)
    for group, (start, stop) in enumerate(pairwise(search.offsets.tolist())):
        mine = slice(start, stop) if search.own else slice(group, group + 1)
        score = queries[mine] @ rows[start:stop].T
        if search.own:
            score.fill_diagonal_(-torch.inf)
        if search.earlier:
            score.masked_fill_(torch.ones_like(score).triu().bool(), -torch.inf)
        score, column = score.sort(dim=1, descending=True, stable=True)
        column = (column + start).masked_fill(score == -torch.inf, -1)
        missing = max(0, search.k - (stop - start))
        scores[mine] = pad(score[:, : search.k], (0, missing), value=-torch.inf).float()
        ids[mine] = pad(column[:, : search.k], (0, missing), value=-1)
    return scores, ids
