"""The numbers of the page from audits that come one after another, without holding them all."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelnoise.audit import VERDICTS, LabelAudit
from labelnoise.audit.conversions import suggested_classes
from labelnoise.report.numbers import (
    N_BINS,
    N_RELIABILITY,
    N_THRESHOLDS,
    AuditNumbers,
    ClassRow,
    Detection,
    Pair,
    QualityCurve,
    quality_bins,
    reliability_bins,
    wilson_interval,
)

# beyond this many classes a K x K matrix outgrows the page; the most frequent pairs stay
MAX_MATRIX, MAX_PAIRS = 200, 200
# a multiple of the steps of the threshold
FINE = 64_000


class PairCounts:
    """How often each (row class, column class) was seen, for any number of classes.

    Args:
        n_classes: K.
    """

    def __init__(self, n_classes: int) -> None:
        self.n_classes = n_classes
        self._keys = np.zeros(0, np.int64)
        self._counts = np.zeros(0, np.int64)

    def update(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> None:
        """Count the pairs ``[N]``; entries of -1 on either side are left out."""
        both = (rows >= 0) & (columns >= 0)
        keys, counts = np.unique(rows[both] * self.n_classes + columns[both], return_counts=True)
        merged, place = np.unique(np.concatenate([self._keys, keys]), return_inverse=True)
        weights = np.concatenate([self._counts, counts])
        self._counts = np.bincount(place, weights, len(merged)).astype(np.int64)
        self._keys = merged

    def matrix(self) -> list[list[int]]:
        """Counts ``[K, K]``."""
        dense = np.zeros(self.n_classes**2, np.int64)
        dense[self._keys] = self._counts
        return dense.reshape(self.n_classes, self.n_classes).tolist()

    def off_diagonal(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Rows, columns and counts of the pairs of two different classes."""
        rows, columns = np.divmod(self._keys, self.n_classes)
        other = rows != columns
        return rows[other], columns[other], self._counts[other]

    def favourites(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Per row class ``[K]``: its most frequent other column (-1 for none) and how often."""
        best, most = np.full(self.n_classes, -1), np.zeros(self.n_classes, np.int64)
        rows, columns, counts = self.off_diagonal()
        order = np.lexsort((columns, -counts, rows))
        first = order[np.diff(rows[order], prepend=-1) > 0]
        best[rows[first]], most[rows[first]] = columns[first], counts[first]
        return best, most

    def top(self, names: Sequence[str], *, n: int = MAX_PAIRS) -> list[Pair]:
        """The `n` most frequent pairs of two classes, with their share of the row class."""
        rows, columns, counts = self.off_diagonal()
        sums = np.bincount(self._keys // self.n_classes, self._counts, self.n_classes)
        order = np.lexsort((columns, rows, -counts))[:n]
        return [
            Pair(
                names[rows[i]], names[columns[i]], int(counts[i]), float(counts[i] / sums[rows[i]])
            )
            for i in order
        ]


class AuditTally:
    """What `audit_numbers` computes, from audits of one method on many shards.

    Holds counts per class, per pair of classes that was seen and per 1/64,000 of quality: the
    numbers are those of `audit_numbers` on the merged audit; only the AUROC and the single
    thresholds take qualities closer than 1/64,000 for equal.

    Args:
        class_names: K names.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        n_classes = len(class_names)
        self.class_names = list(class_names)
        self.rows = 0
        self._counts = np.zeros(len(VERDICTS), np.int64)
        self._verdicts = np.zeros((len(VERDICTS), n_classes), np.int64)
        self._quality_sum = np.zeros(n_classes)
        self._wrong = np.zeros(n_classes, np.int64)
        self._fine = np.zeros((len(VERDICTS), FINE + 1), np.int64)
        self._edges = np.linspace(0, 1, N_BINS + 1)
        self._bins = np.zeros((len(VERDICTS), N_BINS), np.int64)
        self._wrong_bins = np.zeros(N_BINS, np.int64)
        self._fine_judged = np.zeros(FINE + 1, np.int64)
        self._fine_wrong = np.zeros(FINE + 1, np.int64)
        self._reliability = np.zeros((3, N_RELIABILITY))
        self._suggested, self._true = PairCounts(n_classes), PairCounts(n_classes)
        self._rates: list[tuple[float | None, int]] = []
        self._after = np.zeros(5, np.int64)
        self._has_truth = False

    def update(
        self,
        audit: LabelAudit,
        *,
        truth: ArrayLike | None = None,
        judged: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take in one more audit.

        Args:
            audit: Of the same classes as the ones before.
            truth: Right label of every row ``[N]``, -1 where unknown; None without truth.
            judged: Rows ``[N]`` whose label a method judged; the others (records that could not be
                read) count as rows with their verdict and nowhere else. None for all.
        """
        verdict = np.stack([audit.verdict == name for name in VERDICTS])
        self.rows += len(audit)
        self._counts += verdict.sum(axis=1)
        shown = audit.given >= 0
        if judged is not None:
            shown = shown & judged
        self._rates.append((audit.noise_rate, int(shown.sum())))
        given, quality = audit.given[shown], audit.quality[shown].astype(np.float64)
        place, n = fine_bins(quality), len(self.class_names)
        self._quality_sum += np.bincount(given, quality, n)
        for i in range(len(VERDICTS)):
            mine = verdict[i][shown]
            self._verdicts[i] += np.bincount(given[mine], minlength=n)
            self._fine[i] += np.bincount(place[mine], minlength=FINE + 1)
            self._bins[i] += np.histogram(quality[mine], self._edges)[0]
        self._suggested.update(given, suggested_classes(audit)[shown])
        if truth is not None:
            known = np.asarray(truth, dtype=np.int64)
            if known.shape != audit.given.shape:
                raise ValueError(f"truth must be {[len(audit)]}, got {list(known.shape)}")
            self._compare(audit, known, shown)

    def numbers(self) -> AuditNumbers:
        """Every number of the page so far."""
        few = len(self.class_names) <= MAX_MATRIX
        by_class = self._verdicts.sum(axis=0)
        labelled = int(by_class.sum())
        flagged = int(self._verdicts[[1, 2]].sum())
        true = self._true if self._has_truth else None
        return AuditNumbers(
            rows=self.rows,
            labelled=labelled,
            counts={name: int(n) for name, n in zip(VERDICTS, self._counts, strict=True)},
            noise_rate=wilson_interval(flagged / labelled if labelled else 0.0, labelled),
            own_noise_rate=self._own_rate(),
            detection=self._detection(),
            classes=self._classes(),
            class_names=self.class_names,
            suggested=self._suggested.matrix() if few else [],
            true=None if true is None else true.matrix() if few else [],
            quality=self._curve(),
            suggested_pairs=None if few else self._suggested.top(self.class_names),
            true_pairs=None if few or true is None else true.top(self.class_names),
            reliability=None if true is None else reliability_bins(*self._reliability),
        )

    def decision_threshold(self) -> float:
        """The quality that best separates the kept labels from the relabelled and rejected ones.

        A method may decide by more than quality; this is where a look at doubtful rows starts.
        """
        kept_below = np.concatenate([[0], np.cumsum(self._fine[0])])
        flagged = np.concatenate([[0], np.cumsum(self._fine[1] + self._fine[2])])
        errors = kept_below + flagged[-1] - flagged
        best = np.flatnonzero(errors == errors.min())
        # the middle of a run of equally good places stays clear of both sides
        return min(1.0, float(best[len(best) // 2] / FINE))

    def _compare(
        self, audit: LabelAudit, truth: NDArray[np.int64], shown: NDArray[np.bool_]
    ) -> None:
        self._has_truth = True
        rows = shown & (truth >= 0)
        given, known = audit.given[rows], truth[rows]
        quality, wrong = audit.quality[rows].astype(np.float64), given != known
        self._true.update(given, known)
        self._wrong += np.bincount(given[wrong], minlength=len(self.class_names))
        place = fine_bins(quality)
        self._fine_judged += np.bincount(place, minlength=FINE + 1)
        self._wrong_bins += np.histogram(quality[wrong], self._edges)[0]
        self._fine_wrong += np.bincount(place[wrong], minlength=FINE + 1)
        coarse = quality_bins(quality, N_RELIABILITY)
        for row, weights in zip(self._reliability, (None, quality, ~wrong), strict=True):
            row += np.bincount(coarse, weights, N_RELIABILITY)
        found = np.isin(audit.verdict[rows], ("relabel", "reject"))
        label = audit.label[rows]
        parts = (wrong, found, wrong & found, label >= 0, (label >= 0) & (label == known))
        self._after += [int(part.sum()) for part in parts]

    def _detection(self) -> Detection | None:
        n = int(self._fine_judged.sum())
        if n == 0:
            return None
        wrong, found, hits, labelled, right_after = (int(one) for one in self._after)
        right = self._fine_judged - self._fine_wrong
        above = right[::-1].cumsum()[::-1] - right / 2
        pairs = wrong * (n - wrong)
        return Detection(
            rows=n,
            wrong=wrong,
            flagged=found,
            precision=hits / found if found else None,
            recall=hits / wrong if wrong else None,
            auroc=float((self._fine_wrong * above).sum() / pairs) if pairs else None,
            accuracy_before=1 - wrong / n,
            accuracy_after=right_after / labelled if labelled else None,
            labels_after=labelled / n,
        )

    def _classes(self) -> list[ClassRow]:
        rows = self._verdicts.sum(axis=0)
        quality = self._quality_sum / np.maximum(rows, 1)
        best, most = self._suggested.favourites()
        order = sorted(np.flatnonzero(rows).tolist(), key=lambda k: (quality[k], k))
        return [
            ClassRow(
                index=k,
                name=self.class_names[k],
                rows=int(rows[k]),
                **{name: int(self._verdicts[i, k]) for i, name in enumerate(VERDICTS)},
                quality=float(quality[k]),
                suggestion=self.class_names[best[k]] if best[k] >= 0 else None,
                suggestion_rows=int(most[k]),
                wrong=int(self._wrong[k]) if self._has_truth else None,
            )
            for k in order
        ]

    def _curve(self) -> QualityCurve:
        thresholds = np.linspace(0, 1, N_THRESHOLDS)
        below = _below(self._fine.sum(axis=0))
        wrong = precision = recall = None
        if self._has_truth:
            wrong = self._wrong_bins.tolist()
            found, called = _below(self._fine_wrong), _below(self._fine_judged)
            n_wrong = self._fine_wrong.sum()
            precision = [float(a / b) if b else None for a, b in zip(found, called, strict=True)]
            recall = [float(a / n_wrong) if n_wrong else None for a in found]
        return QualityCurve(
            edges=self._edges.tolist(),
            by_verdict={name: self._bins[i].tolist() for i, name in enumerate(VERDICTS)},
            wrong=wrong,
            thresholds=thresholds.tolist(),
            kept=(1 - below / max(int(self._fine.sum()), 1)).tolist(),
            precision=precision,
            recall=recall,
        )

    def _own_rate(self) -> float | None:
        if not self._rates or any(rate is None for rate, _ in self._rates):
            return None
        rates = np.array([rate for rate, _ in self._rates], dtype=np.float64)
        weights = np.array([n for _, n in self._rates], dtype=np.float64)
        same = bool((rates == rates[0]).all())
        return float(rates[0]) if same else float(np.average(rates, weights=weights + 1e-9))


def fine_bins(quality: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which of the `FINE` bins each value lies in; 1 has the bin behind the last for itself.

    Every threshold is exactly an edge of these bins.
    """
    return np.searchsorted(_fine_edges(), quality, side="right") - 1


@cache
def _fine_edges() -> NDArray[np.float64]:
    edges = np.arange(FINE + 1) / FINE
    edges[:: FINE // (N_THRESHOLDS - 1)] = np.linspace(0, 1, N_THRESHOLDS)
    return edges


def _below(histogram: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows below each threshold."""
    steps = np.arange(N_THRESHOLDS) * (FINE // (N_THRESHOLDS - 1))
    return np.concatenate([[0], np.cumsum(histogram)])[steps]
