"""Confident learning: a linear probe's out-of-fold probabilities against the given labels."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import NO_LABEL, LabelAudit
from labelnoise.confident_learning import FILTERS, RANKINGS, audit_state, count_joint
from labelnoise.confident_learning import REASONS as FILTER_REASONS
from multimodal.embedded import EmbeddedCorpus
from multimodal.methods.base import Progress, silent
from multimodal.probe import ProbeSettings, ProbeSummary, out_of_fold_probe, stratified_folds

REASONS = {
    **FILTER_REASONS,
    "confident_other_class": "The filter found the label wrong; the likeliest class passes its"
    " threshold and takes its place.",
    "no_given_label": "There was no given label to judge.",
}
UNDECIDED_QUALITY = 0.5
# the counts of (given, true) pairs take 8 K^2 bytes, several times over while they are calibrated
MOST_CLASSES = 10_000


@dataclass(frozen=True)
class ConfidentLearning:
    """Judge labels by the probabilities of a probe that has not seen them.

    Attributes:
        folds: Parts of the out-of-fold probe, at least 2.
        filter_by: One of `labelnoise.confident_learning.FILTERS`; decides what is flagged.
        ranking: One of `labelnoise.confident_learning.RANKINGS`; becomes the quality.
            "normalized_margin" by default: a row torn between two classes of many is no worse
            than one that is sure, as long as the given class leads.
        class_weight: Of the probe: "balanced", or "none". Where large classes are given much that
            is not theirs, "none" has the probe give them even more.
        relabel: Give a flagged sample its likeliest class where that passes the class's own
            threshold (the mean probability of those given it) and `relabel_probability`; without,
            reject all flagged.
        relabel_probability: In 0..1; 0.6 is more than all other classes together, and what
            `labelnoise.decide` asks for.
        top: Probabilities kept per row. Only classes among them can take a sample over; 10 lose
            nothing worth having.

    Source: Northcutt, Jiang & Chuang, JAIR 2021; see `labelnoise.confident_learning`.
    """

    name: ClassVar[str] = "confident_learning"
    needs: ClassVar[tuple[str, ...]] = ("image",)

    folds: int = 5
    filter_by: str = "prune_by_noise_rate"
    ranking: str = "normalized_margin"
    class_weight: str = "balanced"
    relabel: bool = True
    relabel_probability: float = 0.6
    top: int = 10

    def __post_init__(self) -> None:
        if self.folds < 2 or self.top < 1:
            raise ValueError(f"folds must be at least 2 and top 1, got {self.folds} and {self.top}")
        if not 0 <= self.relabel_probability <= 1:
            raise ValueError(
                f"relabel_probability must lie in 0 .. 1, got {self.relabel_probability}"
            )
        weights = ("balanced", "none")
        for name, choices in (
            ("filter_by", FILTERS), ("ranking", RANKINGS), ("class_weight", weights),
        ):  # fmt: skip
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} must be one of {list(choices)}, got {getattr(self, name)!r}"
                )

    def judge(
        self, corpus: EmbeddedCorpus, *, seed: int = 0, progress: Progress = silent
    ) -> LabelAudit:
        """See `multimodal.methods.base.CleaningMethod`.

        Evidence: ``self_confidence``, ``normalized_margin``, ``suggested``, ``suggested_p``,
        ``confident_class`` (NaN where no class passes its threshold).

        Raises:
            ValueError: The corpus has no image rows, or more than 10,000 classes.
        """
        corpus.needed(*self.needs, by=self.name)
        assert corpus.image is not None  # needed
        if corpus.n_classes > MOST_CLASSES:
            raise ValueError(
                f"{self.name} counts pairs of classes, at most {MOST_CLASSES} classes;"
                f" this corpus has {corpus.n_classes}"
            )
        folds = stratified_folds(corpus.given, self.folds, ids=corpus.ids, seed=seed)
        probe = out_of_fold_probe(
            corpus.image, corpus.given, corpus.n_classes, folds=folds,
            settings=ProbeSettings(class_weight=self.class_weight),
        )  # fmt: skip
        progress("probe fitted", 0.7)
        summary = probe.summary(corpus.given, top=self.top)
        progress("probabilities read", 0.9)
        return self._audit(corpus, summary, seed)

    def _audit(self, corpus: EmbeddedCorpus, summary: ProbeSummary, seed: int) -> LabelAudit:
        rows = np.flatnonzero(corpus.given != NO_LABEL)
        top = summary.select(rows).as_top_probabilities()
        judged = audit_state(
            count_joint(corpus.given[rows], top), class_names=corpus.class_names,
            ids=corpus.ids[rows], filter_by=self.filter_by, ranking=self.ranking,
        )  # fmt: skip
        evidence = judged.evidence
        sure = evidence["confident_class"] == evidence["suggested"]
        relabelled = self.relabel & sure & (judged.verdict == "reject")
        relabelled &= evidence["suggested"] != judged.given
        relabelled &= evidence["suggested_p"] >= self.relabel_probability
        label = np.where(relabelled, evidence["suggested"], judged.label).astype(np.int64)
        reason = np.where(relabelled, "confident_other_class", judged.reason)
        columns = {
            name: _spread(column, rows, len(corpus), np.nan) for name, column in evidence.items()
        }
        columns["suggested"] = summary.top_class[:, 0].astype(np.float64)
        columns["suggested_p"] = summary.top_p[:, 0]
        return LabelAudit(
            ids=corpus.ids,
            given=corpus.given,
            verdict=_spread(
                np.where(relabelled, "relabel", judged.verdict), rows, len(corpus), "abstain"
            ),
            label=_spread(label, rows, len(corpus), NO_LABEL),
            quality=_spread(judged.quality, rows, len(corpus), UNDECIDED_QUALITY),
            reason=_spread(reason, rows, len(corpus), "no_given_label"),
            evidence=columns,
            class_names=corpus.class_names,
            method=self.name,
            reasons=REASONS,
            settings=asdict(self),
            seed=seed,
            transition=judged.transition,
            noise_rate=judged.noise_rate,
        )


def _spread(column: NDArray[Any], rows: NDArray[np.int64], length: int, rest: Any) -> NDArray[Any]:
    """The column over all rows, `rest` where a row has none."""
    full = np.full(length, rest, dtype=np.result_type(column.dtype, np.asarray(rest).dtype))
    full[rows] = column
    return full
