"""Edges that fit the current answer better: a graph that is read once and thrown away."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.label_free.dirichlet_energy import dirichlet_energy, edge_gaps, undirected_edges
from graphnoise.label_free.edge_scores import (
    EnergyTask,
    Scorer,
    ScorerSettings,
    cosine_scores,
    trained_scores,
)
from labelnoise.kernels.nearest_neighbours import nearest_neighbours


@dataclass(frozen=True)
class RewiringSettings:
    """What may be rewired, and when it counts as better.

    The defaults serve all data sets; the released runs use other values for each.

    Attributes:
        neighbours: Labelled nodes each node may be linked to.
        smoothness, size: a and b of the energy.
        drop: Largest share of the existing edges to drop, rho_o.
        add: Largest share of the candidates to add, rho_c.
        edges_per_node: Bound on edges per node of the whole result.
        trials: Proposals; the one of least energy wins, the original graph among them.
        scorer: "cosine" has no parameters; "trained" is a network, see `trained_scores`.
        network: The trained scorer's.
    """

    neighbours: int = 3
    smoothness: float = 1e-2
    size: float = 1e-6
    drop: float = 0.0
    add: float = 0.05
    edges_per_node: float = 5
    trials: int = 30
    scorer: Scorer = "cosine"
    network: ScorerSettings = field(default_factory=ScorerSettings)

    def __post_init__(self) -> None:
        if self.neighbours < 1 or self.trials < 1:
            raise ValueError(
                f"want neighbours and trials >= 1, got {self.neighbours} and {self.trials}"
            )
        if not (0 <= self.drop < 1 and 0 <= self.add <= 1):
            raise ValueError(f"want drop in [0, 1), add in [0, 1], got {self.drop}, {self.add}")
        if min(self.smoothness, self.size, self.edges_per_node) < 0:
            raise ValueError("smoothness, size and edges_per_node must be at least 0")
        if self.scorer not in get_args(Scorer):
            raise ValueError(f"scorer must be one of {get_args(Scorer)}, got {self.scorer!r}")


@dataclass(frozen=True, eq=False)
class Rewired:
    """The graph of least energy.

    Attributes:
        adjacency: ``[N, N]`` float32 CSR, symmetric.
        energy, energy_before: `dirichlet_energy` of it and of the given graph; never higher.
        added, dropped: Numbers of undirected edges.
        accepted: Trials whose energy was the lowest so far.
    """

    adjacency: sparse.csr_array
    energy: float
    energy_before: float
    added: int
    dropped: int
    accepted: int


def candidate_edges(
    adjacency: sparse.csr_array,
    answer: NDArray[np.float32],
    labelled: NDArray[np.int64],
    neighbours: int,
) -> NDArray[np.int64]:
    """Edges from each node to its `neighbours` labelled nodes of largest cosine in the answer.

    Args:
        adjacency: ``[N, N]``; its edges are no candidates.
        answer: Rows ``[N, K]``.
        labelled: Distinct nodes ``[T]``.
        neighbours: At least 1.

    Returns:
        ``[2, M]`` with ``u < v``, ascending, each once. Nothing of size N x N is held.
    """
    n = len(answer)
    rows = torch.from_numpy(np.ascontiguousarray(answer))
    # one more, because a labelled node finds itself
    near = nearest_neighbours(rows, neighbours + 1, candidates=rows[labelled])[1].numpy()
    found = np.where(near >= 0, labelled[near], -1)
    source = np.arange(n)[:, None]
    useless = (found < 0) | (found == source)
    kept = np.argsort(useless, axis=1, kind="stable")[:, :neighbours]
    found, useless = np.take_along_axis(found, kept, 1), np.take_along_axis(useless, kept, 1)
    u, v = np.broadcast_to(source, found.shape)[~useless], found[~useless]
    wanted = np.unique(np.minimum(u, v) * n + np.maximum(u, v))
    ends, _ = undirected_edges(adjacency)
    new = np.setdiff1d(wanted, ends[0] * n + ends[1], assume_unique=True)
    return np.stack(np.divmod(new, n))


def rewire(
    adjacency: sparse.csr_array,
    answer: NDArray[np.float32],
    labelled: NDArray[np.int64],
    settings: RewiringSettings,
    *,
    seed: int = 0,
    device: str = "cpu",
) -> Rewired:
    """Drop the edges that fit `answer` least, add candidates that fit it best, if that pays.

    Every trial starts from the given graph: it drops at most ``drop |E|`` edges of the lowest
    score and adds at most ``add M`` of the M candidates with the highest, and no more than
    `edges_per_node` allows. It is accepted when its energy is below the lowest so far; the given
    graph is the first. Scores without parameters are the same in every trial, so trial t of n
    goes t/n of the way; those of the trained network change from step to step.

    A new edge weighs what the given ones weigh on average.

    Args:
        adjacency: Symmetric weights ``[N, N]``. Not modified.
        answer: Class probabilities ``[N, K]``.
        labelled: Nodes a candidate may lead to ``[T]``, at least one.
        settings: See there.
        seed: Of the trained scorer.
        device: Of the trained scorer.
    """
    ends, weights = undirected_edges(adjacency)
    pool = candidate_edges(adjacency, answer, labelled, settings.neighbours)
    both = np.concatenate([ends, pool], axis=1)
    gaps = edge_gaps(both, answer)
    typical = weights.mean() if len(weights) else 1.0
    every = np.concatenate([weights, np.full(pool.shape[1], typical)])
    task = EnergyTask(answer, both, gaps, settings.smoothness, settings.size)

    def energy(chosen: NDArray[np.bool_]) -> float:
        value = dirichlet_energy(
            torch.from_numpy(both[:, chosen]),
            torch.from_numpy(every[chosen]),
            torch.from_numpy(gaps[chosen]),
            len(answer),
            smoothness=settings.smoothness,
            size=settings.size,
        )
        return float(value)

    best = np.arange(both.shape[1]) < len(weights)
    before = lowest = energy(best)
    accepted = 0
    for scores, part in _trials(task, settings, seed, device):
        chosen = _proposal(scores, len(weights), len(answer), part, settings)
        reached = energy(chosen)
        if reached < lowest:
            best, lowest, accepted = chosen, reached, accepted + 1
    return Rewired(
        adjacency=_symmetric(both[:, best], every[best], len(answer)),
        energy=lowest,
        energy_before=before,
        added=int(best[len(weights) :].sum()),
        dropped=int((~best[: len(weights)]).sum()),
        accepted=accepted,
    )


def _trials(
    task: EnergyTask, settings: RewiringSettings, seed: int, device: str
) -> Iterator[tuple[NDArray[np.float64], float]]:
    """Scores of all edges and candidates, and how much of the way to go, per trial."""
    if settings.scorer == "trained":
        for scores in trained_scores(task, settings.trials, settings.network, seed, device):
            yield scores, 1.0
        return
    scores = cosine_scores(task.answer, task.ends)
    for trial in range(1, settings.trials + 1):
        yield scores, trial / settings.trials


def _proposal(
    scores: NDArray[np.float64], n_given: int, n_nodes: int, part: float, rule: RewiringSettings
) -> NDArray[np.bool_]:
    """Edges of one trial ``[E + M]``: some of the given ones and some candidates."""
    chosen = np.arange(len(scores)) < n_given
    n_drop = int(part * rule.drop * n_given)
    chosen[np.argsort(scores[:n_given], kind="stable")[:n_drop]] = False
    room = max(rule.drop * n_given, rule.edges_per_node * n_nodes - n_given * (1 - rule.drop))
    n_add = int(min(part * rule.add * (len(scores) - n_given), max(room, 0)))
    heaviest = n_given + np.argsort(-scores[n_given:], kind="stable")[:n_add]
    chosen[heaviest[scores[heaviest] > 0]] = True
    return chosen


def _symmetric(
    ends: NDArray[np.int64], weights: NDArray[np.float64], n_nodes: int
) -> sparse.csr_array:
    half = sparse.csr_array((weights.astype(np.float32), (ends[0], ends[1])), (n_nodes, n_nodes))
    full = sparse.csr_array(half + half.T)
    full.sort_indices()
    return full
