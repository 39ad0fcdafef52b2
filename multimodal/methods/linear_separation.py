"""Linear separation (LSA): losses and an early layer's linear separator find noise in turns."""

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import NO_LABEL, LabelAudit
from labelnoise.two_component_mixture import MixtureFit
from multimodal.alternation import (
    PseudoLabels,
    noisy_by_loss,
    outside_by_separator,
    pseudo_labels,
    pseudo_weights,
    refit_targets,
    settled,
)
from multimodal.embedded import EmbeddedCorpus
from multimodal.methods.base import Progress, silent
from multimodal.probe import RowFolds, out_of_fold_probe, stratified_folds
from multimodal.rows import Rows

REASONS = {
    "clean_by_both": "Neither the loss nor the linear separator finds the sample noisy.",
    "detectors_disagree": "One of the two detectors finds the sample noisy, the other does not.",
    "pseudo_label": "Both detectors find the label noisy; the probe's own guess is trusted.",
    "pseudo_label_agrees": "Both detectors find the sample noisy, but the trusted guess is the"
    " given label.",
    "noisy_by_both": "Both detectors find the sample noisy, and no guess is trusted.",
    "no_given_label": "There was no given label to judge.",
}
DETECTORS = ("linear", "loss")
UNDECIDED_QUALITY = 0.5
SMALLEST_P = 1e-12


@dataclass(frozen=True, eq=False)
class Round:
    """What one round found; all ``[N]``.

    Attributes:
        guesses: Of the round's probe.
        noisy_p: P(high loss), NaN without a label.
        outside_p: P(noisy side) by the separator; NaN where it could not be fitted.
        noisy: The detectors' decisions, by name.
        asked: The detector whose decision the next probe learns from.
        weights: Of the pseudo-labels under that decision.
    """

    guesses: PseudoLabels
    noisy_p: NDArray[np.float64]
    outside_p: NDArray[np.float64]
    noisy: dict[str, NDArray[np.bool_]]
    asked: str
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class LinearSeparation:
    """Judge labels by two detectors that fail differently, in alternation.

    A round: the losses of an out-of-fold probe on the image vectors, split by a mixture; a linear
    separator of the noisy rows on an *early* layer, out of fold; one of the two decides in turn;
    then the probe is fitted again, to the given labels of clean rows and to its own sharpened
    guesses for noisy ones, weighted by a mixture on the pseudo-losses (PLS). The verdict asks both
    members of the alternation: the last linear decision and the last one by loss.

    Attributes:
        last_layer: Separate the image vectors themselves. **That is not LSA**, whose point is that
            early layers tell images apart which the last one has mixed; for corpora without
            `early` rows. The settings of the audit say which it was.
        separator_c: scikit-learn's C of the separator's ridge, > 0; published without a penalty,
            but that separates anything once columns are as many as rows.
        split_threshold: Smallest P(high loss) of a noisy row, in 0..1.
        sharpen: Power of the probabilities in pseudo-labels, > 0; 2 is a temperature of 1/2.
        order: Who decides in even and in odd rounds.
        mixture: Of all mixtures.
        folds: Of the probe and the separator, at least 2; both are in sample as published.
        rounds: Most rounds, at least 2, so that both detectors decide.
        settle_share: Rows that may change between equal decisions when looking for a cycle.
        trusted_weight: Smallest weight of a pseudo-label that replaces a label, in 0..1.
        relabel_probability: Smallest probability of its class, not sharpened, in 0..1.
        top: Classes of a pseudo-label kept; at 10 little is lost.

    Source: LSA, ECCV 2024, with PLS, WACV 2023, over frozen features: the network, its mixup and
    its contrastive term are not here. Losses and sides are out of fold, the separator has a ridge;
    the published method trains on pseudo-labels and gives no verdicts: these are ours.
    """

    name: ClassVar[str] = "linear_separation"

    last_layer: bool = False
    separator_c: float = 0.01
    split_threshold: float = 0.95
    sharpen: float = 2.0
    order: tuple[str, str] = DETECTORS
    mixture: MixtureFit = field(default_factory=MixtureFit)
    folds: int = 5
    rounds: int = 4
    settle_share: float = 0.0
    trusted_weight: float = 0.5
    relabel_probability: float = 0.6
    top: int = 10

    def __post_init__(self) -> None:
        for name in ("split_threshold", "settle_share", "trusted_weight", "relabel_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0 .. 1, got {getattr(self, name)}")
        for name in ("separator_c", "sharpen"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if sorted(self.order) != sorted(DETECTORS):
            raise ValueError(f"order must hold {' and '.join(DETECTORS)}, got {self.order}")
        if self.folds < 2 or self.rounds < 2 or self.top < 1:
            raise ValueError(
                "want folds and rounds of at least 2 and top of at least 1, got"
                f" {self.folds}, {self.rounds} and {self.top}"
            )

    @property
    def needs(self) -> tuple[str, ...]:
        """Parts of the corpus it reads."""
        return ("image",) if self.last_layer else ("image", "early")

    def judge(
        self, corpus: EmbeddedCorpus, *, seed: int = 0, progress: Progress = silent
    ) -> LabelAudit:
        """See `multimodal.methods.base.CleaningMethod`.

        Evidence: ``loss`` (of the last probe), ``noisy_p`` (P(high loss)), ``ood_score`` (the
        separator's P(noisy side)), ``noisy_by_linear`` and ``noisy_by_loss`` (last decision of
        either member, 1 or 0), ``pseudo_weight``, ``suggested`` and ``suggested_p`` (the probe's
        likeliest class). Quality is ``1 - (noisy_p + ood_score) / 2``.

        Raises:
            ValueError: The corpus has no image rows, or no early ones and `last_layer` is off.
        """
        if corpus.early is None and not self.last_layer:
            raise ValueError(
                f"{self.name} needs early rows (an early layer of the image model), this corpus"
                " has none; last_layer=true separates the image rows instead, which is not the"
                " published method"
            )
        corpus.needed(*self.needs, by=self.name)
        folds = stratified_folds(corpus.given, self.folds, ids=corpus.ids, seed=seed)
        found: list[Round] = []
        rest = ""
        while len(found) < self.rounds and not rest:
            found.append(self._round(corpus, folds, found))
            rest = settled([one.noisy[one.asked] for one in found], share=self.settle_share)
            progress(f"round {len(found)}", len(found) / self.rounds)
        return self._audit(corpus, found, rest, seed)

    def _round(self, corpus: EmbeddedCorpus, folds: RowFolds, before: list[Round]) -> Round:
        assert corpus.image is not None  # needed
        given, asked = corpus.given, self.order[len(before) % 2]
        soft = None
        if before:
            last = before[-1]
            soft = refit_targets(given, last.noisy[last.asked], last.guesses, last.weights)
        probe = out_of_fold_probe(corpus.image, given, corpus.n_classes, folds=folds, soft=soft)
        guesses = pseudo_labels(probe, given, power=self.sharpen, top=self.top)
        noisy_p = noisy_by_loss(guesses.loss, self.mixture)
        by_loss = np.nan_to_num(noisy_p, nan=0.0) > self.split_threshold
        labelled = given != NO_LABEL
        outside = outside_by_separator(
            self._separated(corpus), by_loss, labelled, c=self.separator_c, folds=folds
        )
        by_line = labelled & (np.nan_to_num(outside, nan=0.0) > 0.5)
        noisy = {"loss": by_loss, "linear": by_line}
        weights = pseudo_weights(guesses.pseudo_loss, noisy[asked], self.mixture)
        return Round(guesses, noisy_p, outside, noisy, asked, weights)

    def _separated(self, corpus: EmbeddedCorpus) -> Rows:
        rows = corpus.image if self.last_layer else corpus.early
        assert rows is not None  # needed
        return rows

    def _audit(
        self, corpus: EmbeddedCorpus, found: list[Round], rest: str, seed: int
    ) -> LabelAudit:
        given, last = corpus.given, found[-1]
        unlabelled = given == NO_LABEL
        # the last decision of either member
        noisy = {one.asked: one.noisy[one.asked] for one in found[-2:]}
        both, either = noisy["linear"] & noisy["loss"], noisy["linear"] | noisy["loss"]
        weights = pseudo_weights(last.guesses.pseudo_loss, both, self.mixture)
        guess = last.guesses.classes[:, 0]
        trusted = (weights >= self.trusted_weight) & (
            last.guesses.p_best >= self.relabel_probability
        )
        ladder = [
            (unlabelled, "abstain", "no_given_label"),
            (~either, "keep", "clean_by_both"),
            (~both, "abstain", "detectors_disagree"),
            (trusted & (guess == given), "keep", "pseudo_label_agrees"),
            (trusted, "relabel", "pseudo_label"),
        ]
        holds = [rung[0] for rung in ladder]
        verdict = np.select(holds, [rung[1] for rung in ladder], default="reject")
        label = np.where(verdict == "keep", given, NO_LABEL)
        # where no separator could be fitted, the loss speaks alone
        outside = np.where(np.isnan(last.outside_p), last.noisy_p, last.outside_p)
        quality = 1 - (last.noisy_p + outside) / 2
        told = {f"noisy_by_{name}": np.where(unlabelled, np.nan, noisy[name]) for name in DETECTORS}
        return LabelAudit(
            ids=corpus.ids,
            given=given,
            verdict=verdict,
            label=np.where(verdict == "relabel", guess, label),
            quality=np.where(unlabelled, UNDECIDED_QUALITY, np.clip(quality, 0, 1)),
            reason=np.select(holds, [rung[2] for rung in ladder], default="noisy_by_both"),
            evidence={
                "loss": np.minimum(last.guesses.loss, -np.log(SMALLEST_P)),
                "noisy_p": last.noisy_p,
                "ood_score": last.outside_p,
                **told,
                "pseudo_weight": np.where(both, weights, np.nan),
                "suggested": guess.astype(np.float64),
                "suggested_p": last.guesses.p_best,
            },
            class_names=corpus.class_names,
            method=self.name,
            reasons=REASONS,
            settings=self._settings(found, rest),
            seed=seed,
        )

    def _settings(self, found: list[Round], rest: str) -> dict[str, Any]:
        """The settings and what the alternation came to."""
        return {
            **asdict(self),
            "order": list(self.order),
            "separated": "last layer (not the published method)" if self.last_layer else "early",
            "came_to_rest": rest or "no: the rounds were over",
            "rounds_done": [
                {
                    "asked": one.asked,
                    **{f"noisy_by_{k}": int(v.sum()) for k, v in one.noisy.items()},
                }
                for one in found
            ],
        }
