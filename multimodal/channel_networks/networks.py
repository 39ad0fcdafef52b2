"""One hidden layer, trained on soft or noisy targets, with or without a channel."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from labelnoise.noise_channel import NoiseChannel

# keeps the logarithm of a sum over classes finite
SMALLEST = 1e-8


@dataclass(frozen=True)
class NetworkSettings:
    """How the networks are made and trained.

    Attributes:
        n_columns: Principal components read. 256 hold nearly all of what 512 to 1,280 columns say.
        hidden: Width of the hidden layer.
        dropout: Share of hidden units left out in a step, half as many inputs; in 0..1.
        epochs: Passes over the training rows.
        batch: Rows per step.
        rate: Largest learning rate of the one-cycle schedule (AdamW).
        weight_decay: Of AdamW.
        n_members: Networks pooled per fold; more are steadier and take longer.
        n_folds: Folds.
        most_rows: Training rows; beyond these nothing is learnt that a small network could hold.

    Raises:
        ValueError: A value outside its range.
    """

    n_columns: int = 256
    hidden: int = 512
    dropout: float = 0.3
    epochs: int = 15
    batch: int = 256
    rate: float = 1e-3
    weight_decay: float = 1e-3
    n_members: int = 3
    n_folds: int = 5
    most_rows: int = 100_000

    def __post_init__(self) -> None:
        for name in ("n_columns", "hidden", "epochs", "batch", "n_members", "most_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.n_folds < 2:
            raise ValueError(f"n_folds must be at least 2, got {self.n_folds}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")
        if not (self.rate > 0 and self.weight_decay >= 0):
            raise ValueError(
                "want a positive rate and a weight_decay of at least 0, got"
                f" {self.rate} and {self.weight_decay}"
            )


@dataclass(frozen=True, eq=False)
class Network:
    """Weights of one trained network."""

    first: Tensor
    first_bias: Tensor
    second: Tensor
    second_bias: Tensor

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.second_bias)

    def answer(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities ``[n, K]``."""
        with torch.no_grad():
            hidden = (torch.from_numpy(features) @ self.first.T + self.first_bias).relu()
            logits = hidden @ self.second.T + self.second_bias
            found: NDArray[np.float32] = logits.softmax(1).numpy()
        return found


def train_network(
    features: NDArray[np.float32],
    targets: NDArray[np.float32],
    channel: NoiseChannel | None,
    settings: NetworkSettings,
    *,
    seed: int,
) -> Network:
    """Minimise the cross-entropy of the targets, behind the channel if there is one.

    Args:
        features: ``[n, d]``.
        targets: ``[n, K]``, rows that add up to 1: what was seen behind the channel, or without
            one what is believed.
        channel: Of the labels, or None.
        settings: See `NetworkSettings`.
        seed: Of weights, dropout and batches. The global random state stays as it is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _trained(torch.from_numpy(features), torch.from_numpy(targets), channel, settings)


def _trained(
    rows: Tensor, targets: Tensor, channel: NoiseChannel | None, settings: NetworkSettings
) -> Network:
    first = nn.Linear(rows.shape[1], settings.hidden)
    second = nn.Linear(settings.hidden, targets.shape[1])
    network = nn.Sequential(
        nn.Dropout(settings.dropout / 2), first, nn.ReLU(), nn.Dropout(settings.dropout), second
    )
    steps = max(1, settings.epochs * len(rows) // settings.batch)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, total_steps=steps + 1)
    passing = None if channel is None else torch.from_numpy(channel.transition).float()
    for _ in range(steps if len(rows) else 0):
        batch = torch.randint(0, len(rows), (settings.batch,))
        logs = network(rows[batch]).log_softmax(1)
        if passing is not None:
            logs = (logs.exp() @ passing + SMALLEST).log()
        loss = -(targets[batch] * logs).sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    weights = (first.weight, first.bias, second.weight, second.bias)
    return Network(*(weight.detach() for weight in weights))
