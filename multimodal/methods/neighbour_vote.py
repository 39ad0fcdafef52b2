"""Neighbour vote: a label must have as many of its neighbours' votes as any other class."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import NO_LABEL, LabelAudit
from multimodal.embedded import EmbeddedCorpus
from multimodal.methods.base import Progress, silent
from multimodal.neighbour_votes import Votes, count_votes, joined
from multimodal.neighbours import SEARCH_ROWS, NeighbourIndex, build_index

REASONS = {
    "neighbours_agree": "No class has more of the neighbours' votes than the given one.",
    "vote_relabel": "Another class leads the neighbours' votes clearly; its label is used.",
    "outvoted": "Another class has more of the neighbours' votes, but does not lead clearly.",
    "no_given_label": "There was no given label; a label here is a proposal.",
    "no_votes": "No neighbour of the image has a label.",
}
UNDECIDED_QUALITY = 0.5
# neighbours a vote is taken from however small the classes are
FEWEST_NEIGHBOURS = 50


@dataclass(frozen=True)
class NeighbourVote:
    """Judge labels by the votes of the k nearest images, each class divided by its share.

    Attributes:
        k: Neighbours asked, at least 1; 200 as published.
        fit_to_classes: Ask at most half a median class (but 50), else the neighbours cannot be of
            one class even on clean data; False asks k whatever the classes' sizes.
        keep_ratio: theta_s: smallest ratio of the given class's votes to the best one's that
            keeps a label, in 0..1; 1 as published.
        relabel_lead: theta_r: smallest share of the best class in the votes of the two best, in
            0.5..1, that gives its label. There, a classifier's confidence of 0.9 asks for it;
            the votes of noisy labels are never that sure of one class against all others, but
            may be against the next.
        rounds: Votes taken; before each but the first the relabelled samples vote anew.
        similarity_weighted: Votes weigh as much as their cosine; equal as published.
        balanced: Divide each class's votes by its share of the labels, as published.
        prior_samples: Samples added to each class in that division, not negative; 0 as published.
            3 was chosen on a corpus with many classes of a few samples, whose stray votes would
            each count as much as dozens of a large class; it changes nothing for large ones.
        label_unlabelled: Propose a label (verdict "relabel") where none was given.

    Source: SSR, BMVC 2022. Differs: the sample is not its own neighbour, the votes themselves
    relabel, no network is trained.
    """

    name: ClassVar[str] = "neighbour_vote"
    needs: ClassVar[tuple[str, ...]] = ("image",)

    k: int = 200
    fit_to_classes: bool = True
    keep_ratio: float = 1.0
    relabel_lead: float = 0.75
    rounds: int = 1
    similarity_weighted: bool = False
    balanced: bool = True
    prior_samples: float = 3.0
    label_unlabelled: bool = False

    def __post_init__(self) -> None:
        if self.k < 1 or self.rounds < 1:
            raise ValueError(f"k and rounds must be at least 1, got {self.k} and {self.rounds}")
        if not 0 <= self.keep_ratio <= 1:
            raise ValueError(f"keep_ratio must lie in 0 .. 1, got {self.keep_ratio}")
        if not 0.5 <= self.relabel_lead <= 1:
            raise ValueError(f"relabel_lead must lie in 0.5 .. 1, got {self.relabel_lead}")

    def judge(
        self, corpus: EmbeddedCorpus, *, seed: int = 0, progress: Progress = silent
    ) -> LabelAudit:
        """See `multimodal.methods.base.CleaningMethod`. Nothing is drawn at random.

        Evidence: ``vote_ratio`` (SSR's), ``given_votes``, ``suggested``, ``suggested_votes``
        (balanced shares) and ``vote_lead`` (of the best against the next).

        Raises:
            ValueError: The corpus has no image rows.
        """
        corpus.needed(*self.needs, by=self.name)
        assert corpus.image is not None  # needed
        k = self._neighbours_asked(corpus)
        index = build_index(corpus.image, progress=progress)
        voting = corpus.given
        for number in range(self.rounds):
            votes = self._votes(corpus, index, voting, k, progress)
            moved = self._relabelled(votes, corpus.given)
            voting = np.where(moved, votes.best, corpus.given)
            progress(f"votes counted, round {number + 1}", 1.0)
        return self._audit(corpus, votes, {**asdict(self), "neighbours_asked": k}, seed)

    def _neighbours_asked(self, corpus: EmbeddedCorpus) -> int:
        counts = np.bincount(corpus.given[corpus.given >= 0])
        counts = counts[counts > 0]
        if not self.fit_to_classes or not len(counts):
            return self.k
        return min(self.k, max(FEWEST_NEIGHBOURS, int(np.median(counts)) // 2))

    def _votes(
        self,
        corpus: EmbeddedCorpus,
        index: NeighbourIndex,
        voting: NDArray[np.int64],
        k: int,
        progress: Progress,
    ) -> Votes:
        """Votes of all rows, block by block: lists of 200 neighbours would outweigh the rows."""
        assert corpus.image is not None
        parts = []
        for start, block in corpus.image.blocks(SEARCH_ROWS):
            stop = start + len(block)
            ids, similarity = index.search(block, first_row=start, k=k)
            votes = count_votes(
                ids, voting, corpus.n_classes, given=corpus.given[start:stop],
                similarity=similarity if self.similarity_weighted else None,
                balanced=self.balanced, prior_samples=self.prior_samples,
            )  # fmt: skip
            parts.append(votes)
            progress("neighbours vote", stop / len(corpus))
        return joined(parts)

    def _relabelled(self, votes: Votes, given: NDArray[np.int64]) -> NDArray[np.bool_]:
        clear = np.nan_to_num(votes.lead()) >= self.relabel_lead
        outvoted = (given >= 0) & (np.nan_to_num(votes.ratio(), nan=1.0) < self.keep_ratio)
        return clear & (votes.best != given) & outvoted

    def _audit(
        self, corpus: EmbeddedCorpus, votes: Votes, settings: dict[str, Any], seed: int
    ) -> LabelAudit:
        unlabelled, silent_rows = corpus.given == NO_LABEL, votes.best < 0
        clear = np.nan_to_num(votes.lead()) >= self.relabel_lead
        ladder = [
            (unlabelled & clear & self.label_unlabelled, "relabel", "no_given_label"),
            (unlabelled, "abstain", "no_given_label"),
            (silent_rows, "abstain", "no_votes"),
            (votes.ratio() >= self.keep_ratio, "keep", "neighbours_agree"),
            (self._relabelled(votes, corpus.given), "relabel", "vote_relabel"),
        ]
        holds = [rung[0] for rung in ladder]
        verdict = np.select(holds, [rung[1] for rung in ladder], default="reject")
        label = np.where(verdict == "keep", corpus.given, NO_LABEL)
        best = np.where(silent_rows, np.nan, votes.best)
        return LabelAudit(
            ids=corpus.ids,
            given=corpus.given,
            verdict=verdict,
            label=np.where(verdict == "relabel", votes.best, label),
            quality=np.nan_to_num(votes.quality(), nan=UNDECIDED_QUALITY),
            reason=np.select(holds, [rung[2] for rung in ladder], default="outvoted"),
            evidence={
                "vote_ratio": votes.ratio(),
                "given_votes": votes.given,
                "suggested": best,
                "suggested_votes": np.where(silent_rows, np.nan, votes.best_share),
                "vote_lead": votes.lead(),
            },
            class_names=corpus.class_names,
            method=self.name,
            reasons=REASONS,
            settings=settings,
            seed=seed,
        )
