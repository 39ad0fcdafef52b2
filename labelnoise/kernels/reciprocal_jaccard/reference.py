"""What the result is: N x N masks in float64, line by line the definition. For tests."""

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import normalize

from labelnoise.kernels.reciprocal_jaccard.settings import Groups, Lists, Reranked, Reranking


def reciprocal_jaccard(lists: Lists, settings: Reranking) -> Reranked:
    """See `labelnoise.kernels.reciprocal_jaccard`."""
    own = torch.arange(len(lists.ids), device=lists.ids.device)[:, None]
    order = torch.cat([own, lists.ids], dim=1)
    distance, n_capped = _rerank(order, _all_distances(lists), settings)
    listed = distance.gather(1, lists.ids.clamp(min=0)) if lists.ids.numel() else lists.distance
    return Reranked(listed.masked_fill(lists.ids < 0, torch.inf).float(), n_capped)


def reciprocal_query_distance(groups: Groups, settings: Reranking) -> Reranked:
    """See `labelnoise.kernels.reciprocal_jaccard`."""
    parts, n_capped = [groups.rows.new_empty(0)], 0
    for start, stop in pairwise(groups.offsets.tolist()):
        rows = normalize(groups.rows[start:stop].double())
        near = (2 - 2 * rows @ rows.T).clamp(min=0).fill_diagonal_(0)
        # the row itself before its duplicates
        order = near.clone().fill_diagonal_(-1).sort(dim=1, stable=True).indices
        largest = near.amax(dim=1, keepdim=True).clamp(min=1e-300)
        distance, capped = _rerank(order, near / (largest if groups.column_max else 4), settings)
        parts.append(distance[0, 1:].float())
        n_capped += capped
    return Reranked(torch.cat(parts), n_capped)


def _all_distances(lists: Lists) -> Tensor:
    """``[N, N]``: from row i's list, else from row j's, else as far as the last of row i."""
    n_rows = len(lists.ids)
    rows, slots = (lists.ids >= 0).nonzero(as_tuple=True)
    columns, values = lists.ids[rows, slots], lists.distance[rows, slots].double()
    near = torch.zeros((n_rows, n_rows), dtype=torch.float64, device=values.device)
    if lists.ids.shape[1]:
        near += lists.distance.double().masked_fill(lists.ids < 0, 0).amax(dim=1, keepdim=True)
    near[columns, rows] = values
    near[rows, columns] = values
    return near.fill_diagonal_(0) / lists.scale.double()[:, None]


def _rerank(order: Tensor, near: Tensor, settings: Reranking) -> tuple[Tensor, int]:
    """Re-ranked ``[N, N]`` from each row's columns, near to far, and its scaled distances."""
    members = _reciprocal(order, settings.k1)
    close_members = _reciprocal(order, settings.half)
    expanded = members.clone()
    for i in range(len(near)):
        for j in members[i].nonzero()[:, 0]:
            inside = (close_members[j] & members[i]).sum()
            if 3 * inside > 2 * close_members[j].sum():
                expanded[i] |= close_members[j]
    descriptor = _sum_to_one(torch.where(expanded, (-near).exp(), 0))
    descriptor = _sum_to_one(_among_nearest(order, settings.k2 - 1).double()) @ descriptor
    n_capped = int(((descriptor > 0).sum(dim=1) > settings.cap).sum())
    heaviest_first = descriptor.sort(dim=1, descending=True, stable=True).indices
    descriptor = _sum_to_one(descriptor.scatter(1, heaviest_first[:, settings.cap :], 0))
    overlap = torch.empty_like(near)
    for i in range(len(near)):
        overlap[i] = torch.minimum(descriptor[i], descriptor).sum(dim=1)
    jaccard = 1 - overlap / (2 - overlap)
    return (1 - settings.trade_off) * jaccard + settings.trade_off * near, n_capped


def _reciprocal(order: Tensor, k: int) -> Tensor:
    """``[N, N]`` bool: each among the k nearest of the other, or the row itself."""
    among = _among_nearest(order, k)
    return among & among.T


def _among_nearest(order: Tensor, k: int) -> Tensor:
    """``[N, N]`` bool: column j is row i or among its k nearest."""
    n_rows, head = len(order), order[:, : k + 1]
    among = order.new_zeros((n_rows, n_rows + 1), dtype=torch.bool)
    among.scatter_(1, head.masked_fill(head < 0, n_rows), value=True)
    return among[:, :-1]


def _sum_to_one(weights: Tensor) -> Tensor:
    return weights / weights.sum(dim=1, keepdim=True)
