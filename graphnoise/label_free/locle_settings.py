"""Settings of the Locle recipe: ours, and the paper's per data set and backbone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from graphnoise.label_free.corrector import CorrectorSettings
from graphnoise.label_free.rewiring import RewiringSettings
from graphnoise.label_free.training import FixedTraining
from graphnoise.node_selection import SELECTORS

Sureness: TypeAlias = Literal["calibrated", "raw"]
Review: TypeAlias = Literal["asked", "bought", "none"]
# a quarter of the budget: what most of the released runs add per stage
CONFIDENT_SHARE = 0.25
QUERIES = ("none", "disharmony")


@dataclass(frozen=True)
class LocleSettings:
    """One default for all data sets; nothing here was chosen by clean labels.

    Attributes:
        training: Network and epochs of each stage.
        selector: Key of `graphnoise.node_selection.SELECTORS` for the first purchase.
        selector_options: Fields of that selector.
        stages: S. The last one only trains: what it would buy could not be learned from.
        queries: What the stages before the last ask about. "none": the whole budget is spent at
            the start, because uncertain nodes are those an LLM is worst at. "disharmony": the
            paper's critical nodes. Else a key of `SELECTORS`.
        initial_share: Share of the budget spent at the start, epsilon, where later stages ask.
        filter_ratio: Share of the first labels that `post_filter` removes. .2: the median of
            the released runs.
        filter_balance: Weight of the entropy in it, lambda.
        sureness: What filter and rank rule read: "calibrated" reliability (estimated without
            clean labels), or the "raw" confidence of the annotator.
        confident: Nodes that each stage from the second on labels by the ensemble; None is a
            quarter of the budget.
        decay: Weight of a stage relative to the next in the ensemble, a.
        review: Whose labels the corrector may replace: all "asked" ones, those "bought" in the
            stage (the paper's), or "none": no corrector, no rewiring.
        rewiring: See there.
        corrector: See there.
        weighted: Whether a label weighs its reliability in the loss; 1 each otherwise.
    """

    training: FixedTraining = field(default_factory=FixedTraining)
    selector: str = "medoids"
    selector_options: Mapping[str, Any] = field(default_factory=dict)
    stages: int = 5
    queries: str = "none"
    initial_share: float = 0.5
    filter_ratio: float = 0.2
    filter_balance: float = 1.0
    sureness: Sureness = "calibrated"
    confident: int | None = None
    decay: float = 0.5
    review: Review = "asked"
    rewiring: RewiringSettings = field(default_factory=RewiringSettings)
    corrector: CorrectorSettings = field(default_factory=CorrectorSettings)
    weighted: bool = True

    def __post_init__(self) -> None:
        if self.stages < 1:
            raise ValueError(f"stages must be at least 1, got {self.stages}")
        if not 0 < self.initial_share <= 1:
            raise ValueError(f"initial_share must lie in (0, 1], got {self.initial_share}")
        if not 0 <= self.filter_ratio < 1:
            raise ValueError(f"filter_ratio must lie in [0, 1), got {self.filter_ratio}")
        if self.confident is not None and self.confident < 0:
            raise ValueError(f"confident must be at least 0 or None, got {self.confident}")
        for name, allowed in (("sureness", Sureness), ("review", Review)):
            value = getattr(self, name)
            if value not in get_args(allowed):
                raise ValueError(f"{name} must be one of {get_args(allowed)}, got {value!r}")
        if self.queries not in QUERIES:
            # raises, and names the selectors there are
            SELECTORS[self.queries]

    @classmethod
    def paper(cls, dataset: str = "cora", backbone: str = "gcn") -> "LocleSettings":
        """The released run of a data set with the paper's intent; see `locle_paper`.

        Raises:
            ValueError: No such data set or backbone.
        """
        from graphnoise.label_free.locle_paper import paper_settings

        return paper_settings(dataset, backbone)

    @property
    def uses_reliability(self) -> bool:
        """Whether filter, weights or corrector read the estimated reliability of an answer."""
        corrected = self.review != "none" and self.corrector.rule == "reliability"
        return self.weighted or corrected or self.sureness == "calibrated"

    def purchases(self, budget: int) -> tuple[int, int]:
        """Calls at the start, and in each stage but the last; they sum to the budget.

        What integer division leaves over is spent at the start.
        """
        rounds = self.stages - 1
        if self.queries == "none" or rounds == 0:
            return budget, 0
        # the margin keeps a product such as .3 * 10 from falling below the integer it means
        each = int((1 - self.initial_share) * budget / rounds + 1e-9)
        # a first network needs at least one label
        each = min(each, (budget - 1) // rounds)
        return budget - rounds * each, each

    def confident_nodes(self, budget: int) -> int:
        """Nodes labelled by the ensemble per stage."""
        return round(CONFIDENT_SHARE * budget) if self.confident is None else self.confident
