"""What every node classifier offers: fit, predict, predict_proba, embed, audit."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from graphnoise.graph import LabelledGraph
from graphnoise.training import Progress, Selection, TrainingHistory, seeded, silent
from labelnoise.audit import LabelAudit
from labelnoise.calibrate import calibrate_views
from labelnoise.decide import CALIBRATED_RULE, DecisionRule, decide

if TYPE_CHECKING:
    from torch_geometric.data import Data

S = TypeVar("S")


@dataclass(frozen=True)
class Run:
    """Where and how one fit runs; none of it belongs to the method's mathematics.

    Attributes:
        seed: Of initialisation, dropout and sampling.
        device: "cpu" or "cuda".
        selection: How the epoch that counts is chosen; noisy validation needs no clean label.
        progress: Called after every epoch.
        checkpoint: File to resume from and write to, or None.
    """

    seed: int = 0
    device: str = "cpu"
    selection: Selection = "noisy_validation"
    progress: Progress = silent
    checkpoint: Path | None = None


@dataclass
class Fitted:
    """What a method learned about every node of the graph.

    Attributes:
        probabilities: The method's answer ``[N, K]``; rows sum to 1.
        views: Evidence for the audit: name -> probabilities ``[N, K]``. Views should err in
            different ways (propagated labels, prototypes, classifier).
        embedding: ``[N, D]``, or None where the method has none.
        history: Of the training, or None where nothing is trained.
        columns: Further per-node numbers ``[N]`` worth reporting.
        transition: The method's own estimate of P(given = j | true = i) ``[K, K]``; None where it
            makes none, and the audit's calibration estimates it.
        noise_rate: The method's own estimate of the share of wrong labels in 0..1, or None.
    """

    probabilities: NDArray[np.float32]
    views: Mapping[str, NDArray[np.float32]]
    embedding: NDArray[np.float32] | None = None
    history: TrainingHistory | None = None
    columns: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    transition: NDArray[np.float64] | None = None
    noise_rate: float | None = None


class NodeClassifier(ABC, Generic[S]):
    """A classifier of nodes that expects wrong labels; transductive: it answers for its own graph.

    Args:
        settings: The method's own settings; its defaults, the paper's, where None.
        run: Seed, device, selection, progress and checkpoint.
    """

    name: ClassVar[str]
    settings: S

    def __init__(self, settings: S | None = None, *, run: Run | None = None) -> None:
        self.settings = settings if settings is not None else self.default_settings()
        self.run = run if run is not None else Run()

    @classmethod
    @abstractmethod
    def default_settings(cls) -> S:
        """The settings used where the caller gives none."""

    @abstractmethod
    def fit_graph(self, graph: LabelledGraph) -> Fitted:
        """The method itself, on a checked graph, with torch's generators already seeded."""

    def fit(self, data: "Data | LabelledGraph") -> Self:
        """Learn from the given labels of the training nodes.

        Args:
            data: A `LabelledGraph`, or PyG ``Data`` with ``x``, ``edge_index``, ``y`` and
                optionally ``train_mask``, ``val_mask``, ``test_mask``, ``edge_weight``. Not
                modified.

        Returns:
            The fitted estimator; ``graph_``, ``fitted_`` and ``history_`` are set.

        Raises:
            ValueError: The graph is malformed; the message names the argument.
        """
        from graphnoise.pyg import as_graph

        self.graph_ = as_graph(data)
        with seeded(self.run.seed, torch.device(self.run.device)):
            self.fitted_ = self.fit_graph(self.graph_)
        self.history_ = self.fitted_.history
        return self

    def predict_proba(self) -> NDArray[np.float32]:
        """Class probabilities ``[N, K]`` of every node of the fitted graph."""
        return self._checked().probabilities

    def predict(self) -> NDArray[np.int64]:
        """Most probable class ``[N]`` of every node; the lowest index wins a tie."""
        return self.predict_proba().argmax(axis=1)

    def embed(self) -> NDArray[np.float32]:
        """Representation ``[N, D]`` of every node.

        Raises:
            ValueError: The method has no representation.
        """
        embedding = self._checked().embedding
        if embedding is None:
            raise ValueError(f"method {self.name!r} learns no embedding")
        return embedding

    def audit(self, rule: DecisionRule | None = None) -> LabelAudit:
        """Keep, relabel or reject each given label, with a quality and a reason.

        The views were fitted to noisy labels and answer P(given label). They are calibrated to
        P(true class) on the validation nodes, whose labels trained nothing, or on all labelled
        nodes where there are none; a classifier then vouches for the labels it has learned, and
        the audit finds too few wrong ones.

        Args:
            rule: Thresholds; `CALIBRATED_RULE` where None.

        Returns:
            The audit. Its ``quality`` estimates the probability that the given label is right.
            Its ``noise_rate`` and ``transition`` are the method's own estimates where it makes
            them, else the calibration's.
        """
        fitted, graph = self._checked(), self.graph_
        rows = np.flatnonzero(graph.labelled)
        rule = rule or CALIBRATED_RULE
        given, held_out = graph.given[rows], graph.validation[rows]
        views, channel = calibrate_views(
            {name: view[rows] for name, view in fitted.views.items()},
            given,
            fit_rows=held_out if held_out.any() else None,
            probability_floor=rule.probability_floor,
        )
        audit = decide(
            views,
            given,
            ids=graph.ids[rows],
            class_names=graph.class_names,
            method=self.name,
            settings=self.get_params(),
            seed=self.run.seed,
            rule=rule,
            channel=channel,
        )
        return replace(
            audit,
            transition=audit.transition if fitted.transition is None else fitted.transition,
            noise_rate=audit.noise_rate if fitted.noise_rate is None else fitted.noise_rate,
        )

    def get_params(self) -> dict[str, Any]:
        """The settings as plain values, with the selection."""
        return {**asdict(self.settings), "selection": self.run.selection}  # type: ignore[call-overload]

    def _checked(self) -> Fitted:
        if not hasattr(self, "fitted_"):
            raise RuntimeError(f"{type(self).__name__} is not fitted: call fit(data) first")
        return self.fitted_
