"""Visual prototypes: directions of the classes among images, from the clean core onwards."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from labelnoise.kernels.class_means import ClassSums
from labelnoise.kernels.momentum_prototypes import MomentumSums
from multimodal.rows import BLOCK_ROWS, Rows

# CAPro's share of the old prototype at each sample
MOMENTUM = 0.999


@dataclass(frozen=True, eq=False)
class VisualPrototypes:
    """One direction per class.

    Attributes:
        vectors: ``[K, D]`` float32, unit rows; zeros for a class that is not `present`.
        counts: ``[K]`` int64, samples each was made of so far.
        present: ``[K]`` bool. A class without a core sample has no prototype and never wins.
    """

    vectors: NDArray[np.float32]
    counts: NDArray[np.int64]
    present: NDArray[np.bool_]

    @property
    def absent(self) -> list[int]:
        """Numbers of the classes without a prototype."""
        return np.flatnonzero(~self.present).tolist()


def core_prototypes(
    image: Rows, core_rows: NDArray[np.int64], core_classes: NDArray[np.int64], n_classes: int
) -> VisualPrototypes:
    """The normalised mean of each class's core.

    Args:
        image: Unit rows ``[N, D]``.
        core_rows: Samples of the core ``[n]``, in any order; one may stand for several classes.
        core_classes: The class each stands for ``[n]``.
        n_classes: K.

    Raises:
        ValueError: Lengths differ, or a class lies outside ``0 .. K - 1``.

    Source:
        Qin et al., "CAPro", NeurIPS 2023, over frozen embeddings.

    Example:
        >>> rows = Rows([np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])])
        >>> made = core_prototypes(rows, np.array([0, 2]), np.array([1, 1]), 2)
        >>> made.vectors.round(3).tolist(), made.absent
        ([[0.0, 0.0], [0.7070000171661377, 0.7070000171661377]], [0])
    """
    return prototypes_of(core_sums(image, core_rows, core_classes, n_classes))


def core_sums(
    image: Rows, core_rows: NDArray[np.int64], core_classes: NDArray[np.int64], n_classes: int
) -> ClassSums:
    """What `prototypes_of` reads: sums that merge over shards. Arguments: `core_prototypes`."""
    if core_rows.shape != core_classes.shape:
        raise ValueError(
            f"core_classes must be [{len(core_rows)}] like core_rows, got {core_classes.shape}"
        )
    sums = ClassSums(n_classes, image.shape[1])
    order = np.lexsort((core_classes, core_rows))
    for start in range(0, len(order), BLOCK_ROWS):
        part = order[start : start + BLOCK_ROWS]
        rows = torch.from_numpy(image.gather(core_rows[part]))
        sums.update(rows, torch.from_numpy(core_classes[part]))
    return sums


def prototypes_of(sums: ClassSums) -> VisualPrototypes:
    """Prototypes from the sums of the core; a class whose rows cancel out is absent."""
    found = sums.compute()
    means = np.where(found.present.numpy()[:, None], found.means.double().numpy(), 0)
    return _normalised(means, found.counts.numpy(), found.present.numpy())


def momentum_pass(
    prototypes: VisualPrototypes,
    image: Rows,
    labels: NDArray[np.int64],
    *,
    momentum: float = MOMENTUM,
    keys: NDArray[np.uint64] | None = None,
) -> VisualPrototypes:
    """Every labelled sample in turn pulls the prototype of its class; then all are normalised.

    ``z <- m z + (1 - m) x``, in the closed form. Before cleaning all samples count with their
    given label; in later passes only kept and relabelled ones, with the label they ended up with
    (-1 for the others). A class that is absent stays so.

    Args:
        prototypes: Where to start.
        image: Unit rows ``[N, D]``.
        labels: Current class ``[N]`` int64, -1 for samples that do not count.
        momentum: m in ``[0, 1]``.
        keys: Order in which samples come ``[N]``, smallest first, such as
            `multimodal.stable_order.stable_keys` of their ids; None: as they are numbered. The
            last samples of a class weigh most, ``1 / (1 - m)`` of them in effect.

    Raises:
        ValueError: Shapes disagree, or a label or the momentum is out of range.

    Source:
        Li et al., "MoPro", ICLR 2021; Qin et al., "CAPro", NeurIPS 2023.
    """
    n_classes = len(prototypes.counts)
    after = samples_after(labels, keys)
    return moved(prototypes, momentum_sums(image, labels, n_classes, after, momentum=momentum))


def samples_after(
    labels: NDArray[np.int64], keys: NDArray[np.uint64] | None = None
) -> NDArray[np.int64]:
    """How many samples of its own class come after each one ``[N]``; see `momentum_pass`."""
    order = np.argsort(labels, kind="stable") if keys is None else np.lexsort((keys, labels))
    _, place, size = np.unique(labels[order], return_inverse=True, return_counts=True)
    after = np.empty(len(labels), np.int64)
    after[order] = np.cumsum(size)[place] - 1 - np.arange(len(labels))
    return after


def momentum_sums(
    image: Rows,
    labels: NDArray[np.int64],
    n_classes: int,
    after: NDArray[np.int64],
    *,
    momentum: float = MOMENTUM,
) -> MomentumSums:
    """What a pass does to the prototypes, for all samples or for those of one shard.

    The states of shards add up, in any order, where `after` was counted over all of them: add
    their ``counts`` and ``sums``. (Where it was counted within each, `MomentumSums.merge` them in
    order.)

    Args:
        image: Unit rows ``[n, D]``.
        labels: ``[n]`` int64, -1 for samples that do not count.
        n_classes: K.
        after: ``[n]``, of `samples_after`.
        momentum: In ``[0, 1]``.
    """
    if labels.shape != (len(image),) or after.shape != labels.shape:
        raise ValueError(
            f"labels and after must be [{len(image)}], got {labels.shape} and {after.shape}"
        )
    if len(labels) and not -1 <= labels.min() <= labels.max() < n_classes:
        raise ValueError(f"labels must lie in -1 .. {n_classes - 1}")
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum must lie in 0 .. 1, got {momentum}")
    weights = (1 - momentum) * np.power(momentum, after.astype(np.float64))
    sums = torch.zeros(n_classes, image.shape[1], dtype=torch.float64)
    for start, block in image.blocks():
        own = labels[start : start + len(block)]
        here = np.flatnonzero(own >= 0)
        weighted = block[here].astype(np.float64) * weights[start + here, None]
        sums.index_add_(0, torch.from_numpy(own[here]), torch.from_numpy(weighted))
    counts = np.bincount(labels[labels >= 0], minlength=n_classes)
    return MomentumSums(momentum, torch.from_numpy(counts), sums)


def moved(prototypes: VisualPrototypes, sums: MomentumSums) -> VisualPrototypes:
    """Prototypes after a pass; absent classes stay absent."""
    vectors = sums.apply(torch.from_numpy(prototypes.vectors).double()).numpy()
    return _normalised(
        vectors * prototypes.present[:, None],
        prototypes.counts + sums.counts.numpy(),
        prototypes.present,
    )


def _normalised(
    vectors: NDArray[np.float64], counts: NDArray[np.int64], present: NDArray[np.bool_]
) -> VisualPrototypes:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    # rows of float32 that cancel out leave a direction made of rounding
    present = present & (length[:, 0] > 1e-6)
    unit = np.divide(vectors, length, out=np.zeros_like(vectors), where=present[:, None])
    return VisualPrototypes(unit.astype(np.float32), counts, present)
