"""Re-rank neighbours by the overlap of their k-reciprocal neighbourhoods (Jaccard distance)."""

from importlib.util import find_spec

import torch
from torch import Tensor

from labelnoise.kernels._dispatch import Backend, choose
from labelnoise.kernels.reciprocal_jaccard.settings import Groups, Lists, Reranked, Reranking

__all__ = [
    "BACKENDS",
    "DISTANCE_SCALES",
    "Reranked",
    "Reranking",
    "reciprocal_jaccard",
    "reciprocal_query_distance",
]

DISTANCE_SCALES = ("fixed", "column_max")
# of squared distances between rows of length 1
LARGEST_SQUARED = 4.0
DEFAULTS = Reranking()


def _numba_obstacle(tensor: Tensor) -> str | None:
    if tensor.device.type != "cpu":
        return f"the tensor is on {tensor.device}, not on cpu"
    return None if find_spec("numba") else "numba is not installed"


# fastest first: "auto" takes the first one without an obstacle
BACKENDS = {
    "compiled": Backend(f"{__name__}.compiled", obstacle=_numba_obstacle),
    "reference": Backend(f"{__name__}.reference"),
}


def reciprocal_jaccard(
    ids: Tensor,
    distances: Tensor,
    *,
    scale: float | Tensor = LARGEST_SQUARED,
    settings: Reranking = DEFAULTS,
    backend: str = "auto",
) -> Reranked:
    """``(1 - t) d_J + t d / scale`` for every listed pair, from neighbour lists alone.

    With ``top_k(i)`` row i and its k nearest, ``R(i, k)`` those of them that have i among theirs,
    and ``R*(i)``: ``R(i, k1)`` joined by every ``R(j, k1 / 2)`` of a member j that lies in it by
    more than two thirds. Row i's descriptor is ``exp(-d_ij / scale)`` over ``R*(i)``, scaled to
    sum 1, then averaged over its k2 nearest; with m the sum of the smaller entries of two
    descriptors, ``d_J = 1 - m / (2 - m)``.

    A pair that no list holds, needed where ``R*(i)`` reaches beyond row i's own, counts as far as
    the last of row i. So with complete lists (``k = N - 1``) the result is that of the dense form.

    Args:
        ids: Neighbours ``[N, k]`` int64, nearest first, the row itself left out, -1 where there
            is none (after the others); ``k >= min(k1, N - 1)``, ``N < 2**31``.
        distances: Their distances ``[N, k]``, any float dtype; of unit rows the squared Euclidean
            distance ``2 - 2 cos``. Not read where there is no neighbour.
        scale: Divides the distances: one positive number, or one per row ``[N]``. The default is
            the largest squared distance of unit rows, so that no outlier sets the scale.
        settings: See `Reranking`.
        backend: "auto", or one of `BACKENDS` to insist on it. "compiled" needs no N x N array.

    Returns:
        Distances ``[N, k]`` float32 in the order of `ids`, inf where there is no neighbour.

    Raises:
        ValueError: A shape, dtype or value is outside the ranges above.
        RuntimeError: The `backend` asked for cannot run here.

    Source:
        Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017;
        there the distances are divided by the largest of each row, see `scale`.
    """
    _check_lists(ids, distances, settings)
    lists = Lists(ids, distances, _per_row(scale, ids))
    return choose(BACKENDS, backend, ids).reciprocal_jaccard(lists, settings)


def reciprocal_query_distance(
    queries: Tensor,
    gallery: Tensor,
    offsets: Tensor,
    *,
    distance_scale: str = "fixed",
    settings: Reranking = DEFAULTS,
    backend: str = "auto",
) -> Reranked:
    """Re-ranked distance of each row of a group to the query of that group.

    `reciprocal_jaccard` of the query's row over ``[query; gallery of the group]``, with every
    distance computed: what CAPro ranks the texts of a class with, its prototype being the query.
    Groups do not see each other.

    Args:
        queries: One row per group ``[G, D]``, float, not zero.
        gallery: The groups' rows one group after the other ``[N, D]``, dtype and device of
            `queries`, no row of zeros. Rows are scaled to length 1 here.
        offsets: ``[G + 1]`` int64: group g is ``gallery[offsets[g] : offsets[g + 1]]``; from 0 to
            N, ascending. A group may be empty.
        distance_scale: "fixed": squared distances over 4. "column_max": over the largest of each
            row inside the group, the published form, in which one outlier moves all distances.
        settings: See `Reranking`. In groups up to k1 rows, everyone is everyone's neighbour.
        backend: "auto", or one of `BACKENDS` to insist on it. "reference" holds ``n x n`` float64
            arrays of the largest group.

    Returns:
        Distances ``[N]`` float32, in ``0 .. 1``.

    Raises:
        ValueError: A shape, dtype or value is outside the ranges above.
        RuntimeError: The `backend` asked for cannot run here.

    Source:
        Qin et al., "CAPro", NeurIPS 2023, matching of text to class; Zhong et al., CVPR 2017.

    Example:
        >>> gallery = torch.tensor([[1.0, 0.1], [1.0, 0.2], [0.0, 1.0]])
        >>> near = reciprocal_query_distance(gallery[:1], gallery, torch.tensor([0, 3]))
        >>> near.distance.argsort().tolist()
        [0, 1, 2]
    """
    if distance_scale not in DISTANCE_SCALES:
        raise ValueError(f"distance_scale must be one of {DISTANCE_SCALES}, got {distance_scale!r}")
    groups = _join(queries, gallery, offsets, column_max=distance_scale == "column_max")
    return choose(BACKENDS, backend, gallery).reciprocal_query_distance(groups, settings)


def _check_lists(ids: Tensor, distances: Tensor, settings: Reranking) -> None:
    if ids.ndim != 2 or ids.dtype != torch.int64:
        raise ValueError(f"ids must be int64 [N, k], got {ids.dtype} {list(ids.shape)}")
    if distances.shape != ids.shape or not distances.is_floating_point():
        raise ValueError(
            f"distances must be float {list(ids.shape)} like ids, "
            f"got {distances.dtype} {list(distances.shape)}"
        )
    n_rows, k = ids.shape
    if k < min(settings.k1, n_rows - 1):
        raise ValueError(
            f"ids must list at least k1 = {settings.k1} neighbours (or all {n_rows - 1}), got {k}"
        )
    if ids.numel() and not (ids.min() >= -1 and ids.max() < n_rows):
        raise ValueError(f"ids must lie in -1 .. {n_rows - 1}")
    if (ids == torch.arange(n_rows, device=ids.device)[:, None]).any():
        raise ValueError("ids must not list a row as its own neighbour: leave it out")
    if ((ids[:, :-1] < 0) & (ids[:, 1:] >= 0)).any():
        raise ValueError("ids of -1 must come after all neighbours of a row")
    if not (distances.isfinite() | (ids < 0)).all():
        raise ValueError("distances of neighbours must be finite, found NaN or infinity")


def _per_row(scale: float | Tensor, ids: Tensor) -> Tensor:
    """`scale` as float32 ``[N]``, checked."""
    values = torch.as_tensor(scale, dtype=torch.float32, device=ids.device)
    if values.ndim and values.shape != ids.shape[:1]:
        raise ValueError(f"scale must be a number or [{len(ids)}], got {list(values.shape)}")
    if not bool((values.isfinite() & (values > 0)).all()):
        raise ValueError("scale must be positive and finite")
    return values.expand(len(ids)).contiguous()


def _join(queries: Tensor, gallery: Tensor, offsets: Tensor, *, column_max: bool) -> Groups:
    n_groups = len(queries)
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            "want queries [G, D] and gallery [N, D], "
            f"got {tuple(queries.shape)} and {tuple(gallery.shape)}"
        )
    if queries.dtype != gallery.dtype or not queries.is_floating_point():
        raise ValueError(
            "queries and gallery must be of one float dtype, "
            f"got {queries.dtype} and {gallery.dtype}"
        )
    if offsets.shape != (n_groups + 1,) or offsets.dtype != torch.int64:
        raise ValueError(
            f"offsets must be int64 [{n_groups + 1}], got {offsets.dtype} {list(offsets.shape)}"
        )
    sizes = offsets.diff()
    if offsets[0] != 0 or offsets[-1] != len(gallery) or bool((sizes < 0).any()):
        raise ValueError(f"offsets must ascend from 0 to {len(gallery)}")
    first = offsets[:-1] + torch.arange(n_groups, device=offsets.device)
    is_query = torch.zeros(n_groups + len(gallery), dtype=torch.bool, device=gallery.device)
    is_query[first] = True
    rows = queries.new_empty((len(is_query), queries.shape[1]), dtype=torch.float32)
    rows[is_query], rows[~is_query] = queries.float(), gallery.float()
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    if not bool((length.isfinite() & (length > 0)).all()):
        raise ValueError("queries and gallery must be finite and hold no row of zeros")
    joined = offsets + torch.arange(n_groups + 1, device=offsets.device)
    return Groups(rows.div_(length), joined, column_max)
