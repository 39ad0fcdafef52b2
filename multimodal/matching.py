"""How well smoothed texts match the text of the class that their samples are labelled with."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.neighbour_text.settings import DISTANCE_SCALES, check_choice, check_range
from multimodal.rows import BLOCK_ROWS, Rows, as_rows

if TYPE_CHECKING:
    from labelnoise.kernels.reciprocal_jaccard import Reranking

# given class [N], -1 for none; or several per sample as (offsets [N + 1], classes)
Labels = NDArray[np.int64] | tuple[NDArray[np.int64], NDArray[np.int64]]

MATCHINGS = ("sparse", "dense", "cosine")
# rows of small classes that are matched in one call: 50 MB at 384 columns
BATCH_ROWS = 2**15
# classes looked at per sample to find the best one that is not among several given
MOST_GIVEN = 7


@dataclass(frozen=True)
class MatchingSettings:
    """How the texts of a class are ranked against the class's own text.

    Defaults are ours; the values released with the paper stand in brackets.

    Args:
        matching: "sparse": k-reciprocal re-ranking from neighbour lists. "dense": the same
            distances by the kernel's reference, with n x n arrays; to check small classes by.
            "cosine": ``(1 - cos) / 2``, no re-ranking. [dense; the preset takes sparse, as the
            distances are the same]
        k1: Reciprocal neighbours. [20]
        k2: Neighbours that a descriptor is averaged over. [6]
        trade_off: Share of the plain distance in the final one. [0.3]
        distance_scale: "fixed": squared distance of unit rows / 4. "column_max": divided by the
            largest of its row, so that one outlier rescales. [column_max]
        candidates: Only so many texts of a class, the nearest to its text, are re-ranked among
            themselves; the others follow by cosine. Keeps classes of 10^5 and more from costing
            the square of their size, far beyond the 50 or so that are picked. None: all. [None]

    Raises:
        ValueError: A value outside these; or `candidates` with "column_max", whose scale would
            change with them.

    Source:
        Qin et al., "CAPro", NeurIPS 2023; Zhong et al., CVPR 2017.
    """

    matching: str = "sparse"
    k1: int = 20
    k2: int = 6
    trade_off: float = 0.3
    distance_scale: str = "fixed"
    candidates: int | None = 4096

    def __post_init__(self) -> None:
        check_choice("matching", self.matching, MATCHINGS)
        check_choice("distance_scale", self.distance_scale, DISTANCE_SCALES)
        for name in ("k1", "k2"):
            check_range(name, getattr(self, name), 1)
        check_range("trade_off", self.trade_off, 0, 1)
        if self.candidates is not None:
            check_range("candidates", self.candidates, 1)
            if self.distance_scale == "column_max":
                raise ValueError(
                    "candidates must be None for distance_scale 'column_max',"
                    f" got {self.candidates}"
                )

    @classmethod
    def paper(cls) -> "MatchingSettings":
        """What was released with the paper."""
        return cls(distance_scale="column_max", candidates=None)

    @property
    def reranking(self) -> "Reranking":
        """What the re-ranking kernel takes."""
        from labelnoise.kernels.reciprocal_jaccard import Reranking

        plain = Reranking(k1=self.k1, k2=self.k2, trade_off=self.trade_off)
        # each neighbour can bring in its own, and k2 descriptors are averaged: none is ever cut.
        # Cutting saves no time here and changes who is picked
        return replace(plain, cap=(self.k1 + 1) * (plain.half + 1) * self.k2)


@dataclass(frozen=True, eq=False)
class TextScores:
    """Cosines of smoothed texts with class texts.

    Attributes:
        own_cosine: ``[m]`` float32, one per (sample, given class); NaN where the sample has no
            label, no text evidence, or its class no text.
        other_class: ``[n]`` int64, the best class that is not given, -1 where there is none.
        other_cosine: ``[n]`` float32, its cosine, NaN where there is none.
    """

    own_cosine: NDArray[np.float32]
    other_class: NDArray[np.int64]
    other_cosine: NDArray[np.float32]


def label_entries(labels: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(sample, class) of each given label, by sample: one per sample, or as many as are given.

    Args:
        labels: ``[N]`` int64, -1 for none (such entries stay); or offsets ``[N + 1]`` and classes.
    """
    if isinstance(labels, tuple):
        offsets, classes = labels
        return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)), classes
    return np.arange(len(labels)), labels


def text_scores(
    rows: Rows | NDArray[Any],
    class_texts: NDArray[np.float32],
    labels: Labels,
    *,
    present: NDArray[np.bool_],
    others: bool = True,
    start: int = 0,
    stop: int | None = None,
) -> TextScores:
    """Cosine of each smoothed text with its own class, and the best class beside it.

    Never holds samples x classes. The cosines are float64 dot products of single rows, the same
    in any block; only which class is best is decided in float32.

    Args:
        rows: Smoothed texts ``[N, E]``, unit rows where `present`.
        class_texts: ``[K, E]``, unit rows; a row of zeros is a class without a text.
        labels: Given labels, see `label_entries`.
        present: ``[N]`` bool, `SmoothedBlock.present`: the other rows are not looked at.
        others: Whether to look for the best other class, which costs N x K dot products.
        start: First sample.
        stop: One after the last; None: to the end.

    Returns:
        Of samples ``start .. stop - 1``. A sample with more than 7 labels may be told that it has
        no other class.

    Raises:
        ValueError: Shapes that disagree, or labels outside ``-1 .. K - 1``.
    """
    rows = as_rows(rows)
    samples, classes = label_entries(labels)
    _check(rows, class_texts, labels, present)
    stop = len(rows) if stop is None else min(stop, len(rows))
    usable = np.append(class_texts.any(axis=1), False)
    parts = []
    for begin in range(start, stop, BLOCK_ROWS):
        end = min(begin + BLOCK_ROWS, stop)
        there = present[begin:end]
        block = np.where(there[:, None], rows.read(begin, end), np.float32(0))
        entries = slice(*np.searchsorted(samples, [begin, end]))
        mine, own = samples[entries] - begin, classes[entries]
        own_cosine = np.full(len(own), np.nan, np.float32)
        known = usable[own] & there[mine]
        own_cosine[known] = _dots(block[mine[known]], class_texts[own[known]])
        other = np.full(end - begin, -1)
        if others and usable.any():
            n_given = 1 if isinstance(labels, np.ndarray) else MOST_GIVEN
            other = _best_other(block, class_texts, usable[:-1], (mine, own), n_given)
        other[~there] = -1
        other_cosine = np.full(len(other), np.nan, np.float32)
        found = other >= 0
        other_cosine[found] = _dots(block[found], class_texts[other[found]])
        parts.append((own_cosine, other, other_cosine))
    if not parts:
        nothing = np.empty(0, np.float32)
        return TextScores(nothing, np.empty(0, np.int64), nothing)
    own_cosine, other, other_cosine = (np.concatenate(part) for part in zip(*parts, strict=True))
    return TextScores(own_cosine, other, other_cosine)


def contrast_distance(scores: TextScores, labels: Labels) -> NDArray[np.float32]:
    """``(2 - (own cosine - best other cosine)) / 4`` ``[M]`` in 0 .. 1, one per label entry.

    A class whose text lies near another's ("shirts", "t-shirts") draws the other's texts: their
    own cosine is high. What sets them apart is which of the two is nearer. NaN where there is no
    own cosine; where there is no other class it counts as 0.

    Args:
        scores: Of `text_scores`, with `others`.
        labels: The same labels.
    """
    samples, _ = label_entries(labels)
    other = np.nan_to_num(scores.other_cosine[samples], nan=0.0)
    return ((2 - (scores.own_cosine - other)) / 4).astype(np.float32)


def match_class(
    query: NDArray[np.float32],
    gallery: NDArray[np.float32],
    *,
    settings: MatchingSettings = MatchingSettings(),
) -> NDArray[np.float32]:
    """Distance ``[n_c]`` in 0 .. 1 of the texts of one class to the class's text.

    Args:
        query: The class's text ``[E]``, not zero.
        gallery: Smoothed texts ``[n_c, E]``, none of them zero. Of equally near neighbours the
            first row counts as nearer: order rows by a stable key.
        settings: See `MatchingSettings`.
    """
    cosine = _dots(gallery, np.broadcast_to(query, gallery.shape))
    return match_classes(
        gallery, np.zeros(len(gallery), np.int64), query[None], own_cosine=cosine,
        keys=np.arange(len(gallery)), settings=settings,
    )  # fmt: skip


def match_classes(
    rows: Rows | NDArray[Any],
    labels: Labels,
    class_texts: NDArray[np.float32],
    *,
    own_cosine: NDArray[np.float32],
    keys: NDArray[np.integer[Any]],
    settings: MatchingSettings = MatchingSettings(),
    classes: range | None = None,
) -> NDArray[np.float32]:
    """Distance of every text to the text of its class, class after class.

    Re-ranked among the texts of the same class (see `MatchingSettings`): a text is near its class
    if it shares reciprocal neighbours with the class's text. Memory beside the arguments and
    vectors of length N: the re-ranked texts of one class, or of some small ones together.

    Args:
        rows: Smoothed texts ``[N, E]``; rows of entries without an own cosine are never read.
        labels: Given labels, see `label_entries`.
        class_texts: ``[K, E]``.
        own_cosine: ``[M]`` of `text_scores`, one per label entry; NaN entries take no part.
        keys: ``[N]`` of `stable_keys`: the order of samples inside a class, which settles ties,
            so that numbering does not.
        settings: See `MatchingSettings`.
        classes: The classes to match; None: all. Shares the work out.

    Returns:
        ``[M]`` float32 in 0 .. 1, one per label entry, small is good; NaN where the own cosine is
        NaN, or the class was not asked for.

    Raises:
        ValueError: Shapes that disagree.
    """
    rows = as_rows(rows)
    samples, given = label_entries(labels)
    if own_cosine.shape != given.shape:
        raise ValueError(
            f"own_cosine must be [{len(given)}] like the labels, got {list(own_cosine.shape)}"
        )
    if keys.shape != (len(rows),):
        raise ValueError(f"keys must be [{len(rows)}], got {list(keys.shape)}")
    classes = range(len(class_texts)) if classes is None else classes
    distance = np.full(len(given), np.nan, np.float32)
    wanted = np.flatnonzero(
        np.isfinite(own_cosine) & (given >= classes.start) & (given < classes.stop)
    )
    plain = (1 - own_cosine[wanted]) / 2
    if settings.matching == "cosine":
        distance[wanted] = plain
        return distance
    # beyond the candidates: no neighbour in common
    distance[wanted] = (1 - settings.trade_off) + settings.trade_off * plain
    order = np.lexsort((keys[samples[wanted]], own_cosine[wanted] * -1, given[wanted]))
    wanted = wanted[order]
    starts = np.searchsorted(given[wanted], np.arange(classes.start, classes.stop + 1))
    for batch, first, offsets in _batches(wanted, starts, settings.candidates):
        by_key = np.lexsort((keys[samples[batch]], given[batch]))
        batch = batch[by_key]
        queries = class_texts[classes.start + first :][: len(offsets) - 1]
        distance[batch] = _rerank(queries, rows.gather(samples[batch]), offsets, settings)
    return distance


def _batches(
    wanted: NDArray[np.int64], starts: NDArray[np.int64], candidates: int | None
) -> Iterator[tuple[NDArray[np.int64], int, NDArray[np.int64]]]:
    """(entries, place of the first class, offsets) of runs of classes, nearest texts only."""
    sizes = np.diff(starts)
    sizes = sizes if candidates is None else np.minimum(sizes, candidates)
    first = 0
    while first < len(sizes):
        reach = np.cumsum(sizes[first : first + BATCH_ROWS])
        last = first + max(1, int(np.searchsorted(reach, BATCH_ROWS, side="right")))
        offsets = np.concatenate([[0], reach[: last - first]])
        if offsets[-1]:
            parts = [wanted[starts[c] : starts[c] + sizes[c]] for c in range(first, last)]
            yield np.concatenate(parts), first, offsets
        first = last


def _rerank(
    queries: NDArray[np.float32],
    gallery: NDArray[np.float32],
    offsets: NDArray[np.int64],
    settings: MatchingSettings,
) -> NDArray[np.float32]:
    import torch

    from labelnoise.kernels.reciprocal_jaccard import reciprocal_query_distance

    # classes without a member may be without a text, too, which the kernel does not take
    filled = np.flatnonzero(np.diff(offsets))
    found = reciprocal_query_distance(
        torch.from_numpy(np.ascontiguousarray(queries[filled], dtype=np.float32)),
        torch.from_numpy(gallery),
        torch.from_numpy(np.append(offsets[filled], offsets[-1])),
        distance_scale=settings.distance_scale,
        settings=settings.reranking,
        backend="reference" if settings.matching == "dense" else "auto",
    )
    return found.distance.numpy()


def _best_other(
    block: NDArray[np.float32],
    class_texts: NDArray[np.float32],
    usable: NDArray[np.bool_],
    entries: tuple[NDArray[np.int64], NDArray[np.int64]],
    n_given: int,
) -> NDArray[np.int64]:
    """The best class of each row among those with a text and not given to it, -1 for none."""
    import torch

    from labelnoise.kernels.prototype_scores import prototype_scores

    numbers = np.flatnonzero(usable)
    found = prototype_scores(
        torch.from_numpy(block),
        torch.from_numpy(np.ascontiguousarray(class_texts[numbers], dtype=np.float32)),
        top=min(1 + n_given, len(numbers)),
    )
    best = numbers[found.top_index.numpy()]
    mine, own = entries
    taken = np.zeros(best.shape, np.bool_)
    np.logical_or.at(taken, mine, best[mine] == own[:, None])
    first = np.argmin(taken, axis=1)
    rows = np.arange(len(best))
    return np.where(taken[rows, first], -1, best[rows, first])


def _dots(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """Row by row; float64, so that neither block nor library shows in the float32 result."""
    products = np.einsum("ne,ne->n", left.astype(np.float64), right.astype(np.float64))
    return products.astype(np.float32)


def _check(
    rows: Rows, class_texts: NDArray[np.float32], labels: Labels, present: NDArray[np.bool_]
) -> None:
    if class_texts.ndim != 2 or class_texts.shape[1] != rows.shape[1]:
        raise ValueError(f"class_texts must be [K, {rows.shape[1]}], got {list(class_texts.shape)}")
    if present.shape != (len(rows),) or present.dtype != np.bool_:
        raise ValueError(
            f"present must be bool [{len(rows)}], got {present.dtype} {list(present.shape)}"
        )
    n_labelled = len(labels[0]) - 1 if isinstance(labels, tuple) else len(labels)
    if n_labelled != len(rows):
        raise ValueError(f"labels must be of {len(rows)} samples, got {n_labelled}")
    given = labels[1] if isinstance(labels, tuple) else labels
    if len(given) and not -1 <= given.min() <= given.max() < len(class_texts):
        raise ValueError(f"labels must lie in -1 .. {len(class_texts) - 1}")
