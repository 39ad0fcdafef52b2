"""Tables of the study of labels from an LLM under a budget."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import ttest_rel

from benchmarks.speed.paired import RESULTS
from labelnoise.atomic_files import replacing

NAME = "locle_cora"
COMMAND = f"python -m benchmarks run {NAME}"
OURS = "second_opinion described"
BARS = {175: 76.0, 350: 76.5}
RIVALS = (
    "filtered medoids given",
    "filtered medoids described",
    "second_opinion given",
    "second_opinion words",
    "second_opinion network",
    "second_opinion nearest",
    "bought_labels medoids",
    "locle given",
    "zero_calls described",
)
READING = (
    "Accuracy in percent over all 2,708 nodes, last stage, mean ± population deviation over seeds"
    " (in brackets where fewer than 10). Every row of a budget made exactly that many calls."
    " *given* and *described* name the prior: class scores that come with the data, or MiniLM's"
    " for our description of the classes. Rows without either use none, or *given*."
)
HONESTY = (
    "No method reads a clean label. But `second_opinion` was designed by somebody who saw scores on"
    " these same nodes: about forty variants of smoothing, kernels, filters, channels and learners"
    " were scored on 4 to 6 seeds, and simulated sets were looked at beside them. The classes'"
    " descriptions were written once, after it was known which classes are confused, before any"
    " node was judged by them, and not changed. Take the differences to the baselines as what the"
    " recipe can do on this graph, not as a forecast for others."
)


def write_tables(
    rows: Iterable[Mapping[str, Any]],
    heads: Sequence[Mapping[str, Any]],
    order: Sequence[str],
    stem: Path = RESULTS / NAME,
) -> None:
    """Write ``.json`` and ``.md`` from all runs so far."""
    cells = by_cell(rows)
    last = heads[-1] if heads else {}
    record = {
        "benchmark": f"papers/{NAME}",
        **{name: last.get(name) for name in ("date", "machine", "versions")},
        "commits": sorted({head["commit"] for head in heads}),
        "measured": [
            {"method": method, "budget": budget, **summary(cells[method, budget])}
            for method in order
            for budget in sorted(b for m, b in cells if m == method)
        ],
        "paired": paired(cells),
    }
    for path, text in (
        (stem.with_suffix(".json"), json.dumps(record, indent=1) + "\n"),
        (stem.with_suffix(".md"), "\n".join(markdown(record)) + "\n"),
    ):
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


Cells = Mapping[tuple[str, int], Mapping[int, Mapping[str, Any]]]


def by_cell(rows: Iterable[Mapping[str, Any]]) -> Cells:
    """(method, budget) -> seed -> row; of several rows of one run the last one counts."""
    cells: dict[tuple[str, int], dict[int, Mapping[str, Any]]] = defaultdict(dict)
    for row in rows:
        cells[row["method"], row["budget"]][row["seed"]] = row
    return cells


def summary(runs: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Number of runs, mean and population deviation of every number."""
    names = [n for n in next(iter(runs.values())) if n not in ("method", "budget", "seed")]
    found: dict[str, Any] = {"runs": len(runs)}
    for name in names:
        values = np.array([run[name] for run in runs.values() if name in run])
        found[name] = {"mean": float(values.mean()), "deviation": float(values.std())}
    return found


def paired(cells: Cells) -> list[dict[str, Any]]:
    """Ours minus each rival over the seeds that both have, with a paired t-test."""
    found = []
    for rival in RIVALS:
        for budget in sorted(b for m, b in cells if m == OURS):
            ours = cells[OURS, budget]
            theirs = cells.get((rival, budget), cells.get((rival, 0), {}))
            seeds = sorted(set(ours) & set(theirs))
            if len(seeds) < 3:
                continue
            a = np.array([100 * ours[seed]["accuracy"] for seed in seeds])
            b = np.array([100 * theirs[seed]["accuracy"] for seed in seeds])
            found.append(
                {
                    "rival": rival,
                    "budget": budget,
                    "seeds": len(seeds),
                    "difference": float((a - b).mean()),
                    "standard_error": float((a - b).std(ddof=1) / np.sqrt(len(seeds))),
                    "p": float(ttest_rel(a, b).pvalue),
                }
            )
    return found


def markdown(record: Mapping[str, Any]) -> list[str]:
    """The page."""
    return [
        "# Labels from an LLM under a budget: Cora, GPT-3.5's answers",
        "",
        f"Made by `{COMMAND}`.",
        "",
        READING,
        "",
        *accuracy_table(record),
        "",
        *paired_table(record),
        "",
        *label_table(record),
        "",
        HONESTY,
    ]


def accuracy_table(record: Mapping[str, Any]) -> list[str]:
    """Accuracy by method and budget."""
    budgets = sorted({one["budget"] for one in record["measured"]} - {0})
    lines = [
        "| method | no or all calls | " + " | ".join(f"{b} calls" for b in budgets) + " |",
        "|---" * (len(budgets) + 2) + "|",
    ]
    for method in dict.fromkeys(one["method"] for one in record["measured"]):
        found = {one["budget"]: one for one in record["measured"] if one["method"] == method}
        cells = [accuracy(found.get(budget)) for budget in (0, *budgets)]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    bars = ", ".join(f"{bar} at {budget} calls" for budget, bar in BARS.items())
    return [*lines, "", f"Bars for our best: {bars}."]


def accuracy(found: Mapping[str, Any] | None) -> str:
    """One cell."""
    if found is None:
        return ""
    value = found["accuracy"]
    runs = found["runs"]
    if runs == 1:
        return f"{100 * value['mean']:.1f}"
    few = f" ({runs})" if runs < 10 else ""
    return f"{100 * value['mean']:.1f} ± {100 * value['deviation']:.1f}{few}"


def paired_table(record: Mapping[str, Any]) -> list[str]:
    """Differences on the same seeds."""
    lines = [
        f"`{OURS}` minus a rival on the same seeds, in points, with standard error and the p-value"
        " of a paired t-test:",
        "",
        "| rival | calls | seeds | difference | p |",
        "|---|---|---|---|---|",
    ]
    for one in record["paired"]:
        change = f"{one['difference']:+.1f} ± {one['standard_error']:.1f}"
        lines.append(
            f"| {one['rival']} | {one['budget']} | {one['seeds']} | {change} | {one['p']:.2g} |"
        )
    return lines


def label_table(record: Mapping[str, Any]) -> list[str]:
    """Where accuracy is won or lost at one budget: labels asked, labels trained on, nodes left."""
    lines = [
        "At 175 calls: share of right labels among the asked, number and share of right ones among"
        " those trained on, accuracy on nodes never asked about, macro F1, CPU seconds.",
        "",
        "| method | asked right | trained on | trained right | unasked nodes | macro F1 | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in record["measured"]:
        if one["budget"] != 175 or "asked_right" not in one:
            continue
        percent = [f"{100 * one[key]['mean']:.1f}" for key in ("asked_right", "trained_right")]
        unasked = f"{100 * one['accuracy_unasked']['mean']:.1f}"
        lines.append(
            f"| {one['method']} | {percent[0]} | {one['trained_on']['mean']:.0f} | {percent[1]} |"
            f" {unasked} | {one['macro_f1']['mean']:.3f} | {one['cpu_seconds']['mean']:.1f} |"
        )
    return lines
