"""Keep, add, remove or ignore labels of samples that may carry several."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import NO_LABEL, LabelAudit
from multimodal.mixed_scores import DECIMALS, block_size
from multimodal.multi_label.prototypes import (
    GivenSets,
    SignedPrototypes,
    check_sets,
    signed_prototypes,
)
from multimodal.multi_label.ridge import LabelRegressions, fit_label_regressions
from multimodal.rows import Rows

__all__ = [
    "REASONS",
    "GivenSets",
    "JudgedEntries",
    "LabelRegressions",
    "MultiLabelSettings",
    "SignedPrototypes",
    "fit_label_regressions",
    "judge_entries",
    "multi_label_audit",
    "signed_prototypes",
]

REASONS = {
    "in_clean_core": "Its text matches the class among the best; the label is protected.",
    "label_plausible": "The label is probable enough.",
    "label_removed": "Image evidence is sure that the label is wrong.",
    "label_added": "Image evidence is sure of a label that was not given.",
    "label_ignored": "The given label is neither probable enough nor surely wrong.",
    "absence_ignored": "The label was not given, and its absence is not probable enough.",
    "class_without_core": "No clean sample of the class is known, so nothing can be said.",
}
KEEP, ADD, REMOVE, IGNORE, IGNORE_ABSENCE, PROTECTED, UNKNOWN = range(7)
# verdict and reason of each outcome, in this order
OUTCOMES = (
    ("keep", "label_plausible"),
    ("relabel", "label_added"),
    ("reject", "label_removed"),
    ("abstain", "label_ignored"),
    ("abstain", "absence_ignored"),
    ("keep", "in_clean_core"),
    ("abstain", "class_without_core"),
)
UNDECIDED_QUALITY = 0.5


@dataclass(frozen=True)
class MultiLabelSettings:
    """How labels are scored and judged; the defaults are CAPro's for NUS-WIDE.

    Attributes:
        alpha: Share of the classifier, in 0..1.
        tau: Temperature of the cosines to the two prototypes of a class, > 0.
        gamma: A label is added at this probability, and removed where its absence has it.
        keep_threshold: A label (or its absence) stays at this probability; None: 1 / K.
        protect_core: Labels of the clean core stay whatever their scores say.

    Raises:
        ValueError: A value outside its range.
    """

    alpha: float = 0.5
    tau: float = 0.1
    gamma: float = 0.9
    keep_threshold: float | None = None
    protect_core: bool = True

    def __post_init__(self) -> None:
        for name in ("alpha", "gamma", "keep_threshold"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} must lie in 0 .. 1, got {value}")
        if not self.tau > 0:
            raise ValueError(f"tau must be positive, got {self.tau}")


@dataclass(frozen=True, eq=False)
class JudgedEntries:
    """The (sample, label) entries that are listed: all given labels, and others of note.

    Attributes:
        rows: Sample ``[M]`` int64, ascending.
        classes: Label ``[M]`` int64, ascending within a sample.
        given: ``[M]`` bool, whether the label was given.
        outcome: ``[M]`` int8, a place in `OUTCOMES`.
        mixed: u ``[M]`` float32; NaN for a class without prototypes.
        classifier: p ``[M]`` float32.
        prototype: r ``[M]`` float32; NaN likewise.
    """

    rows: NDArray[np.int64]
    classes: NDArray[np.int64]
    given: NDArray[np.bool_]
    outcome: NDArray[np.int8]
    mixed: NDArray[np.float32]
    classifier: NDArray[np.float32]
    prototype: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)


def judge_entries(
    image: Rows,
    given_sets: GivenSets,
    prototypes: SignedPrototypes,
    classifier: LabelRegressions,
    fold: NDArray[np.int64],
    *,
    core: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    settings: MultiLabelSettings | None = None,
    block_rows: int | None = None,
) -> JudgedEntries:
    """Judge every label of every sample, in blocks; only entries of note are kept.

    ``u = alpha p + (1 - alpha) r``. A given label is, in this order: kept if in the core; removed
    if ``1 - u >= gamma``; kept if ``u >= keep_threshold``; else ignored. A label not given is
    added if ``u >= gamma``; else its absence stays if ``1 - u >= keep_threshold`` (not listed) or
    is ignored. (The sheet of CAPro names no order; correcting before keeping is that of its
    single-label rule.)

    Args:
        image: Unit rows ``[N, D]``.
        given_sets: Labels.
        prototypes: Of K classes.
        classifier: Out of fold.
        fold: Fold of each row ``[N]``.
        core: Entries of the clean core, as (rows, classes); None: no protection.
        settings: See `MultiLabelSettings`.
        block_rows: Rows per block; changes no decision.

    Returns:
        The entries; memory grows with their number, never with ``N K``.

    Raises:
        ValueError: Lengths or classes do not fit.

    Source:
        Qin et al., "CAPro", NeurIPS 2023; over frozen embeddings.
    """
    settings = settings or MultiLabelSettings()
    n_classes = len(prototypes.present)
    check_sets(given_sets, len(image), n_classes)
    if fold.shape != (len(image),):
        raise ValueError(f"fold must be [{len(image)}], got {fold.shape}")
    offsets, classes = given_sets
    owner = np.repeat(np.arange(len(image)), np.diff(offsets))
    protected = np.empty((0,), np.int64)
    if core is not None and settings.protect_core:
        protected = np.sort(core[0] * n_classes + core[1])
    parts = []
    for start, block in image.blocks(block_rows or block_size(n_classes)):
        stop = start + len(block)
        entries = slice(offsets[start], offsets[stop])
        p = classifier.probabilities(block, fold[start:stop])
        r = prototypes.probabilities(block, settings.tau)
        r[:, ~prototypes.present] = np.nan
        given = np.zeros(p.shape, bool)
        given[owner[entries] - start, classes[entries]] = True
        parts.append(_judged_block(p, r, given, start, protected, settings))
    parts.append(_judged_block(*_nothing(n_classes), 0, protected, settings))
    columns = [np.concatenate(column) for column in zip(*map(_columns, parts), strict=True)]
    return JudgedEntries(*columns)


def multi_label_audit(
    ids: NDArray[Any],
    class_names: tuple[str, ...],
    entries: JudgedEntries,
    *,
    method: str = "capro",
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> LabelAudit:
    """One row per entry, with the id ``SAMPLE|CLASS NAME``.

    An added label is a relabel without a given one; a removed label is a reject; an ignored entry
    abstains. Quality is u for given labels; 0.5 where nothing was given or can be said.

    Args:
        ids: Ids of the samples ``[N]``.
        class_names: K names.
        entries: Of `judge_entries`.
        method: Name of the method.
        settings: Its settings, JSON values (`settings_of`).
        seed: Its seed.
    """
    verdict, reason = (
        np.array([outcome[place] for outcome in OUTCOMES])[entries.outcome] for place in (0, 1)
    )
    used = np.isin(verdict, ["keep", "relabel"])
    known = entries.given & ~np.isnan(entries.mixed)
    names = [
        f"{sample}|{class_names[label]}"
        for sample, label in zip(
            np.asarray(ids)[entries.rows].tolist(), entries.classes.tolist(), strict=True
        )
    ]
    in_core = (entries.outcome == PROTECTED).astype(np.float32)
    return LabelAudit(
        ids=np.array(names, dtype=np.str_),
        given=np.where(entries.given, entries.classes, NO_LABEL),
        verdict=verdict,
        label=np.where(used, entries.classes, NO_LABEL),
        quality=np.where(known, entries.mixed, UNDECIDED_QUALITY),
        reason=reason,
        evidence={
            "suggested": entries.classes.astype(np.float64),
            "mixed_p": entries.mixed,
            "classifier_p": entries.classifier,
            "prototype_p": entries.prototype,
            "in_core": in_core,
        },
        class_names=class_names,
        method=method,
        reasons=REASONS,
        settings=dict(settings or {}),
        seed=seed,
        noise_rate=float(1 - entries.mixed[known].mean()) if known.any() else None,
    )


def settings_of(settings: MultiLabelSettings) -> dict[str, Any]:
    """Settings as JSON values, for `multi_label_audit`."""
    return asdict(settings)


def _judged_block(
    p: NDArray[np.float32],
    r: NDArray[np.float32],
    given: NDArray[np.bool_],
    start: int,
    protected: NDArray[np.int64],
    settings: MultiLabelSettings,
) -> JudgedEntries:
    share = np.array(settings.alpha, dtype=np.float32)
    u = (share * p + (1 - share) * r).round(DECIMALS)
    n_classes = u.shape[1]
    keep = 1 / n_classes if settings.keep_threshold is None else settings.keep_threshold
    # comparisons with NaN are false: an absent class is listed where it was given, and nowhere else
    noted = given | (u >= settings.gamma) | (1 - u < keep)
    rows, classes = np.nonzero(noted)
    own, told = u[rows, classes], given[rows, classes]
    rungs = [
        (told & np.isin((rows + start) * n_classes + classes, protected), PROTECTED),
        (np.isnan(own), UNKNOWN),
        (told & (1 - own >= settings.gamma), REMOVE),
        (told & (own >= keep), KEEP),
        (told, IGNORE),
        (own >= settings.gamma, ADD),
    ]
    outcome = np.select([r[0] for r in rungs], [r[1] for r in rungs], IGNORE_ABSENCE)
    return JudgedEntries(
        rows + start, classes, told, outcome.astype(np.int8), own,
        p[rows, classes], r[rows, classes],
    )  # fmt: skip


def _nothing(
    n_classes: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    empty = np.empty((0, n_classes), np.float32)
    return empty, empty, np.empty((0, n_classes), bool)


def _columns(entries: JudgedEntries) -> tuple[NDArray[Any], ...]:
    return (
        entries.rows, entries.classes, entries.given, entries.outcome, entries.mixed,
        entries.classifier, entries.prototype,
    )  # fmt: skip
