"""The stages of CAPro over embeddings as functions of arrays, for one process and for many."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import LabelAudit
from multimodal.calibration import Calibration, HeldOut, calibrate, choose_tau, held_out_core
from multimodal.channel_calibration import (
    ChannelFit,
    Pairs,
    Views,
    channel_thresholds,
    fit_channels,
    posterior_scores,
)
from multimodal.clean_core import CleanCore, select_core
from multimodal.embedded import EmbeddedCorpus
from multimodal.matching import TextScores, contrast_distance, match_classes, text_scores
from multimodal.mixed_scores import MixedScores, MixSettings, mixed_scores
from multimodal.neighbour_index.equal_rows import EqualRows, find_equal_rows
from multimodal.neighbour_text import present_texts
from multimodal.probe import FoldModels, OutOfFoldProbe, out_of_fold_probe, stratified_folds
from multimodal.rows import Rows
from multimodal.verdicts import JudgedRows, TextEvidence, judge_single
from multimodal.visual_prototypes import VisualPrototypes, core_prototypes, momentum_pass

if TYPE_CHECKING:
    from multimodal.methods.capro import Capro

N_FOLDS = 5


@dataclass(frozen=True, eq=False)
class TextSide:
    """What texts say of all samples.

    Attributes:
        rows: Texts ``[N, E]`` as they are matched: smoothed, or as given.
        present: Which samples have text evidence ``[N]``.
        scores: Their cosines with class texts.
    """

    rows: Rows
    present: NDArray[np.bool_]
    scores: TextScores


@dataclass(frozen=True, eq=False)
class Evidence:
    """The clean core and the texts' part in verdicts.

    Attributes:
        core: Who was picked.
        in_core: ``[N]`` bool.
        text: Cosines and ranks, or None for a corpus judged without texts.
    """

    core: CleanCore
    in_core: NDArray[np.bool_]
    text: TextEvidence | None


@dataclass(frozen=True, eq=False)
class Judges:
    """What scores pairs.

    Attributes:
        classifier: Out-of-fold models, or None where their share is 0.
        fold: Fold of every sample ``[N]``.
        prototypes: Visual prototypes.
        mix: Shares and temperature, where the core alone calibrates.
        held_out: Core members scored without themselves.
        fit: Temperatures and channel, where those calibrate; then `mix` is not used.
    """

    classifier: FoldModels | None
    fold: NDArray[np.int64]
    prototypes: VisualPrototypes
    mix: MixSettings
    held_out: HeldOut
    fit: ChannelFit | None = None

    def scores(self, pairs: Pairs) -> MixedScores:
        """Scores of all pairs or of a shard's."""
        if self.fit is not None:
            return posterior_scores(self.fit, pairs)
        probe = None
        if self.classifier is not None:
            probe = OutOfFoldProbe(self.classifier, pairs.image, pairs.fold)
        return mixed_scores(probe, pairs.image, self.prototypes, pairs.given, self.mix)


def all_pairs(corpus: EmbeddedCorpus, side: TextSide | None, judges: Judges) -> Pairs:
    """The whole corpus, to be scored."""
    assert corpus.image is not None
    return Pairs(
        corpus.image,
        judges.fold,
        corpus.given,
        None if side is None else side.rows,
        None if side is None else side.present,
    )


def score_texts(corpus: EmbeddedCorpus, rows: Rows, present: NDArray[np.bool_] | None) -> TextSide:
    """Cosines of texts with their own and the best other class.

    Args:
        corpus: For class texts and labels.
        rows: Texts ``[N, E]``.
        present: ``[N]``; None: rows that are not zero.
    """
    assert corpus.class_texts is not None  # the method needs it
    present = present_texts(rows) if present is None else present
    scores = text_scores(rows, corpus.class_texts, corpus.given, present=present)
    return TextSide(rows, present, scores)


def duplicate_groups(image: Rows) -> NDArray[np.int64]:
    """Group ``[N]`` of images that are equal bit by bit, -1 for those that are alone."""
    return groups_of(find_equal_rows(image), len(image))


def groups_of(equal: EqualRows, n_rows: int) -> NDArray[np.int64]:
    """See `duplicate_groups`."""
    groups = np.full(n_rows, -1, np.int64)
    groups[equal.copies] = equal.originals
    groups[equal.originals] = equal.originals
    return groups


def pick_core(
    method: "Capro",
    corpus: EmbeddedCorpus,
    side: TextSide | None,
    *,
    keys: NDArray[np.uint64],
    groups: NDArray[np.int64] | None,
    seed: int,
) -> Evidence:
    """The clean core of every class, by texts or without them."""
    given, text = corpus.given, None
    distance = np.full(len(given), np.nan, np.float32)
    if side is not None:
        assert corpus.class_texts is not None
        own = side.scores.own_cosine
        if method.core.ranked_by == "contrast":
            distance = contrast_distance(side.scores, given)
        else:
            distance = match_classes(
                side.rows, given, corpus.class_texts, own_cosine=own, keys=keys,
                settings=method.matching,
            )  # fmt: skip
        rank = rank_in_class(distance, given, keys)
        text = TextEvidence(own, rank, side.scores.other_cosine)
    core = select_core(
        distance, given, n_classes=corpus.n_classes, keys=keys, settings=method.core,
        own_cosine=None if text is None else text.cosine.astype(np.float32), groups=groups,
        seed=seed,
    )  # fmt: skip
    in_core = np.zeros(len(given), np.bool_)
    in_core[core.rows] = True
    return Evidence(core, in_core, text)


def rank_in_class(
    distance: NDArray[np.float32], given: NDArray[np.int64], keys: NDArray[np.uint64]
) -> NDArray[np.float64]:
    """Place ``[N]`` of each sample among those of its given class, nearest 0; NaN without one."""
    rank = np.full(len(given), np.nan)
    rows = np.flatnonzero((given >= 0) & np.isfinite(distance))
    rows = rows[np.lexsort((keys[rows], distance[rows], given[rows]))]
    sizes = np.bincount(given[rows])
    rank[rows] = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank


def fit_judges(
    method: "Capro",
    corpus: EmbeddedCorpus,
    side: TextSide | None,
    evidence: Evidence,
    *,
    keys: NDArray[np.uint64],
    groups: NDArray[np.int64] | None,
    seed: int,
) -> Judges:
    """Prototypes and out-of-fold classifier of the core, and the mixture's temperatures."""
    assert corpus.image is not None
    core, n_classes = evidence.core, corpus.n_classes
    labels = np.full(len(corpus), -1, np.int64)
    labels[core.rows] = core.classes
    folds = stratified_folds(labels, N_FOLDS, ids=corpus.ids.tolist(), groups=groups, seed=seed)
    probe = None
    if method.calibration.alpha > 0:
        probe = out_of_fold_probe(
            corpus.image, labels, n_classes, folds=folds, settings=method.probe, seed=seed
        )
    held_out = held_out_core(
        corpus.image, core.rows, core.classes, folds.fold, n_classes, probe=probe, keys=keys,
        seed=seed,
    )  # fmt: skip
    prototypes = core_prototypes(corpus.image, core.rows, core.classes, n_classes)
    mix = choose_tau(held_out, method.calibration_for(n_classes))
    models = None if probe is None else probe.models
    judges = Judges(models, folds.fold, prototypes, mix, held_out)
    return with_channel(method, corpus, side, evidence, judges, keys)


def with_channel(
    method: "Capro",
    corpus: EmbeddedCorpus,
    side: TextSide | None,
    evidence: Evidence,
    judges: Judges,
    keys: NDArray[np.uint64],
) -> Judges:
    """The same judges with temperatures and channel fitted, where the method wants that."""
    if method.calibrated_by != "channel" or method.calibration.tau is not None:
        return judges
    views = Views(
        judges.classifier,
        judges.prototypes,
        None if side is None or method.text_share == 0 else corpus.class_texts,
        alpha=method.calibration.alpha,
        text_share=method.text_share,
    )
    pairs = all_pairs(corpus, side, judges)
    fit = fit_channels(views, pairs, evidence.in_core, judges.held_out, keys)
    return replace(judges, fit=fit)


def thresholds(
    method: "Capro",
    corpus: EmbeddedCorpus,
    evidence: Evidence,
    judges: Judges,
    scores: MixedScores,
    *,
    keys: NDArray[np.uint64],
    seed: int,
) -> Calibration:
    """Thresholds for these scores."""
    settings = method.calibration_for(corpus.n_classes)
    if judges.fit is not None:
        return channel_thresholds(scores, corpus.given, evidence.in_core, judges.fit, settings)
    return calibrate(
        judges.held_out, scores, corpus.given, evidence.in_core, judges.mix,
        settings, keys=keys, seed=seed,
    )  # fmt: skip


def moved_judges(
    method: "Capro",
    corpus: EmbeddedCorpus,
    side: TextSide | None,
    evidence: Evidence,
    judges: Judges,
    labels: NDArray[np.int64],
    *,
    keys: NDArray[np.uint64],
) -> Judges:
    """Judges whose prototypes every kept or relabelled sample has pulled, in the keys' order."""
    assert corpus.image is not None
    prototypes = momentum_pass(
        judges.prototypes, corpus.image, labels, momentum=method.momentum, keys=keys
    )
    moved = replace(judges, prototypes=prototypes)
    return with_channel(method, corpus, side, evidence, moved, keys)


def verdicts(
    method: "Capro",
    corpus: EmbeddedCorpus,
    evidence: Evidence,
    scores: MixedScores,
    calibration: Calibration,
    *,
    seed: int,
) -> LabelAudit:
    """The audit; see `multimodal.verdicts`."""
    assert corpus.image is not None
    rows = JudgedRows(
        ids=corpus.ids,
        given=corpus.given,
        in_core=evidence.in_core,
        class_names=corpus.class_names,
        text=evidence.text,
        has_image=present_texts(corpus.image),
    )
    return judge_single(
        rows, scores, calibration, method.ladder, method=method.name, settings=method.recorded(),
        seed=seed,
    )  # fmt: skip
