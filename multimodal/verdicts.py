"""Keep, relabel or reject: CAPro's ladder over the mixture's scores, as a label audit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import NO_LABEL, LabelAudit
from multimodal.calibration import Calibration
from multimodal.mixed_scores import MixedScores

REASONS = {
    "in_clean_core": "Its text matches the class among the best; it is protected.",
    "evidence_agrees": "Image evidence is sure of a class, and it is the given one.",
    "above_keep_threshold": "The given class is probable enough.",
    "prototype_relabel": "Image evidence is sure of another class.",
    "below_keep_threshold": "The given class is improbable, and no other one is sure.",
    "out_of_distribution": "No class is probable enough; taken to be outside all classes.",
    "class_without_core": "No clean sample of the given class is known, so nothing can be said.",
    "proposed_label": "No label was given; image evidence is sure of this class.",
    "no_given_label": "No label was given, and image evidence is not sure of a class.",
    "no_image": "There is no usable image vector.",
}
# quality where nothing can be said
UNDECIDED_QUALITY = 0.5
# a transition matrix is stored as text in the audit of every shard: 200 classes are 0.8 MB
LARGEST_TRANSITION = 200


@dataclass(frozen=True)
class LadderSettings:
    """What the ladder leaves open.

    Attributes:
        protect_core: Samples of the clean core are kept whatever their scores say.
        reject_is_ood: Take every rejected sample to be out of distribution, as CAPro does: they
            get that reason and an ``ood_score`` of 1. By default rejecting a label and being
            outside all classes are two things, with a score each.
        label_unlabelled: Propose the best class for samples without a given label where it
            reaches gamma; otherwise they abstain.
    """

    protect_core: bool = True
    reject_is_ood: bool = False
    label_unlabelled: bool = True


@dataclass(frozen=True, eq=False)
class TextEvidence:
    """What texts say; all ``[N]``, NaN where there is no text.

    Attributes:
        cosine: Of the (smoothed) text with the text of the given class.
        rank: Place among the texts of the given class, best 0; or None.
        best_cosine: With the nearest class text, for samples without a given label; or None.
    """

    cosine: NDArray[np.floating]
    rank: NDArray[np.floating] | None = None
    best_cosine: NDArray[np.floating] | None = None


@dataclass(frozen=True, eq=False)
class JudgedRows:
    """The rows to be judged.

    Attributes:
        ids: ``[N]``, unique.
        given: Given class ``[N]`` int64, -1 for none.
        in_core: Whether a row is in the clean core ``[N]``.
        class_names: K names.
        text: What texts say, or None for a corpus without texts.
        has_image: ``[N]`` bool; None: all have.
    """

    ids: NDArray[Any]
    given: NDArray[np.int64]
    in_core: NDArray[np.bool_]
    class_names: tuple[str, ...]
    text: TextEvidence | None = None
    has_image: NDArray[np.bool_] | None = None


def judge_single(
    rows: JudgedRows,
    scores: MixedScores,
    calibration: Calibration,
    ladder: LadderSettings | None = None,
    *,
    method: str = "capro",
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> LabelAudit:
    """The audit of a corpus with at most one label per sample. In this order:

    - labelled and in the clean core: keep (``in_clean_core``);
    - no image vector: abstain (``no_image``);
    - no given label: the best class as a proposal where it reaches gamma, else abstain;
    - the given class has no prototype: abstain (``class_without_core``);
    - ``u_max >= gamma``: keep where the best class is the given one (``evidence_agrees``), else
      relabel (``prototype_relabel``);
    - ``u[given] >= keep_threshold``: keep (``above_keep_threshold``);
    - otherwise reject (``below_keep_threshold`` or, if asked for, ``out_of_distribution``).

    Quality is the calibrated probability that the given label is right
    (`Calibration.quality`); of a protected sample at least one minus the core's impurity.
    ``ood_score`` in 0..1 is another matter: ``(1 - cosine of text and class text) / 2`` for a
    corpus with texts (NaN for a sample without), as among all scores tried only that one told
    images outside all classes; else ``1 - u_max``.

    Args:
        rows: Who is judged.
        scores: Made with `Calibration.mix`, N rows.
        calibration: Thresholds and quality.
        ladder: See `LadderSettings`.
        method: Name of the method.
        settings: Its settings, JSON values; calibration and ladder are added.
        seed: Its seed.

    Returns:
        The audit. Evidence: ``suggested`` (best class) and ``suggested_p`` (its u), ``second_p``,
        ``mixed_p_given`` (u of the given class), ``classifier_p_given`` (p),
        ``prototype_p_given`` (r), ``entropy``, ``in_core``, ``ood_score``, and where there are
        texts ``text_cosine`` and ``text_rank``. Its noise rate is the mean of 1 - quality; its
        transition matrix counts, for each labelled sample, the given class by quality and the
        best other class by the rest.

    Raises:
        ValueError: Lengths differ.

    Source:
        Qin et al., "CAPro", NeurIPS 2023. Theirs: tau 0.1, gamma 0.6, keep from 1 / K, rejected
        means out of distribution (`LadderSettings.reject_is_ood`). Ours: calibrated values, the
        core protected also offline, abstaining where a class has no core.
    """
    ladder = ladder or LadderSettings()
    _check(rows, scores)
    given = rows.given
    labelled = given != NO_LABEL
    seen = np.ones(len(given), bool) if rows.has_image is None else rows.has_image
    seen = seen & (scores.best_class >= 0)
    verdict, reason = _ladder(rows, scores, calibration, ladder, seen)
    label = np.where(verdict == "keep", given, NO_LABEL)
    label = np.where(verdict == "relabel", scores.best_class, label)
    quality = _quality(rows, scores, calibration, seen, ladder)
    told = labelled & seen & ~np.isnan(scores.given)
    evidence = _evidence(rows, scores, seen)
    evidence["ood_score"] = _ood(rows, scores, seen)
    if ladder.reject_is_ood:
        evidence["ood_score"] = np.where(verdict == "reject", 1.0, evidence["ood_score"])
    return LabelAudit(
        ids=rows.ids,
        given=given,
        verdict=verdict,
        label=label,
        quality=quality,
        reason=reason,
        evidence=evidence,
        class_names=rows.class_names,
        method=method,
        reasons=REASONS,
        settings={
            **(settings or {}),
            "calibration": calibration.as_settings(),
            "protect_core": ladder.protect_core,
            "reject_is_ood": ladder.reject_is_ood,
            "ood_score_from": "image" if rows.text is None else "text",
        },
        seed=seed,
        transition=transition_of(given[told], scores.select(told), quality[told], rows.class_names),
        noise_rate=float(1 - quality[told].mean()) if told.any() else None,
    )


def _ladder(
    rows: JudgedRows,
    scores: MixedScores,
    calibration: Calibration,
    ladder: LadderSettings,
    seen: NDArray[np.bool_],
) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    unlabelled = rows.given == NO_LABEL
    sure = scores.best >= calibration.gamma
    lone = "out_of_distribution" if ladder.reject_is_ood else "below_keep_threshold"
    rungs = [  # the first one that holds decides
        (rows.in_core & ~unlabelled & ladder.protect_core, "keep", "in_clean_core"),
        (~seen, "abstain", "no_image"),
        (unlabelled & sure & ladder.label_unlabelled, "relabel", "proposed_label"),
        (unlabelled, "abstain", "no_given_label"),
        (np.isnan(scores.given), "abstain", "class_without_core"),
        (sure & (scores.best_class == rows.given), "keep", "evidence_agrees"),
        (sure, "relabel", "prototype_relabel"),
        (scores.given >= calibration.keep_threshold, "keep", "above_keep_threshold"),
    ]
    holds = [rung[0] for rung in rungs]
    verdict = np.select(holds, [rung[1] for rung in rungs], "reject")
    return verdict, np.select(holds, [rung[2] for rung in rungs], lone)


def _quality(
    rows: JudgedRows,
    scores: MixedScores,
    calibration: Calibration,
    seen: NDArray[np.bool_],
    ladder: LadderSettings,
) -> NDArray[np.float64]:
    quality = calibration.quality(scores.given)
    if ladder.protect_core and calibration.core_impurity is not None:
        floor = 1 - calibration.core_impurity
        quality = np.where(rows.in_core, np.fmax(quality, floor), quality)
    return np.where(seen & ~np.isnan(quality), quality, UNDECIDED_QUALITY)


def _evidence(
    rows: JudgedRows, scores: MixedScores, seen: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {
        "suggested": scores.best_class.astype(np.float64),
        "suggested_p": scores.best,
        "second_p": scores.second,
        "mixed_p_given": scores.given,
        "classifier_p_given": scores.classifier_given,
        "prototype_p_given": scores.prototype_given,
        "entropy": scores.entropy,
    }
    columns = {name: np.where(seen, column, np.nan) for name, column in columns.items()}
    columns["in_core"] = rows.in_core.astype(np.float32)
    if rows.text is not None:
        columns["text_cosine"] = rows.text.cosine
        if rows.text.rank is not None:
            columns["text_rank"] = rows.text.rank
    return columns


def _ood(
    rows: JudgedRows, scores: MixedScores, seen: NDArray[np.bool_]
) -> NDArray[np.floating[Any]]:
    if rows.text is None:
        return np.where(seen, 1 - scores.best, np.nan)
    cosine = np.asarray(rows.text.cosine, dtype=np.float64)
    if rows.text.best_cosine is not None:
        cosine = np.where(rows.given == NO_LABEL, rows.text.best_cosine, cosine)
    return np.clip((1 - cosine) / 2, 0, 1)


def transition_of(
    given: NDArray[np.int64],
    scores: MixedScores,
    quality: NDArray[np.float64],
    class_names: tuple[str, ...],
) -> NDArray[np.float64] | None:
    """P(given = j | true = i) ``[K, K]`` with soft true classes; None beyond 200 classes.

    Args:
        given: Given class of each labelled row ``[n]``.
        scores: Theirs; the best class other than the given one is where a wrong label belongs.
        quality: P(given label is right) ``[n]``.
        class_names: K names.
    """
    n_classes = len(class_names)
    if n_classes > LARGEST_TRANSITION or not len(given):
        return None
    other = np.where(scores.best_class == given, scores.second_class, scores.best_class)
    known = other >= 0
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (given, given), np.where(known, quality, 1.0))
    np.add.at(counts, (other[known], given[known]), 1 - quality[known])
    total = counts.sum(axis=1, keepdims=True)
    # a class that nothing speaks for: its labels are taken as given
    return np.divide(counts, total, out=np.eye(n_classes), where=total > 0)


def _check(rows: JudgedRows, scores: MixedScores) -> None:
    n_rows = len(rows.given)
    lengths = {"ids": len(rows.ids), "in_core": len(rows.in_core), "scores": len(scores)}
    if rows.text is not None:
        lengths["text"] = len(rows.text.cosine)
    for name, length in lengths.items():
        if length != n_rows:
            raise ValueError(f"{name} must have {n_rows} rows like given, got {length}")
