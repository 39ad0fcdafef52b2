"""From scores of image-text pairs to an audit: where the cut lies and what it means for labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from labelnoise.audit import NO_LABEL, LabelAudit
from multimodal.embedded import EmbeddedCorpus

REASONS = {
    "pair_matches": "Image and text match; the pair is kept with its label.",
    "pair_mismatch": "Image and text match no better than wrong pairs do, or than the cut asks.",
    "pair_unlabelled": "Image and text match, but no label was given that could be kept.",
    "nothing_to_compare": "The pair has no text, or one side has no vector.",
}
# the class of all pairs of a corpus without classes
PAIR_CLASS = "matching pair"
# quality where a pair cannot be scored: neither right nor wrong
UNDECIDED_QUALITY = 0.5
# spread of the scores of wrong pairs where there are too few to tell
SMALLEST_SPREAD = 1e-6


@dataclass(frozen=True)
class PairCut:
    """Where kept pairs begin; at most one of the first two may be set.

    Attributes:
        threshold: Smallest score kept. It belongs to one model: 0.28 is LAION-2B's for ViT-B/32
            and English, 0.25 DataComp's; useless for another encoder.
        keep_share: Share of the scored pairs to keep, in 0..1 (DataComp: 0.3 by ViT-L/14).
        mismatch_quantile: Otherwise keep what scores above this quantile of mismatched pairs, in
            0..1: 0.95 takes one wrong pair in twenty for a right one, with any encoder.

    Raises:
        ValueError: Both are set, or a share lies outside 0..1.
    """

    threshold: float | None = None
    keep_share: float | None = None
    mismatch_quantile: float = 0.95

    def __post_init__(self) -> None:
        if self.threshold is not None and self.keep_share is not None:
            raise ValueError("set threshold or keep_share, not both")
        for name in ("keep_share", "mismatch_quantile"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} must lie in 0 .. 1, got {value}")

    def place(self, scores: NDArray[np.float64], mismatched: NDArray[np.float64]) -> float:
        """The smallest score that is kept.

        Args:
            scores: Scores ``[N]``; NaN where a pair has none.
            mismatched: Scores of wrong pairs ``[M]``.

        Raises:
            ValueError: The cut is a quantile of mismatched pairs and there are none.
        """
        if self.threshold is not None:
            return self.threshold
        known = scores[~np.isnan(scores)]
        if self.keep_share is not None:
            wanted = int(np.ceil(self.keep_share * len(known)))
            return float(np.sort(known)[-wanted]) if wanted else np.finfo(np.float64).max
        if not len(known):
            return 0.0
        if not len(mismatched):
            raise ValueError(
                "no mismatched pairs to compare with: the corpus has fewer than two different"
                " pairs; set threshold or keep_share"
            )
        return float(np.quantile(mismatched, self.mismatch_quantile))


def pair_audit(
    corpus: EmbeddedCorpus,
    scores: NDArray[np.float64],
    mismatched: NDArray[np.float64],
    cut: PairCut,
    *,
    evidence: dict[str, NDArray[Any]],
    method: str,
    settings: dict[str, Any],
    seed: int,
) -> LabelAudit:
    """The audit of scored pairs.

    Quality is ``1 / (1 + exp(-(score - cut) / spread))`` with the standard deviation of the
    mismatched pairs as spread: 0.5 at the cut, in the order of the scores. The label of a kept
    pair is kept, that of a mismatched one rejected; a matching pair without a label abstains, as
    there is nothing to keep. In a corpus without classes all pairs are of `PAIR_CLASS`.

    Args:
        corpus: Whose pairs were scored.
        scores: ``[N]``, higher is better, NaN where a pair has none.
        mismatched: Scores of wrong pairs ``[M]``.
        cut: Where kept pairs begin.
        evidence: More columns ``[N]``; ``pair_score``, ``pair_match`` (1 kept, 0 not) and
            ``mismatch_share`` (share of the wrong pairs that score as high) are added.
        method: Name of the method.
        settings: Its settings; the cut used is added.
        seed: Its seed.
    """
    place = cut.place(scores, mismatched)
    spread = max(float(mismatched.std()), SMALLEST_SPREAD) if len(mismatched) else 1.0
    known, kept = ~np.isnan(scores), scores >= place
    given, names = corpus.given, corpus.class_names
    if not names:
        given, names = np.zeros(len(corpus), np.int64), (PAIR_CLASS,)
    ladder = [
        (~known, "abstain", "nothing_to_compare"),
        (~kept, "reject", "pair_mismatch"),
        (given == NO_LABEL, "abstain", "pair_unlabelled"),
    ]
    holds = [rung[0] for rung in ladder]
    verdict = np.select(holds, [rung[1] for rung in ladder], default="keep")
    higher = len(mismatched) - np.searchsorted(np.sort(mismatched), scores)
    share = higher / max(len(mismatched), 1)
    quality = np.where(known, expit((scores - place) / spread), UNDECIDED_QUALITY)
    return LabelAudit(
        ids=corpus.ids,
        given=given,
        verdict=verdict,
        label=np.where(verdict == "keep", given, NO_LABEL),
        quality=quality,
        reason=np.select(holds, [rung[2] for rung in ladder], default="pair_matches"),
        evidence={
            **evidence,
            "pair_score": scores,
            "pair_match": np.where(known, kept.astype(np.float64), np.nan),
            "mismatch_share": np.where(known & bool(len(mismatched)), share, np.nan),
        },
        class_names=names,
        method=method,
        reasons=REASONS,
        settings={**settings, "cut_used": place, "mismatch_spread": spread},
        seed=seed,
    )
