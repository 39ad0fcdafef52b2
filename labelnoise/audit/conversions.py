"""Label audits in the forms other libraries want."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit.checks import NO_LABEL
from labelnoise.audit.overriding import rows_of

if TYPE_CHECKING:
    from labelnoise.audit.table import LabelAudit

# evidence column that names the likeliest class even where the verdict gives no label
SUGGESTED = "suggested"


def suggested_classes(audit: "LabelAudit") -> NDArray[np.int64]:
    """Likeliest class ``[N]``: the evidence "suggested", else the label to use, else the given."""
    guess = np.where(audit.label != NO_LABEL, audit.label, audit.given)
    if SUGGESTED in audit.evidence:
        evidence = audit.evidence[SUGGESTED].astype(np.float64)
        known = np.isfinite(evidence)
        guess[known] = evidence[known].astype(np.int64)
    return guess


def to_pandas(audit: "LabelAudit") -> Any:
    """A `pandas.DataFrame`; verdict and reason are categorical."""
    return audit.to_arrow().to_pandas()


def to_cleanlab_frame(audit: "LabelAudit") -> Any:
    """Columns label_quality, given_label, predicted_label, is_label_issue, indexed by id."""
    import pandas as pd

    return pd.DataFrame(
        {
            "label_quality": audit.quality,
            "given_label": audit.given,
            "predicted_label": suggested_classes(audit),
            "is_label_issue": np.isin(audit.verdict, ["relabel", "reject"]),
        },
        index=pd.Index(audit.ids, name="id"),
    )


def to_pyg_mask(audit: "LabelAudit", n_nodes: int) -> tuple[Any, Any]:
    """Nodes to train on and the labels to train with.

    Args:
        audit: Its ids are node numbers in ``0 .. n_nodes - 1``.
        n_nodes: Number of nodes of the graph.

    Returns:
        keep_mask: ``[n_nodes]`` bool tensor, True where the verdict is keep or relabel.
        y: ``[n_nodes]`` int64 tensor, the label to use there and -1 elsewhere.

    Raises:
        ValueError: The ids are not node numbers of this graph.
    """
    import torch

    if audit.ids.dtype.kind != "i":
        raise ValueError("ids must be node numbers for a PyG mask, got text")
    if len(audit) and (audit.ids.min() < 0 or audit.ids.max() >= n_nodes):
        raise ValueError(
            f"ids must lie in 0 .. {n_nodes - 1}, found {audit.ids.min()} .. {audit.ids.max()}"
        )
    y = np.full(n_nodes, NO_LABEL, dtype=np.int64)
    y[audit.ids] = audit.label
    labels = torch.from_numpy(y)
    return labels != NO_LABEL, labels


def to_hf_column(audit: "LabelAudit", dataset: Any, *, id_column: str | None = None) -> Any:
    """Add the columns label_verdict, label_to_use, label_quality, label_suggested, label_reason.

    Args:
        audit: The audit; every id must be a row of the dataset.
        dataset: A `datasets.Dataset`; left as it is.
        id_column: Column of `dataset` with the ids; without it ids are row numbers.

    Returns:
        A new `datasets.Dataset`; rows without an audit hold None in the new columns.

    Raises:
        ImportError: The extra ``hf`` is not installed.
        ValueError: An id of the audit is not in the dataset.
    """
    try:
        import datasets  # noqa: F401  (the error must name the extra)
    except ImportError as error:
        raise ImportError(
            "Hugging Face columns need datasets: pip install 'graphnoise[hf]'"
        ) from error
    ids = np.arange(len(dataset)) if id_column is None else np.asarray(dataset[id_column][:])
    rows = rows_of(ids, audit.ids)
    columns = {
        "label_verdict": audit.verdict,
        "label_to_use": audit.label,
        "label_quality": audit.quality.astype(np.float64),
        "label_suggested": suggested_classes(audit),
        "label_reason": audit.reason,
    }
    for name, values in columns.items():
        cells: list[Any] = [None] * len(ids)
        for row, value in zip(rows.tolist(), values.tolist(), strict=True):
            cells[row] = value
        dataset = dataset.add_column(name, cells)
    return dataset
