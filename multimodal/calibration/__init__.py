"""Temperature and thresholds of the mixture, found together and without the truth.

A relabel is wrong where the mixture's best class is wrong. How often that is, at each confidence,
shows on held-out members of the clean core, whose labels are believed; what part of the confident
rows disagree with their label shows on the corpus itself. Every wrong best class is (nearly) a
disagreement, so the share of wrong ones among the disagreements from gamma upwards is

    sum over rows with u_max >= gamma of (1 - accuracy(u_max))  /  number of disagreements there.

The core's own labels err too. Where the mixture is surest it is taken to be right, and the share
of members that disagree there is the core's impurity; accuracies are divided by what remains. A
relabel is also wrong where the given label was right, which the quality below tells; of the two
counts of errors the larger one is taken. What neither can see: rows outside all classes, and rows
harder than the core at equal confidence; both make the estimate too high.

Whether a given label is right is read from the probability u of its class. Wrong labels are
simulated: a held-out member is given a label that rows of its class carry by mistake (or seem
to). The share of wrong labels at u is then the simulated density there, times the noise rate,
over the density of the given labels (a local false discovery rate, Efron 2010). The noise rate is
the least by which the simulated labels must be scaled to fit under the given ones at their low end;
or, where more, what the corpus lacks in agreement with the best classes, given their accuracy: a
core that is easier than the corpus makes simulated labels that are too clearly wrong.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from multimodal.calibration.curves import Curve, monotone, rising_curve
from multimodal.calibration.held_out import HeldOut, best_tau, held_out_core, held_out_trusted
from multimodal.calibration.settings import NO_RELABELS, Calibration, CalibrationSettings
from multimodal.mixed_scores import MixedScores, MixSettings

__all__ = [
    "NO_RELABELS",
    "Calibration",
    "CalibrationSettings",
    "Curve",
    "HeldOut",
    "best_tau",
    "calibrate",
    "calibrate_trusted",
    "choose_tau",
    "held_out_core",
    "held_out_trusted",
]

PAPER_TAU = 0.1
# the surest members, who tell the impurity of the core
SUREST_SHARE = 0.2
# a kept label is at least as likely right as wrong
LEAST_QUALITY = 0.5
# where the low end of the simulated wrong labels is looked for
LOW_END = np.linspace(0.5, 0.9, 5)
N_BINS = 40
# wrong labels simulated per member
N_DRAWS = 5


def choose_tau(held_out: HeldOut, settings: CalibrationSettings) -> MixSettings:
    """The mixture to score the corpus with, before the thresholds are found.

    The tau of the settings; or the one of least surprise about the held-out rows; or the paper's
    0.1, where these are too few.
    """
    tau = settings.tau
    if tau is None:
        tau = best_tau(held_out) if len(held_out) >= settings.least_members else PAPER_TAU
    return MixSettings(settings.alpha, tau)


def calibrate(
    held_out: HeldOut,
    scores: MixedScores,
    given: NDArray[np.int64],
    in_core: NDArray[np.bool_],
    mix: MixSettings,
    settings: CalibrationSettings,
    *,
    keys: NDArray[np.uint64] | None = None,
    seed: int = 0,
) -> Calibration:
    """Thresholds for a corpus scored with `mix`; see the module's text for how.

    Args:
        held_out: Members of the core, of `held_out_core`.
        scores: Of the whole corpus, N rows, made with `mix`.
        given: Given class ``[N]``, -1 for none.
        in_core: Whether a row is in the core ``[N]``; those are protected and not counted.
        mix: Of `choose_tau`.
        settings: What to find.
        keys: ``[N]`` uint64, the order in which labels are drawn for the simulation; row numbers
            by default.
        seed: Of the simulated wrong labels.

    Returns:
        The calibration. Where there is too little to find a value, the paper's stands in and
        `Calibration.fallbacks` says so.

    Raises:
        ValueError: Lengths differ.
    """
    _check(scores, given, in_core)
    n_classes = held_out.cosines.shape[1]
    fallbacks = []
    few = len(held_out) < settings.least_members
    if few and settings.tau is None:
        fallbacks.append(
            f"{len(held_out)} held-out members are too few: tau is the paper's {mix.tau}."
        )
    judged = (given >= 0) & ~in_core & ~np.isnan(scores.given)
    found = Calibration(mix.alpha, mix.tau, NO_RELABELS, 1 / n_classes, n_members=len(held_out))
    if few or not judged.any():
        fallbacks.append("Nothing to calibrate on: labels are kept from 1 / K, none is replaced.")
    else:
        table = held_out.mixture(mix)
        impurity, accuracy = _accuracy(table, held_out.classes)
        outside = scores.select(judged)
        found = replace(found, core_impurity=impurity)
        order = np.arange(len(given), dtype=np.uint64) if keys is None else keys
        wrong = _wrong_labels(
            held_out, outside, given[judged], (order[held_out.rows], order[judged]), seed
        )
        simulated = np.take_along_axis(table, np.maximum(wrong, 0), axis=1)
        agree = float((outside.best_class == given[judged]).mean())
        # were all labels right they would agree as often as the best class is right
        least = max(0.0, 1 - agree / max(float(accuracy.at(outside.best).mean()), 1e-6))
        noise, curve = _quality_curve(simulated[wrong >= 0], outside.given, least)
        found = replace(found, noise_rate=noise, curve=curve)
        quality = found.quality(outside.given)
        gamma, precision = _gamma(outside, given[judged], accuracy, quality, settings)
        found = replace(found, gamma=gamma, relabel_precision=precision)
        if gamma == NO_RELABELS:
            fallbacks.append("No gamma reaches the wanted precision: no label is replaced.")
    return _settled(found, scores.select(judged), given[judged], settings, fallbacks)


def calibrate_trusted(
    held_out: HeldOut,
    scores: MixedScores,
    given: NDArray[np.int64],
    in_core: NDArray[np.bool_],
    mix: MixSettings,
    settings: CalibrationSettings,
) -> Calibration:
    """Thresholds from rows whose true class is known; arguments as in `calibrate`.

    Precisions are those on the trusted rows with a given label: gamma is the smallest that
    reaches the wanted one.

    Args:
        held_out: The trusted rows, of `held_out_trusted`; their `HeldOut.classes` are the truth.
        scores: Of the whole corpus.
        given: Given class ``[N]``.
        in_core: ``[N]``.
        mix: Of `choose_tau`.
        settings: What to find.
    """
    _check(scores, given, in_core)
    rows, truth = held_out.rows, held_out.classes
    told = (given[rows] >= 0) & ~np.isnan(scores.given[rows]) & ~in_core[rows]
    rows, truth = rows[told], truth[told]
    found = Calibration(
        mix.alpha, mix.tau, NO_RELABELS, 1 / held_out.cosines.shape[1], n_members=len(rows),
        trusted=True,
    )  # fmt: skip
    fallbacks = []
    if len(rows) < settings.least_members:
        fallbacks.append(f"{len(rows)} trusted rows with a label are too few to calibrate on.")
    else:
        some = scores.select(rows)
        changed = some.best_class != given[rows]
        gamma, precision = _smallest_reaching(
            some.best[changed], (some.best_class == truth)[changed].astype(np.float64), settings
        )
        right = (given[rows] == truth).astype(np.float64)
        found = replace(
            found, gamma=gamma, relabel_precision=precision,
            noise_rate=float(1 - right.mean()), curve=rising_curve(some.given, right),
        )  # fmt: skip
    judged = (given >= 0) & ~in_core & ~np.isnan(scores.given)
    return _settled(found, scores.select(judged), given[judged], settings, fallbacks)


def _accuracy(table: NDArray[np.float32], classes: NDArray[np.int64]) -> tuple[float, Curve]:
    """Impurity of the core, and the accuracy of the best class as a function of its u."""
    best, right = table.max(axis=1), table.argmax(axis=1) == classes
    surest = np.argsort(-best, kind="stable")[: max(1, int(SUREST_SHARE * len(best)))]
    impurity = float(((~right[surest]).sum() + 0.5) / (len(surest) + 1))
    seen = rising_curve(best, right.astype(np.float64))
    return impurity, Curve(seen.score, np.minimum(seen.share / (1 - impurity), 1))


def _gamma(
    outside: MixedScores,
    given: NDArray[np.int64],
    accuracy: Curve,
    quality: NDArray[np.float64],
    settings: CalibrationSettings,
) -> tuple[float, float | None]:
    """Smallest gamma with the wanted precision, and that precision; `NO_RELABELS` for none."""
    order = np.argsort(-outside.best, kind="stable")
    best = outside.best[order]
    changed = outside.best_class[order] != given[order]
    best_wrong = np.cumsum(1 - accuracy.at(best))
    given_right = np.cumsum(quality[order] * changed)
    count = np.cumsum(changed)
    precision = 1 - np.maximum(best_wrong, given_right) / np.maximum(count, 1)
    return _smallest(best, precision, count, settings)


def _smallest_reaching(
    best: NDArray[np.float32], right: NDArray[np.float64], settings: CalibrationSettings
) -> tuple[float, float | None]:
    order = np.argsort(-best, kind="stable")
    count = np.arange(1, len(best) + 1)
    return _smallest(best[order], np.cumsum(right[order]) / count, count, settings)


def _smallest(
    best: NDArray[np.float32],
    precision: NDArray[np.float64],
    count: NDArray[np.integer],
    settings: CalibrationSettings,
) -> tuple[float, float | None]:
    """The last place of a falling list of scores at which the precision is as wanted."""
    last_of_equals = np.append(best[1:] < best[:-1], True)[: len(best)]
    good = (precision >= settings.relabel_precision) & (count >= settings.least_relabels)
    places = np.flatnonzero(good & last_of_equals)
    if not len(places):
        return NO_RELABELS, None
    return float(best[places[-1]]), float(precision[places[-1]])


def _wrong_labels(
    held_out: HeldOut,
    outside: MixedScores,
    given: NDArray[np.int64],
    keys: tuple[NDArray[np.uint64], NDArray[np.uint64]],
    seed: int,
) -> NDArray[np.int64]:
    """Labels each member might carry by mistake ``[n, draws]``; -1: there is no other class.

    Drawn from the labels of rows outside the core that look like the member's class and are
    labelled otherwise; from all other classes that have a prototype where there are none. `keys`
    of the members and of those rows say who gets which draw.
    """
    draws = np.empty((len(held_out), N_DRAWS))
    turn = np.lexsort((held_out.classes, keys[0]))
    draws[turn] = np.random.default_rng(seed).random(draws.shape)
    differ = np.flatnonzero(outside.best_class != given)
    differ = differ[np.lexsort((keys[1][differ], outside.best_class[differ]))]
    looks = outside.best_class[differ]
    first = np.searchsorted(looks, held_out.classes, side="left")[:, None]
    size = np.searchsorted(looks, held_out.classes, side="right")[:, None] - first
    wrong = np.full(draws.shape, -1, np.int64)
    some = size[:, 0] > 0
    wrong[some] = given[differ[(first + (draws * size).astype(np.int64))[some]]]
    for one in np.flatnonzero(~some):
        others = np.flatnonzero(np.isfinite(held_out.cosines[one]))
        others = others[others != held_out.classes[one]]
        if len(others):
            wrong[one] = others[(draws[one] * len(others)).astype(np.int64)]
    return wrong


def _quality_curve(
    simulated: NDArray[np.float32], seen: NDArray[np.float32], least: float
) -> tuple[float, Curve]:
    """Noise rate, and P(label is right) as a function of u of the given class."""
    ends = np.quantile(simulated, LOW_END) if len(simulated) else np.zeros(1)
    below = np.searchsorted(np.sort(seen), ends, side="right") / len(seen)
    wrong_below = np.searchsorted(np.sort(simulated), ends, side="right") / max(len(simulated), 1)
    ratio = np.divide(below, wrong_below, out=np.ones_like(below), where=wrong_below > 0)
    noise = float(np.clip(ratio.min(), least, 1))
    edges = np.unique(np.quantile(seen, np.linspace(0, 1, N_BINS + 1))).astype(np.float64)
    if len(edges) < 2:
        return noise, Curve(edges[:1], np.array([1 - noise]))
    edges[0], edges[-1] = -np.inf, np.inf
    bins = np.searchsorted(edges, seen, side="right") - 1
    counts = np.bincount(bins, minlength=len(edges) - 1)
    wrong = np.bincount(
        np.searchsorted(edges, simulated, side="right") - 1, minlength=len(edges) - 1
    )
    share = (wrong + 0.5 / len(counts)) / (len(simulated) + 0.5) * noise
    doubt = np.clip(share / np.maximum(counts / len(seen), 1e-12), 0, 1)
    centres = np.array([np.median(seen[bins == b]) if c else np.nan for b, c in enumerate(counts)])
    there = counts > 0
    return noise, monotone(centres[there], 1 - doubt[there], counts[there].astype(np.float64))


def _keep_threshold(
    given: NDArray[np.float32], quality: NDArray[np.float64], wanted: float
) -> tuple[float, float] | None:
    """Smallest u from which kept labels are right as often as wanted, and how often that is."""
    order = np.argsort(-given, kind="stable")
    best = given[order]
    precision = np.cumsum(quality[order]) / np.arange(1, len(best) + 1)
    last_of_equals = np.append(best[1:] < best[:-1], True)[: len(best)]
    good = (precision >= wanted) & (quality[order] >= LEAST_QUALITY) & last_of_equals
    places = np.flatnonzero(good)
    return (float(best[places[-1]]), float(precision[places[-1]])) if len(places) else None


def _settled(
    found: Calibration,
    outside: MixedScores,
    given: NDArray[np.int64],
    settings: CalibrationSettings,
    fallbacks: list[str],
) -> Calibration:
    """Numbers asked for in place of those found, and the counts that follow."""
    quality = found.quality(outside.given)
    kept = None
    if found.curve is not None and settings.keep_threshold is None:
        kept = _keep_threshold(outside.given, quality, settings.keep_precision)
        if kept is None:
            fallbacks.append("No label is kept as surely as wanted: labels are kept from 1 / K.")
    if settings.gamma is not None:
        found = replace(found, gamma=settings.gamma, relabel_precision=None)
    threshold = kept[0] if kept else found.keep_threshold
    if settings.keep_threshold is not None:
        threshold = settings.keep_threshold
    relabelled = (outside.best >= found.gamma) & (outside.best_class != given)
    keeps = ~relabelled & ((outside.given >= threshold) | (outside.best >= found.gamma))
    return replace(
        found,
        keep_threshold=threshold,
        keep_precision=float(quality[keeps].mean()) if found.curve and keeps.any() else None,
        n_relabels=int(relabelled.sum()),
        n_kept=int(keeps.sum()),
        fallbacks=tuple(fallbacks),
    )


def _check(scores: MixedScores, given: NDArray[np.int64], in_core: NDArray[np.bool_]) -> None:
    if given.shape != (len(scores),) or in_core.shape != given.shape:
        raise ValueError(
            f"given and in_core must be [{len(scores)}] like scores, got {given.shape} and"
            f" {in_core.shape}"
        )
