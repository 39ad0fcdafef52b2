"""A person's word over the method's."""

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelnoise.audit.checks import NO_LABEL

if TYPE_CHECKING:
    from labelnoise.audit.table import LabelAudit

Audit = TypeVar("Audit", bound="LabelAudit")

OVERRIDDEN = "overridden"
SENTENCE = "A person decided; quality and evidence are still the method's."


def rows_of(known: NDArray[np.generic], wanted: ArrayLike) -> NDArray[np.int64]:
    """Positions in `known` (unique ids ``[N]``) of the ids `wanted` ``[M]``.

    Raises:
        ValueError: An id is not among `known`.
    """
    asked = np.asarray(wanted).reshape(-1)
    if not asked.size:
        return np.zeros(0, np.int64)
    if (asked.dtype.kind in "iu") != (known.dtype.kind in "iu"):
        raise ValueError(f"ids must be of the audit's kind {known.dtype}, got {asked.dtype}")
    order = np.argsort(known, kind="stable")
    place = np.searchsorted(known, asked, sorter=order)
    found = place < len(known)
    found[found] = known[order[place[found]]] == asked[found]
    if not found.all():
        raise ValueError(f"id {asked[~found][0].item()!r} is not in the audit")
    return order[place]


def override(
    audit: Audit, ids: ArrayLike, verdict: ArrayLike, label: ArrayLike | None = None
) -> Audit:
    """See `LabelAudit.override`."""
    rows = rows_of(audit.ids, ids)
    verdicts = np.broadcast_to(np.asarray(verdict, dtype=np.str_), rows.shape)
    relabelled = verdicts == "relabel"
    if label is None and relabelled.any():
        raise ValueError("label is needed to override with the verdict 'relabel'")
    labels = np.where(verdicts == "keep", audit.given[rows], NO_LABEL)
    if label is not None:
        labels = np.where(relabelled, np.broadcast_to(np.asarray(label), rows.shape), labels)
    # object arrays: a fixed-width text array would cut a longer code off
    new_verdict, new_reason = audit.verdict.astype(object), audit.reason.astype(object)
    new_label = audit.label.copy()
    new_verdict[rows], new_label[rows], new_reason[rows] = verdicts, labels, OVERRIDDEN
    return replace(
        audit,
        verdict=new_verdict,
        label=new_label,
        reason=new_reason,
        reasons={**audit.reasons, OVERRIDDEN: SENTENCE},
    )
