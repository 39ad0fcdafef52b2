"""A graph network trained on soft, weighted labels of some nodes, through the one training loop."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from graphnoise.methods.networks import NetworkSettings
from graphnoise.methods.neural import NetworkTrainee, NeuralSettings
from graphnoise.text_graph import TextGraph
from graphnoise.training import Schedule, seeded, train


@dataclass(frozen=True)
class FixedTraining:
    """A network and how long it trains; there is nothing clean to select an epoch by.

    Attributes:
        network: Backbone and widths; a GCN with 64 hidden units.
        epochs: 30: fewer leave a GCN under-trained, more memorise the annotator's errors.
        learning_rate, weight_decay: Of Adam.
        device: "cpu" or "cuda".
    """

    network: NetworkSettings = field(default_factory=NetworkSettings)
    epochs: int = 30
    learning_rate: float = 0.01
    weight_decay: float = 5e-4
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class NetworkAnswer:
    """What a trained network says of every node.

    Attributes:
        logits: ``[N, K]`` float32.
        probabilities: Their softmax ``[N, K]`` float32.
    """

    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]


class SoftTrainee(NetworkTrainee):
    """Cross entropy against soft labels, each node with its weight."""

    def __init__(
        self,
        graph: TextGraph,
        targets: NDArray[np.float32],
        weights: NDArray[np.float32],
        settings: NeuralSettings,
        device: str,
    ) -> None:
        used = weights > 0
        labels = np.where(used, targets.argmax(axis=1), -1)
        super().__init__(graph.labelled(labels), settings, device)
        nodes = np.flatnonzero(used)
        self.targets = torch.tensor(targets[nodes], dtype=torch.float32, device=device)
        # mean 1, so that the learning rate means the same whatever the scale of the weights
        scaled = weights[nodes] / weights[nodes].mean()
        self.weights = torch.tensor(scaled, dtype=torch.float32, device=device)

    def run_epoch(self, epoch: int) -> float:
        """One step on all labelled nodes."""
        self.network.train()
        logits = self.network()[self.train_nodes]
        per_node = -(self.targets * logits.log_softmax(1)).sum(1)
        return self.step((self.weights * per_node).mean())


def train_network(
    graph: TextGraph,
    targets: NDArray[np.float32],
    weights: NDArray[np.float32] | None = None,
    *,
    settings: FixedTraining | None = None,
    seed: int = 0,
) -> NetworkAnswer:
    """Train a fresh network for a fixed number of epochs; the last one counts.

    Args:
        graph: Embedding and edges.
        targets: Soft labels ``[N, K]``; a row of zeros is a node without a label.
        weights: Of the nodes ``[N]``, at least 0; 1 for every labelled node where None.
        settings: Network, epochs, optimiser.
        seed: Of initial weights and dropout.

    Raises:
        ValueError: No node has a label and a weight.
    """
    chosen = FixedTraining() if settings is None else settings
    labelled = (targets.sum(axis=1) > 0).astype(np.float32)
    weights = labelled if weights is None else weights.astype(np.float32) * labelled
    if not weights.any():
        raise ValueError("targets must hold a label of positive weight, found none")
    neural = NeuralSettings(
        network=chosen.network,
        epochs=chosen.epochs,
        learning_rate=chosen.learning_rate,
        weight_decay=chosen.weight_decay,
    )
    schedule = Schedule(epochs=chosen.epochs, selection="last", evaluate_every=chosen.epochs)
    with seeded(seed, torch.device(chosen.device)):
        trainee = SoftTrainee(graph, targets, weights, neural, chosen.device)
        train(trainee, graph.labelled(np.where(weights > 0, targets.argmax(1), -1)), schedule)
        logits = trainee.evaluated()
    return NetworkAnswer(logits.cpu().numpy(), logits.softmax(1).cpu().numpy())


def one_hot(labels: NDArray[np.int64], n_classes: int) -> NDArray[np.float32]:
    """Labels ``[N]`` as rows ``[N, K]``; a label of -1 is a row of zeros."""
    rows = np.zeros((len(labels), n_classes), np.float32)
    known = labels >= 0
    rows[known, labels[known]] = 1
    return rows
