"""A linear probe on embeddings whose answer for a row never saw that row's label."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from multimodal.probe.fitting import Coefficients, TrainingRows, fit_folds
from multimodal.probe.folds import RowFolds, row_keys, stratified_folds
from multimodal.probe.models import FoldModels, OutOfFoldProbe, ProbeSummary
from multimodal.probe.settings import ProbeSettings
from multimodal.rows import BLOCK_ROWS, Rows, as_rows

__all__ = [
    "FoldModels",
    "OutOfFoldProbe",
    "ProbeSettings",
    "ProbeSummary",
    "RowFolds",
    "out_of_fold_probe",
    "row_keys",
    "stratified_folds",
]

# numbers of training rows up to which the fit is in float64, 32 MB: few rows cost little, and more
# digits make its end independent of how sums were ordered
MOST_DOUBLES = 4_000_000
# products (rows x columns x classes) of one look at all rows from which a fit takes minutes: then
# penalties are compared by one fold over so many (20,000 rows of 512 columns for 1,000 classes),
# and the tolerance is looser
LONG_FIT, LOOSER = 10_000_000_000, 10


def out_of_fold_probe(
    rows: Rows | NDArray[np.floating],
    labels: NDArray[np.int64],
    n_classes: int,
    *,
    folds: int | RowFolds = 5,
    weights: NDArray[np.floating] | None = None,
    soft: tuple[NDArray[np.integer], NDArray[np.floating]] | None = None,
    settings: ProbeSettings | None = None,
    seed: int = 0,
) -> OutOfFoldProbe:
    """Class probabilities of every row by a multinomial logistic regression that never saw it.

    Each fold has a model, fitted to the labelled rows of the other folds; every row is judged by
    the model of its own fold, and so are rows without a label: their answers are as sharp as the
    others', which the mean of several models would not be. A class whose training rows all lie in
    one fold (a class of one row, say) has probability 0 in that fold: see `FoldModels.known`.

    Memory: the training rows (`ProbeSettings.most_per_class`), ``F K D`` coefficients and about
    twenty times as much of as many of them as are fitted together; never ``N x K``.

    Args:
        rows: Features ``[N, D]``, finite.
        labels: Class to learn ``[N]`` int64 in ``-1 .. n_classes - 1``; -1: not for training.
        n_classes: K.
        folds: Number of folds, made by `stratified_folds` from row numbers and `seed`; or folds
            made there from ids, under which renumbering rows changes no answer.
        weights: Weight of each row ``[N]`` in training, finite and not negative; None: 1.
        soft: Soft targets in place of the labels' classes, as (classes ``[N, m]``, shares
            ``[N, m]`` not negative); a row weighs what its shares add up to. `labels` still say
            which rows learn and how folds are stratified.
        settings: See `ProbeSettings`.
        seed: Of the folds, where `folds` is a number.

    Returns:
        The probe; nothing but coefficients has been computed yet.

    Raises:
        ValueError: A shape, label, class, weight or share outside the ranges above.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = np.arange(60) % 3
        >>> probe = out_of_fold_probe(np.eye(3)[labels] + 0.1 * rng.normal(size=(60, 3)), labels, 3)
        >>> bool((probe.summary(labels).top_class[:, 0] == labels).all())
        True
    """
    rows, labels = as_rows(rows), np.asarray(labels)
    settings = settings or ProbeSettings()
    _check(rows, labels, n_classes, weights, soft)
    if not isinstance(folds, RowFolds):
        folds = stratified_folds(labels, folds, seed=seed)
    if len(folds) != len(labels):
        raise ValueError(f"folds must have {len(labels)} rows like labels, got {len(folds)}")
    chosen = _training_rows(labels, folds, settings.cap(n_classes))
    features, mean, scale = _standardised(rows, chosen, settings.standardise)
    training = TrainingRows(
        features,
        torch.from_numpy(folds.fold[chosen]),
        *_targets(labels, chosen, weights, soft, features.dtype),
        n_classes=n_classes,
    )
    if settings.class_weight == "balanced":
        training = _balanced(training)
    found, penalty, losses = _best(training, folds.n_folds, settings)
    weight = found.weight / scale[:, None]
    # on rows as they are stored; the sum over columns needs the digits
    shift = np.einsum("d,fdk->fk", mean, weight, dtype=np.float64)
    models = FoldModels(
        weight.astype(np.float32), (found.bias - shift).astype(np.float32), penalty, losses
    )
    return OutOfFoldProbe(models, rows, folds.fold)


def _training_rows(labels: NDArray[np.int64], folds: RowFolds, cap: int) -> NDArray[np.int64]:
    """Numbers of the rows to learn from, in the order of their keys."""
    labelled = np.flatnonzero(labels >= 0)
    order = labelled[np.lexsort((folds.key[labelled], labels[labelled]))]
    _, first, size = np.unique(labels[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(first, size)
    kept = order[rank < cap]
    return kept[np.argsort(folds.key[kept], kind="stable")]


def _standardised(
    rows: Rows, chosen: NDArray[np.int64], how: str
) -> tuple[Tensor, NDArray[np.float64], NDArray[np.float64]]:
    """Chosen rows with mean 0 and standard deviation 1, and what was taken off and divided by."""
    features: NDArray[np.floating] = rows.gather(chosen)
    if features.size <= MOST_DOUBLES:
        features = features.astype(np.float64)
    width = features.shape[1]
    mean, scale = np.zeros(width), np.ones(width)
    if not len(features):
        return torch.from_numpy(features), mean, scale
    blocks = range(0, len(features), BLOCK_ROWS)
    for start in blocks:
        mean += features[start : start + BLOCK_ROWS].sum(axis=0, dtype=np.float64) / len(features)
    spread = np.zeros(width)
    for start in blocks:
        block = features[start : start + BLOCK_ROWS]
        block -= mean.astype(features.dtype)
        spread += np.einsum("nd,nd->d", block, block, dtype=np.float64) / len(features)
    if not np.isfinite(spread).all():
        raise ValueError("rows must be finite, found NaN or infinity")
    if how == "global":
        spread[:] = spread.mean()
    # a constant column is left at 0 but for rounding, which must not be blown up
    varies = spread > 1e-12 * (spread + mean**2)
    scale[varies] = np.sqrt(spread[varies])
    features /= scale.astype(features.dtype)
    return torch.from_numpy(features), mean.astype(features.dtype).astype(np.float64), scale


def _targets(
    labels: NDArray[np.int64],
    chosen: NDArray[np.int64],
    weights: NDArray[np.floating] | None,
    soft: tuple[NDArray[np.integer], NDArray[np.floating]] | None,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Classes ``[M, m]`` and shares ``[M, m]``, weights included."""
    if soft is None:
        target, share = labels[chosen, None], np.ones((len(chosen), 1))
    else:
        target, share = (np.asarray(part)[chosen] for part in soft)
    if weights is not None:
        share = share * np.asarray(weights)[chosen, None]
    return (
        torch.from_numpy(target.astype(np.int64)),
        torch.from_numpy(share).to(dtype),
    )


def _balanced(rows: TrainingRows) -> TrainingRows:
    """The same rows with every class that occurs weighing the same, and all as much as before."""
    mass = torch.zeros(rows.n_classes, dtype=torch.float64)
    mass.index_add_(0, rows.target.reshape(-1), rows.share.reshape(-1).double())
    factor = mass.sum() / (mass.clamp_min(1e-300) * (mass > 0).sum())
    return replace(rows, share=rows.share * factor[rows.target].to(rows.share.dtype))


def _best(
    rows: TrainingRows, n_folds: int, settings: ProbeSettings
) -> tuple[Coefficients, float, dict[float, float]]:
    """Coefficients of the penalty whose models best foretell the labels they did not see."""
    long = _products(rows) > LONG_FIT
    tolerance = settings.tolerance * (LOOSER if long else 1)

    def fitted(some: TrainingRows, which: range, penalty: float) -> Coefficients:
        return fit_folds(
            some, which, penalty=penalty, n_steps=settings.n_steps, tolerance=tolerance
        )

    every = range(n_folds)
    some, which = rows, every
    if long and len(settings.penalties) > 1:
        some, which = _first(rows, LONG_FIT // _products(_first(rows, 1))), range(1)
    best, losses = None, {}
    for penalty in settings.penalties:
        found = fitted(some, which, penalty)
        losses[penalty] = _held_out_loss(some, which, found)
        if losses[penalty] == min(losses.values()):
            best = found, penalty
    assert best is not None  # there is at least one penalty
    found, penalty = best if some is rows else (fitted(rows, every, best[1]), best[1])
    return found, penalty, losses


def _products(rows: TrainingRows) -> int:
    """Of numbers in one look at all rows, for one fold."""
    return rows.features.numel() * rows.n_classes


def _first(rows: TrainingRows, count: int) -> TrainingRows:
    """Rows stand in the order of their keys: the first ones are any."""
    part = slice(max(count, 1))
    parts = {name: getattr(rows, name)[part] for name in ("features", "fold", "target", "share")}
    return replace(rows, **parts)


def _held_out_loss(rows: TrainingRows, which: range, models: Coefficients) -> float:
    """Mean cross-entropy of the targets; classes unknown to a model do not count."""
    total, mass = 0.0, 0.0
    for fold in which:
        here = (rows.fold == fold).nonzero()[:, 0]
        for part in here.split(4096):
            weight = torch.from_numpy(models.weight[fold]).to(rows.features.dtype)
            logits = rows.features[part] @ weight
            logs = (logits + torch.from_numpy(models.bias[fold])).log_softmax(1)
            picked = logs.gather(1, rows.target[part])
            share = torch.where(picked.isfinite(), rows.share[part], 0)
            total -= float(torch.where(share > 0, share * picked, 0).double().sum())
            mass += float(share.double().sum())
    return total / mass if mass else 0.0


def _check(
    rows: Rows,
    labels: NDArray[np.int64],
    n_classes: int,
    weights: NDArray[np.floating] | None,
    soft: tuple[NDArray[np.integer], NDArray[np.floating]] | None,
) -> None:
    if labels.shape != (len(rows),) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels must be int64 [{len(rows)}], got {labels.dtype} {list(labels.shape)}"
        )
    if n_classes < 1:
        raise ValueError(f"n_classes must be at least 1, got {n_classes}")
    if len(labels) and not -1 <= labels.min() <= labels.max() < n_classes:
        raise ValueError(f"labels must lie in -1 .. {n_classes - 1}")
    if weights is not None:
        _check_numbers("weights", weights, (len(rows),))
    if soft is not None:
        index, share = soft
        _check_numbers("soft shares", share, (len(rows), *np.shape(index)[1:]))
        if np.size(index) and not 0 <= np.min(index) <= np.max(index) < n_classes:
            raise ValueError(f"soft classes must lie in 0 .. {n_classes - 1}")


def _check_numbers(name: str, values: ArrayLike, shape: tuple[int, ...]) -> None:
    array = np.asarray(values)
    if array.shape != shape or not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(
            f"{name} must be {list(shape)}, finite and not negative, got {list(array.shape)}"
        )
