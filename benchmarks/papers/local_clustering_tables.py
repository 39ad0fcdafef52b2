"""Tables of the local clustering study: means over trials, differences paired by trial."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.papers.local_clustering_protocol import SETTINGS, UNLABELLED

# every difference is to this entry, of the same trials and the same labels
BASELINE = ("label_flow_diffusion", "support", "oracle")
Name = tuple[str, str, str]
TrialKey = tuple[int, int]
Row = Mapping[str, Any]

_FLOW, _LABEL_FLOW = ("flow_diffusion", "support"), ("label_flow_diffusion", "support")
_BY_LABEL, _ALONE = ("label_flow_diffusion", "labels"), ("labels_alone", "")
# sheet 9.1 and 9.2: mean F1 of a prototype, seeds and examples drawn otherwise
REFERENCE: Mapping[tuple[str, str, str, str], tuple[float | None, float | None, float | None]] = {
    (UNLABELLED, *_FLOW, "oracle"): (0.525, 0.587, 0.522),
    (UNLABELLED, *_FLOW, "auto"): (0.354, None, None),
    (UNLABELLED, "attributed_flow_diffusion", "support", "oracle"): (0.573, 0.588, 0.524),
    (UNLABELLED, "pagerank", "sweep", "none"): (0.287, 0.546, 0.418),
    ("examples-25", *_LABEL_FLOW, "oracle"): (0.666, 0.666, 0.568),
    ("examples-25", *_LABEL_FLOW, "auto"): (0.635, 0.649, None),
    ("examples-25", *_BY_LABEL, "oracle"): (0.692, 0.727, 0.603),
    ("examples-25", *_ALONE, "none"): (0.495, 0.582, 0.502),
    ("examples-25", "label_pagerank", "sweep", "none"): (0.599, 0.597, 0.536),
    ("examples-100", *_LABEL_FLOW, "oracle"): (0.701, 0.692, 0.649),
    ("examples-100", *_BY_LABEL, "oracle"): (0.749, 0.787, 0.726),
    ("seed", *_LABEL_FLOW, "oracle"): (0.611, 0.634, 0.536),
}
REFERENCE_GRAPHS = ("coauthor-cs", "amazon-photo", "cora")


def write_tables(rows: Iterable[Row], stem: Path) -> None:
    """Write ``<stem>.json`` and ``<stem>.md`` from all runs so far."""
    summary = summarise(rows)
    stem.with_suffix(".json").write_text(json.dumps(summary, indent=1) + "\n")
    stem.with_suffix(".md").write_text("\n".join(markdown(summary)) + "\n")


def summarise(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """One entry per graph and label setting; methods without labels appear in all of them."""
    cells: dict[tuple[str, str], dict[Name, dict[TrialKey, Row]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for row in rows:
        name = (row["method"], row["rounding"], row["mass"])
        cells[row["graph"], row["setting"]][name][row["target"], row["draw"]] = row
    return [
        _one_cell(graph, setting, dict(methods), cells.get((graph, UNLABELLED), {}))
        for (graph, setting), methods in sorted(cells.items(), key=lambda item: _order(*item[0]))
        if setting != UNLABELLED or len({s for g, s in cells if g == graph}) == 1
    ]


def _order(graph: str, setting: str) -> tuple[int, str, int]:
    known = REFERENCE_GRAPHS.index(graph) if graph in REFERENCE_GRAPHS else len(REFERENCE_GRAPHS)
    return known, graph, SETTINGS.index(setting)


def _one_cell(
    graph: str,
    setting: str,
    methods: dict[Name, dict[TrialKey, Row]],
    unlabelled: Mapping[Name, Mapping[TrialKey, Row]],
) -> dict[str, Any]:
    baseline = methods.get(BASELINE, {})
    table = []
    for name, runs in sorted((dict(unlabelled) | methods).items()):
        source = UNLABELLED if name in unlabelled else setting
        table.append(
            dict(zip(("method", "rounding", "mass"), name, strict=True))
            | statistics(runs)
            | {"minus_baseline": paired(runs, baseline) if name != BASELINE else None}
            | {"reference_f1": _reference(graph, source, name)}
        )
    table.sort(key=lambda entry: -entry.get("f1_mean", 0))
    return {"graph": graph, "setting": setting, "methods": table}


def statistics(runs: Mapping[TrialKey, Row]) -> dict[str, Any]:
    """Means over the trials that did not fail; the standard error is that of independent trials."""
    good = [row for row in runs.values() if row["error"] is None]
    found: dict[str, Any] = {"trials": len(good), "failed": len(runs) - len(good)}
    if not good:
        return found
    f1 = np.array([row["f1"] for row in good])
    found["f1_mean"] = round(float(f1.mean()), 4)
    found["f1_standard_error"] = _standard_error(f1)
    for key in ("precision", "recall", "conductance", "a1", "a0"):
        values = [row[key] for row in good if row[key] is not None]
        if values:
            found[f"{key}_mean"] = round(float(np.mean(values)), 4)
    for key in ("size", "touched", "edges", "cpu_ms"):
        values = [row[key] for row in good if row[key] is not None]
        if values:
            found[f"{key}_median"] = float(f"{np.median(values):.4g}")
    ended = [row["converged"] for row in good if row["converged"] is not None]
    if ended:
        worst = [max(row[key] or 0 for key in ("excess", "slack", "negative")) for row in good]
        found["converged"] = sum(ended)
        found["largest_violation"] = max(worst)
    return found


def paired(runs: Mapping[TrialKey, Row], others: Mapping[TrialKey, Row]) -> dict[str, Any] | None:
    """Mean difference in F1 over the trials both have, and its standard error."""
    shared = [
        trial
        for trial, row in runs.items()
        if trial in others and row["error"] is None and others[trial]["error"] is None
    ]
    if len(shared) < 2:
        return None
    difference = np.array([runs[trial]["f1"] - others[trial]["f1"] for trial in shared])
    return {
        "mean": round(float(difference.mean()), 4),
        "standard_error": _standard_error(difference),
        "trials": len(shared),
    }


def _standard_error(values: Any) -> float | None:
    if len(values) < 2:
        return None
    return round(float(np.std(values, ddof=1) / np.sqrt(len(values))), 4)


def _reference(graph: str, setting: str, name: Name) -> float | None:
    values = REFERENCE.get((setting, *name))
    if values is None or graph not in REFERENCE_GRAPHS:
        return None
    return values[REFERENCE_GRAPHS.index(graph)]


def markdown(summary: Iterable[Mapping[str, Any]]) -> list[str]:
    """One table per graph and label setting."""
    lines = [
        "# Local clusters: F1 against the class of the seed, %", "",
        "Mean ± standard error over trials [number of trials]. *Difference*: to label-weighted flow"
        " diffusion with oracle mass, rounded to its support, paired by trial ± standard error of"
        " the paired difference. *oracle* mass is twice the true volume of the class, at most .9 of"
        " the graph's: no user knows it; *auto* is found from the graph and the labels alone."
        " *Reference*: a prototype's mean on other draws of seeds and examples. CPU: median per"
        " query, one thread, making of labels not counted; for labels alone, fit and prediction of"
        " all nodes. Methods without labels are the same runs in all tables of a graph. Written by"
        " `python -m benchmarks.papers.local_clustering --tables`.",
    ]  # fmt: skip
    for cell in summary:
        lines += ["", f"## {cell['graph']}, labels: {cell['setting']}", "", *_one_table(cell)]
    return lines


def _one_table(cell: Mapping[str, Any]) -> Iterable[str]:
    for entry in cell["methods"]:
        if "a1_mean" in entry:
            how = "" if entry["mass"] == "none" else f" ({entry['mass']} mass)"
            yield f"Labels{how}: a1 = {entry['a1_mean']:.3f}, a0 = {entry['a0_mean']:.3f}."
            yield ""
    yield (
        "| method | rounding | mass | F1 | difference | reference | precision | recall"
        " | conductance | touched | CPU ms | converged |"
    )
    yield "|---" * 12 + "|"
    for entry in cell["methods"]:
        yield "| " + " | ".join(_columns(entry)) + " |"


def _columns(entry: Mapping[str, Any]) -> Iterable[str]:
    yield from (entry["method"], entry["rounding"], entry["mass"])
    if not entry["trials"]:
        yield from ["failed", *[""] * 8]
        return
    trials = f"[{entry['trials']}]" + (f", {entry['failed']} failed" if entry["failed"] else "")
    yield f"{_with_error(entry['f1_mean'], entry['f1_standard_error'])} {trials}"
    gain = entry["minus_baseline"]
    yield _with_error(gain["mean"], gain["standard_error"], sign="+") if gain else ""
    reference = entry["reference_f1"]
    yield "" if reference is None else f"{100 * reference:.1f}"
    for key in ("precision_mean", "recall_mean"):
        yield f"{100 * entry[key]:.1f}"
    yield f"{entry['conductance_mean']:.3f}" if "conductance_mean" in entry else ""
    yield f"{entry['touched_median']:,.0f}"
    yield f"{entry['cpu_ms_median']:.2f}"
    yield f"{entry['converged']}/{entry['trials']}" if "converged" in entry else ""


def _with_error(mean: float, error: float | None, *, sign: str = "") -> str:
    spread = "" if error is None else f" ± {100 * error:.1f}"
    return f"{100 * mean:{sign}.1f}{spread}"
