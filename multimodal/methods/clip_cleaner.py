"""CLIPCleaner: a label stays that two predictors find likely, each by two rules."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import NO_LABEL, LabelAudit
from multimodal.clip_selectors import SMALLEST_P, Prediction, high_component, zero_shot
from multimodal.embedded import EmbeddedCorpus
from multimodal.methods.base import Progress, silent
from multimodal.probe import ProbeSettings, out_of_fold_probe, stratified_folds

REASONS = {
    "selected": "Zero-shot texts and the probe both find the label likely, by both rules.",
    "selected_by_probe": "The probe finds the label likely, by both rules; there were no class"
    " texts aligned with the images, so that only half of the selectors spoke.",
    "refilled": "No label of the class was selected; this is one of those nearest to it.",
    "zero_shot_low": "The zero-shot probability of the label is low for its class.",
    "zero_shot_other": "The zero-shot predictor finds another class clearly likelier.",
    "probe_low": "The probe's probability of the label is low for its class.",
    "probe_other": "The probe finds another class clearly likelier.",
    "no_given_label": "There was no given label to judge.",
}
UNDECIDED_QUALITY = 0.5


@dataclass(frozen=True)
class ClipCleaner:
    """Keep the labels that four selectors agree on; reject the rest.

    The zero-shot pair of selectors needs class texts in the images' space. Without them the
    probe's pair judges alone; the settings ("predictors") and the reasons say so.

    Attributes:
        high_probability: Rule (i): smallest probability of the mixture's higher component, in
            0..1; 0.5 as published.
        ratio: Rule (ii): smallest ratio of p(y) to the best class's, in 0..1; 0.8 as published.
        temperature: Of the zero-shot softmax; CLIP's own.
        folds: Parts of the probe, at least 2; there it is fitted and asked in sample.
        refill: Labels put back, at most, in a class of which none was selected: the likeliest by
            the first predictor among those that pass its ratio rule, or the single likeliest.

    Source: CLIPCleaner, ACM MM 2024.
    """

    name: ClassVar[str] = "clip_cleaner"
    needs: ClassVar[tuple[str, ...]] = ("image",)

    high_probability: float = 0.5
    ratio: float = 0.8
    temperature: float = 0.01
    folds: int = 5
    refill: int = 10

    def __post_init__(self) -> None:
        for name in ("high_probability", "ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0 .. 1, got {getattr(self, name)}")
        if self.folds < 2 or self.refill < 0 or not self.temperature > 0:
            raise ValueError(
                "want folds of at least 2, refill of at least 0 and a positive temperature, got"
                f" {self.folds}, {self.refill} and {self.temperature}"
            )

    def judge(
        self, corpus: EmbeddedCorpus, *, seed: int = 0, progress: Progress = silent
    ) -> LabelAudit:
        """See `multimodal.methods.base.CleaningMethod`.

        Evidence, for zero_shot (where it spoke) and probe: ``NAME_p`` of the given label,
        ``NAME_ratio`` to the best class, ``NAME_high`` (rule i), ``NAME_class``; ``suggested``
        (the first predictor's class) and ``selectors_passed``.

        Raises:
            ValueError: The corpus has no image rows.
        """
        corpus.needed(*self.needs, by=self.name)
        assert corpus.image is not None  # needed
        found: dict[str, Prediction] = {}
        if corpus.aligned and corpus.class_texts is not None:
            found["zero_shot"] = zero_shot(
                corpus.image, corpus.class_texts, corpus.given, temperature=self.temperature
            )
            progress("zero-shot probabilities", 0.3)
        found["probe"] = self._probe(corpus, seed)
        progress("probe asked", 0.9)
        high = {name: _high(one, corpus.given) for name, one in found.items()}
        return self._audit(corpus, found, high, seed)

    def _probe(self, corpus: EmbeddedCorpus, seed: int) -> Prediction:
        assert corpus.image is not None
        probe = out_of_fold_probe(
            corpus.image, corpus.given, corpus.n_classes,
            folds=stratified_folds(corpus.given, self.folds, ids=corpus.ids, seed=seed),
            settings=ProbeSettings(class_weight="balanced"),
        )  # fmt: skip
        read = probe.summary(corpus.given, top=1)
        own, known = read.p_given.astype(np.float64), corpus.given != NO_LABEL
        return Prediction(
            own,
            read.top_class[:, 0].astype(np.int64),
            read.top_p[:, 0].astype(np.float64),
            np.where(known, np.maximum(own - read.margin, 0), np.nan),
        )

    def _audit(
        self,
        corpus: EmbeddedCorpus,
        found: dict[str, Prediction],
        high: dict[str, NDArray[np.float64]],
        seed: int,
    ) -> LabelAudit:
        labelled = corpus.given != NO_LABEL
        passed = {}
        for name, one in found.items():
            passed[f"{name}_low"] = high[name] >= self.high_probability
            passed[f"{name}_other"] = one.ratio() >= self.ratio
        selected = labelled & np.logical_and.reduce(list(passed.values()))
        refilled = self._refilled(corpus.given, selected, next(iter(found.values())))
        both = "selected" if "zero_shot" in found else "selected_by_probe"
        ladder = [
            (~labelled, "abstain", "no_given_label"),
            (selected, "keep", both),
            (refilled, "keep", "refilled"),
            *((~ok, "reject", reason) for reason, ok in passed.items()),
        ]
        holds = [rung[0] for rung in ladder]
        verdict = np.select(holds, [rung[1] for rung in ladder], default="reject")
        quality = np.exp(
            np.mean([np.log(np.maximum(one.quality(), SMALLEST_P)) for one in found.values()], 0)
        )
        return LabelAudit(
            ids=corpus.ids,
            given=corpus.given,
            verdict=verdict,
            label=np.where(verdict == "keep", corpus.given, NO_LABEL),
            quality=np.where(labelled, np.clip(quality, 0, 1), UNDECIDED_QUALITY),
            reason=np.select(holds, [rung[2] for rung in ladder], default=both),
            evidence=_evidence(found, high, passed),
            class_names=corpus.class_names,
            method=self.name,
            reasons=REASONS,
            settings={**asdict(self), "predictors": list(found)},
            seed=seed,
        )

    def _refilled(
        self, given: NDArray[np.int64], selected: NDArray[np.bool_], first: Prediction
    ) -> NDArray[np.bool_]:
        """Labels of classes without a selected one that are put back ``[N]``."""
        refilled = np.zeros(len(given), bool)
        empty = np.setdiff1d(given[given != NO_LABEL], given[selected])
        if not self.refill or not len(empty):
            return refilled
        rows = np.flatnonzero(np.isin(given, empty))
        order = rows[np.lexsort((rows, -first.p_given[rows], given[rows]))]
        _, starts, sizes = np.unique(given[order], return_index=True, return_counts=True)
        rank = np.arange(len(order)) - np.repeat(starts, sizes)
        plausible = first.ratio()[order] >= self.ratio
        refilled[order[(rank == 0) | (plausible & (rank < self.refill))]] = True
        return refilled


def _high(one: Prediction, given: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rule (i)'s probability ``[N]``, NaN without a given label."""
    labelled = given != NO_LABEL
    answer = np.full(len(given), np.nan)
    scores = np.log(np.maximum(one.p_given[labelled], SMALLEST_P))
    answer[labelled] = high_component(scores, given[labelled])
    return answer


def _evidence(
    found: dict[str, Prediction],
    high: dict[str, NDArray[np.float64]],
    passed: dict[str, NDArray[np.bool_]],
) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {}
    for name, one in found.items():
        columns[f"{name}_p"] = one.p_given
        columns[f"{name}_ratio"] = one.ratio()
        columns[f"{name}_high"] = high[name]
        columns[f"{name}_class"] = one.best.astype(np.float64)
    columns["suggested"] = next(iter(found.values())).best.astype(np.float64)
    columns["selectors_passed"] = np.sum(list(passed.values()), axis=0).astype(np.float64)
    return columns
