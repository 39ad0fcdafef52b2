"""Graph attention layer (GAT): projection, attention over neighbours, bias."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphnoise.layers.edge_attention import edge_attention
from graphnoise.layers.neighbourhood import Neighbourhood
from graphnoise.layers.sparse_linear import SparseRows, sparse_linear


class GraphAttention(nn.Module):
    """GAT layer with concatenated heads; equals PyG's ``GATConv`` with the same weights.

    ``out_i = sum_j w_ij W x_j + b`` per head, softmax weights from ``leaky(a_s . W x_j +
    a_t . W x_i)``. The projection is applied before or after the sum, whichever moves fewer
    numbers along the edges; the result is the same.

    Args:
        in_width: Columns of the input.
        out_width: Columns of one head.
        heads: Number of heads; the output has ``heads * out_width`` columns.
        negative_slope: Of the leaky ReLU on the attention scores.
        backend: Of `edge_attention`.
    """

    def __init__(
        self,
        in_width: int,
        out_width: int,
        *,
        heads: int = 1,
        negative_slope: float = 0.2,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.heads, self.out_width = heads, out_width
        self.negative_slope, self.backend = negative_slope, backend
        # input first, so that a sparse input reads whole rows of it
        self.weight = nn.Parameter(torch.empty(in_width, heads * out_width))
        self.source_vector = nn.Parameter(torch.empty(heads, out_width))
        self.target_vector = nn.Parameter(torch.empty(heads, out_width))
        self.bias = nn.Parameter(torch.zeros(heads * out_width))
        # each is uniform in +- sqrt(6 / (rows + columns)), as in PyG
        for parameter in (self.weight, self.source_vector, self.target_vector):
            nn.init.xavier_uniform_(parameter)

    def forward(self, features: Tensor | SparseRows, neighbourhood: Neighbourhood) -> Tensor:
        """Output ``[n_destinations, heads * out_width]`` for features ``[n_sources, in_width]``."""
        return self.without_bias(features, neighbourhood) + self.bias

    def without_bias(self, features: Tensor | SparseRows, neighbourhood: Neighbourhood) -> Tensor:
        """`forward` before the bias, for callers that fuse it with what follows."""
        if isinstance(features, Tensor) and self.heads == 1 and len(self.weight) < self.out_width:
            return self._sum_first(features, neighbourhood)
        if isinstance(features, SparseRows):
            projected = sparse_linear(features, self.weight)
        else:
            projected = features @ self.weight
        summed = edge_attention(
            projected.view(-1, self.heads, self.out_width),
            self.source_vector, self.target_vector, neighbourhood,
            negative_slope=self.negative_slope, backend=self.backend,
        )  # fmt: skip
        return summed.flatten(1)

    def _sum_first(self, features: Tensor, neighbourhood: Neighbourhood) -> Tensor:
        vectors = torch.cat([self.source_vector, self.target_vector])
        # a . (W x) = (W a) . x, so the scores need no projected row
        source, target = functional.linear(vectors, self.weight)
        summed = edge_attention(
            features[:, None], source[None], target[None], neighbourhood,
            negative_slope=self.negative_slope, backend=self.backend,
        )  # fmt: skip
        return summed[:, 0] @ self.weight
