"""PyTorch on any device: small groups share a tile, large ones are cut into many."""

from collections.abc import Iterator

import torch
from torch import Tensor

from labelnoise.kernels.grouped_neighbours.task import GroupSearch
from labelnoise.kernels.nearest_neighbours import tiled
from labelnoise.kernels.nearest_neighbours.task import Search

# rows of neighbouring groups multiplied in one go: more wastes products between groups, fewer
# leave the cost of a call uncovered
PACKED_ROWS = 256


def grouped_neighbours(search: GroupSearch) -> tuple[Tensor, Tensor]:
    """See `labelnoise.kernels.grouped_neighbours`."""
    shape = len(search.queries), search.k
    scores = search.rows.new_full(shape, -torch.inf, dtype=torch.float32)
    ids = search.rows.new_full(shape, -1, dtype=torch.int64)
    bounds = search.offsets.tolist()
    groups = search.row_groups
    for first, last in _packs(bounds):
        rows = slice(bounds[first], bounds[last])
        if rows.start == rows.stop:
            continue
        mine = rows if search.own else slice(first, last)
        alone = last - first == 1
        found, local = tiled.nearest_neighbours(
            Search(
                queries=search.queries[mine],
                candidates=search.rows[rows],
                k=search.k,
                allowed="all" if alone else "same_label",
                query_labels=groups[rows] if search.own else torch.arange(first, last).to(groups),
                candidate_labels=groups[rows],
                exclude_self=search.own,
                normalise=search.normalise,
                earlier=search.earlier,
            )
        )
        scores[mine] = found
        ids[mine] = torch.where(local < 0, -1, local + rows.start)
    return scores, ids


def _packs(bounds: list[int]) -> Iterator[tuple[int, int]]:
    """Runs of groups, ``first .. last - 1``, of up to `PACKED_ROWS` rows, or one larger group."""
    first = 0
    for last in range(1, len(bounds)):
        at_end = last + 1 == len(bounds)
        if at_end or bounds[last + 1] - bounds[first] > PACKED_ROWS:
            yield first, last
            first = last
