"""One epoch of ERASE on the full graph: embeddings, pseudo-labels from them, loss, step."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from graphnoise.graph import LabelledGraph
from graphnoise.layers.neighbourhood import Neighbourhood
from graphnoise.methods.erase_encoder import EraseEncoder, feature_rows
from graphnoise.methods.erase_labels import propagate_given_labels, pseudo_labels
from graphnoise.methods.erase_probe import Probe, fit_probe
from graphnoise.methods.erase_settings import EraseSettings
from labelnoise.kernels.coding_rate import coding_rate_loss


class FullGraphTrainee:
    """ERASE's model and optimiser for `graphnoise.training.train`.

    Args:
        graph: Only the given labels of its training nodes are read.
        settings: Of the method.
        device: Where everything but the probe runs.
    """

    def __init__(self, graph: LabelledGraph, settings: EraseSettings, device: torch.device) -> None:
        self.graph, self.settings, self.device = graph, settings, device
        self.prepare_inputs()
        self.encoder = EraseEncoder(graph.features.shape[1], settings).to(device)
        self.optimiser = torch.optim.Adam(
            self.encoder.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            amsgrad=True,
            fused=True,
        )
        self.known = propagate_given_labels(graph, settings, device)
        self.train_nodes = np.flatnonzero(graph.train)
        # what the last epoch said of each node
        shape = (graph.n_nodes, graph.n_classes)
        self.labels = torch.full(shape[:1], -1, device=device)
        self.scores = torch.zeros(shape, device=device)
        self.similarity = torch.zeros(shape, device=device)
        self.probe = _empty_probe(graph.n_classes, settings.out, len(self.train_nodes))

    def prepare_inputs(self) -> None:
        """Features and edges on the device."""
        self.features = feature_rows(self.graph.features, self.device)
        self.edges = Neighbourhood.from_adjacency(self.graph.adjacency).to(self.device)

    def run_epoch(self, epoch: int) -> float:
        """One step on all nodes; prototypes and loss share the same embeddings."""
        self.encoder.train()
        self.optimiser.zero_grad(set_to_none=True)
        embeddings = self.encoder(self.features, self.edges)
        self.relabel(embeddings.detach())
        loss = self.loss(embeddings, self.labels)
        loss.backward()
        self.optimiser.step()
        return loss.item()

    def relabel(self, embeddings: Tensor) -> None:
        """Pseudo-labels, their scores and similarities from embeddings ``[N, out]``."""
        step = pseudo_labels(embeddings, self.known, self.settings)
        self.labels, self.scores, self.similarity = step.labels, step.scores, step.similarity

    def loss(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """``gamma1 R_c - gamma2 R`` of rows ``[n, out]`` with labels ``[n]``."""
        settings = self.settings
        return coding_rate_loss(
            embeddings,
            labels,
            self.graph.n_classes,
            gamma1=settings.gamma1,
            gamma2=settings.gamma2,
            epsilon=settings.epsilon,
        ).loss

    @torch.no_grad()
    def embed(self) -> Tensor:
        """Embeddings ``[N, out]`` in evaluation mode, as scaled by the encoder."""
        self.encoder.eval()
        embeddings: Tensor = self.encoder(self.features, self.edges)
        return embeddings

    def probabilities(self) -> NDArray[np.float32]:
        """Probe fitted on the training nodes with their pseudo-labels, applied to all nodes.

        Before the first epoch there are no pseudo-labels; the propagated ones stand in.
        """
        unit = functional.normalize(self.embed(), dim=1).cpu().numpy()
        labels = self.labels[self.known.train]
        if (labels < 0).any():
            labels = self.known.train_labels
        self.probe = fit_probe(
            unit[self.train_nodes],
            labels.cpu().numpy(),
            self.graph.n_classes,
            strength=self.settings.probe_strength,
            n_steps=self.settings.probe_steps,
            start=self.probe,
        )
        return self.probe.probabilities(unit)

    def state(self) -> dict[str, Tensor]:
        """Weights, the labels step and the probe."""
        return {
            **{f"encoder.{name}": value for name, value in self.encoder.state_dict().items()},
            "labels": self.labels,
            "scores": self.scores,
            "similarity": self.similarity,
            "probe.weight": torch.from_numpy(self.probe.weight),
            "probe.bias": torch.from_numpy(self.probe.bias),
            "probe.residual": torch.from_numpy(self.probe.residual),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Inverse of `state`."""
        prefix = "encoder."
        self.encoder.load_state_dict(
            {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}
        )
        self.labels, self.scores, self.similarity = (
            state[key].to(self.device) for key in ("labels", "scores", "similarity")
        )
        parts = (state[f"probe.{name}"].cpu().numpy() for name in ("weight", "bias", "residual"))
        self.probe = Probe(*parts)

    def optimiser_state(self) -> dict[str, Any]:
        """Moments of Adam."""
        return self.optimiser.state_dict()

    def load_optimiser_state(self, state: dict[str, Any]) -> None:
        """Inverse of `optimiser_state`."""
        self.optimiser.load_state_dict(state)


def _empty_probe(n_classes: int, width: int, n_rows: int) -> Probe:
    return Probe(
        np.zeros((n_classes, width), np.float32),
        np.zeros(n_classes, np.float32),
        np.zeros((n_rows, n_classes), np.float32),
    )
