"""A few rows of one real audit, for the pages that explain how to read one.

Cora with 30 % uniform noise, judged by the prototype mixture. Run
``python -m benchmarks.audit_excerpt``; it writes ``benchmarks/results/audit_excerpt.md``.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.paired import RESULTS

DATA, NOISE, METHOD, SEED = "cora", "uniform:0.3", "prototype_mixture", 0
EXCERPT = RESULTS / "audit_excerpt.md"
# pages that want the rows alone stop here
EVIDENCE = "The evidence behind the same rows:"


def main() -> None:
    """Fit once and write the excerpt."""
    from graphnoise import METHODS, Run, load_graph, with_noise

    graph, _ = with_noise(load_graph(DATA, seed=SEED), NOISE, seed=SEED)
    audit = METHODS.load(METHOD)(run=Run(seed=SEED)).fit(graph).audit()
    write(audit, graph.truth, EXCERPT)


def write(audit: Any, truth: Any, path: Path) -> None:
    """Counts, then the row of median quality for each reason, best quality first."""
    lines = [
        f"`{DATA}`, noise `{NOISE}`, method `{METHOD}`, seed {SEED}: "
        + ", ".join(f"{count} {verdict}" for verdict, count in audit.counts().items() if count)
        + ".",
        "",
        "| id | given | verdict | label | quality | reason | really |",
        "|---|---|---|---|---|---|---|",
    ]
    chosen = typical_rows(audit)
    lines += [_row(audit, truth, row) for row in chosen]
    evidence = list(audit.evidence)
    lines += [
        "",
        EVIDENCE,
        "",
        "| id | " + " | ".join(f"`{name}`" for name in evidence) + " |",
        "|---" * (1 + len(evidence)) + "|",
    ]
    lines += [
        f"| {audit.ids[row]} | "
        + " | ".join(_number(audit.evidence[name][row]) for name in evidence)
        + " |"
        for row in chosen
    ]
    path.write_text("\n".join(lines) + "\n")


def typical_rows(audit: Any) -> list[int]:
    """Per reason that occurs the row of (lower) median quality; best quality first."""
    chosen = []
    for reason in np.unique(audit.reason):
        rows = np.flatnonzero(audit.reason == reason)
        order = rows[np.argsort(audit.quality[rows], kind="stable")]
        chosen.append(int(order[(len(order) - 1) // 2]))
    return sorted(chosen, key=lambda row: -float(audit.quality[row]))


def _row(audit: Any, truth: Any, row: int) -> str:
    node = audit.ids[row]
    cells = (
        node, _name(audit, audit.given[row]), audit.verdict[row], _name(audit, audit.label[row]),
        _number(audit.quality[row]), f"`{audit.reason[row]}`", _name(audit, truth[node]),
    )  # fmt: skip
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _name(audit: Any, label: int) -> str:
    return audit.class_names[label] if label >= 0 else "–"


def _number(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.2f}"


if __name__ == "__main__":
    main()
