"""Decisions as columns of a Hugging Face dataset: a function for ``Dataset.map``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelnoise.audit import VERDICTS, LabelAudit
from multimodal.decision_index import DecisionIndex, index_of_audit, index_of_run
from multimodal.run_folder import CleanedRun, open_run


@dataclass(frozen=True, eq=False)
class LabelColumns:
    """Adds ``label_verdict``, ``label_to_use``, ``label_quality``, ``label_reason`` by id.

    Attributes:
        index: The decisions.
        id_column: Column of the dataset with the ids.

    Example:
        ``dataset.map(label_columns("run", id_column="uid"), batched=True)``
    """

    index: DecisionIndex
    id_column: str = "id"

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """New columns of a batch; None for ids that were not judged.

        ``label_to_use`` is a class number, None where the label is rejected or undecided.

        Raises:
            ValueError: The batch has no column of ids.
        """
        if self.id_column not in batch:
            raise ValueError(
                f"id_column must be a column of the dataset, got {self.id_column!r}, which has"
                f" {list(batch)[:10]}"
            )
        index, reasons = self.index, self.index.reasons
        rows = index.find(batch[self.id_column]).tolist()
        labels = [int(index.label[row]) if row >= 0 else -1 for row in rows]
        return {
            "label_verdict": [VERDICTS[index.verdict[row]] if row >= 0 else None for row in rows],
            "label_to_use": [label if label >= 0 else None for label in labels],
            "label_quality": [float(index.quality[row]) if row >= 0 else None for row in rows],
            "label_reason": [reasons[index.reason[row]] if row >= 0 else None for row in rows],
        }


def label_columns(
    decisions: CleanedRun | LabelAudit | str | Path, *, id_column: str = "id"
) -> LabelColumns:
    """A batched function that adds the decisions to a dataset.

    Args:
        decisions: A finished run, its folder, or an audit. A run is looked up by the ids of its
            source, an audit by its own.
        id_column: Column with the ids.

    Raises:
        ValueError: The folder holds no finished run.
    """
    if isinstance(decisions, LabelAudit):
        return LabelColumns(index_of_audit(decisions), id_column)
    run = decisions if isinstance(decisions, CleanedRun) else open_run(decisions)
    return LabelColumns(index_of_run(run, source_ids=True), id_column)
