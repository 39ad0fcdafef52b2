"""Answers drawn from the truth with the errors of a real LLM: by class, by region, on edges."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from graphnoise.annotators.base import ABSTAIN, Estimate, Progress, Purse, Questions, Usage, Votes
from graphnoise.annotators.counting import count_calls, refusals
from graphnoise.annotators.options import AnnotatorOptions, AnnotatorSpec
from graphnoise.graph import UNLABELLED
from graphnoise.text_graph import TextGraph

# classes that draw most of the errors of a class: few, as in GPT-3.5's table on Cora
CONCENTRATION = 0.3
# recall of classes of GPT-3.5 on Cora: .36 to .95
CLASS_DEVIATION = 0.18
# what the LLM says of itself hardly separates: the AUC of its list lengths is .55
STATED_MEAN, STATED_SPREAD = 0.75, 0.15
STATED_SHIFT = float(np.sqrt(2) * stats.norm.ppf(0.55))
MOST_EXTREME = 1e-3


@dataclass(frozen=True)
class SimulationSettings:
    """How the errors lie; the defaults are GPT-3.5 on Cora.

    Attributes:
        accuracy: Share of right answers expected over all nodes, in (0, 1).
        regional_deviation: Standard deviation of the accuracy between regions; independent errors
            would give about .05.
        n_regions: Clusters of the embedding.
        homophily: Change of the log-odds of being right from a node whose neighbours all have
            another class to one whose neighbours all have its own. 0 ignores edges; 2 is about
            what was measured (accuracy .45 to .74).
        seed: Of everything drawn.
    """

    accuracy: float = 0.677
    regional_deviation: float = 0.22
    n_regions: int = 30
    homophily: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.accuracy < 1:
            raise ValueError(f"accuracy must lie in (0, 1), got {self.accuracy}")
        if not 0 <= self.regional_deviation < np.sqrt(self.accuracy * (1 - self.accuracy)):
            raise ValueError(
                "regional_deviation must lie between 0 and that of a coin with this accuracy,"
                f" got {self.regional_deviation}"
            )
        if self.n_regions < 1:
            raise ValueError(f"n_regions must be at least 1, got {self.n_regions}")


class SimulatedAnnotator:
    """Plays an LLM whose errors are regional and asymmetric. Reads the truth; nothing else may.

    The log-odds of a right answer are ``b + a r(region) + c(class) + h (homophily - mean)``: r
    are quantiles of a Beta distribution in random places, c comes from the diagonal of the
    confusion matrix, a makes the standard deviation between regions the one asked for (0 where
    the classes alone exceed it), b the accuracy. A wrong answer is drawn from the rest of the row
    of the class.

    A node has one answer: its draws are made beforehand, so order and repetition change nothing.

    Args:
        graph: With truth. Nodes without one are not answered.
        settings: See `SimulationSettings`; None takes the defaults.
        confusion: ``[K, K]`` counts or shares, true class by answer, every row with a sum above
            0; None draws one whose rows have one or two attractors.

    Attributes:
        reliability: Probability of a right answer ``[N]``.
        regions: Region of each node ``[N]``.
        confusion: The matrix, rows summing to 1.

    Raises:
        ValueError: No truth, or a confusion matrix of another shape.
    """

    name = "simulated"

    def __init__(
        self,
        graph: TextGraph,
        settings: SimulationSettings | None = None,
        *,
        confusion: ArrayLike | None = None,
    ) -> None:
        if graph.truth is None:
            raise ValueError("the simulated annotator needs a graph with a known truth")
        self._settings = SimulationSettings() if settings is None else settings
        self._classes, self.truth = graph.classes, graph.truth
        rng = np.random.default_rng([self._settings.seed, 7])
        self.confusion = _confusion(confusion, graph.n_classes, self._settings, rng)
        self.regions = _regions(graph.embedding, self._settings)
        known = self.truth != UNLABELLED
        classes = _logit(np.diag(self.confusion))[np.maximum(self.truth, 0)]
        edges = self._settings.homophily * _centred_homophily(graph, self.truth)
        regional = _regional_logits(self._settings, rng)[self.regions]
        self.reliability = _scaled(regional, classes + edges, self.regions, known, self._settings)
        draws = rng.random((graph.n_nodes, 3))
        self._labels = self._answers(draws[:, :2])
        right = self._labels == self.truth
        z = stats.norm.ppf(draws[:, 2]) + STATED_SHIFT * right
        self._stated = np.clip(STATED_MEAN + STATED_SPREAD * z, 0.05, 0.99).astype(np.float32)

    @classmethod
    def from_spec(
        cls, spec: AnnotatorSpec, options: AnnotatorOptions, graph: TextGraph | None
    ) -> "SimulatedAnnotator":
        """``simulated`` or ``simulated:ACCURACY``, seeded by the options."""
        if graph is None:
            raise ValueError("the simulated annotator needs graph=: it answers from its truth")
        try:
            accuracy = float(spec.argument) if spec.argument else SimulationSettings.accuracy
        except ValueError:
            raise ValueError(f"simulated:ACCURACY needs a number, got {spec.argument!r}") from None
        return cls(graph, SimulationSettings(accuracy, seed=options.seed))

    def settings(self) -> Mapping[str, Any]:
        """The settings and the confusion matrix."""
        shares = np.round(self.confusion, 4).tolist()
        return {"annotator": self.name, **asdict(self._settings), "confusion": shares}

    def estimate(self, questions: Questions) -> Estimate:
        """Calls; nothing is sent."""
        return Estimate(Usage(calls=len(questions), samples=len(questions)), "calls; none is sent")

    def annotate(
        self, questions: Questions, *, purse: Purse | None = None, progress: Progress | None = None
    ) -> Votes:
        """The answers of the nodes asked about.

        Raises:
            ValueError: Other classes than the graph's, or a node it does not have.
        """
        nodes, n_nodes = questions.nodes, len(self.truth)
        if questions.classes.names != self._classes.names:
            raise ValueError("questions must have the classes of the annotator's graph")
        if len(nodes) and (nodes.min() < 0 or nodes.max() >= n_nodes):
            raise ValueError(f"nodes must lie in 0 .. {n_nodes - 1} of the graph")
        allowed, usage = count_calls(questions, purse, progress, what=self.name)
        labels = np.where(allowed, self._labels[nodes], ABSTAIN)
        answered = labels != ABSTAIN
        stated = np.where(answered, self._stated[nodes], np.nan).astype(np.float32)
        record = {"annotator": self.name, "model": self.name, "money": 0.0, "cached": False}
        return Votes(
            labels=labels,
            probabilities=self._soft(labels, stated),
            confidence=stated,
            source=np.where(answered, "simulated", "none"),
            rung=np.where(answered, "simulated", "none"),
            reason=np.where(
                allowed & ~answered, "not_recorded", refusals(np.ones_like(allowed), allowed)
            ),
            ranked=labels[:, None],
            usage=usage,
            records=(record,) * len(questions),
        )

    def _answers(self, draws: NDArray[np.float64]) -> NDArray[np.int64]:
        """One answer per node ``[N]``."""
        truth = np.maximum(self.truth, 0)
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        total = wrong.sum(axis=1, keepdims=True)
        # a class that is never mistaken in the table errs evenly where its region makes it err
        even = (1 - np.eye(len(wrong))) / (len(wrong) - 1)
        wrong = np.where(total > 0, wrong / np.where(total > 0, total, 1), even)
        chosen = (draws[:, 1, None] > np.cumsum(wrong, axis=1)[truth]).sum(axis=1)
        answers = np.where(
            draws[:, 0] < self.reliability, truth, np.minimum(chosen, len(wrong) - 1)
        )
        return np.where(self.truth == UNLABELLED, ABSTAIN, answers)

    def _soft(self, labels: NDArray[np.int64], stated: NDArray[np.float32]) -> NDArray[np.float32]:
        """The stated confidence on the label, the rest in equal parts."""
        n_classes, answered = len(self.confusion), np.flatnonzero(labels != ABSTAIN)
        soft = np.zeros((len(labels), n_classes), np.float32)
        soft[answered] = (1 - stated[answered, None]) / (n_classes - 1)
        soft[answered, labels[answered]] = stated[answered]
        return soft


def _confusion(
    given: ArrayLike | None, n_classes: int, settings: SimulationSettings, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Rows that sum to 1."""
    if given is not None:
        table = np.asarray(given, np.float64)
        if table.shape != (n_classes, n_classes) or table.min() < 0 or (table.sum(1) <= 0).any():
            raise ValueError(
                f"confusion must be [{n_classes}, {n_classes}], not negative, without empty rows"
            )
        return np.asarray(table / table.sum(axis=1, keepdims=True))
    recall = _beta(settings.accuracy, CLASS_DEVIATION).ppf((np.arange(n_classes) + 0.5) / n_classes)
    table = rng.dirichlet(np.full(n_classes, CONCENTRATION), size=n_classes) + 1e-6
    np.fill_diagonal(table, 0)
    table *= ((1 - rng.permutation(recall)) / table.sum(axis=1))[:, None]
    np.fill_diagonal(table, 1 - table.sum(axis=1))
    return table


def _beta(mean: float, deviation: float) -> Any:
    """The Beta distribution of a mean and a standard deviation, which is cut to what it can be."""
    largest = np.sqrt(mean * (1 - mean))
    size = mean * (1 - mean) / min(max(deviation, 1e-3), 0.9 * largest) ** 2 - 1
    return stats.beta(mean * size, (1 - mean) * size)


def _regional_logits(settings: SimulationSettings, rng: np.random.Generator) -> NDArray[np.float64]:
    places = (np.arange(settings.n_regions) + 0.5) / settings.n_regions
    shares = _beta(settings.accuracy, settings.regional_deviation).ppf(places)
    return _logit(rng.permutation(shares))


def _logit(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(special.logit(np.clip(shares, MOST_EXTREME, 1 - MOST_EXTREME)))


def _regions(embedding: NDArray[np.float32], settings: SimulationSettings) -> NDArray[np.int64]:
    """Clusters of the embedding ``[N]``, at most one per different row."""
    from sklearn.cluster import MiniBatchKMeans

    # more clusters than different rows would be empty
    n_clusters = min(settings.n_regions, len(np.unique(embedding, axis=0)))
    means = MiniBatchKMeans(n_clusters, n_init=3, random_state=settings.seed, batch_size=4096)
    return np.asarray(means.fit_predict(embedding), np.int64)


def _centred_homophily(graph: TextGraph, truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of neighbours of the same class ``[N]`` less its mean; 0 without neighbours."""
    degrees = np.diff(graph.adjacency.indptr)
    source = np.repeat(np.arange(graph.n_nodes), degrees)
    same = truth[source] == truth[graph.adjacency.indices]
    share = np.bincount(source, same, graph.n_nodes) / np.maximum(degrees, 1)
    linked = degrees > 0
    return np.where(linked, share - share[linked].mean() if linked.any() else 0.0, 0.0)


def _scaled(
    regional: NDArray[np.float64],
    rest: NDArray[np.float64],
    regions: NDArray[np.int64],
    known: NDArray[np.bool_],
    settings: SimulationSettings,
) -> NDArray[np.float64]:
    """Probabilities ``[N]`` with the accuracy and the deviation between regions asked for."""

    def shares(scale: float) -> NDArray[np.float64]:
        odds = scale * regional + rest

        def excess(offset: float) -> float:
            return float(special.expit(odds + offset)[known].mean() - settings.accuracy)

        return np.asarray(special.expit(odds + optimize.brentq(excess, -100, 100)))

    def deviation(scale: float) -> float:
        count = np.bincount(regions[known])
        total = np.bincount(regions[known], shares(scale)[known])
        return float(np.std(total[count > 0] / count[count > 0]) - settings.regional_deviation)

    if not known.any() or deviation(0.0) >= 0:
        return shares(0.0) if known.any() else np.zeros(len(rest))
    most = 8.0
    if deviation(most) <= 0:
        return shares(most)
    return shares(float(optimize.brentq(deviation, 0.0, most, xtol=1e-3)))
