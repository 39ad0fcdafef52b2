"""How well an audit found wrong labels, how good its labels are, and what a probe learns of them.

Truth is read here and nowhere else. A truth of -1 is a stranger, a picture of none of the classes:
its label is wrong before and after, whatever is put in its place.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import NO_LABEL, LabelAudit

# scikit-learn's own C, and all else as it comes: nothing was chosen by what it scores
PROBE_PENALTY = 1.0
PROBE_TOLERANCE = 1e-3
PROBE_STEPS = 300


def label_scores(audit: LabelAudit, truth: NDArray[np.int64]) -> dict[str, Any]:
    """Scores of the verdicts on given labels; what cannot be computed is left out.

    Args:
        audit: Of N rows.
        truth: True class ``[N]``, -1 for a stranger.

    Returns:
        Over rows with a given label: ``auroc`` and ``average_precision`` of low quality as a sign
        of wrong labels; ``before``, share of right labels as given; ``after_all``, the same with
        relabels put in, while rejected and abstained rows keep what they had; ``after_kept``, among
        rows that still have a label, whose share is ``kept``; ``relabels`` and
        ``relabel_precision``, share of them that are right; ``rejects``, ``reject_precision``,
        share whose label was wrong, ``reject_recall``, share of the wrong labels rejected;
        ``flagged_wrong`` and ``flagged_right``, shares of wrong and of right labels that are
        relabelled or rejected. Over the others: ``proposals``, labels proposed, and
        ``proposal_precision``.
    """
    labelled = audit.given != NO_LABEL
    given, true = audit.given[labelled], truth[labelled]
    label, verdict = audit.label[labelled], audit.verdict[labelled]
    right = given == true
    used = label != NO_LABEL
    moved, refused = verdict == "relabel", verdict == "reject"
    flagged = moved | refused
    proposed = ~labelled & (audit.verdict == "relabel")
    found = {
        **detection(audit.quality[labelled], ~right),
        "before": _share(right),
        "after_all": _share(np.where(used, label, given) == true),
        "after_kept": _share(label[used] == true[used]),
        "kept": _share(used),
        "relabels": int(moved.sum()),
        "relabel_precision": _share(label[moved] == true[moved]),
        "rejects": int(refused.sum()),
        "reject_precision": _share(~right[refused]),
        "reject_recall": _share(refused[~right]),
        "flagged_wrong": _share(flagged[~right]),
        "flagged_right": _share(flagged[right]),
        "proposals": int(proposed.sum()),
        "proposal_precision": _share(audit.label[proposed] == truth[proposed]),
    }
    return {name: value for name, value in found.items() if value is not None}


def detection(quality: NDArray[Any], wrong: NDArray[np.bool_]) -> dict[str, float]:
    """``auroc`` and ``average_precision`` of low quality as a sign of wrong; {} with one kind only.

    Args:
        quality: ``[N]``, high is good.
        wrong: ``[N]``.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    if wrong.all() or not wrong.any():
        return {}
    return {
        "auroc": float(roc_auc_score(wrong, -quality)),
        "average_precision": float(average_precision_score(wrong, -quality)),
    }


def pair_scores(
    audit: LabelAudit, match: NDArray[np.float64], own: NDArray[np.bool_]
) -> dict[str, Any]:
    """Scores of the verdicts on pairs.

    Args:
        audit: Of N pairs.
        match: 1 where the pair belongs together ``[N]``, 0 where it does not, NaN: nobody said.
        own: Whether the text was written for the image ``[N]``.

    Returns:
        Over judged pairs: ``auroc`` of high quality as a sign of a match and ``average_precision``
        of matches; ``auroc_foreign``, the same among texts that were written for another image;
        ``keeps``, ``keep_precision``, share of them that match, and ``keep_recall``, share of the
        matches that are kept.
    """
    judged = ~np.isnan(match)
    good, kept = match[judged] > 0, (audit.verdict == "keep")[judged]
    quality, foreign = audit.quality[judged], ~own[judged]
    found = {
        # matches are what is looked for here, so the signs are turned
        **detection(-quality, good),
        "auroc_foreign": detection(-quality[foreign], good[foreign]).get("auroc"),
        "keeps": int(kept.sum()),
        "keep_precision": _share(good[kept]),
        "keep_recall": _share(kept[good]),
    }
    return {name: value for name, value in found.items() if value is not None}


def probe_accuracy(
    rows: NDArray[np.float32],
    labels: NDArray[np.int64],
    held_rows: NDArray[np.float32],
    held_truth: NDArray[np.int64],
) -> float | None:
    """Accuracy on held-out rows of a logistic regression fitted to labels; None with one class.

    Args:
        rows: ``[N, D]``.
        labels: ``[N]``; rows of -1 are left out of the fit.
        held_rows: ``[M, D]``.
        held_truth: True classes ``[M]``.
    """
    from sklearn.linear_model import LogisticRegression

    used = labels != NO_LABEL
    if len(np.unique(labels[used])) < 2:
        return None
    probe = LogisticRegression(C=PROBE_PENALTY, tol=PROBE_TOLERANCE, max_iter=PROBE_STEPS)
    probe.fit(rows[used], labels[used])
    return float((probe.predict(held_rows) == held_truth).mean())


def _share(hits: NDArray[np.bool_]) -> float | None:
    return float(hits.mean()) if len(hits) else None
