"""How well an image and its text match in one aligned space: plain, centred, against a partition.

All three are ``<a_i, b_i> - r_i - c_i``, where ``r_i`` is what the image gets from texts at large
and ``c_i`` what the text gets from images at large. The offsets are of any pair (i, j), so that
mismatched pairs can be scored with them too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from multimodal.rows import Rows

# similarities held at once
TILE_ROWS = 1024
TILE_COLUMNS = 4096
# cosine from which two rows count as one and the same
SAME = 1 - 1e-4


@dataclass(frozen=True, eq=False)
class PairOffsets:
    """What is subtracted from the similarity of image i and text j.

    Attributes:
        image: r_i ``[N]`` float64.
        text: c_j ``[N]`` float64.
    """

    image: NDArray[np.float64]
    text: NDArray[np.float64]


def pair_scores(image: Rows, text: Rows) -> NDArray[np.float64]:
    """Plain score ``s_i = <a_i, b_i>`` ``[N]``; NaN where either row is all zeros.

    Args:
        image: Unit rows ``[N, D]``.
        text: Unit rows ``[N, D]`` of the same model.

    Raises:
        ValueError: The two have different shapes.

    Source: LAION-400M / DataComp's CLIP score.
    """
    _check(image, text)
    scores = np.full(len(image), np.nan)
    for start, a, b in _block_pairs(image, text):
        found = np.einsum("nd,nd->n", a.astype(np.float64), b)
        silent = ~(a.any(axis=1) & b.any(axis=1))
        scores[start : start + len(a)] = np.where(silent, np.nan, found)
    return scores


def centred_offsets(
    image: Rows, text: Rows, *, sample: NDArray[np.int64] | None = None
) -> PairOffsets:
    """Offsets under which the score is ``<a_i - mean a, b_j - mean b>``.

    Args:
        image: Unit rows ``[N, D]``.
        text: Unit rows ``[N, D]`` of the same model.
        sample: Rows ``[B]`` the means are taken over; all pairs by default. Rows of zeros do not
            count.

    Raises:
        ValueError: The two have different shapes.
    """
    _check(image, text)
    mean_image, mean_text = _means(image, text, sample)
    both = float(mean_image @ mean_text) / 2
    offsets = PairOffsets(np.empty(len(image)), np.empty(len(image)))
    for start, a, b in _block_pairs(image, text):
        offsets.image[start : start + len(a)] = a.astype(np.float64) @ mean_text - both
        offsets.text[start : start + len(b)] = b.astype(np.float64) @ mean_image - both
    return offsets


def partition_offsets(
    image: Rows, text: Rows, *, sample: NDArray[np.int64] | None = None, temperature: float = 0.01
) -> PairOffsets:
    """Offsets ``T/2 log mean_j exp(<a_i, b_j> / T)``, and the same over images, of negCLIPLoss.

    The partition is one fixed sample instead of the batches of a training run: each pair is scored
    as if it sat in the batch of itself and the sample, so that its score does not depend on how
    the rows are cut. ``O(N B D)``; one tile of similarities is held.

    Args:
        image: Unit rows ``[N, D]``.
        text: Unit rows ``[N, D]`` of the same model.
        sample: Distinct rows ``[B]``, none of zeros; all such pairs by default.
        temperature: T, positive. 0.01 is CLIP's own after training.

    Raises:
        ValueError: Different shapes, or a temperature that is not positive.
    """
    _check(image, text)
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    own = pair_scores(image, text) / temperature
    rows = np.flatnonzero(~np.isnan(own)) if sample is None else np.asarray(sample)
    own = np.nan_to_num(own)
    outside = np.ones(len(image), bool)
    outside[rows] = False
    counts = len(rows) + outside
    images, texts = image.gather(rows), text.gather(rows)
    both = []
    for side, partners in ((image, texts), (text, images)):
        logs = _log_partition(side, partners, temperature)
        logs[outside] = np.logaddexp(logs[outside], own[outside])
        both.append(temperature / 2 * (logs - np.log(counts)))
    return PairOffsets(*both)


def centred_pair_scores(
    image: Rows, text: Rows, *, sample: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """``<a_i - mean a, b_i - mean b>`` ``[N]``; arguments as in `centred_offsets`.

    Takes away what every image shares with every text (the gap between the two towers) and half
    of what makes a generic text close to all images.
    """
    return with_offsets(pair_scores(image, text), centred_offsets(image, text, sample=sample))


def neg_clip_loss(
    image: Rows, text: Rows, *, sample: NDArray[np.int64] | None = None, temperature: float = 0.01
) -> NDArray[np.float64]:
    """negCLIPLoss ``[N]``; arguments as in `partition_offsets`.

    ``n_i = s_i - T/2 [log mean_j exp(<a_i, b_j>/T) + log mean_j exp(<a_j, b_i>/T)]``. The paper
    sums where this takes the mean: it lies lower by the constant ``T log B``. For large T it is
    ``s_i`` minus the average of its row and its column mean. Takes generic texts and images down.

    Source: negCLIPLoss and NormSim, NeurIPS 2024.

    Example:
        >>> rows = Rows([np.eye(2, dtype=np.float32)])
        >>> neg_clip_loss(rows, rows, temperature=1.0).round(4).tolist()  # 1 - log((e + 1) / 2)
        [0.3799, 0.3799]
    """
    offsets = partition_offsets(image, text, sample=sample, temperature=temperature)
    return with_offsets(pair_scores(image, text), offsets)


def with_offsets(similarity: NDArray[np.float64], offsets: PairOffsets) -> NDArray[np.float64]:
    """Similarity of the pairs (i, i) ``[N]`` minus both offsets."""
    return similarity - offsets.image - offsets.text


def mismatched_scores(
    image: Rows,
    text: Rows,
    rows: NDArray[np.int64],
    *,
    offsets: PairOffsets | None = None,
    shifts: int = 8,
) -> NDArray[np.float64]:
    """Scores of images with the texts of other rows: what a wrong pair gets in this space.

    Args:
        image: Unit rows ``[N, D]``.
        text: Unit rows ``[N, D]``.
        rows: Distinct rows ``[B]``, none of zeros; image ``rows[j]`` meets the texts of the next
            `shifts` rows, around the end.
        offsets: Of the score; none for the plain one.
        shifts: Texts each image meets; at most B - 1 are.

    Returns:
        Up to ``[shifts * B]``. Pairs of rows with (nearly) the same image or text are left out:
        the other's text may well be right.
    """
    a, b = image.gather(rows).astype(np.float64), text.gather(rows).astype(np.float64)
    found = []
    for shift in range(1, min(shifts, len(rows) - 1) + 1):
        other = np.roll(np.arange(len(rows)), -shift)
        scores = np.einsum("nd,nd->n", a, b[other])
        if offsets is not None:
            scores -= offsets.image[rows] + offsets.text[rows[other]]
        different = np.ones(len(rows), bool)
        for side in (a, b):
            lengths = np.linalg.norm(side, axis=1)
            cosine = np.einsum("nd,nd->n", side, side[other])
            different &= cosine < SAME * lengths * lengths[other]
        found.append(scores[different])
    return np.concatenate(found) if found else np.empty(0)


def _check(image: Rows, text: Rows) -> None:
    if image.shape != text.shape:
        raise ValueError(
            f"image and text must have one shape, got {list(image.shape)} and {list(text.shape)}"
        )


def _block_pairs(
    image: Rows, text: Rows
) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.float32]]]:
    for start, a in image.blocks():
        yield start, a, text.read(start, start + len(a))


def _means(
    image: Rows, text: Rows, sample: NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    sums = np.zeros((2, image.shape[1]))
    count = 0
    pairs = _block_pairs(image, text)
    if sample is not None:
        pairs = iter([(0, image.gather(sample), text.gather(sample))])
    for _, a, b in pairs:
        full = a.any(axis=1) & b.any(axis=1)
        sums += a[full].sum(axis=0, dtype=np.float64), b[full].sum(axis=0, dtype=np.float64)
        count += int(full.sum())
    mean_image, mean_text = sums / max(count, 1)
    return mean_image, mean_text


def _log_partition(
    side: Rows, partners: NDArray[np.float32], temperature: float
) -> NDArray[np.float64]:
    """``log sum_j exp(<row_i, partner_j> / T)`` ``[N]``, over tiles."""
    columns = torch.from_numpy(partners / np.float32(temperature))
    logs = np.full(len(side), -np.inf)
    for start, block in side.blocks(TILE_ROWS):
        queries = torch.from_numpy(np.ascontiguousarray(block))
        for tile in columns.split(TILE_COLUMNS):
            part = torch.logsumexp(queries @ tile.T, dim=1).double().numpy()
            place = slice(start, start + len(block))
            logs[place] = np.logaddexp(logs[place], part)
    return logs
