"""CPC-style class prototypes: one logistic prototype per class learns which labels look clean.

"CPC-style", because only the abstract of CPC (Huang et al., arXiv 2212.10766) has been read: what
it says is here (a mixture on the loss, modulated per class by prototypes in feature space), the
rest is a reconstruction.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from labelnoise.audit import NO_LABEL, LabelAudit
from labelnoise.two_component_mixture import MixtureFit, fit_two_components, scaled_to_unit
from multimodal.class_logistic import LogisticSettings, fit_class_logistic
from multimodal.embedded import EmbeddedCorpus
from multimodal.methods.base import Progress, silent
from multimodal.probe import out_of_fold_probe, stratified_folds

REASONS = {
    "near_prototype": "The prototype of the given class finds the sample clean.",
    "far_from_prototype": "The prototype of the given class does not find the sample clean.",
    "mixture_alone": "The given class has too few samples for a prototype; the mixture on the"
    " losses decided alone.",
    "nothing_to_tell": "The losses do not fall into two groups; nothing speaks against the label.",
    "prototype_relabel": "The given class does not find the sample clean, another one surely does.",
    "no_given_label": "There was no given label to judge.",
}
MIXTURES = ("global", "per_class")
TARGETS = ("hard", "soft")
UNDECIDED_QUALITY = 0.5
# keeps the logarithm of a probability finite
SMALLEST_P = 1e-12


@dataclass(frozen=True)
class ClassPrototypes:
    """Judge labels by prototypes trained on what a mixture on the losses takes for clean.

    loss_i is that of an out-of-fold linear probe; g_i the probability of the lower of two
    Gaussians on it; then ``h_ik = sigmoid(a_k <f_i, c_k> + b_k)`` is trained on the pairs
    (i, y_i) alone with g_i as target, and h of the given label is the quality. The prototypes are
    cross-fitted on the probe's folds: h of a row comes from prototypes that did not learn from
    that row's g. All folds' models are fitted in one reading of the rows, so it costs products,
    not passes.

    Attributes:
        mixture: "global", or "per_class": one mixture for each class, shrunk towards the global.
        shrinkage: Samples the global mixture counts as, not negative. Untested, as the sheet says.
        targets: "hard": 1 where g > 1/2, else 0; "soft": g.
        ignore_band: Rows of g strictly inside are not learnt from; they are judged like others.
            Two equal numbers leave out none.
        folds: Of the probe and the prototypes, at least 2.
        threshold: Clean if h is above it, in 0..1.
        relabel: Give a rejected sample the class of the highest h, if that reaches
            `relabel_probability` and its prototype has seen clean and wrong rows. Costs a pass of
            all rows against all classes; h of different classes are not made to be compared,
            which is why it is off.
        relabel_probability: In 0..1.
        logistic: Of the prototypes: 200 steps of Adam.

    Source: after the abstract of CPC, arXiv 2212.10766; every detail is our design. Differs from
    what is recalled of it: losses out of fold instead of those of a network in training; a global
    mixture by default; scale and bias learnt per class (an inner product of unit vectors alone
    gives 0.27 .. 0.73); no semi-supervised learner behind it. Its odds never fall as the loss does:
    see `labelnoise.two_component_mixture.TwoComponents.high`.
    """

    name: ClassVar[str] = "cpc"
    needs: ClassVar[tuple[str, ...]] = ("image",)

    mixture: str = "global"
    shrinkage: float = 200.0
    targets: str = "hard"
    ignore_band: tuple[float, float] = (0.3, 0.7)
    folds: int = 5
    threshold: float = 0.5
    relabel: bool = False
    relabel_probability: float = 0.9
    logistic: LogisticSettings = field(default_factory=LogisticSettings)

    def __post_init__(self) -> None:
        for name, choices in (("mixture", MIXTURES), ("targets", TARGETS)):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} must be one of {list(choices)}, got {getattr(self, name)!r}"
                )
        for name in ("threshold", "relabel_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0 .. 1, got {getattr(self, name)}")
        if len(self.ignore_band) != 2 or not 0 <= self.ignore_band[0] <= self.ignore_band[1] <= 1:
            raise ValueError(f"ignore_band must ascend inside 0 .. 1, got {self.ignore_band}")
        if self.folds < 2 or not self.shrinkage >= 0:
            raise ValueError(
                "want folds of at least 2 and a shrinkage that is not negative, got"
                f" {self.folds} and {self.shrinkage}"
            )

    def judge(
        self, corpus: EmbeddedCorpus, *, seed: int = 0, progress: Progress = silent
    ) -> LabelAudit:
        """See `multimodal.methods.base.CleaningMethod`.

        Evidence: ``clean_probability`` (h of the given label), ``mixture_clean`` (g), ``loss``
        (of the probe), ``suggested`` and ``suggested_p``: the likeliest class by the probe or,
        with `relabel`, by the prototypes.

        Raises:
            ValueError: The corpus has no image rows.
        """
        corpus.needed(*self.needs, by=self.name)
        assert corpus.image is not None  # needed
        folds = stratified_folds(corpus.given, self.folds, ids=corpus.ids, seed=seed)
        probe = out_of_fold_probe(corpus.image, corpus.given, corpus.n_classes, folds=folds)
        summary = probe.summary(corpus.given, top=1)
        progress("probe asked", 0.4)
        loss = -np.log(np.maximum(summary.p_given.astype(np.float64), SMALLEST_P))
        clean, fallbacks = self.clean_by_mixture(loss, corpus.given, corpus.n_classes)
        prototypes = fit_class_logistic(
            corpus.image, corpus.given, self.learning_targets(clean), corpus.n_classes,
            folds=folds, settings=self.logistic,
            progress=lambda share: progress("prototypes fitted", 0.4 + 0.4 * share),
        )  # fmt: skip
        h = expit(prototypes.own(corpus.image, corpus.given, folds).astype(np.float64))
        columns = {"loss": loss, "mixture_clean": clean, "clean_probability": h}
        best = summary.top_class[:, 0].astype(np.int64), summary.top_p[:, 0].astype(np.float64)
        if self.relabel:
            classes, logits = prototypes.best(corpus.image, folds)
            best = classes[:, 0], expit(logits[:, 0].astype(np.float64))
        progress("prototypes asked", 1.0)
        return self._audit(corpus, columns, best, fallbacks, seed)

    def clean_by_mixture(
        self, loss: NDArray[np.float64], given: NDArray[np.int64], n_classes: int
    ) -> tuple[NDArray[np.float64], list[int]]:
        """P(lower component) g ``[N]`` and the classes judged by the global mixture instead.

        Args:
            loss: ``[N]``, NaN without a label.
            given: ``[N]``, -1 for none.
            n_classes: K.

        Returns:
            NaN without a label, or where the global mixture has one component and there is no
            other; and classes that occur, but have no two components of their own (empty for
            the global mixture).
        """
        told = np.flatnonzero(given != NO_LABEL)
        x, places, fit = scaled_to_unit(loss[told]), given[told], MixtureFit()
        whole = fit_two_components(x, fit=fit)
        answer, fallbacks = np.full(len(loss), np.nan), []
        if self.mixture == "global":
            answer[told] = 1 - whole.high(x)
        else:
            own = fit_two_components(x, places, n_classes, fit=fit)
            fallbacks = np.flatnonzero((own.size > 0) & ~own.apart).tolist()
            answer[told] = 1 - own.shrunk(whole, self.shrinkage).high(x, places)
        return answer, fallbacks

    def learning_targets(self, clean: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the prototypes learn ``[N]`` from g ``[N]``; NaN: not from this row."""
        low, high = self.ignore_band
        wanted = clean if self.targets == "soft" else (clean > 0.5).astype(np.float64)
        left_out = np.isnan(clean) | ((clean > low) & (clean < high))
        return np.where(left_out, np.nan, wanted)

    def _audit(
        self,
        corpus: EmbeddedCorpus,
        columns: dict[str, NDArray[np.float64]],
        best: tuple[NDArray[np.int64], NDArray[np.float64]],
        fallbacks: list[int],
        seed: int,
    ) -> LabelAudit:
        h, clean = columns["clean_probability"], columns["mixture_clean"]
        unlabelled = corpus.given == NO_LABEL
        lone = np.isnan(h)
        quality = np.where(lone, clean, h)
        blind = np.isnan(quality)
        kept = quality > self.threshold
        moved = (best[1] >= self.relabel_probability) & (best[0] != corpus.given) & self.relabel
        ladder = [
            (unlabelled, "abstain", "no_given_label"),
            (blind, "keep", "nothing_to_tell"),
            (kept & lone, "keep", "mixture_alone"),
            (kept, "keep", "near_prototype"),
            (moved, "relabel", "prototype_relabel"),
            (lone, "reject", "mixture_alone"),
        ]
        holds = [rung[0] for rung in ladder]
        verdict = np.select(holds, [rung[1] for rung in ladder], default="reject")
        label = np.where(verdict == "keep", corpus.given, NO_LABEL)
        known = best[0] >= 0
        return LabelAudit(
            ids=corpus.ids,
            given=corpus.given,
            verdict=verdict,
            label=np.where(verdict == "relabel", best[0], label),
            quality=np.where(blind, UNDECIDED_QUALITY, quality),
            reason=np.select(holds, [rung[2] for rung in ladder], default="far_from_prototype"),
            evidence={
                **columns,
                "suggested": np.where(known, best[0], np.nan),
                "suggested_p": np.where(known, best[1], np.nan),
            },
            class_names=corpus.class_names,
            method=self.name,
            reasons=REASONS,
            settings=self._settings(fallbacks),
            seed=seed,
        )

    def _settings(self, fallbacks: list[int]) -> dict[str, Any]:
        return {
            **asdict(self),
            "ignore_band": list(self.ignore_band),
            "classes_by_global_mixture": len(fallbacks),
            # enough to look at; with thousands of small classes the list would outweigh the rest
            "first_classes_by_global_mixture": fallbacks[:20],
        }
