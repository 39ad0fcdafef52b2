"""What an audit says in numbers, as JSON values."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit.checks import VERDICTS

if TYPE_CHECKING:
    from labelnoise.audit.table import LabelAudit


def metadata(audit: "LabelAudit") -> dict[str, Any]:
    """Everything of an audit that is not a row, as JSON values."""
    return {
        "method": audit.method,
        "class_names": list(audit.class_names),
        "reasons": dict(audit.reasons),
        "settings": dict(audit.settings),
        "seed": audit.seed,
        "versions": dict(audit.versions),
        "transition": None if audit.transition is None else audit.transition.tolist(),
        "noise_rate": audit.noise_rate,
    }


def summary(audit: "LabelAudit") -> dict[str, Any]:
    """Rows, counts per verdict and reason, and the class table with the most doubted first."""
    found = Counter(audit.reason.tolist())
    return {
        "method": audit.method,
        "rows": len(audit),
        "labelled": int((audit.given >= 0).sum()),
        "counts": audit.counts(),
        "reasons": {code: found.get(code, 0) for code in audit.reasons},
        "mean_quality": float(audit.quality.mean(dtype=np.float64)) if len(audit) else None,
        "noise_rate": audit.noise_rate,
        "classes": class_table(audit),
    }


def class_table(audit: "LabelAudit") -> list[dict[str, Any]]:
    """Per given class: rows, counts per verdict, mean quality; lowest mean quality first."""
    labelled = audit.given >= 0
    given, size = audit.given[labelled], audit.n_classes
    rows = np.bincount(given, minlength=size)
    total = np.bincount(given, weights=audit.quality[labelled], minlength=size)
    verdicts = {
        verdict: np.bincount(given[audit.verdict[labelled] == verdict], minlength=size)
        for verdict in VERDICTS
    }
    mean = np.divide(total, rows, out=np.full(size, np.inf), where=rows > 0)
    return [
        {
            "class": audit.class_names[k],
            "rows": int(rows[k]),
            **{verdict: int(count[k]) for verdict, count in verdicts.items()},
            "mean_quality": float(mean[k]) if rows[k] else None,
        }
        for k in np.argsort(mean, kind="stable")
    ]


def as_dict(audit: "LabelAudit") -> dict[str, Any]:
    """The summary, the metadata and one list per column."""
    columns: dict[str, Any] = {
        "id": audit.ids.tolist(),
        "given": audit.given.tolist(),
        "verdict": audit.verdict.tolist(),
        "label": audit.label.tolist(),
        "quality": audit.quality.tolist(),
        "reason": audit.reason.tolist(),
    }
    columns["evidence"] = {name: _finite(column) for name, column in audit.evidence.items()}
    return {"summary": summary(audit), **metadata(audit), "columns": columns}


def _finite(column: NDArray[Any]) -> list[float | None]:
    # JSON knows neither NaN nor infinity
    return [value if np.isfinite(value) else None for value in column.tolist()]
