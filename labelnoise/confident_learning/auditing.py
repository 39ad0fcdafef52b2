"""Confident learning as a `LabelAudit`."""

import numpy as np
from numpy.typing import ArrayLike

from labelnoise.audit import NO_LABEL, LabelAudit
from labelnoise.confident_learning.finding import check_choice, count_joint
from labelnoise.confident_learning.probabilities import (
    TopProbabilities,
    largest_probability,
    predicted_class,
)
from labelnoise.confident_learning.pruning import FILTERS
from labelnoise.confident_learning.ranking import RANKINGS, normalized_margin
from labelnoise.confident_learning.states import JointState

# filter -> the reason it gives
REASON_OF_FILTER = {
    "prune_by_noise_rate": "pruned_by_noise_rate",
    "prune_by_class": "pruned_by_class",
    "both": "pruned_by_both",
    "confident_learning": "off_diagonal",
    "predicted_neq_given": "another_class_likelier",
    "low_normalized_margin": "low_normalized_margin",
    "low_self_confidence": "low_self_confidence",
}
REASONS = {
    "not_flagged": "The filter found nothing wrong with the label.",
    "off_diagonal": "Another class passes its threshold and the given one is not the likeliest.",
    "pruned_by_class": "Among the least probable of its class, as many as are estimated wrong.",
    "pruned_by_noise_rate": "Among the largest margins of its pair of classes (given, true).",
    "pruned_by_both": "Pruned by class and by noise rate.",
    "another_class_likelier": "The likeliest class is not the given one.",
    "low_normalized_margin": "Among the lowest normalised margins of all samples.",
    "low_self_confidence": "Among the lowest probabilities of the given label of all samples.",
}
# a transition matrix is stored as text in the audit's metadata: beyond this it would outweigh it
LARGEST_TRANSITION = 1000


def audit_labels(
    labels: ArrayLike,
    probs: ArrayLike | TopProbabilities,
    *,
    class_names: tuple[str, ...],
    ids: ArrayLike | None = None,
    filter_by: str = "prune_by_noise_rate",
    ranking: str = "self_confidence",
    relabel: bool = False,
) -> LabelAudit:
    """Find wrong labels and report all of them as one audit.

    Args:
        labels: Given labels ``[N]`` in ``0 .. K-1``.
        probs: As in `count_joint`.
        class_names: K names.
        ids: Ids ``[N]``; row numbers by default.
        filter_by: One of `FILTERS`; decides what is flagged.
        ranking: One of `RANKINGS`; becomes the quality.
        relabel: Give a flagged sample its likeliest class where that is another one. Rejected by
            default: a prediction that betrays a wrong label need not know the right one.

    Raises:
        ValueError: Unknown filter or ranking, or a shape, label or probability out of range.
    """
    return audit_state(
        count_joint(labels, probs), class_names=class_names, ids=ids, filter_by=filter_by,
        ranking=ranking, relabel=relabel,
    )  # fmt: skip


def audit_state(
    state: JointState,
    *,
    class_names: tuple[str, ...],
    ids: ArrayLike | None = None,
    filter_by: str = "prune_by_noise_rate",
    ranking: str = "self_confidence",
    relabel: bool = False,
) -> LabelAudit:
    """The audit of a stream's second pass; rows in the order they came. Arguments: `audit_labels`.

    Evidence: ``self_confidence``, ``normalized_margin``, ``suggested`` (likeliest class),
    ``suggested_p``, ``confident_class`` (NaN where no class passes its threshold). The transition
    matrix is estimated for at most 1000 classes.
    """
    check_choice("filter_by", filter_by, FILTERS)
    check_choice("ranking", ranking, RANKINGS)
    scan, flagged = state.scan(), FILTERS[filter_by](state)
    suggested, noise = predicted_class(scan.probs), state.noise()
    margin = normalized_margin(scan.labels, scan.probs)
    # the filters by lowest score may flag a label that still is the likeliest: nothing to put there
    relabelled = flagged & ~scan.agrees & relabel
    return LabelAudit(
        ids=np.arange(len(flagged)) if ids is None else np.asarray(ids),
        given=scan.labels,
        verdict=np.select([relabelled, flagged], ["relabel", "reject"], "keep"),
        label=np.select([relabelled, flagged], [suggested, NO_LABEL], scan.labels),
        quality=np.clip(RANKINGS[ranking](scan.labels, scan.probs), 0, 1),
        reason=np.where(flagged, REASON_OF_FILTER[filter_by], "not_flagged"),
        evidence={
            "self_confidence": scan.own,
            "normalized_margin": margin,
            "suggested": suggested.astype(np.float64),
            "suggested_p": largest_probability(scan.probs),
            "confident_class": np.where(scan.confident >= 0, scan.confident, np.nan),
        },
        class_names=class_names,
        method="confident_learning",
        reasons=REASONS,
        settings={"filter_by": filter_by, "ranking": ranking, "relabel": relabel},
        transition=noise.transition if len(class_names) <= LARGEST_TRANSITION else None,
        noise_rate=noise.noise_rate,
    )
