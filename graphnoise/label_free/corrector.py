"""A second network on a rewired graph that may overrule the annotator, label by label."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.isotonic import IsotonicRegression

from graphnoise.label_free.training import FixedTraining, one_hot, train_network
from graphnoise.text_graph import TextGraph

CorrectionRule: TypeAlias = Literal["reliability", "ranks"]
# answers that agree or not, per bin of confidence
BIN = 20


@dataclass(frozen=True)
class CorrectorSettings:
    """How labels are corrected.

    Attributes:
        training: Of the corrector; like a stage's by default.
        rule: "reliability" replaces a label where the corrector, judged on labels it was not
            trained on, is more reliable than the annotator. "ranks" is the paper's: where the
            corrector ranks higher among the reviewed nodes than the annotator, which overwrites
            about half of those it disagrees on, whatever the confidences.
        tau: "ranks" also replaces where the annotator's confidence is below it, in 0..1.
        folds: Correctors trained for "reliability", each without the labels it judges; at
            least 2.
    """

    training: FixedTraining = field(default_factory=FixedTraining)
    rule: CorrectionRule = "reliability"
    tau: float = 0.0
    folds: int = 5

    def __post_init__(self) -> None:
        if self.rule not in get_args(CorrectionRule):
            raise ValueError(f"rule must be one of {get_args(CorrectionRule)}, got {self.rule!r}")
        if not 0 <= self.tau <= 1 or self.folds < 2:
            raise ValueError(f"want tau in 0..1 and folds >= 2, got {self.tau} and {self.folds}")


@dataclass(frozen=True, eq=False)
class Reviewed:
    """Answers of the annotator that are in question.

    Attributes:
        nodes: Labelled nodes ``[M]`` int64.
        labels: What the annotator said of them ``[M]`` int64.
        sureness: How sure it is ``[M]``: its estimated reliability for the rule "reliability",
            its confidence for "ranks".
    """

    nodes: NDArray[np.int64]
    labels: NDArray[np.int64]
    sureness: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Correction:
    """What the corrector says of the reviewed nodes.

    Attributes:
        labels: Its class ``[M]`` int64.
        reliability: Estimated probability that it is right ``[M]`` float64.
        replaces: Whether its label is to be used ``[M]`` bool.
    """

    labels: NDArray[np.int64]
    reliability: NDArray[np.float64]
    replaces: NDArray[np.bool_]


def correct_labels(
    graph: TextGraph,
    labels: NDArray[np.int64],
    weights: NDArray[np.float32],
    reviewed: Reviewed,
    settings: CorrectorSettings,
    *,
    seed: int = 0,
) -> Correction:
    """Train on the current labels and decide whose label of each reviewed node counts.

    Args:
        graph: With the rewired edges.
        labels: Current labels ``[N]``, -1 for none.
        weights: Of the labels ``[N]``.
        reviewed: Answers in question. The corrector is measured against them, not against
            labels that an earlier one replaced: those it would agree with too easily.
        settings: Rule and training.
        seed: Of the networks.
    """
    nodes, theirs = reviewed.nodes, reviewed.labels
    if settings.rule == "ranks":
        targets = one_hot(labels, graph.n_classes)
        answer = train_network(graph, targets, weights, settings=settings.training, seed=seed)
        rows = answer.probabilities[nodes]
        own, sure = rows.argmax(1), rows.max(1).astype(np.float64)
        wins = overruled_by_rank(reviewed.sureness, sure, settings.tau)
        return Correction(own, sure, wins & (own != theirs))
    rows = held_out_answers(graph, labels, weights, nodes, settings, seed=seed)
    own = rows.argmax(1)
    reliability = agreement_rate(rows.max(1), own == theirs)
    return Correction(own, reliability, (own != theirs) & (reliability > reviewed.sureness))


def overruled_by_rank(
    annotator: NDArray[np.float64], corrector: NDArray[np.float64], tau: float
) -> NDArray[np.bool_]:
    """The paper's rule: ``rank(annotator) > rank(corrector)`` or the annotator below `tau`.

    Args:
        annotator, corrector: Confidences ``[M]``; rank 1 is the largest, equals share their mean.
        tau: In 0..1.
    """
    behind: NDArray[np.bool_] = rankdata(-annotator) > rankdata(-corrector)
    return behind | (annotator < tau)


def held_out_answers(
    graph: TextGraph,
    labels: NDArray[np.int64],
    weights: NDArray[np.float32],
    reviewed: NDArray[np.int64],
    settings: CorrectorSettings,
    *,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Class probabilities of the reviewed nodes ``[M, K]`` by networks that never saw their label.

    Folds go by position in `reviewed`, so that the numbering of the nodes does not enter. Where
    nothing would be left to learn from, the answer is uniform.
    """
    targets = one_hot(labels, graph.n_classes)
    answers = np.full((len(reviewed), graph.n_classes), 1 / graph.n_classes, np.float32)
    order = np.random.default_rng(seed).permutation(len(reviewed))
    for number, fold in enumerate(np.array_split(order, settings.folds)):
        kept = weights.copy()
        kept[reviewed[fold]] = 0
        if not len(fold) or not (kept[labels >= 0] > 0).any():
            continue
        answer = train_network(
            graph, targets, kept, settings=settings.training, seed=seed + 1 + number
        )
        answers[fold] = answer.probabilities[reviewed[fold]]
    return answers


def agreement_rate(
    confidence: NDArray[np.float32], agrees: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """How often answers of such a confidence agree with the annotator ``[M]``, increasing in it.

    Isotonic regression over bins of equal count, each smoothed by one agreement and one
    disagreement. The annotator errs too, so if errors were independent this would be too low a
    reliability: it replaces too little rather than too much.

    Args:
        confidence: Of held-out answers ``[M]``.
        agrees: Whether they say what the annotator says ``[M]``.
    """
    m = len(confidence)
    if not m:
        return np.zeros(0)
    order = np.argsort(confidence, kind="stable")
    bins = np.array_split(order, max(1, m // BIN))
    centres = np.array([confidence[part].mean() for part in bins], np.float64)
    rates = np.array([(agrees[part].sum() + 1) / (len(part) + 2) for part in bins])
    counts = np.array([len(part) for part in bins], np.float64)
    model = IsotonicRegression(out_of_bounds="clip").fit(centres, rates, sample_weight=counts)
    fitted: NDArray[np.float64] = model.predict(confidence.astype(np.float64))
    return fitted
