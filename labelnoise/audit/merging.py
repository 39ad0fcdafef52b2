"""One audit from the audits of several shards."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from labelnoise.audit.table import LabelAudit

MUST_AGREE = ("class_names", "method", "settings")


def merge(audits: Sequence["LabelAudit"]) -> "LabelAudit":
    """Stack the rows, in order; class names, method and settings must agree.

    Seed and transition are kept where all agree and are None otherwise (they cannot be averaged);
    the noise rate is the mean weighted by given labels, None if one shard has none; versions that
    differ are listed together.

    Raises:
        ValueError: No audit, one disagreeing with the first, or an id in two of them.
    """
    from labelnoise.audit.table import LabelAudit

    if not audits:
        raise ValueError("merge needs at least one audit, got none")
    first = audits[0]
    for position, audit in enumerate(audits[1:], start=1):
        _check_agreement(first, audit, position)
    columns = ("ids", "given", "verdict", "label", "quality", "reason")
    stacked: dict[str, Any] = {
        name: np.concatenate([getattr(audit, name) for audit in audits]) for name in columns
    }
    return LabelAudit(
        **stacked,
        evidence={k: np.concatenate([a.evidence[k] for a in audits]) for k in first.evidence},
        class_names=first.class_names,
        method=first.method,
        reasons=_merged_reasons(audits),
        settings=first.settings,
        seed=first.seed if all(audit.seed == first.seed for audit in audits) else None,
        versions=_merged_versions(audits),
        transition=first.transition if _same_transition(audits) else None,
        noise_rate=_merged_rate(audits),
    )


def _check_agreement(first: "LabelAudit", other: "LabelAudit", position: int) -> None:
    for name in MUST_AGREE:
        if getattr(first, name) != getattr(other, name):
            raise ValueError(
                f"audits to merge must agree in {name}: audit 0 has {getattr(first, name)!r},"
                f" audit {position} has {getattr(other, name)!r}"
            )
    if set(first.evidence) != set(other.evidence):
        raise ValueError(
            f"audits to merge must have the same evidence: audit 0 has {sorted(first.evidence)},"
            f" audit {position} has {sorted(other.evidence)}"
        )
    if first.ids.dtype.kind != other.ids.dtype.kind and len(first) and len(other):
        raise ValueError("audits to merge must all have int64 ids or all have text ids")


def _merged_reasons(audits: Sequence["LabelAudit"]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for audit in audits:
        for code, sentence in audit.reasons.items():
            if merged.setdefault(code, sentence) != sentence:
                raise ValueError(f"audits to merge must agree what reason {code!r} means")
    return merged


def _merged_versions(audits: Sequence["LabelAudit"]) -> dict[str, str]:
    packages = dict.fromkeys(package for audit in audits for package in audit.versions)
    return {
        package: ", ".join(
            dict.fromkeys(a.versions[package] for a in audits if package in a.versions)
        )
        for package in packages
    }


def _same_transition(audits: Sequence["LabelAudit"]) -> bool:
    matrices = [audit.transition for audit in audits]
    if any(matrix is None for matrix in matrices):
        return False
    return all(np.array_equal(matrices[0], matrix) for matrix in matrices[1:])  # type: ignore[arg-type]


def _merged_rate(audits: Sequence["LabelAudit"]) -> float | None:
    rates = [audit.noise_rate for audit in audits]
    if any(rate is None for rate in rates):
        return None
    if len(set(rates)) == 1:  # one estimate shared by all shards, kept to the last bit
        return rates[0]
    weights = np.array([(audit.given >= 0).sum() for audit in audits], dtype=np.float64)
    if not weights.any():
        weights[:] = 1
    return float(np.average(np.array(rates, dtype=np.float64), weights=weights))
