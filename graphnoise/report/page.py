"""The report page of one finished run on a graph."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphnoise.report.cards import Card, class_colours, ego_cards
from graphnoise.report.stored import StoredRun, known_truth, read_run
from labelnoise.report import AuditNumbers, Section, audit_numbers, audit_sections, render_page
from labelnoise.report.charts import training_chart
from labelnoise.report.page import Heading, count, percent, render, write_report

TEMPLATES = Path(__file__).parent / "templates"
CURVES = {
    "noisy_validation": "validation, labels as given",
    "clean_validation": "validation, true labels",
    "test": "test",
}


def graph_report_from_folder(folder: Path) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.json`` of the finished run in `folder`.

    Returns:
        The two paths.

    Raises:
        ValueError: `folder` holds no finished run.
    """
    from graphnoise.label_free.stored import is_annotation

    if is_annotation(folder):
        from graphnoise.report.annotation_page import annotation_report_from_folder

        return annotation_report_from_folder(folder)
    html, numbers = graph_report(read_run(folder))
    return write_report(html, numbers, folder)


def graph_report(run: StoredRun) -> tuple[str, dict[str, Any]]:
    """The page and the same numbers as plain values.

    Args:
        run: A finished run.

    Returns:
        html: The whole page.
        numbers: "summary" (see `AuditNumbers`), "run" (the record), "history" and "cards".
    """
    numbers = audit_numbers(run.audit, truth=audited_truth(run))
    cards = ego_cards(run.audit, run.view)
    sections = [*audit_sections(numbers), card_section(cards, run)]
    if run.history.get("rows"):
        sections.append(training_section(run.history))
    html = render_page(numbers, sections, heading=heading(run, numbers))
    plain_cards = [
        {key: value for key, value in asdict(card).items() if key != "drawing"} for card in cards
    ]
    everything = {
        "summary": numbers.as_dict(),
        "run": dict(run.record),
        "history": dict(run.history),
        "cards": plain_cards,
    }
    return html, everything


def audited_truth(run: StoredRun) -> NDArray[np.int64] | None:
    """True class of each audited row ``[M]``, or None where the truth cannot judge the labels."""
    view = run.view
    if view.truth is None or not known_truth(view.given, view.truth):
        return None
    order = np.argsort(view.ids, kind="stable")
    rows = order[np.searchsorted(view.ids[order], run.audit.ids)]
    return view.truth[rows]


def card_section(cards: list[Card], run: StoredRun) -> Section:
    """The ego-graph cards of the most suspicious nodes."""
    names = run.view.class_names
    truth = known_truth(run.view.given, run.view.truth)
    values = {
        "cards": cards,
        "names": names,
        "colours": class_colours(cards, len(names)),
        "truth": truth,
    }
    return Section(
        "suspicious",
        "The most suspicious labels",
        "Each node among its neighbours. The fill is the given label, hollow where none was given"
        " and the prediction is shown; the ring of the centre is the suggested label. Wide edges"
        " are strong influences in label propagation; numbers name the classes.",
        render("cards.html", values=values, folders=(TEMPLATES,)),
    )


def training_section(history: Mapping[str, Any]) -> Section:
    """Accuracy by epoch."""
    rows = history["rows"]
    series = [
        (name, [row[key] for row in rows])
        for key, name in CURVES.items()
        if all(key in row for row in rows)
    ]
    chart = training_chart(
        [row["epoch"] for row in rows], series, best_epoch=int(history["best_epoch"])
    )
    stopped = " It stopped early." if history.get("stopped_early") else ""
    return Section(
        "training",
        "Training",
        f"Share of right predictions by epoch; epoch {history['best_epoch']} was chosen.{stopped}",
        render("training.html", values={"chart": chart}),
    )


def heading(run: StoredRun, numbers: AuditNumbers) -> Heading:
    """Title, notice, tiles and provenance from the record."""
    record, view = run.record, run.view
    data = record.get("data", {})
    name = str(data.get("name", "graph"))
    n_edges = run.view.adjacency.nnz // 2
    scores = record.get("scores", {})
    extra = []
    if "test" in scores:
        extra.append(("Classifier, test nodes", percent(scores["test"]), "right by the truth"))
    return Heading(
        title=f"Labels of {name}",
        subtitle=f"{count(len(view.ids))} nodes · {count(n_edges)} edges ·"
        f" {len(view.class_names)} classes · method {run.audit.method}",
        notice=_notice(record, numbers),
        provenance=provenance(run),
        extra=tuple(extra),
    )


def _notice(record: Mapping[str, Any], numbers: AuditNumbers) -> str:
    noise = record.get("noise")
    if noise:
        return (
            f"Labels were corrupted on purpose: noise {noise['spec']} was injected with seed"
            f" {noise['seed']} and changed {percent(noise['realised_rate'])} of the labels of the"
            " training and validation nodes. The data set's own labels serve as the truth."
        )
    if numbers.detection is None:
        return (
            "The true labels are not known here: the page shows what the method believes,"
            " not how often it is right."
        )
    return ""


def provenance(run: StoredRun) -> dict[str, str]:
    """Name -> value of everything that is needed to run it again."""
    record, audit = run.record, run.audit
    settings = ", ".join(f"{key} = {value}" for key, value in flat_settings(audit.settings))
    versions = record.get("versions", audit.versions)
    facts = {
        "Command": str(record.get("command", "")),
        "Method": audit.method,
        "Settings": settings,
        "Own noise estimate": ("" if audit.noise_rate is None else f"{percent(audit.noise_rate)}"),
        "Seed": "" if audit.seed is None else str(audit.seed),
        "Key of input and settings": str(record.get("key", "")),
        "Notes on the data": "; ".join(record.get("data", {}).get("notes", [])),
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Seconds": ", ".join(
            f"{name} {value:.1f}" for name, value in record.get("seconds", {}).items()
        ),
        "Finished": str(record.get("finished", "")),
    }
    return {name: value for name, value in facts.items() if value}


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings inside settings as "part.name", as ``--set`` of the command line names them."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat_settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
