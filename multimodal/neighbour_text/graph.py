"""The visual neighbour graph: nearest neighbours, perhaps re-ranked, as symmetric weighted rows."""

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.neighbour_text.settings import GraphSettings
from multimodal.rows import Rows, as_rows

if TYPE_CHECKING:
    from labelnoise.kernels.reciprocal_jaccard import Reranking
    from multimodal.neighbours import Neighbours

# ids [n, k], -1 where there is none, and weights [n, k] >= 0
Lists = tuple[NDArray[np.int64], NDArray[np.float32]]

# float32 values of gathered pools held at once: 128 MB
POOL_VALUES = 2**25
DEFAULTS = GraphSettings()


@dataclass(frozen=True, eq=False)
class VisualGraph:
    """Who a sample's text is averaged over, as compressed rows.

    Attributes:
        indptr: ``[N + 1]`` int64, where each sample's neighbours begin.
        neighbours: ``[nnz]`` samples, ascending within a row, never the row itself; int32 while
            N is below 2**31, else int64.
        weights: ``[nnz]`` float32, positive; each row sums to 1. A sample without neighbours of
            positive weight has an empty row.
    """

    indptr: NDArray[np.int64]
    neighbours: NDArray[np.integer[Any]]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.indptr) - 1


def visual_graph(
    neighbours: "Neighbours",
    *,
    settings: GraphSettings = DEFAULTS,
    vectors: Rows | NDArray[Any] | None = None,
) -> VisualGraph:
    """The graph that texts are smoothed over, of all samples at once.

    `rank_neighbours`, then `join_lists`: cut the first by shard to share it out.

    Args:
        neighbours: Nearest samples by cosine, see `rank_neighbours`.
        settings: See `GraphSettings`.
        vectors: Unit image rows ``[N, D]``; only a local graph reads them.

    Returns:
        ``max(A, A^T)`` of the kept lists' weights A, rows scaled to sum 1. Memory is
        ``O(N * kept)``.

    Raises:
        ValueError: As `rank_neighbours`.

    Source:
        Qin et al., "CAPro", NeurIPS 2023; see `GraphSettings.paper` for what differs.
    """
    ids, weights = rank_neighbours(neighbours, settings=settings, vectors=vectors)
    return join_lists(ids, weights)


def rank_neighbours(
    neighbours: "Neighbours",
    *,
    settings: GraphSettings = DEFAULTS,
    vectors: Rows | NDArray[Any] | None = None,
    start: int = 0,
    stop: int | None = None,
) -> Lists:
    """The neighbours that samples ``start .. stop - 1`` keep, and the weight of each.

    Args:
        neighbours: ``ids`` ``[N, k]`` int64, best first, the sample itself left out, -1 where
            there is none; ``similarity`` ``[N, k]`` cosines. ``k >= settings.n_neighbours``, or
            N - 1.
        settings: See `GraphSettings`.
        vectors: Unit image rows ``[N, D]``; needed for a local graph alone.
        start: First sample.
        stop: One after the last; None: to the end. A global graph is ranked whole and then cut.

    Returns:
        Ids ``[n, kept]`` int64, nearest first, and weights ``[n, kept]`` float32 in 0 .. 1; where
        `kept` counts the sample itself, a local list holds it and the others are one shorter.

    Raises:
        ValueError: Too few neighbours, similarities that are not finite, or no vectors for a
            local graph.

    Warns:
        UserWarning: The pool of a local graph is too small for reciprocity to mean anything, and
            the settings allow that.
    """
    ids, similarity = _checked(neighbours, settings)
    stop = len(ids) if stop is None else min(stop, len(ids))
    if settings.pool_is_small:
        warnings.warn(
            f"pool {settings.pool} is below 2 * k1 = {2 * settings.k1}: (almost) every pair in"
            " it is reciprocal, re-ranking sees little more than distances",
            UserWarning,
            stacklevel=2,
        )
    if settings.graph == "global":
        distance = _global_distance(ids, similarity, settings)
        ids, similarity = ids[start:stop], similarity[start:stop]
        return _kept(ids, similarity, distance[start:stop], settings)
    if settings.graph == "local":
        if vectors is None:
            raise ValueError("vectors must be given for graph 'local', got None")
        return _local_lists(ids, similarity, as_rows(vectors), settings, (start, stop))
    ids, similarity = ids[start:stop], similarity[start:stop]
    return _kept(ids, similarity, 1 - similarity, settings)


def join_lists(ids: NDArray[np.int64], weights: NDArray[np.float32]) -> VisualGraph:
    """The graph of all samples' kept neighbours: ``max(A, A^T)``, rows scaled to sum 1.

    Args:
        ids: ``[N, k]`` int64, -1 where there is none; the sample itself is left out if listed.
        weights: ``[N, k]`` float32, at least 0; a neighbour of weight 0 is none.

    Raises:
        ValueError: Shapes that disagree, an id outside ``-1 .. N - 1``, or a weight that is
            negative or not finite where there is a neighbour.
    """
    from multimodal.neighbour_text import compiled

    if ids.ndim != 2 or ids.shape != weights.shape:
        raise ValueError(
            f"ids and weights must both be [N, k], got {list(ids.shape)} and {list(weights.shape)}"
        )
    if ids.size and not -1 <= ids.min() <= ids.max() < len(ids):
        raise ValueError(f"ids must lie in -1 .. {len(ids) - 1}, got {ids.min()} .. {ids.max()}")
    if not (((weights >= 0) & (weights < np.inf)) | (ids < 0)).all():
        raise ValueError("weights must be finite and at least 0, found others")
    weights = np.ascontiguousarray(weights, dtype=np.float32)
    number = np.int32 if len(ids) < 2**31 else np.int64
    starts = np.empty(len(ids) + 1, np.int64)
    compiled.count_in_edges(ids, weights, starts)
    sources, values = np.empty(starts[-1], number), np.empty(starts[-1], np.float32)
    compiled.fill_in_edges(ids, weights, starts, sources, values)

    indptr = np.empty(len(ids) + 1, np.int64)
    incoming = (ids, weights, starts, sources, values, indptr)
    compiled.merge_edges(*incoming, np.empty(0, number), np.empty(0, np.float32))
    joined, merged = np.empty(indptr[-1], number), np.empty(indptr[-1], np.float32)
    if indptr[-1]:
        compiled.merge_edges(*incoming, joined, merged)
    return VisualGraph(indptr, joined, merged)


def _checked(
    neighbours: "Neighbours", settings: GraphSettings
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The columns of the neighbour lists that the settings ask for."""
    ids, similarity = neighbours.ids, neighbours.similarity
    if ids.ndim != 2 or ids.shape != similarity.shape:
        raise ValueError(
            "neighbours must hold ids and similarity [N, k], "
            f"got {list(ids.shape)} and {list(similarity.shape)}"
        )
    wanted = settings.n_neighbours
    if ids.shape[1] < min(wanted, len(ids) - 1):
        raise ValueError(f"neighbours must have {wanted} columns, got {ids.shape[1]}")
    ids, similarity = ids[:, :wanted], similarity[:, :wanted]
    if not (np.isfinite(similarity) | (ids < 0)).all():
        raise ValueError("similarity of neighbours must be finite, found NaN or infinity")
    return ids, similarity


def _kept(
    ids: NDArray[np.int64],
    similarity: NDArray[np.float32],
    distance: NDArray[np.float32],
    settings: GraphSettings,
) -> Lists:
    """The nearest by `distance`, of equal ones the first, with their weights."""
    # only a local pool holds the sample itself
    kept = settings.kept - (settings.count_self and settings.graph != "local")
    far = np.where(ids < 0, np.inf, distance)
    nearest = np.argsort(far, axis=1, kind="stable")[:, :kept]
    ids, near = (np.take_along_axis(part, nearest, axis=1) for part in (ids, far))
    if settings.edge_weight == "cosine":
        weight = np.maximum(np.take_along_axis(similarity, nearest, axis=1), 0)
    else:
        weight = np.clip(near, 0, 1)
        weight = 1 - weight if settings.edge_weight == "similarity" else weight
    return ids, np.where(ids < 0, 0, weight).astype(np.float32)


def _global_distance(
    ids: NDArray[np.int64], similarity: NDArray[np.float32], settings: GraphSettings
) -> NDArray[np.float32]:
    """Re-ranked by reciprocal neighbours in the whole corpus; infinite beyond the pool."""
    import torch

    from labelnoise.kernels.reciprocal_jaccard import reciprocal_jaccard

    squared = torch.from_numpy(np.maximum(2 - 2 * similarity, 0))
    found = reciprocal_jaccard(
        torch.from_numpy(np.ascontiguousarray(ids)), squared, settings=_reranking(settings)
    )
    distance = found.distance.numpy()
    distance[:, settings.pool - settings.count_self :] = np.inf
    return distance


def _local_lists(
    ids: NDArray[np.int64],
    similarity: NDArray[np.float32],
    vectors: Rows,
    settings: GraphSettings,
    span: tuple[int, int],
) -> Lists:
    """Each sample's pool re-ranked among itself, block by block."""
    size = max(1, POOL_VALUES // ((ids.shape[1] + 2) * vectors.shape[1]))
    blocks = [
        _local_block(ids, similarity, vectors, settings, (begin, min(begin + size, span[1])))
        for begin in range(*span, size)
    ]
    if not blocks:
        width = min(settings.kept, ids.shape[1] + settings.count_self)
        return np.empty((0, width), np.int64), np.empty((0, width), np.float32)
    return np.concatenate([b[0] for b in blocks]), np.concatenate([b[1] for b in blocks])


def _local_block(
    ids: NDArray[np.int64],
    similarity: NDArray[np.float32],
    vectors: Rows,
    settings: GraphSettings,
    span: tuple[int, int],
) -> Lists:
    import torch

    from labelnoise.kernels.reciprocal_jaccard import reciprocal_query_distance

    numbers = np.arange(*span)
    pool, cosines = ids[slice(*span)], similarity[slice(*span)]
    # a row of zeros has no neighbours, and no place among those that are re-ranked
    able = np.asarray((pool >= 0).any(axis=1))
    if settings.count_self:
        pool = np.concatenate([numbers[:, None], pool], axis=1)
        cosines = np.concatenate([np.ones_like(cosines[:, :1]), cosines], axis=1)
    pool = np.where(able[:, None], pool, -1)
    there = pool >= 0
    offsets = np.concatenate([[0], np.cumsum(there[able].sum(axis=1))])
    found = reciprocal_query_distance(
        torch.from_numpy(vectors.gather(numbers[able])),
        torch.from_numpy(vectors.gather(pool[there])),
        torch.from_numpy(offsets),
        distance_scale=settings.distance_scale,
        settings=_reranking(settings),
    )
    distance = np.full(pool.shape, np.inf, np.float32)
    distance[there] = found.distance.numpy()
    return _kept(pool, cosines, distance, settings)


def _reranking(settings: GraphSettings) -> "Reranking":
    """The part of the settings that the re-ranking kernel takes."""
    from labelnoise.kernels.reciprocal_jaccard import Reranking

    plain = Reranking(k1=settings.k1, k2=settings.k2, trade_off=settings.trade_off)
    # a descriptor in a pool has at most all of its pool's entries: none is ever cut
    return replace(plain, cap=settings.pool + 1) if settings.graph == "local" else plain
