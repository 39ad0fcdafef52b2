"""Instance-dependent noise: what a sample looks like decides whether and where its label flips."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from labelnoise.noise.flipping import (
    UNLABELLED,
    NoisyLabels,
    checked_labels,
    draw_exact_flips,
    outcome,
)
from labelnoise.noise.transitions import check_rate, random_state

# spread of the samples' flip rates, as in the paper
RATE_DEVIATION = 0.1
# scores of one block stay near 64 MB in float64
BLOCK_ENTRIES = 8_000_000


def inject_instance_noise(
    labels: ArrayLike,
    features: Any,
    rate: float,
    *,
    n_classes: int,
    seed: int | RandomState,
    exact: bool = False,
) -> NoisyLabels:
    """Flip labels with part-dependent noise.

    Sample i flips with its own probability q_i, drawn from N(rate, 0.1²) cut off at [0, 1], and
    then to class j with probability ``softmax_j(x_i W_y)`` over the classes other than its own y,
    where W_y ``[F, K]`` is a standard normal matrix drawn once per class. Rows of the features are
    scaled to length 1 first, so that the scores have variance 1 whatever F.

    Args:
        labels: Clean labels ``[N]`` in ``0 .. K-1``, or -1 for none; not modified.
        features: ``[N, F]``, an array or a scipy sparse matrix, which is never made dense.
        rate: Mean flip rate before the cut-off, in 0..1; at 0 nothing flips.
        n_classes: K, at least 2.
        seed: Of the draw, or the stream to continue.
        exact: Flip exactly ``round(rate * n_labelled)`` labels, likelier where q_i is larger.

    Raises:
        ValueError: A shape, label or rate out of range, or a feature that is not finite.

    Source:
        Xia et al., "Part-dependent Label Noise", NeurIPS 2020, algorithm 2; used on graphs by the
        NoisyGL benchmark (arXiv 2406.04299).
    """
    check_rate(rate)
    clean = checked_labels(labels, n_classes)
    rows = _unit_rows(features, len(clean), n_classes)
    stream = random_state(seed)
    known = clean != UNLABELLED
    flip_rate = _flip_rates(rate, len(clean), stream)
    flips = np.zeros(len(clean), bool)
    if exact:
        weights = flip_rate[known]
        # the mean of the drawn rates is not exactly the nominal one; the count must be
        weights = weights * (rate / max(weights.mean(), 1e-300)) if weights.size else weights
        flips[np.flatnonzero(known)[draw_exact_flips(weights, stream)]] = True
    else:
        flips = known & (stream.random_sample(len(clean)) < flip_rate)
    uniform = stream.random_sample(len(clean))
    noisy, total = clean.copy(), np.zeros((n_classes, n_classes))
    for label, members, target in _targets(rows, clean, n_classes, stream):
        total[label] += (flip_rate[members, None] * target).sum(axis=0)
        total[label, label] += (1 - flip_rate[members]).sum()
        chosen = flips[members]
        noisy[members[chosen]] = _draw_rows(target[chosen], uniform[members[chosen]])
    sizes = total.sum(axis=1, keepdims=True)
    mean = np.divide(total, sizes, out=np.eye(n_classes), where=sizes > 0)
    return outcome(clean, noisy, mean)


def _flip_rates(rate: float, n_samples: int, stream: RandomState) -> NDArray[np.float64]:
    if rate == 0:  # the cut-off normal would flip 8 % of labels that were to stay clean
        return np.zeros(n_samples)
    drawn = np.empty(0)
    while len(drawn) < n_samples:
        more = rate + RATE_DEVIATION * stream.standard_normal(n_samples)
        drawn = np.concatenate([drawn, more[(more >= 0) & (more <= 1)]])
    return drawn[:n_samples]


def _targets(
    rows: Any, labels: NDArray[np.int64], n_classes: int, stream: RandomState
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float64]]]:
    """Per block of one class: the class, its members ``[M]``, their target softmax ``[M, K]``."""
    block = max(1, BLOCK_ENTRIES // max(n_classes, rows.shape[1] if not _sparse(rows) else 1))
    for label in range(n_classes):
        projection = stream.standard_normal((rows.shape[1], n_classes))
        members = np.flatnonzero(labels == label)
        for start in range(0, len(members), block):
            part = members[start : start + block]
            scores = np.asarray(rows[part] @ projection, dtype=np.float64)
            scores[:, label] = -np.inf
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
            yield label, part, scores / scores.sum(axis=1, keepdims=True)


def _draw_rows(
    probabilities: NDArray[np.float64], uniform: NDArray[np.float64]
) -> NDArray[np.int64]:
    cumulative = probabilities.cumsum(axis=1)
    cumulative /= cumulative[:, -1:]
    return (cumulative <= uniform[:, None]).sum(axis=1)


def _unit_rows(features: Any, n_samples: int, n_classes: int) -> Any:
    """Rows scaled to Euclidean length 1 (a row of zeros stays), float64, CSR where sparse."""
    if n_classes < 2:
        raise ValueError(f"n_classes must be at least 2 to flip a label, got {n_classes}")
    rows = sparse.csr_array(features) if _sparse(features) else np.asarray(features)
    if rows.ndim != 2 or rows.shape[0] != n_samples:
        raise ValueError(f"features must be [{n_samples}, F], got {rows.shape}")
    rows = rows.astype(np.float64)
    # the square keeps every NaN and infinity, and its row sums are needed anyway
    square = np.asarray((rows**2).sum(axis=1)).reshape(-1)
    if not np.isfinite(square).all():
        raise ValueError("features must be finite, found NaN or infinity")
    scale = 1 / np.sqrt(np.where(square > 0, square, 1))
    return sparse.diags_array(scale).tocsr() @ rows if _sparse(rows) else rows * scale[:, None]


def _sparse(matrix: Any) -> bool:
    return bool(sparse.issparse(matrix))
