"""Every number of the report page, computed once; the page and report.json read the same ones."""

from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelnoise.audit import VERDICTS, LabelAudit
from labelnoise.audit.conversions import suggested_classes

NORMAL_95 = 1.959964
N_BINS = 40
N_THRESHOLDS = 101
N_RELIABILITY = 10


@dataclass(frozen=True)
class Estimate:
    """A share with the 95 % interval in which it is believed to lie."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Detection:
    """How well the audit found the wrong labels; only where the truth is known.

    Attributes:
        rows: Audited rows whose truth is known.
        wrong: Of those, rows whose given label is wrong.
        flagged: Rows with the verdict relabel or reject.
        precision: Share of the flagged rows that are wrong; None where nothing is flagged.
        recall: Share of the wrong rows that are flagged; None where nothing is wrong.
        auroc: Probability that a wrong row has a lower quality than a right one; None where one of
            the two kinds is missing.
        accuracy_before: Share of right labels among all rows.
        accuracy_after: Share of right labels among the rows that still have one.
        labels_after: Share of rows that still have a label.
    """

    rows: int
    wrong: int
    flagged: int
    precision: float | None
    recall: float | None
    auroc: float | None
    accuracy_before: float
    accuracy_after: float | None
    labels_after: float


@dataclass(frozen=True)
class ClassRow:
    """One line of the class table: what became of the rows given this class.

    Attributes:
        index, name: The class.
        rows: Rows given this class.
        keep, relabel, reject, abstain: Their verdicts.
        quality: Their mean quality.
        suggestion: The class most often suggested instead, or None.
        suggestion_rows: How often it is.
        wrong: How many are really wrong, where the truth is known.
    """

    index: int
    name: str
    rows: int
    keep: int
    relabel: int
    reject: int
    abstain: int
    quality: float
    suggestion: str | None
    suggestion_rows: int
    wrong: int | None


@dataclass(frozen=True)
class QualityCurve:
    """The quality histogram, and what a threshold on quality would do.

    Attributes:
        edges: Bin edges ``[B + 1]``.
        by_verdict: Verdict -> rows per bin ``[B]``.
        wrong: Wrong rows per bin ``[B]``, or None without truth.
        thresholds: ``[T]``; a row is kept where its quality is at least the threshold.
        kept: Share of rows kept ``[T]``.
        precision, recall: Of calling the rows below the threshold wrong ``[T]``; None without
            truth, and None for a single threshold below which there is no row.
    """

    edges: list[float]
    by_verdict: dict[str, list[int]]
    wrong: list[int] | None
    thresholds: list[float]
    kept: list[float]
    precision: list[float | None] | None
    recall: list[float | None] | None


@dataclass(frozen=True)
class Pair:
    """One given class and another one found for it, with its share of the given class."""

    given: str
    suggested: str
    rows: int
    share: float


@dataclass(frozen=True)
class ReliabilityBin:
    """Labels of about one quality: how many, their mean quality, the share that is right."""

    rows: int
    quality: float
    right: float


@dataclass(frozen=True)
class AuditNumbers:
    """All of it.

    Attributes:
        rows: Rows of the audit.
        labelled: Rows that carry a given label; every number below is about those.
        counts: Verdict -> all rows of the audit.
        noise_rate: Share of the given labels believed wrong, see `believed_noise_rate`.
        own_noise_rate: `LabelAudit.noise_rate`, the method's estimate of the share of wrong labels
            whether or not it can name them; or None.
        detection: Comparison with the truth, or None.
        classes: Worst first.
        class_names: Names of the classes in their own order.
        suggested: Rows by given class (row) and suggested class (column) ``[K, K]``; empty where
            the classes are too many for that.
        true: Rows by given class and true class, or None; empty like `suggested`.
        quality: Histogram and threshold curve.
        suggested_pairs, true_pairs: The most frequent pairs off the diagonal where the classes are
            too many for a matrix, else None.
        reliability: Share of right labels by quality, from low to high; None without truth.
    """

    rows: int
    labelled: int
    counts: dict[str, int]
    noise_rate: Estimate
    own_noise_rate: float | None
    detection: Detection | None
    classes: list[ClassRow]
    class_names: list[str]
    suggested: list[list[int]]
    true: list[list[int]] | None
    quality: QualityCurve
    suggested_pairs: list[Pair] | None = None
    true_pairs: list[Pair] | None = None
    reliability: list[ReliabilityBin] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def audit_numbers(audit: LabelAudit, *, truth: ArrayLike | None = None) -> AuditNumbers:
    """Compute every number of the page.

    Args:
        audit: The audit.
        truth: Right label of every row ``[N]``, -1 where unknown; None without truth.

    Raises:
        ValueError: `truth` does not have one entry per row.
    """
    known = _aligned_truth(audit, truth)
    shown = audit.given >= 0
    counts = {name: int((audit.verdict == name).sum()) for name in VERDICTS}
    suggested = suggested_classes(audit)
    n_classes = len(audit.class_names)
    true = None if known is None else _pairs(audit.given, known, n_classes).tolist()
    return AuditNumbers(
        rows=len(audit.given),
        labelled=int(shown.sum()),
        counts=counts,
        noise_rate=believed_noise_rate(audit),
        own_noise_rate=audit.noise_rate,
        detection=None if known is None else detection(audit, known),
        classes=class_table(audit, suggested, known),
        class_names=list(audit.class_names),
        suggested=_pairs(audit.given, suggested, n_classes).tolist(),
        true=true,
        quality=quality_curve(audit, known),
        reliability=None if known is None else reliability(audit, known),
    )


def wilson_interval(share: float, n: int) -> Estimate:
    """Wilson's 95 % interval of a share observed on `n` rows; 0 .. 1 where `n` is 0.

    Source:
        Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if n == 0:
        return Estimate(float("nan"), 0.0, 1.0)
    z2 = NORMAL_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL_95 / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half))


def believed_noise_rate(audit: LabelAudit) -> Estimate:
    """Share of the given labels that the verdicts call wrong (relabel or reject).

    The verdicts and not the method's own estimate, which the page shows beside it: that counts
    chances instead of labels, and means something for a calibrated quality only. The interval is
    Wilson's for the share of the labelled rows. It covers the luck of which rows were drawn, not
    the mistakes of the method.
    """
    n = int((audit.given >= 0).sum())
    return wilson_interval(int(flagged(audit).sum()) / n if n else 0.0, n)


def flagged(audit: LabelAudit) -> NDArray[np.bool_]:
    """Rows ``[N]`` whose given label the audit calls wrong: relabel or reject."""
    return np.isin(audit.verdict, ("relabel", "reject")) & (audit.given >= 0)


def detection(audit: LabelAudit, truth: NDArray[np.int64]) -> Detection | None:
    """Compare the verdicts with the truth ``[N]`` (-1 unknown); None where no row has both."""
    rows = (audit.given >= 0) & (truth >= 0)
    n = int(rows.sum())
    if n == 0:
        return None
    wrong = (audit.given != truth)[rows]
    found = flagged(audit)[rows]
    labelled = audit.label[rows] >= 0
    right_after = (audit.label == truth)[rows]
    return Detection(
        rows=n,
        wrong=int(wrong.sum()),
        flagged=int(found.sum()),
        precision=_share(wrong, found),
        recall=_share(found, wrong),
        auroc=area_under_roc(1 - audit.quality[rows], wrong),
        accuracy_before=float(1 - wrong.mean()),
        accuracy_after=_share(right_after, labelled),
        labels_after=float(labelled.mean()),
    )


def area_under_roc(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float | None:
    """Probability that a positive scores above a negative, ties counting half.

    Args:
        scores: ``[N]``, higher means more likely positive.
        positive: ``[N]``.

    Returns:
        None where one of the two kinds is missing.
    """
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if n_positive == 0 or n_negative == 0:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    above = ranks[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * n_negative))


def class_table(
    audit: LabelAudit, suggested: NDArray[np.int64], truth: NDArray[np.int64] | None
) -> list[ClassRow]:
    """One row per class that some row is given, lowest mean quality first."""
    n_classes = len(audit.class_names)
    shown = audit.given >= 0
    given = audit.given[shown]
    rows = np.bincount(given, minlength=n_classes)
    quality = np.bincount(given, audit.quality[shown], n_classes) / np.maximum(rows, 1)
    verdicts = {
        name: np.bincount(given[audit.verdict[shown] == name], minlength=n_classes)
        for name in VERDICTS
    }
    others = _pairs(audit.given, suggested, n_classes)
    np.fill_diagonal(others, 0)
    favourite = others.argmax(axis=1)
    wrong = None
    if truth is not None:
        mistaken = shown & (truth >= 0) & (truth != audit.given)
        wrong = np.bincount(audit.given[mistaken], minlength=n_classes)
    worst_first = sorted(np.flatnonzero(rows).tolist(), key=lambda k: (quality[k], k))
    return [
        ClassRow(
            index=k,
            name=audit.class_names[k],
            rows=int(rows[k]),
            **{name: int(count[k]) for name, count in verdicts.items()},
            quality=float(quality[k]),
            suggestion=audit.class_names[favourite[k]] if others[k].any() else None,
            suggestion_rows=int(others[k].max()),
            wrong=None if wrong is None else int(wrong[k]),
        )
        for k in worst_first
    ]


def quality_curve(audit: LabelAudit, truth: NDArray[np.int64] | None) -> QualityCurve:
    """Histogram of quality by verdict, and the effect of each threshold."""
    shown = audit.given >= 0
    quality, verdict = audit.quality[shown].astype(np.float64), audit.verdict[shown]
    edges = np.linspace(0, 1, N_BINS + 1)
    thresholds = np.linspace(0, 1, N_THRESHOLDS)
    below = np.searchsorted(np.sort(quality), thresholds, side="left")
    wrong_bins = precision = recall = None
    if truth is not None:
        mistaken = (truth >= 0)[shown] & (truth != audit.given)[shown]
        judged = np.sort(quality[(truth >= 0)[shown]])
        wrong_quality = np.sort(quality[mistaken])
        found = np.searchsorted(wrong_quality, thresholds, side="left")
        called = np.searchsorted(judged, thresholds, side="left")
        wrong_bins = _histogram(wrong_quality, edges)
        precision = [_ratio(a, b) for a, b in zip(found, called, strict=True)]
        recall = [_ratio(a, len(wrong_quality)) for a in found]
    return QualityCurve(
        edges=edges.tolist(),
        by_verdict={name: _histogram(quality[verdict == name], edges) for name in VERDICTS},
        wrong=wrong_bins,
        thresholds=thresholds.tolist(),
        kept=(1 - below / max(len(quality), 1)).tolist(),
        precision=precision,
        recall=recall,
    )


def reliability(audit: LabelAudit, truth: NDArray[np.int64]) -> list[ReliabilityBin]:
    """Labels in ten bins of quality, the empty ones left out; `truth` ``[N]``, -1 unknown."""
    rows = (audit.given >= 0) & (truth >= 0)
    quality, right = audit.quality[rows].astype(np.float64), (audit.given == truth)[rows]
    place = quality_bins(quality, N_RELIABILITY)
    totals = (np.bincount(place, weights, N_RELIABILITY) for weights in (None, quality, right))
    return reliability_bins(*totals)


def reliability_bins(
    rows: NDArray[Any], quality: NDArray[Any], right: NDArray[Any]
) -> list[ReliabilityBin]:
    """Bins from the rows, the sum of their quality and how many are right, per bin ``[B]``."""
    return [
        ReliabilityBin(int(rows[i]), float(quality[i] / rows[i]), float(right[i] / rows[i]))
        for i in np.flatnonzero(rows)
    ]


def quality_bins(quality: NDArray[np.float64], n_bins: int) -> NDArray[np.int64]:
    """Which of `n_bins` equal bins of 0 .. 1 each value lies in; 1 lies in the last."""
    return np.minimum((quality * n_bins).astype(np.int64), n_bins - 1)


def _aligned_truth(audit: LabelAudit, truth: ArrayLike | None) -> NDArray[np.int64] | None:
    if truth is None:
        return None
    aligned = np.asarray(truth, dtype=np.int64)
    if aligned.shape != audit.given.shape:
        raise ValueError(f"truth must be {list(audit.given.shape)}, got {list(aligned.shape)}")
    return aligned


def _pairs(rows: NDArray[np.int64], columns: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    both = (rows >= 0) & (columns >= 0)
    return np.bincount(rows[both] * n + columns[both], minlength=n * n).reshape(n, n)


def _histogram(values: NDArray[Any], edges: NDArray[Any]) -> list[int]:
    return np.histogram(values, edges)[0].tolist()


def _share(hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> float | None:
    return _ratio((hits & among).sum(), among.sum())


def _ratio(part: Any, whole: Any) -> float | None:
    return float(part) / float(whole) if whole else None
