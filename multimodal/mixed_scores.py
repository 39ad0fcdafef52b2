"""The mixture that judges labels: a classifier's probability and that of the visual prototypes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from multimodal.probe import OutOfFoldProbe
from multimodal.rows import Rows
from multimodal.visual_prototypes import VisualPrototypes

# float32 numbers of one block: 64 MB
BLOCK_NUMBERS = 16_000_000
MOST_BLOCK_ROWS = 16_384
# sums in another order differ in the seventh decimal; ties and thresholds should not notice
DECIMALS = 6


@dataclass(frozen=True)
class MixSettings:
    """How the two are mixed.

    Attributes:
        alpha: Share of the classifier, in 0..1. 0.5 is CAPro's.
        tau: Temperature of the cosines to the prototypes, > 0. 0.1 is CAPro's, for a trained
            space of 128 dimensions; `multimodal.calibration` finds the one for the space at hand.

    Raises:
        ValueError: A value outside its range.
    """

    alpha: float = 0.5
    tau: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must lie in 0 .. 1, got {self.alpha}")
        if not 0 < self.tau < np.inf:
            raise ValueError(f"tau must be positive, got {self.tau}")


@dataclass(frozen=True, eq=False)
class MixedScores:
    """What decisions read of ``u = alpha p + (1 - alpha) r``; vectors ``[N]``.

    Attributes:
        given: u of the given class, float32; NaN without one, or where its class has no prototype.
        best_class: Class of the largest u, int64; of equal ones the lower number. -1 where no
            class has a prototype.
        best: Its u, float32 (NaN where there is none, as below).
        second_class: Class of the second largest u, int64; -1 where there is none.
        second: Its u.
        classifier_given: p of the given class.
        prototype_given: r of the given class.
        classifier_best: p of the best class.
        prototype_best: r of the best class.
        entropy: Of u, in nats.
    """

    given: NDArray[np.float32]
    best_class: NDArray[np.int64]
    best: NDArray[np.float32]
    second_class: NDArray[np.int64]
    second: NDArray[np.float32]
    classifier_given: NDArray[np.float32]
    prototype_given: NDArray[np.float32]
    classifier_best: NDArray[np.float32]
    prototype_best: NDArray[np.float32]
    entropy: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.given)

    @staticmethod
    def joined(parts: Iterable["MixedScores"]) -> "MixedScores":
        """Those of consecutive rows, such as blocks or shards, as one."""
        listed = list(parts)
        return MixedScores(
            *(
                np.concatenate([getattr(part, field.name) for part in listed])
                for field in fields(MixedScores)
            )
        )

    def select(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> "MixedScores":
        """The rows asked for, by number or mask."""
        return MixedScores(*(getattr(self, field.name)[rows] for field in fields(self)))


def mixed_scores(
    probe: OutOfFoldProbe | None,
    image: Rows,
    prototypes: VisualPrototypes,
    given: NDArray[np.int64],
    settings: MixSettings,
    *,
    block_rows: int | None = None,
) -> MixedScores:
    """Score every row against all classes, in blocks.

    ``r = softmax(x . z / tau)`` over the classes that have a prototype; p is scaled to add up to 1
    over them. Classes without one are not in the running.

    Args:
        probe: The classifier, out of fold; None only with ``alpha`` 0.
        image: Unit rows ``[N, D]``.
        prototypes: K of them.
        given: Given class ``[N]`` int64, -1 for none.
        settings: See `MixSettings`.
        block_rows: Rows per block; by default as many as make 64 MB. Changes no decision.

    Raises:
        ValueError: Lengths or numbers of classes disagree, or there is no probe for ``alpha`` > 0.

    Source:
        Qin et al., "CAPro", NeurIPS 2023; p out of fold is ours (in sample it repeats the label).
    """
    size = block_rows or block_size(len(prototypes.counts))
    parts = [
        summarised(p, r, given[start : start + len(r)], prototypes.present, settings.alpha)
        for start, p, r in probability_blocks(probe, image, prototypes, given, settings, size)
    ]
    empty = np.empty((0, len(prototypes.counts)), np.float32)
    parts.append(summarised(empty, empty, given[:0], prototypes.present, settings.alpha))
    return MixedScores.joined(parts)


def block_size(n_classes: int) -> int:
    """Rows of a block of 64 MB."""
    return max(1, min(MOST_BLOCK_ROWS, BLOCK_NUMBERS // max(n_classes, 1)))


def probability_blocks(
    probe: OutOfFoldProbe | None,
    image: Rows,
    prototypes: VisualPrototypes,
    given: NDArray[np.int64],
    settings: MixSettings,
    size: int,
) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.float32]]]:
    """(number of the first row, p ``[n, K]``, r ``[n, K]``) of consecutive blocks."""
    n_classes = len(prototypes.counts)
    if given.shape != (len(image),) or (probe is not None and len(probe) != len(image)):
        raise ValueError(f"given and probe must have {len(image)} rows like image")
    if probe is None and settings.alpha > 0:
        raise ValueError("probe must be given for alpha > 0, got None")
    if probe is not None and probe.n_classes != n_classes:
        raise ValueError(f"probe must know {n_classes} classes, got {probe.n_classes}")
    if len(given) and not -1 <= given.min() <= given.max() < n_classes:
        raise ValueError(f"given must lie in -1 .. {n_classes - 1}")
    for start, block in image.blocks(size):
        r = prototype_probabilities(block, prototypes, settings.tau)
        if probe is None:
            yield start, np.full_like(r, np.nan), r
            continue
        fold = probe.fold[start : start + len(block)]
        features = block if probe.rows is image else probe.rows.read(start, start + len(block))
        yield start, probe.models.probabilities(features, fold), r


def prototype_probabilities(
    rows: NDArray[np.float32], prototypes: VisualPrototypes, tau: float
) -> NDArray[np.float32]:
    """``softmax(rows . vectors / tau)`` ``[n, K]`` float32; 0 for absent classes."""
    logits: NDArray[np.float32] = rows @ prototypes.vectors.T
    return tempered(logits, prototypes.present, tau)


def tempered(
    cosines: NDArray[np.float32], present: NDArray[np.bool_], tau: float
) -> NDArray[np.float32]:
    """``softmax(cosines / tau)`` ``[n, K]`` over the classes that are present; 0 elsewhere."""
    if not present.any():
        return np.zeros_like(cosines)
    logits = np.where(present, cosines / np.float32(tau), np.float32(-np.inf))
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits


def mixed(
    p: NDArray[np.float32], r: NDArray[np.float32], present: NDArray[np.bool_], alpha: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """u and p ``[n, K]``, both 0 for absent classes; p scaled to add up to 1 over the others."""
    if alpha == 0:
        return r.round(DECIMALS), p
    p = np.where(present, p, np.float32(0))
    total = p.sum(axis=1, keepdims=True)
    # a model that knows none of these classes leaves it to the prototypes
    p = np.divide(p, total, out=r.copy(), where=total > 0)
    share = np.array(alpha, dtype=np.float32)
    return (share * p + (1 - share) * r).round(DECIMALS), p


def summarised(
    p: NDArray[np.float32],
    r: NDArray[np.float32],
    given: NDArray[np.int64],
    present: NDArray[np.bool_],
    alpha: float,
) -> MixedScores:
    """`MixedScores` of one block of probabilities ``[n, K]``; p is not read where alpha is 0."""
    u, p = mixed(p, r, present, alpha)
    rows, nothing = np.arange(len(u)), np.float32(np.nan)
    ranked = np.where(present, u, np.float32(-1))
    best = ranked.argmax(axis=1)
    ranked[rows, best] = -2
    second = ranked.argmax(axis=1)
    some, several = present.any(), present.sum() > 1
    told = (given >= 0) & present[np.where(given >= 0, given, 0)]
    own = np.where(told, given, 0)
    logs = np.log(u, out=np.zeros_like(u), where=u > 0)
    return MixedScores(
        given=np.where(told, u[rows, own], nothing),
        best_class=np.where(some, best, -1),
        best=np.where(some, u[rows, best], nothing),
        second_class=np.where(several, second, -1),
        second=np.where(several, u[rows, second], nothing),
        classifier_given=np.where(told, p[rows, own], nothing),
        prototype_given=np.where(told, r[rows, own], nothing),
        classifier_best=np.where(some, p[rows, best], nothing),
        prototype_best=np.where(some, r[rows, best], nothing),
        entropy=np.where(some, np.maximum(-np.einsum("nk,nk->n", u, logs), 0), nothing),
    )
