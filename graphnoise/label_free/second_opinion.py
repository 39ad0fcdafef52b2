"""Our recipe: believe an LLM where a second opinion shares its view, and learn from there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphnoise.annotators.base import ABSTAIN, Votes
from graphnoise.annotators.calibration import calibrate_votes
from graphnoise.label_free.base import LabelFreeFit, Oracle, StageReport
from graphnoise.label_free.opinions import Rows, described, heard, pooled, smoothed
from graphnoise.label_free.training import FixedTraining, one_hot, train_network
from graphnoise.label_free.word_learner import WordSettings, learn_words
from graphnoise.node_selection.base import Situation
from graphnoise.node_selection.choosing import chosen_nodes
from graphnoise.text_graph import TextGraph


@dataclass(frozen=True)
class SecondOpinion:
    """Two opinions on every node, agreement as training set, a classifier of words on top.

    The errors of an LLM on a graph are regional: a whole neighbourhood is called by the wrong
    class, with confidence. No global threshold or confusion matrix finds them; another source
    that errs elsewhere does. So:

    1. The budget is spent at once, on one node per region (`selector`).
    2. Each node hears the answers of the nearest asked nodes, ranked lists as soft labels
       (`heard`), and what the class descriptions say of its neighbourhood (`described`).
    3. Where the two name one class, the node is learned from, asked or not; where they do not,
       no label is written and none overwritten.
    4. Two learners are trained on those nodes: a linear classifier of words and pairs of words,
       which neither opinion has read, smoothed over the graph; and a graph network on the
       embedding. Their answers are pooled: they see different things in a node.

    Attributes:
        selector: Name of `graphnoise.node_selection.SELECTORS`.
        selector_options: Its settings by name.
        neighbours: Answers heard per node; see `heard`.
        doubt: See `heard`.
        restart: Of the smoothing over the graph; see `smoothed`.
        learner: "both", "words" or "network" alone.
        words: Of the classifier of words.
        training: Of the network.

    Raises:
        ValueError: A setting outside its range.

    Source:
        Ours. Agreement of views as training set is co-training (Blum and Mitchell, COLT 1998);
        the second opinion as filter of LLM labels goes back to measurements on LLM-GNN's data.
    """

    selector: str = "medoids"
    selector_options: dict[str, Any] = field(default_factory=dict)
    neighbours: int = 10
    doubt: float = 0.1
    restart: float = 0.1
    learner: str = "both"
    words: WordSettings = field(default_factory=WordSettings)
    training: FixedTraining = field(default_factory=FixedTraining)
    name: str = field(default="second_opinion", init=False)

    def __post_init__(self) -> None:
        if self.learner not in ("words", "network", "both"):
            raise ValueError(f"learner must be words, network or both, got {self.learner!r}")
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, got {self.neighbours}")
        for name in ("doubt", "restart"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")

    @property
    def needs_prior(self) -> bool:
        """The second opinion is the prior."""
        return True

    def first_nodes(self, situation: Situation, budget: int) -> NDArray[np.int64]:
        """All nodes that `run` asks about, in order."""
        return chosen_nodes(self.selector, self.selector_options, situation, budget)

    def run(
        self,
        oracle: Oracle,
        *,
        seed: int,
        prior: NDArray[np.float32] | None = None,
        report: StageReport | None = None,
    ) -> LabelFreeFit:
        """Spend the budget, find where the opinions agree, learn from there.

        Raises:
            ValueError: There is no prior, or the budget is not positive.
        """
        if prior is None:
            raise ValueError("recipe second_opinion needs a prior: class descriptions or scores")
        graph = oracle.graph
        asked = self.first_nodes(oracle.situation(seed, prior=prior), oracle.left)
        votes = oracle.ask(asked)
        theirs = described(prior, graph.adjacency, restart=self.restart)
        answers = heard(
            votes,
            asked,
            graph.adjacency,
            graph.embedding,
            neighbours=self.neighbours,
            doubt=self.doubt,
        )
        both = pooled(answers, theirs)
        # where nobody answered all classes are alike, and the first of them is no opinion
        shared = (answers.argmax(1) == theirs.argmax(1)) & (np.ptp(answers, axis=1) > 0)
        label = np.where(shared, both.argmax(1), ABSTAIN)
        learned = self._learned(graph, label, seed)
        views = {**learned, "annotator_around": answers}
        if oracle.has_second_opinion or not learned:
            views["descriptions"] = theirs
        numbers = stage_numbers(votes, label)
        if report is not None:
            report("second_opinion", numbers)
        return LabelFreeFit(
            probabilities=pooled(*learned.values()) if learned else both,
            asked=asked,
            votes=votes,
            label=label,
            weight=(label != ABSTAIN).astype(np.float32),
            reliability=reliability_of(oracle, prior),
            views=views,
            stages=[numbers],
        )

    def _learned(self, graph: TextGraph, label: NDArray[np.int64], seed: int) -> dict[str, Rows]:
        """Answers ``[N, K]`` of the learners by name; none where no node was agreed on."""
        learned: dict[str, Rows] = {}
        if (label == ABSTAIN).all():
            return learned
        if self.learner != "network":
            words = learn_words(graph.texts, label, graph.n_classes, settings=self.words)
            if words is not None:
                learned["words"] = smoothed(graph.adjacency, words, restart=self.restart)
        if self.learner != "words" or not learned:
            targets = one_hot(label, graph.n_classes)
            answer = train_network(graph, targets, settings=self.training, seed=seed)
            learned["network"] = answer.probabilities
        return learned


def network_fit(
    oracle: Oracle,
    label: NDArray[np.int64],
    probabilities: Rows,
    *,
    prior: Rows | None,
    stages: Sequence[Mapping[str, float]],
) -> LabelFreeFit:
    """The fit of a recipe that trains a network alone on what it bought.

    Args:
        oracle: Who was asked, and what was answered.
        label: Label each node was trained with ``[N]``, -1 where none.
        probabilities: The network's answer ``[N, K]``.
        prior: Second opinion for the audit, or None.
        stages: Plain numbers per stage.
    """
    views = {"network": probabilities}
    if prior is not None and oracle.has_second_opinion:
        views["descriptions"] = prior
    return LabelFreeFit(
        probabilities=probabilities,
        asked=np.array(oracle.asked, dtype=np.int64),
        votes=oracle.votes,
        label=label,
        weight=(label != ABSTAIN).astype(np.float32),
        reliability=reliability_of(oracle, prior),
        views=views,
        stages=stages,
    )


def reliability_of(oracle: Oracle, prior: Rows | None) -> NDArray[np.float64]:
    """Estimated P(label right) of every node ``[N]``; NaN where not asked or not answered."""
    reliability = np.full(oracle.graph.n_nodes, np.nan)
    asked = np.array(oracle.asked, dtype=np.int64)
    judge = prior if oracle.has_second_opinion else None
    reliability[asked] = calibrate_votes(oracle.votes, asked, oracle.graph, judge)
    return reliability


def stage_numbers(votes: Votes, label: NDArray[np.int64]) -> dict[str, float]:
    """What one purchase and its training set say of themselves."""
    return {
        "asked": float(len(votes)),
        "answered": float(votes.answered.sum()),
        "labelled": float((label != ABSTAIN).sum()),
    }
