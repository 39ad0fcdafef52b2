"""The clean core: the few samples of each class whose texts match it best."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.matching import Labels, label_entries
from multimodal.neighbour_text.settings import check_choice, check_range
from multimodal.stable_order import shuffled_keys

SELECTORS = ("text", "random", "all")
RANKINGS = ("contrast", "matching")


@dataclass(frozen=True)
class CoreSettings:
    """Who is picked for the clean core.

    Args:
        top_k: Samples per class, at least 1. The paper's 50 by default.
        most_share: At most this share of a class's labelled samples, but one, in (0, 1]. Half: to
            pick all of a small class is no choice, and none of them could be judged. [1]
        selector: "text": the best matches. "random": any labelled ones (an ablation). "all":
            every labelled one, `top_k` is not used.
        ranked_by: What "text" ranks by. "contrast": how much nearer the own class's text is than
            the best other class's (`multimodal.matching.contrast_distance`); ours. "matching": the
            distance to the own class's text alone, re-ranked or not, as in the paper.
        min_text_score: Least cosine with the own class; None (as in the paper): no such bound.
        deduplicate: Whether samples of one group (exact duplicates) have one vote together, the
            best-matching one; the paper lets each vote.
        min_count: Classes with fewer picked samples are listed as short.
        protect_farthest: Also pick the `top_k` worst matches of each class, as the code released
            with the paper does for multi-label data, it seems by mistake.

    Raises:
        ValueError: A value outside these.
    """

    top_k: int = 50
    most_share: float = 0.5
    selector: str = "text"
    ranked_by: str = "contrast"
    min_text_score: float | None = None
    deduplicate: bool = True
    min_count: int = 10
    protect_farthest: bool = False

    def __post_init__(self) -> None:
        check_range("top_k", self.top_k, 1)
        check_range("most_share", self.most_share, 0, 1)
        check_choice("selector", self.selector, SELECTORS)
        check_choice("ranked_by", self.ranked_by, RANKINGS)
        check_range("min_count", self.min_count, 0)
        if self.min_text_score is not None:
            check_range("min_text_score", self.min_text_score, -1, 1)

    @classmethod
    def paper(cls, *, multi_label: bool = False) -> "CoreSettings":
        """What was released with the paper: WebVision and Google500, or NUS-WIDE."""
        return cls(
            ranked_by="matching", most_share=1.0, deduplicate=False, protect_farthest=multi_label
        )


@dataclass(frozen=True, eq=False)
class CleanCore:
    """The picked samples, by sample number and then class.

    Attributes:
        rows: ``[n]`` int64, samples, ascending; one may stand for several classes if multi-label.
        classes: ``[n]`` int64, the class each is picked for.
        rank: ``[n]`` int64, its place in its class, best first, from 0; among all that may be
            picked.
        farthest: ``[n]`` bool, picked as one of the worst matches and not of the best.
        counts: ``[K]`` int64, picked per class.
        short_classes: Classes with fewer picked than `CoreSettings.min_count`.
    """

    rows: NDArray[np.int64]
    classes: NDArray[np.int64]
    rank: NDArray[np.int64]
    farthest: NDArray[np.bool_]
    counts: NDArray[np.int64]
    short_classes: list[int]


def select_core(
    distance: NDArray[np.float32],
    labels: Labels,
    *,
    n_classes: int,
    keys: NDArray[np.uint64],
    settings: CoreSettings = CoreSettings(),
    own_cosine: NDArray[np.float32] | None = None,
    groups: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> CleanCore:
    """The `top_k` samples of each class with the smallest distance.

    Of equally near ones the smaller key comes first. Keys come from the samples' ids alone
    (`multimodal.stable_order.stable_keys`), so numbering and shards change nothing.

    Args:
        distance: ``[M]``, one per label entry (see `label_entries`), small is good; NaN: the
            entry has no text evidence and is never picked by "text".
        labels: Given labels ``[N]``, -1 for none; or several per sample.
        n_classes: K.
        keys: ``[N]`` uint64.
        settings: See `CoreSettings`.
        own_cosine: ``[M]``, needed for `min_text_score`.
        groups: ``[N]`` int64, the same number for exact duplicates, -1 for a sample without any;
            None: no duplicates are known.
        seed: Of the "random" selector.

    Returns:
        See `CleanCore`. A class of fewer samples than `top_k` gives all it has.

    Raises:
        ValueError: Shapes that disagree, labels outside ``-1 .. K - 1``, or a bound on the cosine
            without cosines.

    Source:
        Qin et al., "CAPro", NeurIPS 2023, the set D_K.

    Example:
        >>> near = np.array([0.2, 0.1, np.nan, 0.3], np.float32)
        >>> picked = select_core(
        ...     near, np.array([0, 0, 0, 1]), n_classes=2, keys=np.arange(4, dtype=np.uint64),
        ...     settings=CoreSettings(top_k=1),
        ... )
        >>> picked.rows.tolist(), picked.counts.tolist()
        ([1, 3], [1, 1])
    """
    samples, given = label_entries(labels)
    _check(distance, given, n_classes, settings, own_cosine)
    eligible = given >= 0
    if settings.selector == "text":
        eligible &= np.isfinite(distance)
    if settings.min_text_score is not None and own_cosine is not None:
        eligible &= own_cosine >= settings.min_text_score
    entries = np.flatnonzero(eligible)
    worth: NDArray[Any] = distance[entries]
    order_keys = keys[samples[entries]]
    if settings.selector == "random":
        worth = order_keys = shuffled_keys(order_keys, seed)
    entries = entries[np.lexsort((order_keys, worth, given[entries]))]
    if settings.deduplicate and groups is not None:
        entries = entries[_first_of_group(given[entries], groups[samples[entries]])]

    classes = given[entries]
    sizes = np.bincount(classes, minlength=n_classes)
    rank = np.arange(len(entries)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    picked = np.ones(len(entries), np.bool_)
    if settings.selector != "all":
        labelled = np.bincount(given[given >= 0], minlength=n_classes)[classes]
        largest = np.maximum(np.floor(settings.most_share * labelled), 1)
        picked = rank < np.minimum(settings.top_k, largest)
    farthest = np.zeros(len(entries), np.bool_)
    if settings.protect_farthest:
        farthest = (rank >= sizes[classes] - settings.top_k) & ~picked
    chosen = np.flatnonzero(picked | farthest)
    chosen = chosen[np.lexsort((classes[chosen], samples[entries[chosen]]))]
    counts = np.bincount(classes[chosen], minlength=n_classes)
    return CleanCore(
        rows=samples[entries[chosen]],
        classes=classes[chosen],
        rank=rank[chosen],
        farthest=farthest[chosen],
        counts=counts,
        short_classes=np.flatnonzero(counts < settings.min_count).tolist(),
    )


def _first_of_group(classes: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """``[n]`` bool: whether no earlier entry of the class is of the same group."""
    alone = groups < 0
    pairs = np.stack([classes[~alone], groups[~alone]], axis=1)
    first = np.unique(pairs, axis=0, return_index=True)[1]
    kept = alone.copy()
    kept[np.flatnonzero(~alone)[first]] = True
    return kept


def _check(
    distance: NDArray[np.float32],
    given: NDArray[np.int64],
    n_classes: int,
    settings: CoreSettings,
    own_cosine: NDArray[np.float32] | None,
) -> None:
    if distance.shape != given.shape:
        raise ValueError(
            f"distance must be [{len(given)}] like the labels, got {list(distance.shape)}"
        )
    if len(given) and not -1 <= given.min() <= given.max() < n_classes:
        raise ValueError(f"labels must lie in -1 .. {n_classes - 1}")
    if settings.min_text_score is not None and own_cosine is None:
        raise ValueError("own_cosine must be given for min_text_score, got None")
    if own_cosine is not None and own_cosine.shape != given.shape:
        raise ValueError(
            f"own_cosine must be [{len(given)}] like distance, got {list(own_cosine.shape)}"
        )
