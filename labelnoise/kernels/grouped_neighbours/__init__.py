"""The k nearest rows inside each of many groups of any size, without an n x n matrix."""

import torch
from torch import Tensor

from labelnoise.kernels._dispatch import Backend, choose, triton_obstacle
from labelnoise.kernels.grouped_neighbours.task import GroupSearch

__all__ = ["BACKENDS", "FUSED_K", "grouped_neighbours"]

# fastest first: "auto" takes the first one without an obstacle
BACKENDS = {
    "fused": Backend(f"{__name__}.fused", obstacle=triton_obstacle),
    "tiled": Backend(f"{__name__}.tiled"),
    "reference": Backend(f"{__name__}.reference"),
}
# the fused backend holds this many keys a row in registers
FUSED_K = 64


def grouped_neighbours(
    rows: Tensor,
    offsets: Tensor,
    k: int,
    *,
    queries: Tensor | None = None,
    earlier: bool = False,
    normalise: bool = True,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """The `k` rows of the same group with the largest similarity, best first, for every row.

    Exact. Groups may be empty or hold nearly everything: work is cut into tiles along the rows,
    not into groups. With `queries`, one per group, the best rows of each group for its query.

    Args:
        rows: Sorted by group ``[N, D]``, finite, any float dtype, ``N < 2**32``.
        offsets: ``[G + 1]`` int64, ascending from 0 to N: group g is
            ``rows[offsets[g] : offsets[g + 1]]``.
        k: Neighbours per query, at least 1. More than a group holds is fine.
        queries: One row per group ``[G, D]``, dtype and device of `rows`. None: the rows
            themselves, each leaving itself out.
        earlier: Only rows before the query's own, as the removal of near-duplicates wants
            (SemDeDup: a row goes when an earlier one is too similar). Not with `queries`.
        normalise: Scale rows to length 1, for cosine similarity; a row of zeros stays as it is.
        backend: "auto", or one of `BACKENDS` to insist on it. "fused" serves `k` up to 64.

    Returns:
        Scores ``[Q, k]`` float32, descending, -inf where the group has no more; and ids
        ``[Q, k]`` int64, numbers in `rows`, -1 where there is none. Of equal scores the lower
        number comes first.

    Raises:
        ValueError: An argument is outside the ranges above, or shapes, devices, dtypes disagree.
        RuntimeError: The `backend` asked for cannot run here.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [0.9, 0.1], [1.0, 0.0]])
        >>> grouped_neighbours(rows, torch.tensor([0, 2, 3]), 1)[1].flatten().tolist()
        [1, 0, -1]
    """
    own = queries is None
    search = GroupSearch(
        queries=rows if queries is None else queries,
        rows=rows,
        offsets=offsets,
        k=k,
        own=own,
        earlier=earlier,
        normalise=normalise,
    )
    _check(search)
    too_long = {"fused": f"k is {k}, it serves up to {FUSED_K}"} if k > FUSED_K else {}
    return choose(BACKENDS, backend, rows, obstacles=too_long).grouped_neighbours(search)


def _check(search: GroupSearch) -> None:
    rows, queries, offsets = search.rows, search.queries, search.offsets
    if rows.ndim != 2 or queries.ndim != 2 or rows.shape[1] != queries.shape[1]:
        raise ValueError(
            "want rows [N, D] and queries [G, D], "
            f"got {tuple(rows.shape)} and {tuple(queries.shape)}"
        )
    if rows.device != queries.device or rows.dtype != queries.dtype:
        raise ValueError("rows and queries differ in device or dtype")
    if not rows.is_floating_point():
        raise ValueError(f"rows must be floating point, got {rows.dtype}")
    if search.k < 1:
        raise ValueError(f"k must be at least 1, got {search.k}")
    if offsets.ndim != 1 or len(offsets) == 0 or offsets.dtype != torch.int64:
        raise ValueError(
            f"offsets must be int64 [G + 1], got {offsets.dtype} {list(offsets.shape)}"
        )
    if offsets.device != rows.device:
        raise ValueError(f"offsets are on {offsets.device}, rows on {rows.device}")
    if offsets[0] != 0 or offsets[-1] != len(rows) or bool((offsets.diff() < 0).any()):
        raise ValueError(f"offsets must ascend from 0 to {len(rows)}")
    if not search.own and len(queries) != len(offsets) - 1:
        raise ValueError(f"queries must be one per group, {len(offsets) - 1}, got {len(queries)}")
    if search.earlier and not search.own:
        raise ValueError("earlier compares rows with rows: give it no queries")
    for name, features in {"rows": rows, "queries": queries}.items():
        # smallest and largest carry a NaN along and, unlike isfinite, need no copy
        if features.numel() and not torch.stack(torch.aminmax(features)).isfinite().all():
            raise ValueError(f"{name} must be finite, found NaN or infinity")
