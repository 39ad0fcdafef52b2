"""Pair score: keep what image and text of one aligned model say belongs together."""

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import LabelAudit
from multimodal.embedded import EmbeddedCorpus
from multimodal.fixed_samples import fixed_sample
from multimodal.methods.base import Progress, silent
from multimodal.pair_decisions import REASONS, PairCut, pair_audit
from multimodal.pair_scores import (
    PairOffsets,
    centred_offsets,
    mismatched_scores,
    pair_scores,
    partition_offsets,
    with_offsets,
)
from multimodal.rows import Rows

__all__ = ["REASONS", "SCORES", "PairScore", "judge_pairs"]

SCORES = ("plain", "centred", "neg_clip_loss")
# rows whose mixed-up pairs show what a wrong pair scores
MISMATCH_ROWS = 2048


@dataclass(frozen=True)
class PairScore(PairCut):
    """Judge pairs by the similarity of image and text. Needs aligned towers.

    It judges the pair, not the class: a wrong label with an honest caption is kept.

    Attributes:
        score: "plain" (LAION's and DataComp's), "centred" (means subtracted: takes off what all
            images share with all texts; the default, as it costs one more pass and generic
            captions no longer win) or "neg_clip_loss" (the partition terms subtracted).
        temperature: Of "neg_clip_loss"; 0.01 as published.
        partition_size: Pairs in its fixed partition sample; the time is proportional to it. The
            paper's batches had 32 768; the mean over 8192 differs from that by little.
        threshold: See `PairCut`; the sheet's constants are for the plain score.
        keep_share: See `PairCut`.
        mismatch_quantile: See `PairCut`; the rule by default.

    Source: DataComp, NeurIPS 2023 (plain); negCLIPLoss, NeurIPS 2024.
    """

    name: ClassVar[str] = "pair_score"
    needs: ClassVar[tuple[str, ...]] = ("image", "text", "aligned")

    score: str = "centred"
    temperature: float = 0.01
    partition_size: int = 8192

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.score not in SCORES:
            raise ValueError(f"score must be one of {SCORES}, got {self.score!r}")
        if self.partition_size < 1:
            raise ValueError(f"partition_size must be at least 1, got {self.partition_size}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")

    def judge(
        self, corpus: EmbeddedCorpus, *, seed: int = 0, progress: Progress = silent
    ) -> LabelAudit:
        """See `multimodal.methods.base.CleaningMethod`.

        Evidence: ``similarity`` (plain), ``pair_score`` (the one judged by), ``pair_match``,
        ``mismatch_share``.

        Raises:
            ValueError: Rows are missing, or come from models that are not aligned.
        """
        corpus.needed(*self.needs, by=self.name)
        assert corpus.image is not None  # needed
        assert corpus.text is not None
        audit = judge_pairs(corpus, corpus.image, corpus.text, self, seed=seed, method=self.name)
        progress("pairs scored", 1.0)
        return audit


def judge_pairs(
    corpus: EmbeddedCorpus, image: Rows, text: Rows, settings: PairScore, *, seed: int, method: str
) -> LabelAudit:
    """The audit by the score of `settings` over rows of one space, the corpus' own or mapped."""
    similarity = pair_scores(image, text)
    usable = ~np.isnan(similarity)
    offsets = _offsets(corpus, image, text, usable, settings, seed)
    rows = fixed_sample(corpus.ids, MISMATCH_ROWS, usable=usable, seed=seed)
    return pair_audit(
        corpus,
        similarity if offsets is None else with_offsets(similarity, offsets),
        mismatched_scores(image, text, rows, offsets=offsets),
        settings,
        evidence={"similarity": similarity},
        method=method,
        settings=asdict(settings),
        seed=seed,
    )


def _offsets(
    corpus: EmbeddedCorpus,
    image: Rows,
    text: Rows,
    usable: NDArray[np.bool_],
    settings: PairScore,
    seed: int,
) -> PairOffsets | None:
    if settings.score == "centred":
        return centred_offsets(image, text)
    if settings.score == "neg_clip_loss":
        # hashed by id: the same pairs however the corpus is ordered or cut
        sample = fixed_sample(corpus.ids, settings.partition_size, usable=usable, seed=seed)
        return partition_offsets(image, text, sample=sample, temperature=settings.temperature)
    return None
