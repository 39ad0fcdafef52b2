"""A graph network trained with any registered loss: GCN, GAT and the robust losses on GCN."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphnoise.graph import LabelledGraph
from graphnoise.methods.base import Fitted, NodeClassifier, Run
from graphnoise.methods.calibration import (
    cross_fitted_propagation,
    neighbours_answer,
    recalibrated,
)
from graphnoise.methods.networks import NETWORKS, NetworkSettings
from graphnoise.training import Schedule, Trainee, TrainingHistory, train
from labelnoise.losses import make_loss
from labelnoise.losses.base import Loss
from labelnoise.losses.forward_correction import ForwardCorrection


@dataclass(frozen=True)
class NeuralSettings:
    """Settings of `GraphNetwork`.

    Attributes:
        network: Backbone and its widths.
        loss: Key of `labelnoise.losses.LOSSES`.
        loss_options: Arguments of the loss by name; its defaults where left out.
        epochs: 200, as is common for GCN.
        patience: Epochs without better selection score before stopping; None runs all.
        learning_rate: Of Adam.
        weight_decay: Of Adam, on all weights.
        evaluate_every: Epochs between evaluations.
    """

    network: NetworkSettings = field(default_factory=NetworkSettings)
    loss: str = "cross_entropy"
    loss_options: Mapping[str, float] = field(default_factory=dict)
    epochs: int = 200
    patience: int | None = None
    learning_rate: float = 0.01
    weight_decay: float = 5e-4
    evaluate_every: int = 1

    def schedule(self, run: Run) -> Schedule:
        """What the training loop needs of these settings and the run's selection."""
        return Schedule(
            epochs=self.epochs,
            patience=self.patience,
            evaluate_every=self.evaluate_every,
            selection=run.selection,
        )


class NetworkTrainee:
    """One network, one loss, one optimiser, full batch; see `graphnoise.training.Trainee`.

    Args:
        graph: Given labels of the training nodes, features, edges.
        settings: Of network, loss and optimiser.
        device: "cpu" or "cuda".
    """

    def __init__(self, graph: LabelledGraph, settings: NeuralSettings, device: str) -> None:
        self.network = NETWORKS[settings.network.backbone].for_graph(
            graph, settings.network, device
        )
        self.loss: Loss = make_loss(
            settings.loss, graph.n_nodes, graph.n_classes, settings.loss_options
        ).to(device)
        self.optimiser = torch.optim.Adam(
            self.network.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        given = torch.tensor(graph.given, device=device)
        self.train_nodes = torch.tensor(np.flatnonzero(graph.train), device=device)
        self.train_labels = given[self.train_nodes]
        held_out = graph.validation if graph.validation.any() else graph.train
        self.held_out_nodes = torch.tensor(np.flatnonzero(held_out), device=device)
        self.held_out_labels = given[self.held_out_nodes]

    def run_epoch(self, epoch: int) -> float:
        """One step of the optimiser on all training nodes."""
        if self.loss.wants_estimate(epoch):
            self.loss.estimate(
                self.evaluated().softmax(1)[self.held_out_nodes], self.held_out_labels
            )
        per_sample = self.training_losses()
        return self.step(per_sample.mean())

    def training_losses(self) -> Tensor:
        """Loss of each training node ``[T]`` with dropout, ready for a backward pass."""
        self.network.train()
        self.loss.train()
        logits = self.network()[self.train_nodes]
        return self.loss.per_sample(logits, self.train_labels, self.train_nodes)

    def step(self, loss: Tensor) -> float:
        """Descend along the gradient of `loss`."""
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())

    def evaluated(self) -> Tensor:
        """Logits ``[N, K]`` without dropout or gradient."""
        self.network.eval()
        with torch.no_grad():
            logits: Tensor = self.network()
        return logits

    def probabilities(self) -> NDArray[np.float32]:
        """Softmax of the logits ``[N, K]`` in evaluation mode."""
        answer: NDArray[np.float32] = self.evaluated().softmax(1).cpu().numpy()
        return answer

    def embedding(self) -> NDArray[np.float32]:
        """Hidden layer ``[N, hidden]`` in evaluation mode."""
        self.network.eval()
        with torch.no_grad():
            answer: NDArray[np.float32] = self.network.embed().cpu().numpy()
        return answer

    def transition(self) -> NDArray[np.float64] | None:
        """T ``[K, K]`` of forward correction as of the selected epoch; None where there is none.

        None also where that epoch came before the estimate: T is the identity until then.
        """
        if not isinstance(self.loss, ForwardCorrection):
            return None
        matrix: NDArray[np.float64] = self.loss.transition.cpu().numpy().astype(np.float64)
        return None if np.array_equal(matrix, np.eye(len(matrix))) else matrix

    def state(self) -> dict[str, Tensor]:
        """Weights of the network and buffers of the loss."""
        network = {f"network.{key}": value for key, value in self.network.state_dict().items()}
        return network | {f"loss.{key}": value for key, value in self.loss.state_dict().items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Inverse of `state`."""
        self.network.load_state_dict(part_of(state, "network."))
        self.loss.load_state_dict(part_of(state, "loss."))

    def optimiser_state(self) -> dict[str, Any]:
        """Moments of Adam."""
        return self.optimiser.state_dict()

    def load_optimiser_state(self, state: dict[str, Any]) -> None:
        """Inverse of `optimiser_state`."""
        self.optimiser.load_state_dict(state)


def part_of(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Entries whose key starts with `prefix`, without it."""
    return {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}


def train_with(
    trainee: Trainee, graph: LabelledGraph, settings: NeuralSettings, run: Run
) -> TrainingHistory:
    """Train as the settings and the run say; the trainee is left in its selected epoch."""
    return train(
        trainee,
        graph,
        settings.schedule(run),
        progress=run.progress,
        checkpoint=run.checkpoint,
    )


class GraphNetwork(NodeClassifier[NeuralSettings]):
    """A network trained on the given labels; the noise is met by the loss and by selection alone.

    Views for the audit: the network's own answer, the mean answer of the neighbours, and the
    propagated labels of the others.
    """

    name = "gcn"

    @classmethod
    def default_settings(cls) -> NeuralSettings:
        """GCN with cross entropy, hidden 64, 200 epochs."""
        return NeuralSettings()

    def fit_graph(self, graph: LabelledGraph) -> Fitted:
        """Train and restore the selected epoch."""
        trainee = NetworkTrainee(graph, self.settings, self.run.device)
        history = train_with(trainee, graph, self.settings, self.run)
        probabilities = trainee.probabilities()
        return Fitted(
            probabilities,
            classifier_views(graph, probabilities, seed=self.run.seed),
            embedding=trainee.embedding(),
            history=history,
            transition=trainee.transition(),
        )


def classifier_views(
    graph: LabelledGraph, probabilities: NDArray[np.float32], *, seed: int
) -> dict[str, NDArray[np.float32]]:
    """Evidence of a trained classifier and of the graph around each node.

    Args:
        graph: Given labels and edges.
        probabilities: The classifier's answer ``[N, K]``.
        seed: Of the folds of the propagated view.

    Returns:
        "classifier" and "neighbours" with temperatures fitted to the noisy validation labels, and
        "propagated"; each ``[N, K]``. The audit calibrates them to the true class.
    """
    return {
        "classifier": recalibrated(probabilities, graph),
        "neighbours": recalibrated(neighbours_answer(graph, probabilities), graph),
        "propagated": cross_fitted_propagation(graph, seed=seed),
    }


class GraphAttentionNetwork(GraphNetwork):
    """GAT with cross entropy: 8 heads of 8, dropout .6, learning rate .005, as in its paper.

    Source:
        Veličković et al., "Graph Attention Networks", ICLR 2018, section 3.3.
    """

    name = "gat"

    @classmethod
    def default_settings(cls) -> NeuralSettings:
        """See the class."""
        network = NetworkSettings("gat", hidden=64, heads=8, dropout=0.6)
        return NeuralSettings(network, learning_rate=0.005)


class GCNForward(GraphNetwork):
    """GCN with `labelnoise.losses.forward_correction`, T estimated on the validation nodes."""

    name = "gcn_forward"

    @classmethod
    def default_settings(cls) -> NeuralSettings:
        """GCN's own, and the loss's."""
        return NeuralSettings(loss="forward")


class GCNSymmetric(GraphNetwork):
    """GCN with `labelnoise.losses.symmetric_cross_entropy`."""

    name = "gcn_sce"

    @classmethod
    def default_settings(cls) -> NeuralSettings:
        """GCN's own; both parts weigh 1, which beat .1 to 1 on noisy validation labels of Cora."""
        return NeuralSettings(loss="sce", loss_options={"forward_weight": 1.0})


class GCNGeneralised(GraphNetwork):
    """GCN with `labelnoise.losses.generalised_cross_entropy`."""

    name = "gcn_gce"

    @classmethod
    def default_settings(cls) -> NeuralSettings:
        """GCN's own; q = .3 beat .5 and .7 on noisy validation labels of Cora."""
        return NeuralSettings(loss="gce", loss_options={"q": 0.3})


class GCNEarlyLearning(GraphNetwork):
    """GCN with `labelnoise.losses.early_learning`, weakly.

    Targets are formed while a full-batch GCN still answers nearly the same class everywhere; the
    paper's strengths 3 and 7 then drive all nodes of Cora into one class under asymmetric noise.
    """

    name = "gcn_elr"

    @classmethod
    def default_settings(cls) -> NeuralSettings:
        """GCN's own; of strengths .3, 1 and 3 the largest that does not collapse on Cora."""
        return NeuralSettings(loss="elr", loss_options={"strength": 1.0, "momentum": 0.9})
