"""CAPro over embeddings: texts pick clean images of each class, their prototypes judge the rest."""

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import LabelAudit
from multimodal.calibration import CalibrationSettings
from multimodal.capro_stages import (
    TextSide,
    all_pairs,
    duplicate_groups,
    fit_judges,
    moved_judges,
    pick_core,
    score_texts,
    thresholds,
    verdicts,
)
from multimodal.clean_core import CoreSettings
from multimodal.embedded import EmbeddedCorpus
from multimodal.matching import MatchingSettings
from multimodal.methods.base import Progress, silent
from multimodal.neighbour_text import GraphSettings, TextSettings, smooth_texts, visual_graph
from multimodal.neighbours import NeighbourSettings, find_neighbours
from multimodal.probe import ProbeSettings
from multimodal.rows import Rows
from multimodal.stable_order import stable_keys
from multimodal.verdicts import REASONS, LadderSettings

if TYPE_CHECKING:
    from multimodal.engine.steps import Step

__all__ = ["REASONS", "Capro", "capro_paper"]

# the paper trains its classifier; over frozen rows the penalty is chosen on held-out core members
PENALTIES = (0.001, 0.01, 0.1)
# the estimate sees no strangers, who belong to no class: on a simulated crawl with 30 % of them,
# 0.97 wanted came out as 0.7 to 1, 0.9 as 0.5 to 0.7
CALIBRATION = CalibrationSettings(relabel_precision=0.97)
# of the rows smoothed texts are stored in: half the disk, and 5e-4 is below what encoders repeat
SMOOTHED = np.float16


@dataclass(frozen=True)
class Capro:
    """Clean a corpus with cross-modal prototypes. Stages, each with its settings:

    1. texts are averaged over visual look-alikes (`neighbours`, `graph`, `text`; `smooth`);
    2. texts are matched to the class texts, and the best of each class are its clean core
       (`matching`, `core`);
    3. the core's images give visual prototypes and train a classifier, out of fold (`probe`);
    4. both are mixed, temperature and thresholds are calibrated on held-out members of the core
       (`calibration`), and each label is kept, replaced or rejected (`ladder`);
    5. optionally kept and relabelled images move the prototypes, and all are judged again
       (`passes`, `momentum`).

    Defaults are ours and differ from the paper on purpose; `capro_paper` is what was released.

    Attributes:
        neighbours: The search for look-alikes.
        graph: From look-alikes to the graph texts are smoothed over.
        text: Smoothing.
        smooth: Whether texts are smoothed at all; False: each speaks for itself (an ablation).
        matching: Ranking of a class's texts.
        core: Who is picked for the clean core. Its selectors "random" and "all" need no texts.
        probe: The classifier; its penalty is chosen on held-out core members.
        calibration: Temperature and thresholds.
        calibrated_by: "channel": temperatures and a noise channel are fitted to the labels outside
            the core (`multimodal.channel_calibration`), and posteriors judge. "core": temperature
            and thresholds from held-out core members alone (`multimodal.calibration`). Without
            effect where `calibration.tau` is a number.
        keep_from_uniform: Keep labels from probability 1 / K, as the paper does.
        text_share: Share of the texts' own verdict in the mixture, where there is text evidence and
            the channel calibrates. A third, as much as classifier and prototypes each; the paper
            has none. On a simulated crawl it ranks wrong labels better by .04 to .05 AUROC.
        ladder: What the verdicts leave open.
        passes: Rounds of stage 5.
        momentum: Share of the old prototype at each sample of a round.

    Source: Qin et al., "CAPro: Webly Supervised Learning with Cross-Modality Aligned Prototypes",
    NeurIPS 2023, over frozen embeddings.
    """

    name: ClassVar[str] = "capro"

    neighbours: NeighbourSettings = field(default_factory=NeighbourSettings)
    graph: GraphSettings = field(default_factory=GraphSettings)
    text: TextSettings = field(default_factory=TextSettings)
    smooth: bool = True
    matching: MatchingSettings = field(default_factory=MatchingSettings)
    core: CoreSettings = field(default_factory=CoreSettings)
    probe: ProbeSettings = field(default_factory=lambda: ProbeSettings(penalties=PENALTIES))
    calibration: CalibrationSettings = CALIBRATION
    calibrated_by: str = "channel"
    keep_from_uniform: bool = False
    text_share: float = 1 / 3
    ladder: LadderSettings = field(default_factory=LadderSettings)
    passes: int = 0
    momentum: float = 0.999

    def __post_init__(self) -> None:
        if self.passes < 0:
            raise ValueError(f"passes must be at least 0, got {self.passes}")
        if not 0 <= self.text_share <= 1:
            raise ValueError(f"text_share must lie in 0 .. 1, got {self.text_share}")
        if self.calibrated_by not in ("channel", "core"):
            raise ValueError(
                f"calibrated_by must be 'channel' or 'core', got {self.calibrated_by!r}"
            )
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"momentum must lie in 0 .. 1, got {self.momentum}")

    @property
    def needs(self) -> tuple[str, ...]:
        """Parts of the corpus it reads: texts only where they pick the core."""
        return ("image", "text", "class_texts") if self.core.selector == "text" else ("image",)

    def calibration_for(self, n_classes: int) -> CalibrationSettings:
        """Calibration with `keep_from_uniform` put in."""
        if not self.keep_from_uniform:
            return self.calibration
        return replace(self.calibration, keep_threshold=1 / n_classes)

    def steps(self) -> "tuple[Step, ...] | None":
        """The stages as steps over shards, see `multimodal.methods.capro_steps`."""
        from multimodal.methods.capro_steps import capro_steps

        return capro_steps(self)

    def judge(
        self, corpus: EmbeddedCorpus, *, seed: int = 0, progress: Progress = silent
    ) -> LabelAudit:
        """See `multimodal.methods.base.CleaningMethod`; evidence of `multimodal.verdicts`.

        Raises:
            ValueError: See `check`.
        """
        self.check(corpus)
        assert corpus.image is not None  # needed
        keys = stable_keys(corpus.ids.tolist())
        side = self._text_side(corpus, keys, progress) if "text" in self.needs else None
        progress("picking the clean core", 0.6)
        groups = duplicate_groups(corpus.image) if self.core.deduplicate else None
        evidence = pick_core(self, corpus, side, keys=keys, groups=groups, seed=seed)
        judges = fit_judges(self, corpus, side, evidence, keys=keys, groups=groups, seed=seed)
        for number in range(self.passes + 1):
            progress("scoring images", 0.7 + 0.3 * number / (self.passes + 1))
            pairs = all_pairs(corpus, side, judges)
            scores = judges.scores(pairs)
            found = thresholds(self, corpus, evidence, judges, scores, keys=keys, seed=seed)
            audit = verdicts(self, corpus, evidence, scores, found, seed=seed)
            if number < self.passes:
                judges = moved_judges(self, corpus, side, evidence, judges, audit.label, keys=keys)
        return audit

    def check(self, corpus: EmbeddedCorpus) -> None:
        """Check that the corpus can be judged.

        Raises:
            ValueError: A part of it is missing, or pairs have several labels.
        """
        corpus.needed(*self.needs, by=self.name)
        if corpus.given_sets is not None:
            raise ValueError(
                "some records have several labels: --method capro_multi_label judges each of them"
            )

    def _text_side(
        self, corpus: EmbeddedCorpus, keys: NDArray[np.uint64], progress: Progress
    ) -> TextSide:
        assert corpus.image is not None  # needed
        assert corpus.text is not None
        if not self.smooth:
            return score_texts(corpus, corpus.text, None)
        found = find_neighbours(
            corpus.image, self.graph.n_neighbours, settings=self.neighbours, keys=keys,
            progress=lambda stage, share: progress(stage, 0.5 * share),
        )  # fmt: skip
        graph = visual_graph(found, settings=self.graph, vectors=corpus.image)
        progress("smoothing texts", 0.5)
        smoothed = smooth_texts(corpus.text, graph, settings=self.text)
        return score_texts(corpus, Rows([smoothed.rows.astype(SMOOTHED)]), smoothed.present)

    def recorded(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self)


def capro_paper() -> Capro:
    """The released behaviour over frozen embeddings; each part says what it differs in."""
    return Capro(
        graph=GraphSettings.paper(),
        text=TextSettings.paper(),
        matching=MatchingSettings.paper(),
        core=CoreSettings.paper(),
        calibration=CalibrationSettings(tau=0.1, gamma=0.6),
        keep_from_uniform=True,
        text_share=0.0,
        ladder=LadderSettings(reject_is_ood=True, label_unlabelled=False),
        passes=1,
    )
