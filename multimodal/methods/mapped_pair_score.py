"""Mapped pair score: the pair score for encoders that share no space, over a fitted map."""

from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import LabelAudit
from multimodal.aligned_maps import PENALTIES, AlignedMap, image_folds, ridge_map
from multimodal.embedded import EmbeddedCorpus
from multimodal.methods.base import Progress, silent
from multimodal.methods.pair_score import REASONS, PairScore, judge_pairs
from multimodal.pair_scores import pair_scores

__all__ = ["REASONS", "MappedPairScore"]


@dataclass(frozen=True)
class MappedPairScore(PairScore):
    """Judge pairs by the similarity of the text and a ridge map of the image, out of fold.

    For an image model and a text model that were trained apart. The map learns what goes together
    from the corpus itself: from all pairs first, then from the better half by its own score. It
    sees topics, not details, and needs thousands of pairs.

    Attributes:
        score: As in `PairScore`; "plain" by default, since the map is centred already.
        rounds: Fits; each after the first only to the best pairs of the one before. 2: once
            without the likely mismatches.
        trusted_share: Share of the pairs a later fit uses, in (0, 1].
        folds: Parts the corpus is cut into by a hash of the image.

    Source: *design*; no paper. Specification sheet image_text_baselines, section 1, 1.
    """

    name: ClassVar[str] = "mapped_pair_score"
    needs: ClassVar[tuple[str, ...]] = ("image", "text")

    score: str = "plain"
    rounds: int = 2
    trusted_share: float = 0.5
    folds: int = 5
    penalties: tuple[float, ...] = PENALTIES

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounds < 1 or self.folds < 2:
            raise ValueError(
                f"rounds must be at least 1 and folds 2, got {self.rounds} and {self.folds}"
            )
        if not 0 < self.trusted_share <= 1:
            raise ValueError(f"trusted_share must lie in (0, 1], got {self.trusted_share}")

    def judge(
        self, corpus: EmbeddedCorpus, *, seed: int = 0, progress: Progress = silent
    ) -> LabelAudit:
        """See `multimodal.methods.base.CleaningMethod`; evidence as `PairScore`.

        The settings of the audit say which penalty was chosen and how much of the texts'
        variance the map explains out of fold.

        Raises:
            ValueError: Rows are missing, or too few pairs have a text.
        """
        corpus.needed(*self.needs, by=self.name)
        fitted = self._fit(corpus, seed, progress)
        assert corpus.image is not None  # needed
        assert corpus.text is not None
        audit = judge_pairs(
            corpus, fitted.images(corpus.image), fitted.texts(corpus.text), self, seed=seed,
            method=self.name,
        )  # fmt: skip
        learned = {"penalty_chosen": fitted.penalty, "explained_variance": fitted.explained}
        progress("pairs scored", 1.0)
        return replace(audit, settings={**audit.settings, **asdict(self), **learned})

    def _fit(self, corpus: EmbeddedCorpus, seed: int, progress: Progress) -> AlignedMap:
        assert corpus.image is not None
        assert corpus.text is not None
        folds = image_folds(corpus.image, self.folds, seed=seed)
        rows: NDArray[np.int64] | None = None
        for number in range(self.rounds):
            fitted = ridge_map(
                corpus.image, corpus.text, rows, folds=folds, penalties=self.penalties
            )
            progress("map fitted", (number + 1) / (self.rounds + 1))
            if number + 1 < self.rounds:
                scores = pair_scores(fitted.images(corpus.image), fitted.texts(corpus.text))
                rows = _best(scores, self.trusted_share)
        return fitted


def _best(scores: NDArray[np.float64], share: float) -> NDArray[np.int64]:
    """Rows of the highest scores, a share of those that have one."""
    known = np.flatnonzero(~np.isnan(scores))
    wanted = int(np.ceil(share * len(known)))
    cut = np.sort(scores[known])[-wanted:][:1]
    return known[scores[known] >= cut]
