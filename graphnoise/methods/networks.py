"""Graph networks over sparse or dense features, chosen by name."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal, Self, TypeAlias, get_args

import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from graphnoise.graph import LabelledGraph
from graphnoise.layers.attention import GraphAttention
from graphnoise.layers.convolution import GraphConvolution, normalised_adjacency
from graphnoise.layers.dropout import dropout
from graphnoise.layers.neighbourhood import Neighbourhood
from graphnoise.layers.sparse_linear import SparseRows, sparse_linear

Backbone: TypeAlias = Literal["gcn", "gat", "gcnii", "mlp"]


@dataclass(frozen=True)
class NetworkSettings:
    """Shape of a network.

    Attributes:
        backbone: "gcn" (mean over neighbours), "gat" (learned weights over neighbours), "gcnii"
            (many layers of neighbours without washing out) or "mlp" (no edges).
        hidden: Width of the hidden layer; of all heads together for "gat".
        heads: Attention heads of the hidden layer of "gat", a divisor of `hidden`.
        dropout: On the input and on the hidden layer.
        layers: Convolutions of "gcnii"; the others have two layers.
    """

    backbone: Backbone = "gcn"
    hidden: int = 64
    heads: int = 8
    dropout: float = 0.5
    layers: int = 16

    def __post_init__(self) -> None:
        if self.backbone not in get_args(Backbone):
            raise ValueError(
                f"backbone must be one of {list(get_args(Backbone))}, got {self.backbone!r}"
            )
        if self.hidden < 1 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"want hidden >= 1 and dropout in [0, 1), got {self.hidden} and {self.dropout}"
            )
        if self.backbone == "gat" and (self.heads < 1 or self.hidden % self.heads):
            raise ValueError(f"heads must divide hidden {self.hidden}, got {self.heads}")
        if self.layers < 1:
            raise ValueError(f"layers must be at least 1, got {self.layers}")


class Network(nn.Module, ABC):
    """Features and edges in, logits out; the graph is fixed when the network is built."""

    features: Tensor | SparseRows

    def __init__(self, graph: LabelledGraph, settings: NetworkSettings, device: str) -> None:
        super().__init__()
        self.settings = settings
        matrix = graph.features
        if sparse.issparse(matrix):
            self.features = SparseRows.from_scipy(matrix).to(device)
        else:
            self.features = torch.tensor(matrix, device=device)

    @classmethod
    def for_graph(cls, graph: LabelledGraph, settings: NetworkSettings, device: str) -> Self:
        """Network with fresh weights on the device."""
        return cls(graph, settings, device).to(device)

    def forward(self) -> Tensor:
        """Logits ``[N, K]`` of every node."""
        return self.classify(self.embed())

    @abstractmethod
    def embed(self) -> Tensor:
        """Hidden layer ``[N, hidden]`` after its non-linearity, before dropout."""

    @abstractmethod
    def classify(self, hidden: Tensor) -> Tensor:
        """Logits ``[N, K]`` from the hidden layer."""

    def _input(self) -> Tensor | SparseRows:
        if not self.training or self.settings.dropout == 0:
            return self.features
        if isinstance(self.features, SparseRows):
            values = dropout(self.features.values, self.settings.dropout)
            return replace(self.features, values=values)
        return dropout(self.features, self.settings.dropout)

    def _dropped(self, hidden: Tensor) -> Tensor:
        return dropout(hidden, self.settings.dropout) if self.training else hidden


class ConvolutionalNetwork(Network):
    """GCN: convolution, ReLU, convolution."""

    def __init__(self, graph: LabelledGraph, settings: NetworkSettings, device: str) -> None:
        super().__init__(graph, settings, device)
        self.normalised = normalised_adjacency(graph.adjacency).to(device)
        self.first = GraphConvolution(graph.features.shape[1], settings.hidden)
        self.second = GraphConvolution(settings.hidden, graph.n_classes)

    def embed(self) -> Tensor:
        """See `Network.embed`."""
        return torch.relu(self.first(self._input(), self.normalised))

    def classify(self, hidden: Tensor) -> Tensor:
        """See `Network.classify`."""
        logits: Tensor = self.second(self._dropped(hidden), self.normalised)
        return logits


class AttentionNetwork(Network):
    """GAT: attention with several heads, ELU, attention with one head."""

    def __init__(self, graph: LabelledGraph, settings: NetworkSettings, device: str) -> None:
        super().__init__(graph, settings, device)
        self.neighbourhood = Neighbourhood.from_adjacency(graph.adjacency).to(device)
        width = settings.hidden // settings.heads
        self.first = GraphAttention(graph.features.shape[1], width, heads=settings.heads)
        self.second = GraphAttention(settings.hidden, graph.n_classes)

    def embed(self) -> Tensor:
        """See `Network.embed`."""
        return functional.elu(self.first(self._input(), self.neighbourhood))

    def classify(self, hidden: Tensor) -> Tensor:
        """See `Network.classify`."""
        logits: Tensor = self.second(self._dropped(hidden), self.neighbourhood)
        return logits


class InitialResidualNetwork(Network):
    """GCNII: many convolutions, each mixed with the first layer and close to the identity.

    Layer l: ``relu(((1 - beta) I + beta W_l) ((1 - alpha) S h + alpha h_0))`` with
    ``beta = log(theta / l + 1)``; one weight per layer serves both terms.

    Source:
        Chen et al., "Simple and Deep Graph Convolutional Networks", ICML 2020, equation 5.
    """

    alpha = 0.1
    theta = 0.5

    def __init__(self, graph: LabelledGraph, settings: NetworkSettings, device: str) -> None:
        super().__init__(graph, settings, device)
        self.normalised = normalised_adjacency(graph.adjacency).to(device)
        start = nn.Linear(graph.features.shape[1], settings.hidden)
        self.weight = nn.Parameter(start.weight.detach().T.contiguous())
        self.bias = nn.Parameter(start.bias.detach().clone())
        deep = torch.empty(settings.layers, settings.hidden, settings.hidden)
        for weight in deep:
            nn.init.xavier_uniform_(weight)
        self.deep = nn.Parameter(deep)
        self.last = nn.Linear(settings.hidden, graph.n_classes)

    def embed(self) -> Tensor:
        """See `Network.embed`."""
        first = torch.relu(_projected(self._input(), self.weight) + self.bias)
        hidden = first
        for number, weight in enumerate(self.deep, start=1):
            beta = math.log(self.theta / number + 1)
            around = sparse_linear(self.normalised, self._dropped(hidden))
            mixed = (1 - self.alpha) * around + self.alpha * first
            hidden = torch.relu((1 - beta) * mixed + beta * (mixed @ weight))
        return hidden

    def classify(self, hidden: Tensor) -> Tensor:
        """See `Network.classify`."""
        logits: Tensor = self.last(self._dropped(hidden))
        return logits


class MultilayerPerceptron(Network):
    """Linear, ReLU, linear: what the features say without the edges."""

    def __init__(self, graph: LabelledGraph, settings: NetworkSettings, device: str) -> None:
        super().__init__(graph, settings, device)
        # fresh weights as of a torch linear layer, input first for the sparse product
        start = nn.Linear(graph.features.shape[1], settings.hidden)
        self.weight = nn.Parameter(start.weight.detach().T.contiguous())
        self.bias = nn.Parameter(start.bias.detach().clone())
        self.second = nn.Linear(settings.hidden, graph.n_classes)

    def embed(self) -> Tensor:
        """See `Network.embed`."""
        return torch.relu(_projected(self._input(), self.weight) + self.bias)

    def classify(self, hidden: Tensor) -> Tensor:
        """See `Network.classify`."""
        logits: Tensor = self.second(self._dropped(hidden))
        return logits


def _projected(features: Tensor | SparseRows, weight: Tensor) -> Tensor:
    """``X W`` for sparse or dense rows."""
    if isinstance(features, SparseRows):
        return sparse_linear(features, weight)
    return features @ weight


NETWORKS: dict[Backbone, type[Network]] = {
    "gcn": ConvolutionalNetwork,
    "gat": AttentionNetwork,
    "gcnii": InitialResidualNetwork,
    "mlp": MultilayerPerceptron,
}
