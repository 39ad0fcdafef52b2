"""Write the measured numbers into README.md and docs/: none of them is typed by hand.

A page marks a place with ``<!-- results:NAME -->`` and ``<!-- /results:NAME -->``, each on a line
of its own; what stands between is replaced by the table called NAME, made from the files in
``benchmarks/results``. Run ``python -m benchmarks.readme_tables`` after a benchmark, or with
``--check`` to learn whether a page is out of date.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import local_cluster_tables
from benchmarks.audit_excerpt import EVIDENCE
from benchmarks.papers import image_text_tables
from benchmarks.papers.erase_tables import markdown
from benchmarks.speed.paired import RESULTS

PROJECT = Path(__file__).parents[1]
PLACE = re.compile(
    r"(?P<open><!-- results:(?P<name>[\w-]+) -->\n).*?(?P<close><!-- /results:(?P=name) -->)", re.S
)
OPENING = re.compile(r"<!-- results:[\w-]+ -->")
SHOWN_RATE = 0.3


def pages(project: Path = PROJECT) -> list[Path]:
    """README and the sources of the documentation."""
    sources = (project / "docs").rglob("*.md")
    return [project / "README.md", *sorted(path for path in sources if "_build" not in path.parts)]


def filled(text: str, results: Path = RESULTS) -> str:
    """A page with all its places filled.

    Raises:
        ValueError: A place is not closed, or names no table.
    """
    if len(OPENING.findall(text)) != len(PLACE.findall(text)):
        raise ValueError("a place for results is opened and not closed under the same name")

    def fill(place: re.Match[str]) -> str:
        if place["name"] not in TABLES:
            raise ValueError(f"results:{place['name']} must name one of {list(TABLES)}")
        body = "\n".join(TABLES[place["name"]](results)).strip()
        return f"{place['open']}\n{body}\n\n{place['close']}"

    return PLACE.sub(fill, text)


def accuracy_on_cora(results: Path) -> list[str]:
    """Honest protocol, Cora, one rate: what the README shows."""
    return _accuracy(
        results,
        lambda cell: (
            (cell["protocol"], cell["graph"], cell["rate"]) == ("honest", "cora", SHOWN_RATE)
        ),
    )


def accuracy_honest(results: Path) -> list[str]:
    """All graphs, kinds and rates of the honest protocol."""
    return _accuracy(results, lambda cell: cell["protocol"] == "honest")


def accuracy_released(results: Path) -> list[str]:
    """The protocol of ERASE's published numbers."""
    return _accuracy(results, lambda cell: cell["protocol"] == "released")


def detection(results: Path) -> list[str]:
    """How well the quality separates wrong from right labels, honest protocol, one rate."""
    cells = [
        cell
        for cell in _read(results / "erase_planetoid.json") or []
        if cell["protocol"] == "honest" and cell["rate"] == SHOWN_RATE
    ]
    if not cells:
        return [_missing("python -m benchmarks.papers.erase_planetoid")]
    heads = [f"{cell['graph']}, {cell['kind']}" for cell in cells]
    names = dict.fromkeys(name for cell in cells for name in cell["methods"])
    lines = ["| method | " + " | ".join(heads) + " |", "|---" * (len(cells) + 1) + "|"]
    for name in names:
        found = [cell["methods"].get(name, {}) for cell in cells]
        lines.append(f"| {name} | " + " | ".join(map(_auroc, found)) + " |")
    return lines


def label_errors(results: Path) -> list[str]:
    """Confident learning against human verdicts: the committed table without its title."""
    return _copied(results / "label_errors.md", "python -m benchmarks.papers.label_errors")


def audit_excerpt(results: Path) -> list[str]:
    """Rows of a real audit, without the evidence."""
    lines = audit_evidence(results)
    return lines[: lines.index(EVIDENCE)] if EVIDENCE in lines else lines


def audit_evidence(results: Path) -> list[str]:
    """Rows of a real audit with the evidence behind them."""
    return _copied(results / "audit_excerpt.md", "python -m benchmarks.audit_excerpt")


def cluster_excerpt(results: Path) -> list[str]:
    """What the command for one cluster prints."""
    return _copied(results / "cluster_excerpt.md", "python -m benchmarks.cluster_excerpt")


def label_free(results: Path) -> list[str]:
    """Recipes, selectors and references under a budget of recorded answers."""
    return _in_a_section(results / "locle_cora.md", "python -m benchmarks run locle_cora")


def node_selection(results: Path) -> list[str]:
    """Medoids against exact ones, and what every selector costs."""
    command = "python -m benchmarks.speed.node_selection"
    return _in_a_section(results / "speed_node_selection.md", command)


def annotation_throughput(results: Path) -> list[str]:
    """Annotations per second through the asynchronous path of an endpoint."""
    command = "python -m benchmarks.speed.annotation_throughput"
    return _in_a_section(results / "speed_annotation_throughput.md", command)


def image_text_scale(results: Path) -> list[str]:
    """Time and memory of a whole cleaning run by number of pairs."""
    measured = _measured(results, "image_text_scale")
    if measured is None:
        return [_missing("python -m benchmarks run image_text_scale")]
    lines = [
        "| pairs | CPU s | CPU ms a pair | wall s | pairs a second | peak GB | one read of the"
        " rows, s | load before |",
        "|---" * 8 + "|",
    ]
    for found in sorted(measured.values(), key=lambda one: one["rows"]):
        lines.append(
            f"| {found['rows']:,} | {found['cpu_seconds']:,.0f} |"
            f" {1000 * found['cpu_seconds'] / found['rows']:.2f} | {found['wall_seconds']:,.0f} |"
            f" {found['rows_per_second']:,.0f} | {found['peak_gigabytes']['proportional']:.1f} |"
            f" {found['floor']['seconds']:.1f} | {found['load_before']:.1f} |"
        )
    one = next(iter(measured.values()))
    return [
        *lines,
        "",
        f"{one['classes']:,} classes, 512 columns, {one['workers']} workers. Wall seconds hold"
        " whatever else ran on the machine; CPU seconds are the run's own. Memory counts each"
        " resident page of all processes once; pages of mapped files among them can be dropped.",
    ]


def speed(results: Path) -> list[str]:
    """CPU times against other ways to compute the same, each pair timed in turns."""
    lines = ["| what | ours | against | ratio |", "|---|---|---|---|"]
    for rows in (_erase_epoch, _coding_rate, _propagation, _confident_learning):
        lines += rows(results)
    if len(lines) == 2:
        return [_missing("make bench")]
    return [*lines, "", *_where(results)]


TABLES: Mapping[str, Callable[[Path], list[str]]] = {
    "cora": accuracy_on_cora,
    "honest": accuracy_honest,
    "released": accuracy_released,
    "detection": detection,
    "label-errors": label_errors,
    "audit-excerpt": audit_excerpt,
    "audit-evidence": audit_evidence,
    "speed": speed,
    "label-free": label_free,
    "node-selection": node_selection,
    "annotation-throughput": annotation_throughput,
    "cluster-excerpt": cluster_excerpt,
    "local-summary": local_cluster_tables.summary,
    "local-quality": local_cluster_tables.quality,
    "local-speed": local_cluster_tables.speed,
    "locality": local_cluster_tables.locality,
    "local-batch": local_cluster_tables.batch,
    "image-text-fashion": image_text_tables.fashion,
    "image-text-cifar": image_text_tables.cifar,
    "image-text-crawl": image_text_tables.crawl,
    "image-text-flickr": image_text_tables.flickr,
    "image-text-notes": image_text_tables.notes,
    "image-text-bars": image_text_tables.wanted_and_found,
    "image-text-scale": image_text_scale,
}


def _accuracy(results: Path, wanted: Callable[[Mapping[str, Any]], bool]) -> list[str]:
    cells = [cell for cell in _read(results / "erase_planetoid.json") or [] if wanted(cell)]
    if not cells:
        return [_missing("python -m benchmarks.papers.erase_planetoid")]
    lines = markdown(cells)
    # its title is the page's business
    lines = [line for line in lines if not line.startswith("# ")]
    return [f"**{line[3:]}**" if line.startswith("## ") else line for line in lines]


def _auroc(found: Mapping[str, Any]) -> str:
    if "detection_auroc_mean" not in found:
        return "–"
    return f"{found['detection_auroc_mean']:.3f} ± {found['detection_auroc_std']:.3f}"


def _erase_epoch(results: Path) -> Iterable[str]:
    found = _measured(results, "erase_epoch")
    if found is None:
        return
    seconds, memory, whole = found["cpu_seconds"], found["peak_gigabytes"], found["whole_run"]
    yield _line(
        f"ERASE, one training epoch ({found['data']})",
        f"{seconds['ours']['median']:.3f} s, {memory['ours']:.2f} GB",
        f"dense form: {seconds['dense']['median']:.2f} s, {memory['dense']:.2f} GB",
        found["dense_over_ours"],
    )
    yield _line(
        f"ERASE, {whole['epochs']:.0f} epochs with evaluation", f"{whole['wall_seconds']:.0f} s"
    )


def _coding_rate(results: Path) -> Iterable[str]:
    for name, found in (_measured(results, "coding_rate") or {}).items():
        if "dense_over_block" in found:
            yield _line(
                f"coding-rate loss and gradient ({name}, {found['rows']} rows)",
                f"{found['seconds']['block']['cpu_median']:.3f} s",
                f"dense form: {found['seconds']['dense']['cpu_median']:.2f} s",
                found["dense_over_block"],
            )


def _propagation(results: Path) -> Iterable[str]:
    found = _measured(results, "label_propagation")
    if found is None:
        return
    small, large = found["small"], found["large"]
    seconds = {name: row["cpu_median"] for name, row in small["seconds"].items()}
    what = f"label propagation, {small['n_nodes']:,} nodes, {small['n_edges']:,} edges"
    ours = f"{seconds['propagate_labels']:.2f} s"
    pyg, bare = seconds["pyg_coo"], seconds["bare_scipy_products"]
    yield _line(what, ours, f"PyG on COO: {pyg:.2f} s", small["pyg_over_ours"]["cpu"])
    yield _line(
        what, ours, f"bare scipy products: {bare:.2f} s", bare / seconds["propagate_labels"]
    )
    yield _line(
        f"structural denoising, {large['n_nodes']:,} nodes, {large['n_edges']:,} edges",
        f"{large['all_edges']['cpu']:.1f} s,"
        f" {large['all_edges']['peak_gigabytes_with_input']:.2f} GB",
    )


def _confident_learning(results: Path) -> Iterable[str]:
    for name, found in (_measured(results, "confident_learning") or {}).items():
        if not isinstance(found, dict):
            continue
        if name == "top_m":
            yield _line(
                f"confident learning as a stream, {found['samples']:,} x {found['classes']:,}",
                f"{found['seconds']:.0f} s, {found['peak_gigabytes']:.2f} GB",
            )
            continue
        ratios, equal = found["speedup_same_filter"], found["equal_sets"]
        for filter_by, ratio in ratios.items():
            seconds = found["seconds"][f"ours {filter_by}"]["cpu_median"]
            same = "same set" if equal.get(filter_by) else "set differs"
            yield _line(
                f"`{filter_by}`, {name}", f"{seconds:.3f} s", f"cleanlab's own ({same})", ratio
            )


def _where(results: Path) -> list[str]:
    # of the measurements in this table, not of whatever file comes first
    names = ("erase_epoch", "coding_rate", "label_propagation", "confident_learning")
    found = (_read(results / f"speed_{name}.json") for name in names)
    record = next(filter(None, found), None)
    if record is None:
        return []
    machine, versions = record["machine"], record["versions"]
    packages = ", ".join(f"{name} {number}" for name, number in versions.items())
    return [
        f"Median CPU seconds unless said otherwise; {machine['processor']},"
        f" {machine['threads']} thread. A ratio above 1 says how many times faster ours is."
        f" {packages}."
    ]


def _line(what: str, ours: str, against: str = "", ratio: float | None = None) -> str:
    return f"| {what} | {ours} | {against} | {'' if ratio is None else f'{ratio:.1f}'} |"


def _measured(results: Path, name: str) -> dict[str, Any] | None:
    record = _read(results / f"speed_{name}.json")
    return None if record is None else record["measured"]


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def _copied(path: Path, command: str) -> list[str]:
    if not path.exists():
        return [_missing(command)]
    return [line for line in path.read_text().splitlines() if not line.startswith("# ")]


def _in_a_section(path: Path, command: str) -> list[str]:
    """A committed page without its title, its headings as bold lines."""
    lines = _copied(path, command)
    return [f"**{line.lstrip('# ')}**" if line.startswith("##") else line for line in lines]


def _missing(command: str) -> str:
    return f"*Not measured yet; `{command}` does it.*"


def main() -> None:
    """Rewrite the pages, or name those that would change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if out of date")
    arguments = parser.parse_args()
    stale = []
    for page in pages():
        text = page.read_text()
        new = filled(text)
        if new != text:
            stale.append(str(page.relative_to(PROJECT)))
            if not arguments.check:
                page.write_text(new)
    print("\n".join(stale) or "all up to date")
    if arguments.check and stale:
        sys.exit(1)


if __name__ == "__main__":
    main()
