"""Two directions per class: of the samples that carry its label, and of those that do not."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from multimodal.rows import Rows
from multimodal.visual_prototypes import core_prototypes

# K-hot labels as (offsets [N + 1] int64, classes int64), those of a sample side by side
GivenSets = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class SignedPrototypes:
    """Prototypes with and without each label.

    Attributes:
        positive: ``[K, D]`` float32, unit rows; zeros where not `present`.
        negative: ``[K, D]`` float32, likewise.
        present: ``[K]`` bool; a class without core, or that all samples carry, is absent.
    """

    positive: NDArray[np.float32]
    negative: NDArray[np.float32]
    present: NDArray[np.bool_]

    def probabilities(self, rows: NDArray[np.float32], tau: float) -> NDArray[np.float32]:
        """r ``[n, K]``: two-way softmax of the cosines over tau, the positive part.

        Meaningless for absent classes.
        """
        difference: NDArray[np.float32] = rows @ (self.positive - self.negative).T
        return sigmoid(difference / np.float32(tau))


def signed_prototypes(
    image: Rows,
    given_sets: GivenSets,
    core_rows: NDArray[np.int64],
    core_classes: NDArray[np.int64],
    n_classes: int,
) -> SignedPrototypes:
    """Normalised means: of the core of each class, and of all samples not labelled with it.

    Over frozen embeddings there is no projector per class; the negative mean is that of all the
    others, since a label that was not given is mostly right in not being there.

    Args:
        image: Unit rows ``[N, D]``.
        given_sets: Labels.
        core_rows: Samples of the core ``[n]``.
        core_classes: The label each stands for ``[n]``.
        n_classes: K.

    Raises:
        ValueError: The sets do not fit the rows, or a class is out of range.
    """
    check_sets(given_sets, len(image), n_classes)
    positive = core_prototypes(image, core_rows, core_classes, n_classes)
    offsets, classes = given_sets
    total = np.zeros(image.shape[1])
    carried = torch.zeros(n_classes, image.shape[1], dtype=torch.float64)
    for start, block in image.blocks():
        stop = start + len(block)
        total += block.sum(axis=0, dtype=np.float64)
        entries = slice(offsets[start], offsets[stop])
        rows = np.repeat(np.arange(len(block)), np.diff(offsets[start : stop + 1]))
        carried.index_add_(
            0, torch.from_numpy(classes[entries]), torch.from_numpy(block[rows]).double()
        )
    counts = len(image) - np.bincount(classes, minlength=n_classes)
    others = (total - carried.numpy()) / np.maximum(counts, 1)[:, None]
    length = np.linalg.norm(others, axis=1, keepdims=True)
    present = positive.present & (counts > 0) & (length[:, 0] > 1e-6)
    unit = np.divide(others, length, out=np.zeros_like(others), where=present[:, None])
    return SignedPrototypes(positive.vectors, unit.astype(np.float32), present)


def sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """``1 / (1 + exp(-x))`` without overflow, in the type of its argument."""
    from scipy.special import expit

    answer: NDArray[np.float32] = expit(values)
    return answer


def check_sets(given_sets: GivenSets, n_rows: int, n_classes: int) -> None:
    """Raise ValueError unless the labels are well-formed, each at most once per sample."""
    offsets, classes = given_sets
    ends_fit = len(offsets) == n_rows + 1 and offsets[0] == 0 and offsets[-1] == len(classes)
    if not ends_fit or (np.diff(offsets) < 0).any():
        raise ValueError(
            f"given_sets must have offsets [{n_rows + 1}] rising from 0 to {len(classes)}"
        )
    if len(classes) and not 0 <= classes.min() <= classes.max() < n_classes:
        raise ValueError(f"given_sets must hold classes in 0 .. {n_classes - 1}")
    rows = np.repeat(np.arange(n_rows), np.diff(offsets))
    if len(np.unique(rows * n_classes + classes)) < len(classes):
        raise ValueError("given_sets must hold each label of a sample once")
