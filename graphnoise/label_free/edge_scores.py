"""Which edges fit an answer: a score per edge, parameter-free or of a small trained network."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from graphnoise.label_free.dirichlet_energy import dirichlet_energy
from graphnoise.training import seeded

Scorer: TypeAlias = Literal["cosine", "trained"]
BLOCK = 1 << 18


@dataclass(frozen=True)
class ScorerSettings:
    """The trained scorer.

    Attributes:
        widths: Of its layers; the paper's 1024, 512, 64.
        dropout: Between layers, while it trains.
        learning_rate: Of Adam.
    """

    widths: tuple[int, ...] = (1024, 512, 64)
    dropout: float = 0.5
    learning_rate: float = 1e-3


@dataclass(frozen=True, eq=False)
class EnergyTask:
    """What a scorer may see and what it is to lower.

    Attributes:
        answer: Class probabilities ``[N, K]``.
        ends: Existing edges, then candidates ``[2, E]``, each once.
        gaps: ``||Y_u - Y_v||^2`` of each ``[E]``.
        smoothness, size: a and b of `dirichlet_energy`.
    """

    answer: NDArray[np.float32]
    ends: NDArray[np.int64]
    gaps: NDArray[np.float64]
    smoothness: float
    size: float


def cosine_scores(answer: NDArray[np.float32], ends: NDArray[np.int64]) -> NDArray[np.float64]:
    """``relu(cos(Y_u, Y_v))`` of every edge ``[E]``, in 0..1; 0 where a row is zero.

    Args:
        answer: Y ``[N, K]``.
        ends: ``[2, E]``.
    """
    lengths = np.linalg.norm(answer.astype(np.float64), axis=1, keepdims=True)
    rows = answer / np.where(lengths > 0, lengths, 1)
    scores = np.empty(ends.shape[1])
    for start in range(0, ends.shape[1], BLOCK):
        u, v = ends[:, start : start + BLOCK]
        scores[start : start + BLOCK] = np.einsum("ek,ek->e", rows[u], rows[v])
    return np.clip(scores, 0, 1)


class EdgeScorer(nn.Module):
    """``relu(h_u . h_v)`` with h a network of the rows of an answer.

    Linear, SELU, layer norm and dropout per layer; the last layer is only normalised, to length
    1, so that a score lies in 0..1 like the weight of a given edge.

    Args:
        n_classes: K.
        settings: Widths and dropout.
    """

    def __init__(self, n_classes: int, settings: ScorerSettings) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = n_classes
        for wider in settings.widths[:-1]:
            layers += [nn.Linear(width, wider), nn.SELU(), nn.LayerNorm(wider)]
            layers += [nn.Dropout(settings.dropout)]
            width = wider
        last = settings.widths[-1]
        layers += [nn.Linear(width, last), nn.LayerNorm(last, elementwise_affine=False)]
        self.layers = nn.Sequential(*layers)

    def forward(self, answer: Tensor, ends: Tensor) -> Tensor:
        """Scores ``[E]`` of edges ``[2, E]`` from the answer ``[N, K]``."""
        rows = functional.normalize(self.layers(answer), dim=1)
        return torch.relu((rows[ends[0]] * rows[ends[1]]).sum(1))


def trained_scores(
    task: EnergyTask, steps: int, settings: ScorerSettings, seed: int, device: str = "cpu"
) -> Iterator[NDArray[np.float64]]:
    """Train an `EdgeScorer` on the energy of its own weighted graph; the scores after each step.

    The released code never trains it: no gradient reaches its weights.

    Args:
        task: The answer, the edges, the energy.
        steps: Steps of Adam, and how many times scores ``[E]`` are given out.
        settings: Of the network.
        seed: Of weights and dropout.
        device: "cpu" or "cuda".
    """
    answer = torch.tensor(task.answer, device=device)
    ends = torch.tensor(task.ends, device=device)
    gaps = torch.tensor(task.gaps, dtype=torch.float32, device=device)
    place = torch.device(device)
    with seeded(seed, place):
        scorer = EdgeScorer(answer.shape[1], settings).to(device)
        optimiser = torch.optim.Adam(scorer.parameters(), lr=settings.learning_rate)
    for step in range(steps):
        # one seed per step: between steps the generator is the caller's
        with seeded(seed + 1 + step, place):
            scorer.train()
            energy = dirichlet_energy(
                ends, scorer(answer, ends), gaps, len(answer),
                smoothness=task.smoothness, size=task.size,
            )  # fmt: skip
        if energy.isfinite():
            optimiser.zero_grad()
            energy.backward()
            optimiser.step()
        scorer.eval()
        with torch.no_grad():
            scores: NDArray[np.float64] = scorer(answer, ends).double().cpu().numpy()
        yield scores
