"""What a trial of the local clustering study is: graph, target, seed, labels, score.

A target is a class within the largest connected component; its seeds are drawn at random. What is
drawn depends on the names of graph, class and draw alone, and a longer draw begins with the shorter
one: trials can be added later, smaller sets of examples lie within larger ones, and a label wrong
at little noise is wrong at more.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from graphnoise.local_clusters import Adjacency

BASE_SEED = 20231012
# trials of the sheet: 105, 104 and 38
SEEDS_PER_CLASS = {"coauthor-cs": 7, "amazon-photo": 13, "cora": 6}
NOISE_LEVELS = (0.95, 0.9, 0.8, 0.7)
EXAMPLES_PER_SIDE = (5, 25, 100)
FROM_SEED = 100
# methods without labels are run once per trial, under this setting
UNLABELLED = "none"
SETTINGS = (
    UNLABELLED,
    *(f"examples-{m}" for m in EXAMPLES_PER_SIDE),
    "seed",
    *(f"noise-{level:g}" for level in NOISE_LEVELS),
)


@dataclass(frozen=True, eq=False)
class Target:
    """A graph's largest component and the classes of its nodes.

    Attributes:
        adjacency: The component, with attributes.
        smoothed: The same, with attributes prepared by `smooth_features`.
        classes: Of each node ``[N]`` int64.
        names: Of the classes.
    """

    adjacency: "Adjacency"
    smoothed: "Adjacency"
    classes: NDArray[np.int64]
    names: tuple[str, ...]

    def members(self, target: int) -> NDArray[np.bool_]:
        """Nodes of one class ``[N]``."""
        return self.classes == target

    def oracle_mass(self, target: int) -> float:
        """``min(2 vol(K), .9 vol(G))``: uses the true volume, so whoever takes it is marked so."""
        degrees = np.diff(self.adjacency.arrays.indptr)
        total = self.adjacency.total_volume
        return float(min(2 * degrees[self.members(target)].sum(), 0.9 * total))


@dataclass(frozen=True)
class Trial:
    """One seed of one target."""

    graph: str
    target: int
    draw: int
    seed: int


@cache
def load_target(name: str) -> Target:
    """A data set's largest component, edges unweighted."""
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    from graphnoise.datasets import load_graph
    from graphnoise.local_clusters import as_adjacency, smooth_features

    graph = load_graph(name)
    _, component = connected_components(graph.adjacency, directed=False)
    kept = np.flatnonzero(component == np.bincount(component).argmax())
    matrix = sparse.csr_array(graph.adjacency[kept][:, kept])
    matrix.data[:] = 1
    assert graph.truth is not None
    adjacency = replace(as_adjacency(matrix), features=graph.features[kept])
    smoothed = replace(adjacency, features=smooth_features(adjacency))
    return Target(adjacency, smoothed, graph.truth[kept], graph.class_names)


def generator(*names: object) -> np.random.Generator:
    """Random numbers that belong to these names; the same on every machine and in every process."""
    return np.random.default_rng([BASE_SEED, *(crc32(str(name).encode()) for name in names)])


def draw_trials(graph: str, classes: NDArray[np.int64], per_class: int) -> Iterator[Trial]:
    """Class-balanced random seeds, the draws of all classes in turn.

    Args:
        graph: Name, part of the random seed.
        classes: Of each node ``[N]``.
        per_class: Seeds of each class; a class with fewer nodes gives all of them.
    """
    orders = {
        target: generator(graph, target, "seeds").permutation(np.flatnonzero(classes == target))
        for target in np.unique(classes).tolist()
    }
    for draw in range(per_class):
        for target, order in orders.items():
            if draw < len(order):
                yield Trial(graph, target, draw, int(order[draw]))


def flip(members: NDArray[np.bool_], level: float, trial: Trial) -> NDArray[np.int8]:
    """Labels that are right with probability `level` on both sides: a1 = a0 = level."""
    wrong = _random(trial, "noise").random(len(members)) >= level
    return (members != wrong).astype(np.int8)


def draw_examples(
    members: NDArray[np.bool_], per_side: int, trial: Trial
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random examples within and outside the target, as many as there are at most."""
    rng = _random(trial, "examples")
    inside = rng.permutation(np.flatnonzero(members))
    outside = rng.permutation(np.flatnonzero(~members))
    return inside[:per_side], outside[:per_side]


def _random(trial: Trial, what: str) -> np.random.Generator:
    return generator(trial.graph, trial.target, trial.draw, what)


def labels_of(
    target: Target, trial: Trial, setting: str, mass: float | None
) -> NDArray[np.int8] | None:
    """Labels ``[N]`` of one setting, the same for every method of a trial; None without labels.

    All nodes are predicted here, for the score of labels alone; a query asks for reached ones only.

    Args:
        target: The graph.
        trial: Whose random numbers are used.
        setting: One of `SETTINGS`.
        mass: Of the diffusion that labels from the seed begin with; None: found by it.
    """
    from graphnoise.local_clusters.learned_labels import LabelsFromExamples, LabelsFromSeed

    kind, _, value = setting.partition("-")
    members = target.members(trial.target)
    if kind == UNLABELLED:
        return None
    if kind == "noise":
        return flip(members, float(value), trial)
    source: Any
    if kind == "examples":
        positives, negatives = draw_examples(members, int(value), trial)
        source = LabelsFromExamples(positives, negatives)
    else:
        source = LabelsFromSeed(n_examples=FROM_SEED)
    return everywhere(source, target.adjacency, trial.seed, mass)


def everywhere(
    source: Any, adjacency: "Adjacency", seed: int, mass: float | None
) -> NDArray[np.int8]:
    """A label source's labels of all nodes ``[N]``."""
    from graphnoise.local_clusters.base import Workspace
    from graphnoise.local_clusters.query import Query

    query = Query(np.array([seed]), mass)
    labels, _ = source.labels_for(adjacency, query, Workspace(adjacency.n_nodes))
    found = labels.function(np.arange(adjacency.n_nodes))
    return np.asarray(found, np.int8)


def score(nodes: NDArray[np.int64], members: NDArray[np.bool_]) -> tuple[float, float, float]:
    """F1, precision and recall of a set of distinct nodes against a target; 0 for no node."""
    both = int(members[nodes].sum())
    if not both:
        return 0.0, 0.0, 0.0
    precision, recall = both / len(nodes), both / int(members.sum())
    return 2 * precision * recall / (precision + recall), precision, recall


def conductance(adjacency: "Adjacency", nodes: NDArray[np.int64]) -> float:
    """``cut / min(vol, vol(G) - vol)`` of a set of nodes; NaN for none or all."""
    indptr, indices = adjacency.arrays.indptr, adjacency.arrays.indices
    chosen = np.zeros(adjacency.n_nodes, bool)
    chosen[nodes] = True
    both_ends = np.repeat(chosen, np.diff(indptr))
    volume = int(both_ends.sum())
    cut = int((both_ends & ~chosen[indices]).sum())
    smaller = min(volume, int(indptr[-1]) - volume)
    return cut / smaller if smaller else float("nan")


def quality(labels: NDArray[np.int8], members: NDArray[np.bool_]) -> tuple[float, float]:
    """``a1 = P(y=1 | in K)`` and ``a0 = P(y=0 | outside)``."""
    return float((labels[members] == 1).mean()), float((labels[~members] == 0).mean())
