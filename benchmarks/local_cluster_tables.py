"""Tables about local clusters for the pages, from the files in ``benchmarks/results``."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
# what stands first in the tables of the pages; the others follow by name
SETTINGS_SHOWN = ("examples-25", "examples-100", "examples-5", "seed", "noise-0.9")
# the short table: method, rounding, mass
SUMMARISED = "examples-25"
SUMMARY_ROWS = (
    ("refined_flow_diffusion", "labels", "oracle"),
    ("refined_flow_diffusion", "labels", "auto"),
    ("label_flow_diffusion", "support", "oracle"),
    ("label_pagerank", "sweep", "none"),
    ("labels_alone", "", "none"),
    ("attributed_flow_diffusion", "support", "oracle"),
    ("flow_diffusion", "support", "oracle"),
    ("pagerank", "sweep", "none"),
)
MASS_IN_WORDS = {"oracle": "twice the true volume", "auto": "found", "none": "none"}


def quality(results: Path) -> list[str]:
    """F1 of every method, a table per graph, a column per kind of labels."""
    cells = _cells(results)
    if not cells:
        return [_missing("python -m benchmarks.papers.local_clustering")]
    lines = [
        "F1 against the class of the seed, %, mean ± standard error over the trials in brackets; in"
        " italics the difference to label-weighted flow diffusion (support, oracle mass), paired by"
        " trial ± its standard error; in parentheses the mean of a prototype on other draws. Mass"
        " marked oracle is computed from the true volume of the class."
    ]
    for graph in dict.fromkeys(cell["graph"] for cell in cells):
        found = {cell["setting"]: cell for cell in cells if cell["graph"] == graph}
        lines += ["", f"**{graph}**", "", *_quality_of(found)]
    return lines


def _cells(results: Path) -> list[Row]:
    path = results / "local_clustering.json"
    return json.loads(path.read_text()) if path.exists() else []


def summary(results: Path) -> list[str]:
    """What each kind of method reaches on each graph with labels from 25 examples per side."""
    cells = _cells(results)
    if not cells:
        return [_missing("python -m benchmarks.papers.local_clustering")]
    of_graph = {cell["graph"]: cell["methods"] for cell in cells if cell["setting"] == SUMMARISED}
    lines = [
        "F1 against the class of the seed, %, mean ± standard error over random seeds; labels from"
        " 25 examples inside and 25 outside. In italics the CPU time of a query, milliseconds.",
        "",
        "| method | mass | " + " | ".join(of_graph) + " |",
        "|---" * (2 + len(of_graph)) + "|",
    ]
    for key in SUMMARY_ROWS:
        entries = [_summary_entry(rows, key) for rows in of_graph.values()]
        method, rounding, mass = key
        name = f"`{method}`" + (f", {rounding}" if rounding else "")
        lines.append("| " + " | ".join([name, MASS_IN_WORDS[mass], *entries]) + " |")
    return lines


def _summary_entry(rows: Sequence[Row], key: tuple[str, str, str]) -> str:
    found = [row for row in rows if (row["method"], row["rounding"], row["mass"]) == key]
    if not found or not found[0]["trials"]:
        return "–"
    row = found[0]
    score = _percent(row["f1_mean"], row["f1_standard_error"])
    return f"{score} *{row['cpu_ms_median']:.1f}*"


def _quality_of(cells: Mapping[str, Row]) -> Iterator[str]:
    shown = [name for name in SETTINGS_SHOWN if name in cells] or list(cells)
    tables = [
        {(row["method"], row["rounding"], row["mass"]): row for row in cells[name]["methods"]}
        for name in shown
    ]
    yield "| method | rounding | mass | " + " | ".join(shown) + " |"
    yield "|---" * (3 + len(shown)) + "|"
    # in the order of the first column, which is by F1
    for name in dict.fromkeys(key for table in tables for key in table):
        entries = [_quality_entry(table.get(name)) for table in tables]
        yield "| " + " | ".join([*name, *entries]) + " |"


def _quality_entry(row: Row | None) -> str:
    if row is None:
        return "–"
    if not row["trials"]:
        return "failed"
    text = f"{_percent(row['f1_mean'], row['f1_standard_error'])} [{row['trials']}]"
    gain, reference = row["minus_baseline"], row["reference_f1"]
    if gain:
        text += f" *{_percent(gain['mean'], gain['standard_error'], sign='+')}*"
    return text if reference is None else f"{text} ({100 * reference:.1f})"


def _percent(mean: float, error: float | None, *, sign: str = "") -> str:
    return f"{100 * mean:{sign}.1f}" + ("" if error is None else f" ± {100 * error:.1f}")


def speed(results: Path) -> list[str]:
    """Median CPU time of a query, by graph and rival."""
    measured = _measured(results, "local_clustering")
    if measured is None:
        return [_missing("python -m benchmarks.speed.local_clustering")]
    graphs = measured["graphs"]
    lines = [
        "PageRank, CPU milliseconds per query (median over seeds) and, in brackets, the median of"
        " the per-query ratios to ours. *Error* is the largest `|p_i - p*_i| / d_i` of any query;"
        " the push algorithms promise at most epsilon.",
        "",
        *_columns(graphs, "pagerank epsilon", _pagerank_rows),
        "",
        "Flow diffusion, CPU milliseconds per query, edge visits, edge visits over the volume of"
        " the support, mean F1 and the largest violation of an optimality condition. *Against"
        " PyG*: median of the per-query ratios of `get_ppr` at epsilon 1e-5 to this; the two answer"
        " different questions.",
        "",
        *_columns(graphs, "flow", _flow_rows),
        "",
    ]
    for name, seconds in measured["first_call_seconds"].items():
        lines.append(
            f"First query of `{name}` in a new process: {seconds['compiled']:.1f} CPU seconds with"
            f" compilation, {seconds['from_cache']:.1f} from the cache."
        )
    return lines


def _columns(graphs: Mapping[str, Row], first: str, rows: Any) -> Iterator[str]:
    tables = [dict(rows(found)) for found in graphs.values()]
    yield f"| {first} | " + " | ".join(graphs) + " |"
    yield "|---" * (1 + len(graphs)) + "|"
    for name in dict.fromkeys(key for table in tables for key in table):
        yield f"| {name} | " + " | ".join(table.get(name, "") for table in tables) + " |"


def _pagerank_rows(found: Row) -> Iterator[tuple[str, str]]:
    for epsilon, rivals in found["pagerank"].items():
        for name, row in rivals.items():
            if not isinstance(row, dict):
                continue
            text = f"{row['cpu_ms_median']:.3f} [{row['times_of_ours']:.1f}]"
            if "largest_error_per_degree" in row:
                text += f", error {row['largest_error_per_degree']:.1e}"
            yield f"{epsilon}, `{name}`", text


def _flow_rows(found: Row) -> Iterator[tuple[str, str]]:
    for name, row in found["flow"].items():
        text = f"{row['cpu_ms_median']:.2f} ms"
        if "edge_visits_median" in row:
            text += (
                f", {row['edge_visits_median']:,.0f} visits,"
                f" {row['edge_visits_per_volume_median']:.0f} per volume, F1 {row['f1_mean']:.3f},"
                f" violation {row['largest_violation']:.1e};"
                f" against PyG {1 / row['times_of_pyg_get_ppr']:.1f}"
            )
        yield f"`{name}`", text


def locality(results: Path) -> list[str]:
    """Query cost by size of the graph, one table per planted cluster."""
    measured = _measured(results, "locality")
    if measured is None:
        return [_missing("python -m benchmarks.speed.locality")]
    lines = []
    for size in map(str, measured["cluster_nodes"]):
        having = {edges: row for edges, row in measured["sizes"].items() if size in row}
        lines += [f"Planted cluster of {size} nodes:", "", *_locality_of(size, having), ""]
        for method, ratio in measured["largest_over_smallest"].get(size, {}).items():
            if method in next(iter(having.values()))[size]:
                lines.append(f"- `{method}`: largest over smallest graph {ratio:.2f}")
        lines.append("")
    return [*lines, *_peers_by_size(measured["sizes"])]


def _peers_by_size(sizes: Mapping[str, Row]) -> Iterator[str]:
    having = [row for row in sizes.values() if "peers" in row]
    if not having:
        return
    yield "PageRank by other libraries on the same graphs, CPU milliseconds [times ours, no sweep]:"
    yield ""
    yield "| peer | " + " | ".join(f"{row['edges']:,} edges" for row in having) + " |"
    yield "|---" * (1 + len(having)) + "|"
    for name in having[-1]["peers"]:
        found = [row["peers"].get(name) for row in having]
        entries = ["–" if f is None else _times_ours(f) for f in found]
        yield f"| `{name}` | " + " | ".join(entries) + " |"


def _times_ours(found: Row) -> str:
    return f"{found['cpu_ms_median']:,.2f} [{found['times_of_ours']:,.0f}]"


def _locality_of(size: str, having: Mapping[str, Row]) -> Iterator[str]:
    yield (
        "| edges | method | warm, CPU ms | cold, wall ms | read, MB of | page faults | memory, MB"
        " | touched | F1 |"
    )
    yield "|---" * 9 + "|"
    for row in having.values():
        for method, found in row[size].items():
            warm, cold = found["warm"], found["cold"]
            yield (
                f"| {row['edges']:,} | `{method}` | {warm['cpu_ms_median']:.2f} |"
                f" {cold['wall_ms_median']:.1f} |"
                f" {cold['bytes_read_median'] / 1e6:.1f} of {row['store_bytes'] / 1e6:.1f} |"
                f" {cold['major_faults_median']:.0f} + {cold['minor_faults_median']:.0f} minor |"
                f" {found['memory']['peak_bytes'] / 1e6:.1f} | {warm['touched_median']:,.0f} |"
                f" {warm['f1_mean']:.2f} |"
            )


def batch(results: Path) -> list[str]:
    """Wall time of a batch by number of threads."""
    measured = _measured(results, "local_batch")
    if measured is None:
        return [_missing("python -m benchmarks.speed.local_batch")]
    rows = {name: row for name, row in measured.items() if isinstance(row, dict)}
    return [
        f"{measured['seeds']:,} seeds on {measured['graph']}, wall seconds; the speed-up is the"
        " median over blocks timed in turns.",
        "",
        "| method | 1 thread | more | speed-up | results | Ray |",
        "|---|---|---|---|---|---|",
        *_batch_lines(rows),
    ]


def _batch_lines(rows: Mapping[str, Row]) -> Iterable[str]:
    for name, row in rows.items():
        many, ray = str(row["threads"]), row["ray"]
        over_ray = ray
        if isinstance(ray, dict):
            over_ray = f"{ray['wall_seconds']:.1f}, {ray['workers']} workers, {_same(ray)}"
        yield (
            f"| `{name}` | {row['wall_seconds']['1']:.1f} |"
            f" {row['wall_seconds'][many]:.1f} ({many} threads) |"
            f" {row['speedup_median_of_blocks']:.2f} | {_same(row)} | {over_ray} |"
        )


def _same(row: Row) -> str:
    return "identical" if row["identical"] else "different"


def _measured(results: Path, name: str) -> dict[str, Any] | None:
    path = results / f"speed_{name}.json"
    return json.loads(path.read_text())["measured"] if path.exists() else None


def _missing(command: str) -> str:
    return f"*Not measured yet; `{command}` does it.*"
