"""Co-teaching: two networks, each trained on what the other finds easy."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphnoise.graph import LabelledGraph
from graphnoise.methods.base import Fitted, NodeClassifier
from graphnoise.methods.neural import (
    NetworkTrainee,
    NeuralSettings,
    classifier_views,
    part_of,
    train_with,
)
from labelnoise.losses.transition_estimate import noise_rate_from_confident_joint


@dataclass(frozen=True)
class CoTeachingSettings:
    """Settings of `CoTeaching`.

    Attributes:
        neural: Of each of the two networks, their loss and optimiser, and the number of epochs.
        forget_rate: Share of the labels to leave out in the end; None estimates it from the
            predictions on the noisy validation nodes. The true rate is never read.
        warm_up: Epochs on all labels, before the estimate. 60: after 20, a GCN on Cora is wrong so
            often that the estimate at 30 % noise is .39 to .53, and training collapses.
        ramp: Epochs over which the share left out then grows from 0 to `forget_rate`, linearly.
            The paper takes 10 epochs of many steps; a full-batch epoch is one step.
    """

    neural: NeuralSettings = field(default_factory=NeuralSettings)
    forget_rate: float | None = None
    warm_up: int = 60
    ramp: int = 60

    def __post_init__(self) -> None:
        if self.forget_rate is not None and not 0 <= self.forget_rate < 1:
            raise ValueError(f"forget_rate must lie in [0, 1) or be None, got {self.forget_rate}")
        if self.warm_up < 1 or self.ramp < 1:
            raise ValueError(
                f"warm_up and ramp must be at least 1, got {self.warm_up} and {self.ramp}"
            )


class CoTeaching(NodeClassifier[CoTeachingSettings]):
    """Each network picks its small-loss training nodes; the other learns from these alone.

    The noise rate that the paper assumes known is the off-diagonal share of the confident joint
    between given labels and predictions on the validation nodes, after the warm-up. Errors of the
    young networks count as noise there, so it tends to be too high, which costs clean labels
    rather than letting wrong ones in. The answer is the mean of the two networks.

    Source:
        Han et al., "Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy
        Labels", NeurIPS 2018, algorithm 1.
    """

    name = "co_teaching"

    @classmethod
    def default_settings(cls) -> CoTeachingSettings:
        """Two GCNs, forget rate estimated."""
        return CoTeachingSettings()

    def fit_graph(self, graph: LabelledGraph) -> Fitted:
        """Train both and restore the selected epoch."""
        neural = self.settings.neural
        trainee = CoTeachingTrainee(graph, self.settings, self.run.device)
        history = train_with(trainee, graph, neural, self.run)
        probabilities = trainee.probabilities()
        return Fitted(
            probabilities,
            classifier_views(graph, probabilities, seed=self.run.seed),
            embedding=np.hstack([trainee.first.embedding(), trainee.second.embedding()]),
            history=history,
            noise_rate=trainee.noise_rate(),
        )


class CoTeachingTrainee:
    """Two `NetworkTrainee` that exchange training nodes; see `graphnoise.training.Trainee`."""

    def __init__(self, graph: LabelledGraph, settings: CoTeachingSettings, device: str) -> None:
        self.settings = settings
        # different draws of torch's generator give the two their different starts
        self.first = NetworkTrainee(graph, settings.neural, device)
        self.second = NetworkTrainee(graph, settings.neural, device)
        given_rate = settings.forget_rate if settings.forget_rate is not None else 0.0
        self.forget_rate = torch.tensor(given_rate, dtype=torch.float64)

    def run_epoch(self, epoch: int) -> float:
        """One step of each network on the nodes the other picked; returns the mean loss."""
        if self.settings.forget_rate is None and epoch == self.settings.warm_up:
            self.forget_rate = self._estimated_rate()
        kept = keep_count(len(self.first.train_nodes), self._left_out(epoch))
        losses = self.first.training_losses(), self.second.training_losses()
        picks = [smallest(loss.detach(), kept) for loss in losses]
        first = self.first.step(losses[0][picks[1]].mean())
        second = self.second.step(losses[1][picks[0]].mean())
        return (first + second) / 2

    def _left_out(self, epoch: int) -> float:
        progress = (epoch + 1 - self.settings.warm_up) / self.settings.ramp
        return float(self.forget_rate) * min(max(progress, 0.0), 1.0)

    def _estimated_rate(self) -> Tensor:
        first, nodes = self.first, self.first.held_out_nodes
        mean = (first.evaluated().softmax(1) + self.second.evaluated().softmax(1)) / 2
        rate = noise_rate_from_confident_joint(mean[nodes], first.held_out_labels)
        return torch.tensor(rate, dtype=torch.float64)

    def noise_rate(self) -> float | None:
        """The estimate as of the selected epoch; None where it was given or not yet made."""
        rate = float(self.forget_rate)
        return rate if self.settings.forget_rate is None and rate > 0 else None

    def probabilities(self) -> NDArray[np.float32]:
        """Mean of the two networks ``[N, K]``."""
        both = np.stack([self.first.probabilities(), self.second.probabilities()])
        mean: NDArray[np.float32] = both.mean(axis=0, dtype=np.float32)
        return mean

    def state(self) -> dict[str, Tensor]:
        """States of both networks and the forget rate."""
        both = {f"first.{key}": value for key, value in self.first.state().items()}
        both |= {f"second.{key}": value for key, value in self.second.state().items()}
        return both | {"forget_rate": self.forget_rate}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Inverse of `state`."""
        self.first.load_state(part_of(state, "first."))
        self.second.load_state(part_of(state, "second."))
        self.forget_rate = state["forget_rate"].clone()

    def optimiser_state(self) -> dict[str, Any]:
        """States of both optimisers."""
        return {
            "first": self.first.optimiser_state(),
            "second": self.second.optimiser_state(),
        }

    def load_optimiser_state(self, state: dict[str, Any]) -> None:
        """Inverse of `optimiser_state`."""
        self.first.load_optimiser_state(state["first"])
        self.second.load_optimiser_state(state["second"])


def keep_count(n_samples: int, left_out: float) -> int:
    """How many of `n_samples` stay when the share `left_out` goes; at least one."""
    return max(n_samples - int(left_out * n_samples), 1)


def smallest(losses: Tensor, count: int) -> Tensor:
    """Positions of the `count` smallest losses; the lower position wins a tie."""
    return losses.argsort(stable=True)[:count]
