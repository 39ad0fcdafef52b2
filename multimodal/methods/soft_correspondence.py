"""Soft correspondence: a pair is trusted as far as it sits alike in both spaces."""

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import LabelAudit
from multimodal.aligned_maps import ridge_map
from multimodal.embedded import EmbeddedCorpus
from multimodal.fixed_samples import fixed_sample
from multimodal.methods.base import Progress, silent
from multimodal.pair_decisions import REASONS, PairCut, pair_audit
from multimodal.pair_scores import centred_pair_scores, pair_scores
from multimodal.rows import Rows
from multimodal.soft_correspondence import Anchors, soft_correspondence

__all__ = ["REASONS", "SoftCorrespondence"]

ANCHOR_SCORES = ("pair_score", "mapped_pair_score")
# rows whose mixed-up pairs show what a wrong pair gets
MISMATCH_ROWS = 2048
MISMATCH_SHIFTS = 4


@dataclass(frozen=True)
class SoftCorrespondence(PairCut):
    """Judge pairs by BiCro's ratios of distances to trusted pairs.

    Attributes:
        anchors_by: What picks the trusted pairs: "pair_score" (centred; needs aligned towers),
            "mapped_pair_score" (a ridge map, any two encoders), or "auto": the first where the
            corpus is aligned, else the second. The settings of the audit name the one used.
        anchor_share: Share of the pairs trusted, in (0, 1]; the best tenth as published.
        most_anchors: At most so many, drawn from those by the hash of their ids: they are held
            in memory and searched N times.
        k: Nearest anchors averaged over; 1 as published.
        threshold: See `PairCut`, on the scale of the soft correspondence; 0.5 as described there.
        keep_share: See `PairCut`.
        mismatch_quantile: See `PairCut`; the rule by default.

    Source: BiCro, CVPR 2023; corpus-wide here, and without training.
    """

    name: ClassVar[str] = "soft_correspondence"
    needs: ClassVar[tuple[str, ...]] = ("image", "text")

    anchors_by: str = "auto"
    anchor_share: float = 0.1
    most_anchors: int = 8192
    k: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.anchors_by not in ("auto", *ANCHOR_SCORES):
            raise ValueError(
                f"anchors_by must be auto or one of {ANCHOR_SCORES}, got {self.anchors_by!r}"
            )
        if not 0 < self.anchor_share <= 1:
            raise ValueError(f"anchor_share must lie in (0, 1], got {self.anchor_share}")
        if self.most_anchors < 1 or self.k < 1:
            raise ValueError(
                f"most_anchors and k must be at least 1, got {self.most_anchors} and {self.k}"
            )

    def judge(
        self, corpus: EmbeddedCorpus, *, seed: int = 0, progress: Progress = silent
    ) -> LabelAudit:
        """See `multimodal.methods.base.CleaningMethod`.

        Evidence: ``image_to_text``, ``text_to_image``, ``pair_score`` (their mean),
        ``pair_match``, ``mismatch_share``, ``anchor`` (1 for trusted pairs).

        Raises:
            ValueError: Rows are missing, no pair has a text, or "pair_score" is asked to pick
                anchors of rows that are not aligned.
        """
        corpus.needed(*self.needs, by=self.name)
        image, text = corpus.image, corpus.text
        assert image is not None  # needed
        assert text is not None
        used = self.anchors_by
        if used == "auto":
            used = "pair_score" if corpus.aligned else "mapped_pair_score"
        trust = _trust(corpus, image, text, used, seed)
        usable = ~np.isnan(trust)
        chosen = self._chosen(corpus.ids, trust, usable, seed)
        anchors = Anchors.of(image, text, chosen)
        progress("anchors chosen", 0.3)
        found = soft_correspondence(image, text, anchors, k=self.k)
        sample = fixed_sample(corpus.ids, MISMATCH_ROWS, usable=usable, seed=seed)
        mismatched = _mismatched(image, text, anchors, sample, self.k)
        progress("pairs compared", 1.0)
        anchor = np.zeros(len(corpus))
        anchor[chosen] = 1
        return pair_audit(
            corpus, found.soft, mismatched, self,
            evidence={
                "image_to_text": found.image_to_text,
                "text_to_image": found.text_to_image,
                "anchor": anchor,
            },
            method=self.name,
            settings={**asdict(self), "anchors_by": used},
            seed=seed,
        )  # fmt: skip

    def _chosen(
        self,
        ids: NDArray[np.str_],
        trust: NDArray[np.float64],
        usable: NDArray[np.bool_],
        seed: int,
    ) -> NDArray[np.int64]:
        if not usable.any():
            raise ValueError(f"{self.name} needs pairs with an image and a text, found none")
        wanted = int(np.ceil(self.anchor_share * usable.sum()))
        cut = np.sort(trust[usable])[-wanted]
        best = usable & (np.nan_to_num(trust, nan=-np.inf) >= cut)
        return np.sort(fixed_sample(ids, self.most_anchors, usable=best, seed=seed))


def _trust(
    corpus: EmbeddedCorpus, image: Rows, text: Rows, used: str, seed: int
) -> NDArray[np.float64]:
    """Score ``[N]`` by which pairs are trusted, NaN where there is none."""
    if used == "pair_score":
        corpus.needed("aligned", by="anchors_by='pair_score'")
        return centred_pair_scores(image, text)
    fitted = ridge_map(image, text, seed=seed)
    return pair_scores(fitted.images(image), fitted.texts(text))


def _mismatched(
    image: Rows, text: Rows, anchors: Anchors, rows: NDArray[np.int64], k: int
) -> NDArray[np.float64]:
    """Soft correspondence of images with the texts of the next rows of the sample."""
    images, found = Rows([image.gather(rows)]), []
    for shift in range(1, min(MISMATCH_SHIFTS, len(rows) - 1) + 1):
        other = np.roll(rows, -shift)
        mixed = soft_correspondence(
            images, Rows([text.gather(other)]), anchors, k=k, image_rows=rows, text_rows=other
        )
        found.append(mixed.soft)
    scores = np.concatenate(found) if found else np.empty(0)
    return scores[~np.isnan(scores)]
