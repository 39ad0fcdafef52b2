"""`LabelFreeClassifier`: class names and a budget in, a node classifier out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graphnoise.annotators.base import Annotator, Estimate, Progress, Purse, Usage
from graphnoise.label_free import RECIPES
from graphnoise.label_free.auditing import label_free_audit
from graphnoise.label_free.base import LabelFreeFit, Oracle, Recipe, StageReport
from graphnoise.text_graph import TextGraph, text_graph
from labelnoise.audit import LabelAudit

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from graphnoise.annotators.options import AnnotatorOptions
    from graphnoise.graph import LabelledGraph

DEFAULT_RECIPE = "second_opinion"


@dataclass(frozen=True, eq=False)
class Plan:
    """What a fit would ask and cost; nothing was sent.

    Attributes:
        estimate: Of all calls of the budget.
        nodes: Nodes in the graph.
        budget: Calls at most.
        first_nodes: Nodes asked before any answer is seen, in order ``[<= budget]`` int64.
        annotator: Name of who is asked.
        recipe: Name of the recipe.
    """

    estimate: Estimate
    nodes: int
    budget: int
    first_nodes: NDArray[np.int64]
    annotator: str
    recipe: str

    @property
    def cached(self) -> int:
        """Calls that are answered already and cost nothing."""
        return self.estimate.usage.cached

    def rows(self) -> list[tuple[str, str]]:
        """Names and values, for a person."""
        usage = self.estimate.usage
        later = self.budget - len(self.first_nodes)
        asked = f"{len(self.first_nodes)} at once" + (f", {later} later" if later else "")
        price = "unknown" if usage.money is None else f"${usage.money:.4f}"
        return [
            ("nodes", f"{self.nodes}, of which {usage.calls} are asked about ({asked})"),
            ("annotator", f"{self.annotator}, recipe {self.recipe}"),
            ("calls", f"{usage.calls}, of which {usage.cached} are answered in the cache"),
            ("samples", str(usage.samples)),
            ("tokens", f"{usage.prompt_tokens} prompt, {usage.completion_tokens} completion"),
            ("price", price),
            ("time", self._time()),
            *([("counted", self.estimate.exact)] if self.estimate.exact else []),
        ]

    def _time(self) -> str:
        usage = self.estimate.usage
        if not usage.seconds:
            return "unknown before the first answers" if usage.sent else "none to wait"
        return f"about {usage.seconds:.0f} s of answers, fewer where several are asked at once"


class LabelFreeClassifier:
    """A node classifier that buys its labels from an annotator, within a hard budget.

    Args:
        annotator: An `Annotator`, or a spec for `graphnoise.annotators.choosing.make_annotator`
            ("openai:MODEL@URL", "local:FOLDER", "embedding:minilm", "replay:FILE").
        recipe: Name of `graphnoise.label_free.RECIPES`, or a recipe.
        budget: Calls at most; a question from the cache counts too, so that a method's budget
            means the same on every run.
        prior: Zero-shot class probabilities ``[N, K]``, a second opinion on every label; None
            computes them from texts and class descriptions with `encoder` where the recipe
            needs them.
        encoder: Of texts, for the prior.
        seed: Of every random step.
        options: Of an annotator given as spec.
        purse: Caps besides the calls (tokens, money, seconds); None sets none.
        neighbours: Texts of neighbours shown with each question.
        progress: Called as answers arrive.
        report: Called at the end of every stage.

    Example:
        >>> from graphnoise.label_free.classifier import LabelFreeClassifier
        >>> LabelFreeClassifier("replay:answers.npz", budget=0)
        Traceback (most recent call last):
        ValueError: budget must be at least 1 call, got 0
    """

    def __init__(
        self,
        annotator: Annotator | str,
        *,
        budget: int,
        recipe: Recipe | str = DEFAULT_RECIPE,
        prior: ArrayLike | None = None,
        encoder: str = "minilm",
        seed: int = 0,
        options: "AnnotatorOptions | None" = None,
        purse: Purse | None = None,
        neighbours: int = 0,
        progress: Progress | None = None,
        report: StageReport | None = None,
    ) -> None:
        if budget < 1:
            raise ValueError(f"budget must be at least 1 call, got {budget}")
        self.recipe = cast(Recipe, RECIPES.load(recipe)() if isinstance(recipe, str) else recipe)
        self.annotator, self.options = annotator, options
        self.budget, self.prior, self.encoder, self.seed = budget, prior, encoder, seed
        self.purse, self.neighbours = purse, neighbours
        self.progress, self.report = progress, report

    def plan(self, data: "TextGraph | LabelledGraph | Data") -> Plan:
        """What `fit` would ask and cost. Sends nothing.

        Args:
            data: As for `fit`.

        Raises:
            ValueError: The graph has no texts, or the annotator cannot be made.
        """
        oracle, prior = self._begin(data)
        budget = min(self.budget, int(oracle.available.sum()))
        first = self.recipe.first_nodes(oracle.situation(self.seed, prior=prior), budget)
        estimate = oracle.annotator.estimate(oracle.questions(first))
        estimate = replace(estimate, usage=scaled(estimate.usage, budget / max(len(first), 1)))
        return Plan(
            estimate, oracle.graph.n_nodes, budget, first, oracle.annotator.name, self.recipe.name
        )

    def fit(self, data: "TextGraph | LabelledGraph | Data") -> Self:
        """Ask, train, correct.

        Args:
            data: A `TextGraph`, or anything `graphnoise.text_graph.text_graph` takes. Its truth,
                where it knows one, is not read.

        Returns:
            Itself; `graph_`, `fit_` and `oracle_` are set.

        Raises:
            ValueError: The graph has no texts, or the annotator cannot be made.
        """
        oracle, prior = self._begin(data)
        self.graph_, self.oracle_ = oracle.graph, oracle
        self.fit_ = self.recipe.run(oracle, seed=self.seed, prior=prior, report=self.report)
        return self

    def predict_proba(self) -> NDArray[np.float32]:
        """Class probabilities ``[N, K]`` of every node of the fitted graph."""
        return self._fitted().probabilities

    def predict(self) -> NDArray[np.int64]:
        """Likeliest class ``[N]`` of every node; the lowest index wins a tie."""
        return self.predict_proba().argmax(axis=1)

    def audit(self) -> LabelAudit:
        """Verdict, label to use, quality and reason for every node."""
        return label_free_audit(
            self.graph_,
            self._fitted(),
            method=self.recipe.name,
            settings=self.get_params(),
            seed=self.seed,
        )

    def get_params(self) -> dict[str, Any]:
        """Everything that decides the result, as plain values; never a secret."""
        annotator: Mapping[str, Any] = {}
        name = self.annotator
        if not isinstance(name, str):
            annotator, name = name.settings(), name.name
        elif hasattr(self, "oracle_"):
            annotator = self.oracle_.annotator.settings()
        recipe: dict[str, Any] = {}
        if is_dataclass(self.recipe) and not isinstance(self.recipe, type):
            recipe = asdict(self.recipe)
        return {
            "annotator": name,
            "annotator_settings": dict(annotator),
            "recipe": self.recipe.name,
            "recipe_settings": recipe,
            "budget": self.budget,
            "neighbours": self.neighbours,
            "encoder": self.encoder,
        }

    def _begin(
        self, data: "TextGraph | LabelledGraph | Data"
    ) -> tuple[Oracle, NDArray[np.float32] | None]:
        graph = data if isinstance(data, TextGraph) else text_graph(data)
        annotator = self.annotator
        if isinstance(annotator, str):
            from graphnoise.annotators.choosing import make_annotator
            from graphnoise.annotators.options import AnnotatorOptions

            annotator = make_annotator(annotator, self.options or AnnotatorOptions(), graph=graph)
        oracle = Oracle(
            graph,
            annotator,
            budget=self.budget,
            purse=self.purse,
            progress=self.progress,
            neighbours=self.neighbours,
        )
        return oracle, self._prior_of(graph)

    def _prior_of(self, graph: TextGraph) -> NDArray[np.float32] | None:
        if self.prior is not None:
            prior = np.asarray(self.prior, np.float32)
            if prior.shape != (graph.n_nodes, graph.n_classes):
                raise ValueError(
                    f"prior must be [{graph.n_nodes}, {graph.n_classes}], got {prior.shape}"
                )
            return prior
        if not self.recipe.needs_prior:
            return None
        from graphnoise.annotators.zero_shot import zero_shot_prior

        return zero_shot_prior(graph, encoder=self.encoder)

    def _fitted(self) -> LabelFreeFit:
        if not hasattr(self, "fit_"):
            raise RuntimeError("LabelFreeClassifier is not fitted: call fit(data) first")
        return self.fit_


def scaled(usage: Usage, factor: float) -> Usage:
    """An estimate for `factor` times as many questions of the same kind."""
    values: dict[str, Any] = {
        name: value if value is None else type(value)(round(value * factor, 6))
        for name, value in asdict(usage).items()
    }
    return Usage(**values)
