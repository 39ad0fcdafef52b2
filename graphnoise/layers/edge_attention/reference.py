"""What the result is: plain torch on any device, gradients by autograd, `[E, H, C]` in memory."""

import torch
from torch import Tensor
from torch.nn import functional

from graphnoise.layers.neighbourhood import Neighbourhood


def edge_attention(
    values: Tensor,
    source_vector: Tensor,
    target_vector: Tensor,
    neighbourhood: Neighbourhood,
    negative_slope: float,
) -> Tensor:
    """See `graphnoise.layers.edge_attention`."""
    n_rows, (n_heads, _) = neighbourhood.n_destinations, values.shape[1:]
    sources, destinations = neighbourhood.sources, neighbourhood.edge_destinations()
    source_score = (values * source_vector).sum(dim=2)
    target_score = (values[:n_rows] * target_vector).sum(dim=2)
    score = functional.leaky_relu(
        source_score[sources] + target_score[destinations], negative_slope
    )
    # shifting a row's scores changes nothing but the range of exp
    peak = torch.full_like(target_score, -torch.inf).scatter_reduce(
        0, destinations[:, None].expand(-1, n_heads), score.detach(), "amax"
    )
    weight = (score - peak[destinations]).exp()
    total = torch.zeros_like(target_score).index_add(0, destinations, weight)
    weight = weight / total[destinations]
    out = values.new_zeros(n_rows, *values.shape[1:])
    return out.index_add(0, destinations, weight[:, :, None] * values[sources])
