import warnings

import numpy as np
import pytest
import torch

from graphnoise.graph import graph_from_arrays
from graphnoise.label_free.training import FixedTraining, one_hot, train_network
from graphnoise.methods.networks import NETWORKS, NetworkSettings
from tests.graphnoise.label_free.small_text_graphs import planted_graph

with warnings.catch_warnings():
    # importing PyG trips over torch's deprecations
    warnings.simplefilter("ignore")
    from torch_geometric.nn import GCN2Conv


def random_graph(*, sparse_features=False):
    rng = np.random.default_rng(0)
    features = rng.random((30, 12)) * (rng.random((30, 12)) < (0.05 if sparse_features else 1))
    edges = rng.integers(28, size=(2, 70))
    return graph_from_arrays(edges, features, rng.integers(3, size=30), class_names=tuple("abc"))


@pytest.mark.parametrize("layers", [1, 8])
@pytest.mark.parametrize("sparse_features", [False, True])
def test_gcnii_is_pyg_s(layers, sparse_features):
    graph = random_graph(sparse_features=sparse_features)
    settings = NetworkSettings("gcnii", hidden=16, layers=layers)
    torch.manual_seed(0)
    network = NETWORKS["gcnii"].for_graph(graph, settings, "cpu").eval()
    edges = torch.tensor(np.stack(graph.adjacency.nonzero()), dtype=torch.int64)
    features = graph.features.toarray() if sparse_features else graph.features

    with torch.no_grad():
        first = torch.relu(torch.tensor(features) @ network.weight + network.bias)
        hidden = first
        for number, weight in enumerate(network.deep, start=1):
            peer = GCN2Conv(16, alpha=0.1, theta=0.5, layer=number, shared_weights=True)
            peer.weight1.copy_(weight)
            hidden = torch.relu(peer(hidden, first, edges))
        want = network.last(hidden)
        torch.testing.assert_close(network(), want, rtol=1e-4, atol=1e-5)


def test_gcnii_learns_through_many_layers():
    graph = planted_graph()
    labels = np.where(np.arange(90) < 45, graph.truth, -1)
    settings = FixedTraining(NetworkSettings("gcnii", hidden=16, layers=32), epochs=60)
    answer = train_network(graph, one_hot(labels, 3), settings=settings)
    assert (answer.probabilities.argmax(1) == graph.truth)[45:].mean() > 0.8


def test_layers_must_be_positive():
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        NetworkSettings("gcnii", layers=0)
