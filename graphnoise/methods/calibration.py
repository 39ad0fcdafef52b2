"""Turn scores of any scale into probabilities, and judge each label without its own vote."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from graphnoise.graph import UNLABELLED, LabelledGraph
from graphnoise.label_propagation import neighbour_vote, propagate_labels

# a softmax ten thousand times sharper or flatter than this says nothing a float32 could keep
LOG_TEMPERATURES = (np.log(1e-4), np.log(1e4))


def temperature_by_likelihood(
    scores: NDArray[np.floating], labels: NDArray[np.int64], *, fallback: float = 1.0
) -> float:
    """Temperature T under which ``softmax(scores / T)`` best explains `labels`.

    The labels may be wrong: noise only flattens the answer, which is then P(given label) and not
    P(true class). That brings views to one scale and ranks classes rightly; an audit takes the
    noise out again with all views together (`labelnoise.calibrate`), because one view alone can
    hardly tell a flat answer from noisy labels.

    The likelihood is concave in ``1 / T``, so one bounded scalar search finds the maximum.

    Args:
        scores: Class scores ``[M, K]``; ``-inf`` rules a class out.
        labels: Noisy labels ``[M]`` that had no part in the scores of their row.
        fallback: Answer where no row is usable: no rows, or every row has equal scores.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2, with noisy
        instead of clean validation labels.
    """
    scores = np.asarray(scores, dtype=np.float64)
    rows = np.arange(len(scores))
    usable = np.isfinite(scores[rows, labels])
    scores, labels, rows = scores[usable], labels[usable], rows[: usable.sum()]
    spread = np.where(np.isfinite(scores), scores, scores[rows, labels][:, None])
    if not len(rows) or np.ptp(spread, axis=1).max() == 0:
        return fallback

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(scores / np.exp(log_temperature), axis=1)
        return -float(scaled[rows, labels].mean())

    found = minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded")
    return float(np.exp(found.x))


def probabilities_at(scores: NDArray[np.floating], temperature: float) -> NDArray[np.float32]:
    """``softmax(scores / temperature)`` ``[N, K]`` as float32; ``-inf`` scores give 0."""
    answer: NDArray[np.float32] = softmax(
        np.asarray(scores, dtype=np.float64) / temperature, axis=1
    ).astype(np.float32)
    return answer


def cross_fitted_propagation(
    graph: LabelledGraph,
    *,
    seed: int,
    n_folds: int = 5,
    neighbour_weight: float = 0.9,
    n_steps: int = 50,
) -> NDArray[np.float32]:
    """What the other labels say about each node: propagation with the node's own fold left out.

    Anchored propagation pulls a labelled node towards its own label, so as evidence about that
    label it would judge itself. Here the labelled nodes are cut into folds, and a node of a fold
    sees only the labels of the other folds; unlabelled nodes see the mean over the folds. The
    labels of validation nodes take part: they are given, as noisy as the others, and an audit
    judges them too. No classifier is trained on the result.

    Args:
        graph: Given labels and edges.
        seed: Of the assignment to folds.
        n_folds: 5: each node keeps four fifths of the evidence around it.
        neighbour_weight: Of `propagate_labels`; .9 reaches about ten hops.
        n_steps: Of `propagate_labels`.

    Returns:
        Probabilities ``[N, K]``, their temperature fitted to the given labels; zero rows, which
        an audit reads as silence, where no label reaches a node.
    """
    labelled = np.flatnonzero(graph.labelled)
    fold = np.random.default_rng(seed).permutation(len(labelled)) % n_folds
    mean = np.zeros((graph.n_nodes, graph.n_classes))
    own = np.zeros((len(labelled), graph.n_classes))
    for held_out in range(n_folds):
        labels = graph.given.copy()
        labels[labelled[fold == held_out]] = UNLABELLED
        scores = propagate_labels(
            graph.adjacency,
            labels,
            n_classes=graph.n_classes,
            neighbour_weight=neighbour_weight,
            n_steps=n_steps,
        )
        mean += scores / n_folds
        own[fold == held_out] = scores[labelled[fold == held_out]]
    mean[labelled] = own
    return _calibrated(mean, labelled, graph.given)


def as_shares(scores: NDArray[np.floating], *, floor: float = 1e-3) -> NDArray[np.float64]:
    """Non-negative scores ``[N, K]`` as rows that sum to 1, none below ``floor / K``.

    A row of zeros becomes uniform. The floor keeps one unreached class from vetoing a label
    where several views are multiplied.
    """
    scores = np.asarray(scores, dtype=np.float64)
    total, n_classes = scores.sum(axis=1, keepdims=True), scores.shape[1]
    shares = np.where(total > 0, scores / np.where(total > 0, total, 1), 1 / n_classes)
    return (1 - floor) * shares + floor / n_classes


def recalibrated(probabilities: NDArray[np.floating], graph: LabelledGraph) -> NDArray[np.float32]:
    """Probabilities ``[N, K]`` sharpened or flattened to explain the noisy validation labels.

    The temperature works on their logarithms. Without validation nodes they stay as they are: a
    classifier explains its own training labels too well to be calibrated on them. Zero rows stay.
    """
    return _calibrated(probabilities, np.flatnonzero(graph.validation), graph.given)


def neighbours_labels(graph: LabelledGraph) -> NDArray[np.float32]:
    """Given labels among the direct neighbours ``[N, K]``, train and validation, as probabilities.

    A node's own label has no vote, so the temperature is fitted on all given labels. Zero rows
    where no neighbour has a label.
    """
    votes = neighbour_vote(graph.adjacency, graph.given, graph.n_classes)
    return _calibrated(votes, np.flatnonzero(graph.labelled), graph.given)


def neighbours_answer(
    graph: LabelledGraph, probabilities: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Mean of the neighbours' probabilities ``[N, K]``, a node's own left out.

    Zero rows (no neighbours) stay zero.
    """
    total = graph.adjacency @ np.asarray(probabilities, dtype=np.float64)
    degree = np.asarray(graph.adjacency.sum(axis=1), dtype=np.float64)[:, None]
    return total / np.where(degree > 0, degree, 1)


def _calibrated(
    scores: NDArray[np.floating], rows: NDArray[np.int64], given: NDArray[np.int64]
) -> NDArray[np.float32]:
    speaks = scores.sum(axis=1) > 0
    logits, rows = np.log(as_shares(scores)), rows[speaks[rows]]
    temperature = temperature_by_likelihood(logits[rows], given[rows])
    return probabilities_at(logits, temperature) * speaks[:, None]
