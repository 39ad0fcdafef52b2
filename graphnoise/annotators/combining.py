"""Votes of several annotators on the same questions become one."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graphnoise.annotators.base import ABSTAIN, Usage, Votes
from labelnoise.label_models.dawid_skene import (
    DEFAULT_SETTINGS,
    DawidSkeneSettings,
    fit_dawid_skene,
)

# classes whose probabilities are this close share the first place
TIE = 1e-9
# no vote is believed more than this or less than its opposite, whatever its reliability
MOST_RELIABLE = 0.999


def combine_votes(
    votes: Sequence[Votes],
    reliabilities: Sequence[ArrayLike] | None = None,
    *,
    settings: DawidSkeneSettings = DEFAULT_SETTINGS,
) -> Votes:
    """One answer per question from several annotators, without a true label.

    Without `reliabilities` the annotators' confusion of the classes is estimated from where they
    agree (`fit_dawid_skene`, shrunk towards symmetric errors). With them each vote counts by its
    own: given that it is right with probability r, errors alike in all directions, the class it
    names gains ``log(r (K - 1) / (1 - r))``.

    Args:
        votes: Of each annotator, on the same questions in the same order.
        reliabilities: Estimated P(label right) per annotator ``[M]``, as from `calibrate_votes`;
            what it says where there is no vote is not read.
        settings: Of Dawid and Skene's model.

    Returns:
        Votes with rung and source "combined", the posterior as soft label, its largest entry as
        confidence. Two equally probable classes are no answer (`no_majority`). Usage adds up.

    Raises:
        ValueError: No votes, different numbers of questions or classes, or reliabilities that do
            not fit or leave 0..1.
    """
    table, k = _table(votes)
    if reliabilities is None:
        return _combined(votes, table, fit_dawid_skene(table, k, settings).posteriors)
    if len(reliabilities) != len(votes):
        raise ValueError(
            f"reliabilities must be one array per annotator, {len(votes)}, got {len(reliabilities)}"
        )
    scores = np.zeros((len(table), k))
    for said, given in zip(table.T, reliabilities, strict=True):
        spoke = np.flatnonzero(said != ABSTAIN)
        trusted = np.asarray(given, np.float64)
        if trusted.shape != said.shape or not _within(trusted[spoke]):
            raise ValueError(f"reliabilities must be [{len(said)}] in 0..1 where there is a vote")
        r = np.clip(trusted[spoke], 1 - MOST_RELIABLE, MOST_RELIABLE)
        scores[spoke, said[spoke]] += np.log(r * (k - 1) / (1 - r))
    shares = np.exp(scores - scores.max(axis=1, keepdims=True, initial=0))
    return _combined(votes, table, shares / shares.sum(axis=1, keepdims=True))


def majority_votes(votes: Sequence[Votes]) -> Votes:
    """The class that most annotators name; equally many are no answer (`no_majority`).

    Args:
        votes: Of each annotator, on the same questions in the same order.

    Returns:
        Votes with rung and source "combined"; soft label and confidence are shares of the votes.

    Raises:
        ValueError: As `combine_votes`.
    """
    table, k = _table(votes)
    shares = np.stack([(table == number).sum(axis=1) for number in range(k)], axis=1)
    return _combined(votes, table, shares / np.maximum(shares.sum(axis=1, keepdims=True), 1))


def _combined(votes: Sequence[Votes], table: NDArray[np.int64], soft: NDArray[np.float64]) -> Votes:
    m = len(soft)
    spoken = (table != ABSTAIN).any(axis=1)
    order = np.argsort(-soft, axis=1, kind="stable")
    best, second = (np.take_along_axis(soft, order[:, [i]], axis=1)[:, 0] for i in (0, 1))
    decided = spoken & (best > second + TIE)
    # nobody answered: the first annotator's reason; else they do not agree
    silent = votes[0].reason if m else np.array([], dtype=np.str_)
    ranked = np.where((np.take_along_axis(soft, order, axis=1) > TIE) & decided[:, None], order, -1)
    usage = Usage()
    for one in votes:
        usage = usage + one.usage
    return Votes(
        labels=np.where(decided, order[:, 0], ABSTAIN).astype(np.int64),
        probabilities=np.where(decided[:, None], soft, 0).astype(np.float32),
        confidence=np.where(decided, best, np.nan).astype(np.float32),
        source=np.where(decided, "combined", "none"),
        rung=np.where(decided, "combined", "none"),
        reason=np.where(decided, "", np.where(spoken, "no_majority", silent)),
        ranked=ranked.astype(np.int64),
        usage=usage,
        records=tuple(_record(votes, i) for i in range(m)),
    )


def _record(votes: Sequence[Votes], row: int) -> Mapping[str, Any]:
    """What each annotator said about one question."""
    said = []
    for one in votes:
        confidence = float(one.confidence[row])
        said.append({
            "label": int(one.labels[row]),
            "confidence": None if np.isnan(confidence) else confidence,
            "rung": str(one.rung[row]),
            "reason": str(one.reason[row]),
            **({"record": dict(one.records[row])} if one.records else {}),
        })  # fmt: skip
    return {"votes": said}


def _table(votes: Sequence[Votes]) -> tuple[NDArray[np.int64], int]:
    if not votes:
        raise ValueError("votes must hold at least one annotator's, got none")
    shapes = {one.probabilities.shape for one in votes}
    if len(shapes) > 1:
        raise ValueError(f"votes must be on the same questions and classes, got {sorted(shapes)}")
    return np.stack([one.labels for one in votes], axis=1), shapes.pop()[1]


def _within(values: NDArray[np.float64]) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())
