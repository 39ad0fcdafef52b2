"""PyTorch on any device: small groups of like size are multiplied at once, large ones in tiles."""

from collections.abc import Iterator

import torch
from torch import Tensor

from labelnoise.kernels._ranking import EMPTY, largest, unpack
from labelnoise.kernels.grouped_neighbours.task import GroupSearch
from labelnoise.kernels.nearest_neighbours import tiled
from labelnoise.kernels.nearest_neighbours.task import Search

# rows up to which a group is padded and multiplied together with others
SMALL_ROWS = 256
# sizes that are padded to the same one: more wastes products, less leaves calls uncovered
SIZE_STEP = 8
# numbers of all the padded groups of one call: 16 MB of float32
BATCH_NUMBERS = 2**22


def grouped_neighbours(search: GroupSearch) -> tuple[Tensor, Tensor]:
    """See `labelnoise.kernels.grouped_neighbours`."""
    shape = len(search.queries), search.k
    scores = search.rows.new_full(shape, -torch.inf, dtype=torch.float32)
    ids = search.rows.new_full(shape, -1, dtype=torch.int64)
    sizes = search.offsets.diff()
    for groups, padded in _batches(sizes, search.rows.shape[1]):
        queries, found = _small(search, groups, sizes[groups], padded)
        scores[queries], ids[queries] = unpack(found)
    for group in (sizes > SMALL_ROWS).nonzero()[:, 0].tolist():
        rows = slice(*search.offsets[group : group + 2].tolist())
        mine = rows if search.own else slice(group, group + 1)
        scores[mine], places = _large(search, mine, rows)
        ids[mine] = torch.where(places < 0, -1, places + rows.start)
    return scores, ids


def _batches(sizes: Tensor, width: int) -> Iterator[tuple[Tensor, int]]:
    """Small groups that have members, and the number of rows that each is padded to."""
    padded = (sizes + SIZE_STEP - 1) // SIZE_STEP * SIZE_STEP
    small = ((sizes > 0) & (sizes <= SMALL_ROWS)).nonzero()[:, 0]
    for size in padded[small].unique().tolist():
        count = max(1, BATCH_NUMBERS // (size * max(size, width)))
        for groups in small[padded[small] == size].split(count):
            yield groups, size


def _small(
    search: GroupSearch, groups: Tensor, sizes: Tensor, padded: int
) -> tuple[Tensor, Tensor]:
    """Queries of these groups, and the keys of their best rows ``[q, k]``."""
    slot = torch.arange(padded, device=groups.device)
    real = slot < sizes[:, None]
    place = search.offsets[groups, None] + slot
    members = _scaled(search, search.rows[place.where(real, search.offsets[groups, None])])
    # [B, Q, P]: Q is P, or 1 for a query of its own
    asking = members if search.own else _scaled(search, search.queries[groups])[:, None]
    score = asking @ members.mT
    score.masked_fill_(~real[:, None, :], -torch.inf)
    if search.earlier:
        score.masked_fill_(slot >= slot[:, None], -torch.inf)
    elif search.own:
        score.masked_fill_(slot == slot[:, None], -torch.inf)
    wanted = real if search.own else real[:, :1]
    keys = largest(score[wanted], min(search.k, padded))
    # the low half of a key counts columns down: subtracting shifts them up
    start = search.offsets[groups, None].expand(wanted.shape)[wanted]
    keys = torch.where(keys == EMPTY, EMPTY, keys - start[:, None])
    missing = search.k - keys.shape[1]
    keys = torch.nn.functional.pad(keys, (0, missing), value=EMPTY)
    return (place[wanted] if search.own else groups), keys


def _large(search: GroupSearch, mine: slice, rows: slice) -> tuple[Tensor, Tensor]:
    none = search.offsets.new_empty(0)
    return tiled.nearest_neighbours(
        Search(
            queries=search.queries[mine],
            candidates=search.rows[rows],
            k=search.k,
            allowed="all",
            query_labels=none,
            candidate_labels=none,
            exclude_self=search.own,
            normalise=search.normalise,
            earlier=search.earlier,
        )
    )


def _scaled(search: GroupSearch, rows: Tensor) -> Tensor:
    rows = rows.float()
    if not search.normalise:
        return rows
    return torch.nn.functional.normalize(rows, dim=-1, eps=torch.finfo(torch.float32).tiny)
