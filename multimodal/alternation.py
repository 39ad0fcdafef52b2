"""Parts of PLS and LSA: two detectors, weights of pseudo-labels, and what the next probe learns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelnoise.two_component_mixture import MixtureFit, fit_two_components, scaled_to_unit
from multimodal.probe import OutOfFoldProbe, ProbeSettings, RowFolds, out_of_fold_probe
from multimodal.probe.models import summarised
from multimodal.rows import Rows

# with so few noisy samples PLS leaves all weights at 1
FEWEST_NOISY = 3
# in the units of `ProbeSettings`, per row: a two-class softmax splits a binary weight into two
# halves, whose squares add up to half of its own
SOFTMAX_FACTOR = 2.0


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """What a probe says about each row, and its sharpened guesses; only the likeliest m classes.

    Attributes:
        classes: ``[N, m]`` int64, likeliest first.
        shares: ``g = normalise(p^power)`` over these ``[N, m]``; a row adds up to 1.
        p_best: Probability of the likeliest class ``[N]``, not sharpened.
        loss: ``-log p(given)`` ``[N]``, +inf for a class of probability 0, NaN without a label.
        pseudo_loss: Cross-entropy of p against g ``[N]``.
    """

    classes: NDArray[np.int64]
    shares: NDArray[np.float64]
    p_best: NDArray[np.float64]
    loss: NDArray[np.float64]
    pseudo_loss: NDArray[np.float64]


def pseudo_labels(
    probe: OutOfFoldProbe, given: NDArray[np.int64], *, power: float = 2.0, top: int = 10
) -> PseudoLabels:
    """Losses of the given labels and sharpened guesses under a probe, block by block.

    Args:
        probe: Of the rows.
        given: Original class ``[N]``, -1 for none.
        power: gamma of ``g ~ p^gamma``, > 0; 2 as PLS.
        top: Classes kept per row.
    """
    parts = []
    for start, block in probe.blocks():
        summary = summarised(block, given[start : start + len(block)], top)
        p = summary.top_p.astype(np.float64)
        g = p**power
        g /= g.sum(axis=1, keepdims=True)
        logs = np.log(p, out=np.zeros_like(p), where=p > 0)
        with np.errstate(divide="ignore"):
            loss = -np.log(summary.p_given.astype(np.float64))
        parts.append(
            (summary.top_class.astype(np.int64), g, p[:, 0], loss, -(g * logs).sum(axis=1))
        )
    if not parts:
        empty = np.empty((0, 1)), np.empty(0)
        return PseudoLabels(empty[0].astype(np.int64), empty[0], empty[1], empty[1], empty[1])
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return PseudoLabels(*columns)


def noisy_by_loss(loss: NDArray[np.float64], fit: MixtureFit) -> NDArray[np.float64]:
    """P(component of the high losses) ``[N]``: NaN where the loss is, 0 without two components.

    Args:
        loss: ``[N]``, +inf allowed, NaN for rows without a label.
        fit: Of the mixture.
    """
    told = ~np.isnan(loss)
    answer = np.full(len(loss), np.nan)
    x = scaled_to_unit(loss[told])
    answer[told] = np.nan_to_num(fit_two_components(x, fit=fit).high(x), nan=0.0)
    return answer


def outside_by_separator(
    rows: Rows,
    noisy: NDArray[np.bool_],
    labelled: NDArray[np.bool_],
    *,
    c: float,
    folds: RowFolds,
) -> NDArray[np.float64]:
    """P(noisy side) ``[N]`` of a ridge logistic regression of noisy against other rows.

    Columns are standardised and both sides weigh the same, as in LSA. Out of fold, unlike there:
    a row is not judged by a separator that was told its side.

    Args:
        rows: Features ``[N, F]``, of an early layer in LSA.
        noisy: Side of each row ``[N]``.
        labelled: Rows that take part ``[N]``; all are judged.
        c: scikit-learn's C: inverse strength of the ridge, over all training rows together, > 0.
        folds: Of the rows.

    Returns:
        NaN for all, if one side is empty; a fold whose other rows are of one side says that side.
    """
    side = np.where(labelled, noisy.astype(np.int64), -1)
    count = np.bincount(side[labelled], minlength=2)
    if not count.all():
        return np.full(len(noisy), np.nan)
    settings = ProbeSettings(standardise="column", class_weight="balanced")
    n_training = np.minimum(count, settings.cap(2)).sum() * (folds.n_folds - 1) / folds.n_folds
    settings = ProbeSettings(
        penalties=(SOFTMAX_FACTOR / (c * n_training),), standardise="column",
        class_weight="balanced",
    )  # fmt: skip
    probe = out_of_fold_probe(rows, side, 2, folds=folds, settings=settings)
    return np.concatenate([block[:, 1] for _, block in probe.blocks()]).astype(np.float64)


def pseudo_weights(
    pseudo_loss: NDArray[np.float64], noisy: NDArray[np.bool_], fit: MixtureFit
) -> NDArray[np.float64]:
    """PLS: P(component of the low pseudo-losses) of the noisy rows, 1 for all others ``[N]``.

    All are 1 with two noisy rows or fewer, a NaN among their losses, or one component only.

    Args:
        pseudo_loss: ``[N]``, +inf allowed.
        noisy: ``[N]``.
        fit: Of the mixture.
    """
    weights, loss = np.ones(len(noisy)), pseudo_loss[noisy]
    if len(loss) < FEWEST_NOISY or np.isnan(loss).any():
        return weights
    x = scaled_to_unit(loss)
    weights[noisy] = 1 - np.nan_to_num(fit_two_components(x, fit=fit).high(x), nan=0.0)
    return weights


def refit_targets(
    given: NDArray[np.int64],
    noisy: NDArray[np.bool_],
    guesses: PseudoLabels,
    weights: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """What the next probe learns: the given class of a clean row, w g of a noisy one.

    Args:
        given: ``[N]``, -1 for none; such rows get shares of 0.
        noisy: ``[N]``.
        guesses: Of the rows.
        weights: w ``[N]``.

    Returns:
        Classes ``[N, m]`` and shares ``[N, m]``, weights included.

    Raises:
        ValueError: All weights are 0, so that there is nothing to learn.
    """
    classes, shares = guesses.classes.copy(), guesses.shares * weights[:, None]
    clean = ~noisy & (given >= 0)
    classes[clean] = given[clean, None]
    shares[clean] = 0
    shares[clean, 0] = weights[clean]
    shares[given < 0] = 0
    if (given >= 0).any() and not shares.sum() > 0:
        raise ValueError("weights must not be 0 everywhere, found no row to learn from")
    return classes, shares


def settled(decisions: list[NDArray[np.bool_]], *, share: float = 0.0) -> str:
    """Whether decisions, one per round, have come to rest: "fixed", "two_cycle" or "".

    Every other round asks another detector, so that the natural state of rest is a cycle of two:
    the last two decisions are those before them. It is a fixed state if the two are one.

    Args:
        decisions: Noisy or not ``[N]``, each.
        share: Rows that may differ and still count as the same decision, in 0..1.
    """
    if len(decisions) < 4:
        return ""
    first, second, third, fourth = decisions[-4:]

    def same(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> bool:
        return not len(one) or bool((one != other).mean() <= share)

    if not (same(first, third) and same(second, fourth)):
        return ""
    return "fixed" if same(third, fourth) else "two_cycle"
