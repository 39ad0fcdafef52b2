"""Confident learning against people's verdicts on CIFAR-10 and MNIST test labels.

Data: cleanlab/label-errors (cross-validated predictions, original labels, five or more human
votes per reviewed item). Only items that the original study flagged were reviewed, so precision
is measured among reviewed items and recall cannot be.

Run: ``python -m benchmarks.papers.label_errors`` with the data in ``$NOISE_DATA/label_errors``
or in ``../shared/data/label_errors``.
"""

import json
import os
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from labelnoise.confident_learning import FILTERS, RANKINGS, count_joint

RESULTS = Path(__file__).parents[1] / "results"
DATA_SETS = ("cifar10", "mnist")


def main() -> None:
    """Measure both data sets; write JSON and a Markdown table."""
    folder = find_data()
    measured = {name: measure(folder, name) for name in DATA_SETS}
    record = {
        "benchmark": "papers/label_errors",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "versions": {package: version(package) for package in ("numpy", "scikit-learn", "numba")},
        "measured": measured,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "label_errors.json").write_text(json.dumps(record, indent=2) + "\n")
    (RESULTS / "label_errors.md").write_text(as_markdown(measured))


def find_data() -> Path:
    """The data folder, from the environment or beside the checkout."""
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("NOISE_DATA", beside)) / "label_errors"
    if not folder.is_dir():
        raise FileNotFoundError(f"no data at {folder}: set NOISE_DATA to the folder above it")
    return folder


def measure(folder: Path, name: str) -> dict[str, Any]:
    """Flagged sets and rankings of one data set against the reviewed items."""
    probs = np.load(folder / "pyx" / f"{name}_test_set_pyx.npy")
    labels = np.load(folder / "labels" / f"{name}_test_set_original_labels.npy").astype(np.int64)
    reviewed, wrong = verdicts(folder / "mturk" / f"{name}_mturk.json", labels)
    state = count_joint(labels, probs)
    filters = {}
    for by, flag in FILTERS.items():
        flagged = flag(state)
        both = flagged[reviewed]
        filters[by] = {
            "flagged": int(flagged.sum()),
            "flagged_and_reviewed": int(both.sum()),
            "confirmed": int(wrong[both].sum()),
            "precision": float(wrong[both].mean()) if both.any() else None,
        }
    aurocs = {
        by: float(roc_auc_score(wrong, -rank(labels, probs)[reviewed]))
        for by, rank in RANKINGS.items()
    }
    return {
        "samples": len(labels),
        "reviewed": len(reviewed),
        "confirmed_wrong": int(wrong.sum()),
        "noise_rate_estimated": state.noise().noise_rate,
        "filters": filters,
        "auroc_among_reviewed": aurocs,
    }


def verdicts(path: Path, labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Reviewed samples and whether most voters refused the given label.

    A vote for "both" or "given" accepts the label; "guessed" and "neither" refuse it.
    """
    items = json.loads(path.read_text())
    reviewed = np.array([item["id"] for item in items])
    given = np.array([item["given_original_label"] for item in items])
    if not np.array_equal(labels[reviewed], given):
        raise ValueError(f"{path.name} does not belong to these labels")
    votes = [item["mturk"] for item in items]
    refused = np.array([vote["guessed"] + vote["neither"] for vote in votes])
    total = np.array([sum(vote.values()) for vote in votes])
    return reviewed, 2 * refused > total


def as_markdown(measured: dict[str, Any]) -> str:
    """One table of filters and one of rankings."""
    lines = [
        "# Confident learning against people's verdicts", "",
        "Written by `benchmarks/papers/label_errors.py`. A label counts as wrong where most voters",
        "refused it; only items flagged by the original study were reviewed.", "",
        "| data | reviewed | confirmed wrong | filter | flagged | of them reviewed | precision |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, found in measured.items():
        for by, row in found["filters"].items():
            precision = "–" if row["precision"] is None else f"{row['precision']:.3f}"
            lines.append(
                f"| {name} | {found['reviewed']} | {found['confirmed_wrong']} | {by} |"
                f" {row['flagged']} | {row['flagged_and_reviewed']} | {precision} |"
            )
    lines += ["", "| data | ranking | AUROC among reviewed |", "|---|---|---|"]
    for name, found in measured.items():
        for by, auroc in found["auroc_among_reviewed"].items():
            lines.append(f"| {name} | {by} | {auroc:.3f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
