"""ERASE's encoder: two graph attention layers whose rows are scaled to sum 1."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphnoise.graph import Features
from graphnoise.layers.attention import GraphAttention
from graphnoise.layers.neighbourhood import Neighbourhood
from graphnoise.layers.row_scaling import scaled_rows
from graphnoise.layers.sparse_linear import SparseRows
from graphnoise.methods.erase_settings import EraseSettings


class EraseEncoder(nn.Module):
    """``dropout -> GAT (8 heads) -> leaky ReLU -> / sum |h| -> GAT -> / sum |z| -> ReLU``.

    The ReLU comes last, so embeddings are non-negative and sum to at most 1. This scaling is part
    of the method: the loss's epsilon is chosen for it (`EraseSettings.epsilon_tuned_for`).
    """

    def __init__(self, n_features: int, settings: EraseSettings) -> None:
        super().__init__()
        self.settings = settings
        per_head = settings.hidden // settings.heads
        self.hidden = GraphAttention(n_features, per_head, heads=settings.heads)
        self.out = GraphAttention(settings.hidden, settings.out)

    def forward(
        self,
        features: Tensor | SparseRows,
        first: Neighbourhood,
        second: Neighbourhood | None = None,
    ) -> Tensor:
        """Embeddings of the destinations of the last layer ``[n, out]``.

        Args:
            features: Of the sources of the first layer ``[n_sources, F]``.
            first: Edges of the first layer.
            second: Edges of the second layer; those of the first where None (full graph).
        """
        return self.embed_hidden(self.hide(features, first), second or first)

    def hide(self, features: Tensor | SparseRows, edges: Neighbourhood) -> Tensor:
        """First layer: ``[n_destinations, hidden]``, rows of absolute sum 1."""
        if self.training:
            features = dropped(features, self.settings.dropout)
        summed = self.hidden.without_bias(features, edges)
        return scaled_rows(summed, self.hidden.bias, slope_before=self.settings.hidden_slope)

    def embed_hidden(self, hidden: Tensor, edges: Neighbourhood) -> Tensor:
        """Second layer: ``[n_destinations, out]``, non-negative."""
        summed = self.out.without_bias(hidden, edges)
        if not self.settings.unit_length:
            return scaled_rows(summed, self.out.bias, relu_after=True)
        slope = self.settings.hidden_slope
        scaled = scaled_rows(summed, self.out.bias, slope_before=slope)
        return functional.normalize(scaled, dim=1).relu()


def dropped(features: Tensor | SparseRows, probability: float) -> Tensor | SparseRows:
    """Features with dropout."""
    if isinstance(features, SparseRows):
        return features.dropped(probability)
    return functional.dropout(features, probability)


def feature_rows(features: Features, device: torch.device) -> Tensor | SparseRows:
    """A graph's features on the device, sparse where the graph keeps them sparse."""
    if isinstance(features, Tensor) or not hasattr(features, "indptr"):
        # torch would share memory with the caller's array and must not
        return torch.tensor(features, device=device)
    return SparseRows.from_scipy(features).to(device)
