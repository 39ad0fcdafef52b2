"""How reliable each bought label is, judged by second opinions that cost nothing; no truth read."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from graphnoise.annotators.base import Votes
from graphnoise.text_graph import TextGraph
from labelnoise.calibrate import calibrate_views
from labelnoise.decide import DEFAULT_RULE, pooled_logarithms, scaled_views
from labelnoise.noise_channel import ChannelPrior, NoiseChannel, fit_temperature

NEIGHBOURS = 15
# an accuracy is never taken for certain
LEAST, MOST = 0.02, 0.98
# keeps a logarithm finite
SMALLEST = 1e-9
# shares this close, as a part of the larger, are equal
TIE = 1e-6
# log odds beyond any mean between LEAST and MOST, and halvings of the way there
FAR, BISECTIONS = 10.0, 50


@dataclass(frozen=True)
class CalibrationSettings:
    """What is believed about an LLM's labels before any second opinion was heard.

    Attributes:
        neighbours: Of an asked node among the asked ones; at most a tenth of them are taken, so
            that few answers are not all pooled.
        expected_noise: Share of wrong labels expected; published LLM accuracies on texts of
            graphs lie between .6 and .94.
        strength: Labels that this belief is worth, over all classes.
        region_strength: Labels by which the accuracy of a region is pulled to that of all.
        confidence_groups: Groups of equal size that labels are sorted into by raw confidence.
        n_steps: Of expectation and maximisation over regions and groups.
    """

    neighbours: int = NEIGHBOURS
    expected_noise: float = 0.25
    strength: float = 50.0
    region_strength: float = 10.0
    confidence_groups: int = 4
    n_steps: int = 20

    def __post_init__(self) -> None:
        for name in ("neighbours", "confidence_groups", "n_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("strength", "region_strength"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be more than 0, got {getattr(self, name)}")
        if not 0 < self.expected_noise < 1:
            raise ValueError(f"expected_noise must lie in (0, 1), got {self.expected_noise}")


DEFAULT_SETTINGS = CalibrationSettings()


def calibrate_votes(
    votes: Votes,
    nodes: NDArray[np.int64],
    graph: TextGraph,
    prior: ArrayLike | None,
    regions: ArrayLike | None = None,
    neighbours: int = NEIGHBOURS,
    *,
    settings: CalibrationSettings | None = None,
) -> NDArray[np.float64]:
    """Estimated P(label right) of each bought label, by `second_opinions`.

    1. The share of right labels follows from how often label, zero-shot answer and zero-shot
       answer of the graph's neighbours agree (`accuracy_by_agreement`), pulled to what is expected.
    2. Each opinion gets a temperature and their pool a matrix of confusion between true class and
       bought label, from where they agree (`labelnoise.calibrate.calibrate_views`): together they
       answer P(true class | opinions).
    3. The annotator's accuracy is estimated per region, pulled towards that of all labels, in
       turns with P(true class | opinions, label): errors of LLMs are regional. Which class a
       wrong label names follows the matrix.
    4. Raw confidence moves the accuracy by as much as the opinions bear it out: by the estimated
       accuracy of labels with similar confidence.

    The order of the labels is more trustworthy than the level: what all views find hard they get
    wrong together, and no agreement among them can show it, so the numbers come out too high.

    Args:
        votes: M answers.
        nodes: Their nodes ``[M]`` int64.
        graph: Its embedding and adjacency are read, never its truth.
        prior: Class probabilities of all nodes ``[N, K]`` from a zero-shot annotator, never
            the one that is judged: it would vouch for itself. None leaves the bought labels of
            neighbours as the only opinion.
        regions: Region of every node ``[N]`` int64, -1 for none. None: the region of a node is
            its own neighbourhood among the asked ones.
        neighbours: See `CalibrationSettings`; overridden by `settings`.
        settings: See there.

    Returns:
        ``[M]`` float64 in 0..1; NaN where there is no label.

    Raises:
        ValueError: Shapes disagree, or a node is named twice or out of range.
    """
    settings = CalibrationSettings(neighbours=neighbours) if settings is None else settings
    asked = np.flatnonzero(votes.answered)
    reliability = np.full(len(votes), np.nan)
    if not len(asked):
        _checked(votes, nodes, graph)
        return reliability
    around = _asked_neighbours(votes, nodes, graph, settings.neighbours)
    opinions = _opinions(votes, nodes, graph, prior, around)
    labels = votes.labels[asked]
    belief = ChannelPrior(expected_noise=settings.expected_noise, strength=settings.strength)
    heard, channel = calibrate_views(
        {name: view[asked] for name, view in opinions.items()}, labels, prior=belief
    )
    pool, _ = pooled_logarithms(heard, dict.fromkeys(heard, 1.0), DEFAULT_RULE.probability_floor)
    level = _level(labels, nodes[asked], graph, prior, settings)
    channel = fit_temperature(pool, labels, _at_level(channel.transition, level), belief)
    pools = _region_pools(around, asked, None if regions is None else np.asarray(regions)[nodes])
    groups = _confidence_pools(votes.confidence[asked], settings.confidence_groups)
    reliability[asked] = _estimate(
        channel.probabilities(pool), labels, channel, level, pools, groups, settings
    )
    return reliability


def second_opinions(
    votes: Votes,
    nodes: NDArray[np.int64],
    graph: TextGraph,
    prior: ArrayLike | None,
    neighbours: int = NEIGHBOURS,
) -> dict[str, NDArray[np.float64]]:
    """What can be said about the class of each asked node without its own bought label.

    Args:
        votes: As in `calibrate_votes`, like the other arguments.
        nodes: See there.
        graph: See there.
        prior: See there.
        neighbours: See there.

    Returns:
        Opinions ``[M, K]``, rows that sum to 1, or NaN where one has nothing to say:
        ``asked_neighbours``, soft labels of the nearest asked nodes in the embedding, by cosine;
        and with a prior ``zero_shot``, the prior of the node itself, and ``graph``, the mean over
        its neighbours in the graph of their prior and, where bought, their label.
    """
    return _opinions(votes, nodes, graph, prior, _asked_neighbours(votes, nodes, graph, neighbours))


@dataclass(frozen=True, eq=False)
class _Around:
    """Nearest answered nodes of each question: rows of the votes ``[M, k]``, -1 for none."""

    rows: NDArray[np.int64]
    weights: NDArray[np.float64]


def _asked_neighbours(
    votes: Votes, nodes: NDArray[np.int64], graph: TextGraph, neighbours: int
) -> _Around:
    import torch

    from labelnoise.kernels.nearest_neighbours import nearest_neighbours

    _checked(votes, nodes, graph)
    answered = np.flatnonzero(votes.answered)
    k = min(neighbours, max(1, len(answered) // 10))
    if not len(answered):
        return _Around(np.full((len(nodes), 1), -1), np.zeros((len(nodes), 1)))
    rows = torch.from_numpy(np.ascontiguousarray(graph.embedding[nodes], dtype=np.float32))
    # one more than wanted: a question that was answered finds itself
    scores, found = nearest_neighbours(rows, k + 1, candidates=rows[answered])
    near, cosine = found.numpy(), scores.numpy().astype(np.float64)
    near = np.where(near >= 0, answered[near], -1)
    itself = near == np.arange(len(nodes))[:, None]
    # answered questions lose themselves, the others their last neighbour
    itself[~itself.any(axis=1), -1] = True
    near, cosine = near[~itself].reshape(-1, k), cosine[~itself].reshape(-1, k)
    weights = np.where((near >= 0) & (cosine > 0), cosine, 0)
    return _Around(np.where(weights > 0, near, -1), weights)


def _opinions(
    votes: Votes,
    nodes: NDArray[np.int64],
    graph: TextGraph,
    prior: ArrayLike | None,
    around: _Around,
) -> dict[str, NDArray[np.float64]]:
    k = graph.n_classes
    soft = votes.probabilities.astype(np.float64)
    near = np.einsum("mj,mjk->mk", around.weights, soft[around.rows])
    opinions = {"asked_neighbours": _smoothed(near, around.weights.sum(axis=1))}
    if prior is None:
        return opinions
    shares = np.asarray(prior, dtype=np.float64)
    if shares.shape != (graph.n_nodes, k):
        raise ValueError(f"prior must be [{graph.n_nodes}, {k}], got {list(shares.shape)}")
    opinions["zero_shot"] = scaled_views({"zero_shot": shares[nodes]}, (len(nodes), k))["zero_shot"]
    # a bought label is one opinion about its node, the prior another
    answered = votes.answered
    known = shares.copy()
    known[nodes[answered]] = (shares[nodes[answered]] + soft[answered]) / 2
    edges = graph.adjacency[nodes]
    opinions["graph"] = _smoothed(edges @ known, np.asarray(edges.sum(axis=1)).reshape(-1))
    return opinions


def _smoothed(total: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares with one more vote, alike for all classes; NaN where nobody voted."""
    shares = (total + 1 / total.shape[1]) / (weight[:, None] + 1)
    shares /= shares.sum(axis=1, keepdims=True)
    return np.where(weight[:, None] > 0, shares, np.nan)


def _region_pools(
    around: _Around, asked: NDArray[np.int64], regions: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Members of the region of each answered question ``[L, P]``, or its number ``[L]``."""
    if regions is not None:
        return regions[asked]
    place = np.full(len(around.rows) + 1, -1, np.int64)
    place[asked] = np.arange(len(asked))
    return place[around.rows[asked]]


def _confidence_pools(confidence: NDArray[np.float32], n_groups: int) -> NDArray[np.int64]:
    """Group of each label by raw confidence ``[L]``; -1 where none is given.

    Equal confidences share a group, so that there are fewer groups where they repeat.
    """
    groups = np.full(len(confidence), -1, np.int64)
    known = np.flatnonzero(np.isfinite(confidence))
    if len(known):
        values = confidence[known].astype(np.float64)
        cuts = np.unique(np.quantile(values, np.arange(1, n_groups) / n_groups))
        groups[known] = np.searchsorted(cuts, values, side="right")
    return groups


def accuracy_by_agreement(answers: ArrayLike, n_classes: int) -> float | None:
    """Accuracy of the first of three annotators from how often the three agree.

    With agreements ``a_ij`` beyond chance, ``(K p_ij - 1) / (K - 1)``, it is
    ``sqrt(a_12 a_13 / a_23)`` beyond chance, where errors are independent and alike in all
    directions. Errors shared with another annotator raise it; errors that only the other two share
    lower it.

    Args:
        answers: Classes ``[M, 3]``; rows with a -1 are left out.
        n_classes: K.

    Returns:
        In 1/K .. 1; None where a pair agrees no more often than by chance.

    Example:
        >>> accuracy_by_agreement([[0, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 1]], 2) is None
        True
        >>> accuracy_by_agreement([[0, 0, 0], [1, 1, 1], [0, 1, 1], [1, 1, 1]], 2)
        0.75
    """
    table = np.asarray(answers)
    table = table[(table >= 0).all(axis=1)]
    if not len(table):
        return None
    first, second, third = table.T
    beyond = [
        (n_classes * float((one == other).mean()) - 1) / (n_classes - 1)
        for one, other in ((first, second), (first, third), (second, third))
    ]
    if min(beyond) <= 0:
        return None
    share = min(np.sqrt(beyond[0] * beyond[1] / beyond[2]), 1.0)
    return float((1 + (n_classes - 1) * share) / n_classes)


def _level(
    labels: NDArray[np.int64],
    nodes: NDArray[np.int64],
    graph: TextGraph,
    prior: ArrayLike | None,
    settings: CalibrationSettings,
) -> float:
    """Share of right labels.

    Bought labels of neighbours are no witness here: they share the errors of the label.
    """
    expected = 1 - settings.expected_noise
    if prior is None:
        return expected
    shares = np.asarray(prior, dtype=np.float64)
    edges = graph.adjacency[nodes]
    answers = np.stack([labels, _answers(shares[nodes]), _answers(edges @ shares)], axis=1)
    accuracy = accuracy_by_agreement(answers, graph.n_classes)
    if accuracy is None:
        return expected
    n = int((answers >= 0).all(axis=1).sum())
    pulled = (accuracy * n + settings.strength * expected) / (n + settings.strength)
    return float(np.clip(pulled, LEAST, MOST))


def _answers(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """The largest entry of each row; -1 where two are as large, or none is above 0."""
    second, first = np.sort(shares, axis=1)[:, -2:].T
    return np.where(first - second > TIE * first, shares.argmax(axis=1), -1)


def _at_level(transition: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """The same directions of error, `level` of the labels right in each class."""
    wrong = transition.copy()
    np.fill_diagonal(wrong, 0)
    wrong *= (1 - level) / np.maximum(wrong.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    np.fill_diagonal(wrong, level)
    return np.asarray(wrong / wrong.sum(axis=1, keepdims=True))


def _estimate(
    free: NDArray[np.float64],
    labels: NDArray[np.int64],
    channel: NoiseChannel,
    level: float,
    pools: NDArray[np.int64],
    groups: NDArray[np.int64],
    settings: CalibrationSettings,
) -> NDArray[np.float64]:
    """P(label right) ``[L]``, in turns with the accuracies of regions and confidence groups."""
    rows = np.arange(len(labels))
    wrong = _at_level(channel.transition, 0.0)
    # P(label | true class, label wrong), with the label's own class left to the accuracy
    odds = np.log(np.maximum(free[rows, labels], SMALLEST))
    odds -= np.log(np.maximum((free * wrong.T[labels]).sum(axis=1), SMALLEST))
    accuracy = np.full(len(labels), level)
    for _ in range(settings.n_steps):
        right = _at_mean(odds + logit(accuracy), level)
        groupwise = logit(_pooled(right, groups, level, settings)) - logit(level)
        accuracy = expit(logit(_pooled(right, pools, level, settings)) + groupwise)
        accuracy = np.clip(accuracy, LEAST, MOST)
    return right


def _at_mean(odds: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
    """Probabilities ``[L]`` of these log odds, moved alike so that their mean is `mean`."""
    low, high = -odds.max() - FAR, -odds.min() + FAR
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(odds + middle).mean() < mean else (low, middle)
    return np.asarray(expit(odds + (low + high) / 2))


def _pooled(
    right: NDArray[np.float64],
    pools: NDArray[np.int64],
    overall: float,
    settings: CalibrationSettings,
) -> NDArray[np.float64]:
    """Mean over each label's pool, pulled to the overall mean ``[L]``."""
    if pools.ndim == 1:
        totals = np.bincount(pools + 1, weights=right)
        means = _pulled(totals, np.bincount(pools + 1), overall, settings)[pools + 1]
        return np.where(pools >= 0, means, overall)
    there = pools >= 0
    # the label itself belongs to its neighbourhood
    total: NDArray[np.float64] = right + np.where(there, right[pools], 0).sum(axis=1)
    return _pulled(total, 1 + there.sum(axis=1), overall, settings)


def _pulled(
    total: NDArray[Any],
    members: NDArray[Any],
    towards: float,
    settings: CalibrationSettings,
) -> NDArray[np.float64]:
    weight = settings.region_strength
    return np.clip((total + weight * towards) / (members + weight), LEAST, MOST)


def _checked(votes: Votes, nodes: NDArray[np.int64], graph: TextGraph) -> None:
    if nodes.shape != (len(votes),) or votes.probabilities.shape[1] != graph.n_classes:
        raise ValueError(
            f"nodes must be [{len(votes)}] and votes over {graph.n_classes} classes, got"
            f" {list(nodes.shape)} and {votes.probabilities.shape[1]}"
        )
    if len(nodes) and not 0 <= nodes.min() <= nodes.max() < graph.n_nodes:
        raise ValueError(f"nodes must lie in 0 .. {graph.n_nodes - 1}")
    if len(np.unique(nodes)) != len(nodes):
        raise ValueError("nodes must be distinct")
