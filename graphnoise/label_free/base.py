"""What every label-free recipe offers: a text graph, an oracle and a budget in, a fit out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graphnoise.annotators.base import (
    Annotator,
    NoLimit,
    Progress,
    Purse,
    Questions,
    Votes,
    join_votes,
)
from graphnoise.node_selection.base import Situation
from graphnoise.text_graph import TextGraph

# called when a stage begins and ends, with its name and plain numbers
StageReport: TypeAlias = Callable[[str, Mapping[str, float]], None]


class Oracle:
    """Asks one annotator about nodes of one graph, and remembers every answer.

    A node is asked once; asking again raises, because a budget counts calls.

    Args:
        graph: Texts and classes.
        annotator: Who answers.
        budget: Calls at most, a hard cap of the method; at least 1. Refused questions and
            abstentions were asked and count.
        purse: Caps on tokens, money and repairs besides; None sets none.
        progress: Called as answers arrive.
        neighbours: Texts of neighbours shown per question; 0 shows none.
    """

    def __init__(
        self,
        graph: TextGraph,
        annotator: Annotator,
        *,
        budget: int,
        purse: Purse | None = None,
        progress: Progress | None = None,
        neighbours: int = 0,
    ) -> None:
        if budget < 1:
            raise ValueError(f"budget must be at least 1 call, got {budget}")
        self.graph, self.annotator, self.budget = graph, annotator, budget
        self.purse: Purse = NoLimit() if purse is None else purse
        self.progress, self.n_neighbours = progress, neighbours
        self.asked: list[int] = []
        self._votes: list[Votes] = []

    @property
    def has_second_opinion(self) -> bool:
        """Whether a zero-shot prior can judge the answers; it would vouch for its own."""
        return self.annotator.name != "embedding"

    @property
    def left(self) -> int:
        """Calls left of the budget."""
        return self.budget - len(self.asked)

    @property
    def available(self) -> NDArray[np.bool_]:
        """Nodes that may still be asked about ``[N]``: not asked, with a text."""
        free = np.array([bool(text.strip()) for text in self.graph.texts])
        free[self.asked] = False
        return free

    @property
    def votes(self) -> Votes:
        """All answers so far, in the order of `asked`.

        Raises:
            ValueError: Nothing was asked.
        """
        return join_votes(self._votes)

    def questions(self, nodes: Sequence[int] | NDArray[np.int64]) -> Questions:
        """What would be asked about these nodes."""
        nodes = np.asarray(nodes, dtype=np.int64)
        shown = None
        if self.n_neighbours:
            shown = tuple(neighbour_texts(self.graph, int(v), self.n_neighbours) for v in nodes)
        texts = tuple(self.graph.texts[v] for v in nodes)
        return Questions(nodes, texts, self.graph.classes, shown)

    def ask(self, nodes: Sequence[int] | NDArray[np.int64]) -> Votes:
        """Answers about these nodes.

        Raises:
            ValueError: More nodes than the budget has left, or one asked before.
        """
        nodes = np.asarray(nodes, dtype=np.int64)
        again = np.intersect1d(nodes, self.asked)
        if len(again) or len(np.unique(nodes)) < len(nodes):
            raise ValueError(f"nodes must be new and distinct, found {again[:1] or nodes[:1]}")
        if len(nodes) > self.left:
            raise ValueError(f"{len(nodes)} nodes exceed the {self.left} calls left")
        votes = self.annotator.annotate(
            self.questions(nodes), purse=self.purse, progress=self.progress
        )
        self.asked.extend(nodes.tolist())
        self._votes.append(votes)
        return votes

    def situation(self, seed: int, **evidence: Any) -> Situation:
        """What a selector may know now."""
        return Situation(self.graph, self.available, seed, **evidence)


def neighbour_texts(graph: TextGraph, node: int, count: int) -> tuple[str, ...]:
    """First lines of the texts of at most `count` neighbours, heaviest edges first."""
    start, end = graph.adjacency.indptr[node : node + 2]
    order = np.argsort(-graph.adjacency.data[start:end], kind="stable")
    texts = (graph.texts[v] for v in graph.adjacency.indices[start:end][order])
    return tuple([text.splitlines()[0] for text in texts if text.strip()][:count])


@dataclass(eq=False)
class LabelFreeFit:
    """What a recipe learned.

    Attributes:
        probabilities: Its answer ``[N, K]`` float32; rows sum to 1.
        asked: Nodes in the order they were asked ``[B]`` int64.
        votes: Their answers, or None where nothing was asked.
        label: Label each node was trained with in the end ``[N]`` int64; -1 where none.
        weight: Its weight ``[N]`` float32 in 0..1.
        reliability: Estimated probability ``[N]`` that the annotator's label is right; NaN where
            not asked.
        views: Evidence for the audit: name -> probabilities ``[N, K]``.
        regions: Region of each node ``[N]`` int64, or None where the recipe has none.
        stages: Plain numbers per stage, in order.
        columns: Further numbers per node ``[N]`` for the table.
    """

    probabilities: NDArray[np.float32]
    asked: NDArray[np.int64]
    votes: Votes | None
    label: NDArray[np.int64]
    weight: NDArray[np.float32]
    reliability: NDArray[np.float64]
    views: Mapping[str, NDArray[np.float32]]
    regions: NDArray[np.int64] | None = None
    stages: Sequence[Mapping[str, float]] = ()
    columns: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


class Recipe(Protocol):
    """A frozen settings dataclass that can be run; a new one is one file and one line.

    Attributes:
        name: Key of `graphnoise.label_free.RECIPES`.
    """

    @property
    def name(self) -> str:
        """Key of the registry."""
        ...

    @property
    def needs_prior(self) -> bool:
        """Whether `run` needs the zero-shot prior."""
        ...

    def first_nodes(self, situation: Situation, budget: int) -> NDArray[np.int64]:
        """Nodes that `run` asks about before it has seen an answer ``[<= budget]``, in order."""
        ...

    def run(
        self,
        oracle: Oracle,
        *,
        seed: int,
        prior: NDArray[np.float32] | None = None,
        report: StageReport | None = None,
    ) -> LabelFreeFit:
        """Spend at most the oracle's budget and learn. `TextGraph.truth` is not read.

        Args:
            oracle: Graph, annotator, budget.
            seed: Of every random step.
            prior: Zero-shot class probabilities ``[N, K]``, where an encoder is at hand.
            report: Called at the end of every stage.
        """
        ...
