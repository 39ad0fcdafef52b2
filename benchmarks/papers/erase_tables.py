"""Tables of the graph label noise study: means over draws, and differences paired by draw."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.paired import RESULTS

PAPER = "erase"
Key = tuple[str, str, str, float]


def write_tables(rows: Iterable[Mapping[str, Any]]) -> None:
    """Write ``erase_planetoid.json`` and ``.md`` from all runs so far."""
    cells = by_cell(rows)
    summary = [summarise(key, methods) for key, methods in sorted(cells.items(), key=str)]
    (RESULTS / "erase_planetoid.json").write_text(json.dumps(summary, indent=1) + "\n")
    (RESULTS / "erase_planetoid.md").write_text("\n".join(markdown(summary)) + "\n")


def by_cell(
    rows: Iterable[Mapping[str, Any]],
) -> dict[Key, dict[str, dict[int, Mapping[str, Any]]]]:
    """(protocol, graph, kind, rate) -> method -> draw -> run. Without noise the kinds are one."""
    cells: dict[Key, dict[str, dict[int, Mapping[str, Any]]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for row in rows:
        kind = row["kind"] if row["rate"] else "none"
        key = (row["protocol"], row["graph"], kind, row["rate"])
        cells[key][row["method"]][row["draw"]] = row
    return cells


def summarise(key: Key, methods: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> dict[str, Any]:
    """Mean, deviation and paired difference to ERASE of each method in one cell."""
    table = {}
    for method, runs in methods.items():
        good = {draw: run for draw, run in runs.items() if "error" not in run}
        table[method] = {
            "draws": len(good),
            "failed": len(runs) - len(good),
            **_statistics(good.values()),
            f"minus_{PAPER}": paired(good, methods.get(PAPER, {})),
        }
    realised = [run["realised_rate"] for run in next(iter(methods.values())).values()]
    protocol, graph, kind, rate = key
    return {
        "protocol": protocol, "graph": graph, "kind": kind, "rate": rate,
        "realised_rate_mean": round(float(np.mean(realised)), 4), "methods": table,
    }  # fmt: skip


def _statistics(runs: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    runs = list(runs)
    names = (
        "test", "test_noisy_validation", "test_clean_validation", "test_last", "detection_auroc",
        "detection_ap", "train_labels_right_before", "train_labels_right_after", "cpu_seconds",
    )  # fmt: skip
    found = {}
    for name in names:
        values = [run[name] for run in runs if name in run]
        if values:
            found[f"{name}_mean"] = round(float(np.mean(values)), 4)
            found[f"{name}_std"] = round(float(np.std(values)), 4)
    return found


def paired(
    runs: Mapping[int, Mapping[str, Any]], others: Mapping[int, Mapping[str, Any]]
) -> dict[str, float] | None:
    """Mean test difference over the draws both have, its standard error and the number of draws.

    ``p`` is that of a two-sided paired t-test.
    """
    from scipy.stats import ttest_1samp

    shared = sorted(d for d in runs if d in others and "error" not in others[d])
    difference = np.array([runs[d]["test"] - others[d]["test"] for d in shared])
    if len(difference) < 2 or not difference.any():
        return None
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    return {
        "mean": round(float(difference.mean()), 4),
        "standard_error": round(error, 4),
        "draws": len(shared),
        "p": float(f"{ttest_1samp(difference, 0).pvalue:.2g}"),
    }


def markdown(summary: Iterable[Mapping[str, Any]]) -> list[str]:
    """One table per protocol, graph and rate: methods down, kinds of noise across."""
    groups: dict[tuple[str, str, float], list[Mapping[str, Any]]] = defaultdict(list)
    for cell in summary:
        groups[cell["protocol"], cell["graph"], cell["rate"]].append(cell)
    lines = [
        "# Test accuracy under label noise, %",
        "",
        "Mean ± population deviation over draws [number of draws]; in italics the difference to"
        " ERASE paired by draw ± standard error. All methods of a draw see the same labels."
        f" Written by `python -m benchmarks.papers.{Path('erase_planetoid').stem} --tables`.",
    ]
    for (protocol, graph, rate), cells in sorted(groups.items()):
        lines += ["", f"## {graph}, rate {rate:g}, {protocol} protocol", ""]
        lines += _one_table(cells)
    return lines


def _one_table(cells: list[Mapping[str, Any]]) -> list[str]:
    heads = [f"{cell['kind']} (realised {cell['realised_rate_mean']:.1%})" for cell in cells]
    names = {name for cell in cells for name in cell["methods"]}
    # by name where means are equal or missing: the same runs give the same table
    order = sorted(names, key=lambda name: (-_mean_in(cells[0], name), name))
    lines = ["| method | " + " | ".join(heads) + " |", "|---" * (len(cells) + 1) + "|"]
    for name in order:
        entries = [_entry(cell["methods"].get(name)) for cell in cells]
        lines.append(f"| {name} | " + " | ".join(entries) + " |")
    return lines


def _mean_in(cell: Mapping[str, Any], method: str) -> float:
    return float(cell["methods"].get(method, {}).get("test_mean", 0))


def _entry(found: Mapping[str, Any] | None) -> str:
    if not found or not found["draws"]:
        return "failed" if found else ""
    text = f"{100 * found['test_mean']:.1f} ± {100 * found['test_std']:.1f} [{found['draws']}]"
    difference = found[f"minus_{PAPER}"]
    if difference:
        text += f" *{100 * difference['mean']:+.1f} ± {100 * difference['standard_error']:.1f}*"
    return text
