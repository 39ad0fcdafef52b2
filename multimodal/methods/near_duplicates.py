"""Near-duplicates: of each group of images that are nearly the same, one stays."""

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import NO_LABEL, LabelAudit
from multimodal.duplicate_groups import DEFAULT_THRESHOLD, cosines, find_duplicate_groups
from multimodal.embedded import EmbeddedCorpus
from multimodal.methods.base import Progress, silent
from multimodal.neighbours import METHODS
from multimodal.stable_order import stable_keys

REASONS = {
    "no_duplicate": "No other image is nearly the same.",
    "kept_of_duplicates": "Of a group of nearly equal images, this one stays.",
    "kept_of_disputed": "Of a group of nearly equal images, this one stays; their labels differ.",
    "duplicate_of": "Nearly the same image as another one that stays.",
    "no_given_label": "This image stays, but there was no given label to keep.",
}
UNDECIDED_QUALITY = 0.5


@dataclass(frozen=True)
class NearDuplicates:
    """Reject all but one image of each group of near-duplicates.

    Says nothing about labels, except where those of a group differ: the one that stays has the
    group's most frequent label, so far as there is one.

    Attributes:
        threshold: Of the cosine, in -1..1; see `multimodal.duplicate_groups`, why 0.99. A chain of
            near-duplicates is one group, so that the one that stays may be less similar than that
            to the one that goes (evidence ``kept_similarity``).
        search: "flat", "ivf" or "auto", see there.
        neighbours: For "ivf", see there.

    Source: SemDeDup (Abbas et al., 2023), re-derived. Differs: groups are the connected components
    of a threshold graph, which depend on no order of samples or shards; who stays is decided by
    labels, then by a hash of the id, not by the distance to a cell's centre.
    """

    name: ClassVar[str] = "near_duplicates"
    needs: ClassVar[tuple[str, ...]] = ("image",)

    threshold: float = DEFAULT_THRESHOLD
    search: str = "auto"
    neighbours: int = 32

    def __post_init__(self) -> None:
        if not -1 <= self.threshold <= 1:
            raise ValueError(f"threshold must lie in -1 .. 1, got {self.threshold}")
        if self.search not in METHODS or self.neighbours < 1:
            raise ValueError(
                f"want search to be one of {METHODS} and neighbours at least 1, got"
                f" {self.search!r} and {self.neighbours}"
            )

    def judge(
        self, corpus: EmbeddedCorpus, *, seed: int = 0, progress: Progress = silent
    ) -> LabelAudit:
        """See `multimodal.methods.base.CleaningMethod`. Nothing is drawn at random.

        Evidence: ``duplicate_of`` (row number of the one that stays, NaN for it and for rows on
        their own), ``kept_similarity`` (cosine to it), ``group_size``, ``label_share`` (of the
        row's label among those of its group; below 1 the labels disagree), ``suggested`` (the
        group's most frequent label). Quality is ``label_share`` of rows that stay, half of it for
        those that go.

        Raises:
            ValueError: The corpus has no image rows.
        """
        corpus.needed(*self.needs, by=self.name)
        assert corpus.image is not None  # needed
        groups = find_duplicate_groups(
            corpus.image, threshold=self.threshold, method=self.search,
            neighbours=self.neighbours, progress=progress,
        )  # fmt: skip
        share, common = label_shares(groups, corpus.given)
        kept = chosen_rows(groups, corpus.given, common, stable_keys(corpus.ids))
        gone = kept != np.arange(len(corpus))
        similarity = np.full(len(corpus), np.nan)
        numbers = np.flatnonzero(gone)
        similarity[numbers] = cosines(corpus.image, np.stack([numbers, kept[numbers]], axis=1))
        evidence = {
            "duplicate_of": np.where(gone, kept, np.nan),
            "kept_similarity": similarity,
            "group_size": _sizes(groups).astype(np.float64),
            "label_share": share,
            "suggested": np.where(common >= 0, common, np.nan),
        }
        return self._audit(corpus, groups, gone, evidence, seed)

    def _audit(
        self,
        corpus: EmbeddedCorpus,
        groups: NDArray[np.int64],
        gone: NDArray[np.bool_],
        evidence: dict[str, NDArray[np.float64]],
        seed: int,
    ) -> LabelAudit:
        share, disputed = evidence["label_share"], evidence["label_share"] < 1
        ladder = [
            (gone, "reject", "duplicate_of"),
            (corpus.given == NO_LABEL, "abstain", "no_given_label"),
            (groups < 0, "keep", "no_duplicate"),
            (disputed, "keep", "kept_of_disputed"),
        ]
        holds = [rung[0] for rung in ladder]
        verdict = np.select(holds, [rung[1] for rung in ladder], default="keep")
        quality = np.where(gone, share / 2, share)
        return LabelAudit(
            ids=corpus.ids,
            given=corpus.given,
            verdict=verdict,
            label=np.where(verdict == "keep", corpus.given, NO_LABEL),
            quality=np.where(np.isnan(quality), np.where(gone, 0.0, UNDECIDED_QUALITY), quality),
            reason=np.select(holds, [rung[2] for rung in ladder], default="kept_of_duplicates"),
            evidence=evidence,
            class_names=corpus.class_names,
            method=self.name,
            reasons=REASONS,
            settings={**asdict(self), "groups_found": int(groups.max(initial=-1)) + 1},
            seed=seed,
        )


def label_shares(
    groups: NDArray[np.int64], given: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """How much of its group agrees with each row's label, and the group's commonest label.

    Args:
        groups: ``[N]``, -1 for a row on its own.
        given: Class ``[N]``, -1 for none.

    Returns:
        Share of the row's label among the labels of its group ``[N]``, NaN without a label; and
        the most frequent label ``[N]``, of equals the lower class, -1 where the group has none.
    """
    own = _with_singles(groups)
    labelled = np.flatnonzero(given >= 0)
    share, common = np.full(len(given), np.nan), np.full(len(given), -1)
    if not len(labelled):
        return share, common
    pairs = np.stack([own[labelled], given[labelled]], axis=1)
    unique, place, count = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    total = np.bincount(own[labelled])
    share[labelled] = count[place.reshape(-1)] / total[own[labelled]]
    order = np.lexsort((unique[:, 1], -count, unique[:, 0]))
    names, first = np.unique(unique[order, 0], return_index=True)
    of_group = np.full(own.max() + 1, -1)
    of_group[names] = unique[order[first], 1]
    return share, of_group[own]


def chosen_rows(
    groups: NDArray[np.int64],
    given: NDArray[np.int64],
    common: NDArray[np.int64],
    keys: NDArray[np.uint64],
) -> NDArray[np.int64]:
    """The row ``[N]`` that stays for each row: of its group the first with the commonest label.

    Args:
        groups: ``[N]``, -1 for a row on its own, which stays.
        given: Class ``[N]``.
        common: The group's most frequent label ``[N]``.
        keys: Who is first ``[N]``: the smaller, whatever the numbering.
    """
    own = _with_singles(groups)
    order = np.lexsort((keys, given != common, own))
    _, first, place = np.unique(own[order], return_index=True, return_inverse=True)
    answer = np.empty(len(groups), np.int64)
    answer[order] = order[first][place]
    return answer


def _with_singles(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups in which a row on its own is a group, too."""
    alone = groups < 0
    return np.where(alone, groups.max(initial=-1) + np.cumsum(alone), groups)


def _sizes(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    own = _with_singles(groups)
    return np.bincount(own)[own] if len(own) else own
