"""The report page of an annotation run: what was bought, what it cost, where it can be trusted."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from graphnoise.label_free.stored import StoredAnnotation, label_origins, read_annotation
from graphnoise.report.annotation_ledger import (
    FOLDERS,
    AnswerNumbers,
    answer_numbers,
    answer_section,
    ledger_section,
)
from graphnoise.report.annotation_regions import plain_regions, region_section, regions
from graphnoise.report.annotation_words import budget, paid, seconds
from graphnoise.report.cards import ego_cards
from graphnoise.report.page import card_section, provenance
from graphnoise.report.stored import known_truth
from labelnoise.report import Section, audit_numbers, audit_sections
from labelnoise.report.page import Heading, count, percent, render, write_report

# classes drawn in the summary; report.json has all of them
MAX_CLASSES = 16
# where the label of a node comes from, as the bar of the summary tells it
ORIGINS = {
    "annotator": "the annotator’s label, kept",
    "other_evidence": "the annotator’s label, replaced",
    "classifier": "the classifier’s label, not asked or no answer",
    "none": "no label: the evidence settles on none",
}


@dataclass(frozen=True)
class ClassCount:
    """A class with the nodes the annotator and the classifier put into it."""

    name: str
    annotator: int
    classifier: int
    labels: int
    share: float


def annotation_report_from_folder(folder: Path) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.json`` of the finished run in `folder`.

    Returns:
        The two paths.

    Raises:
        ValueError: `folder` holds no finished run of an annotator.
    """
    html, numbers = annotation_report(read_annotation(folder))
    return write_report(html, numbers, folder)


def annotation_report(stored: StoredAnnotation) -> tuple[str, dict[str, Any]]:
    """The page and the same numbers as plain values.

    Args:
        stored: A finished run.

    Returns:
        html: The whole page.
        numbers: "summary" (see `AuditNumbers`), "answers", "regions", "classes", "origins",
            "ledger", "run" (the record) and "cards".
    """
    run = stored.run
    truth = run.view.truth if known_truth(run.view.given, run.view.truth) else None
    numbers = audit_numbers(run.audit, truth=None if truth is None else _audited(stored, truth))
    answers, found = answer_numbers(stored, truth), regions(stored, truth)
    cards = ego_cards(run.audit, run.view)
    classes, origins = class_counts(stored), origin_counts(stored)
    sections = [
        ledger_section(stored, answers),
        answer_section(answers),
        region_section(found),
        *(audit_sections(numbers) if numbers.labelled else []),
        suspicious_section(stored, cards),
    ]
    values = {
        "heading": heading(stored, answers),
        "sections": sections,
        "tiles": tiles(stored, answers),
        "classes": sorted(classes, key=lambda one: -one.classifier)[:MAX_CLASSES],
        "hidden": max(0, len(classes) - MAX_CLASSES),
        "origins": origins,
        "words": ORIGINS,
    }
    html = str(render("annotation_page.html", values=values, folders=FOLDERS))
    plain_cards = [
        {key: value for key, value in asdict(card).items() if key != "drawing"} for card in cards
    ]
    everything = {
        "summary": numbers.as_dict(),
        "answers": answers.as_dict(),
        "regions": plain_regions(found),
        "classes": [asdict(one) for one in classes],
        "origins": origins,
        "ledger": run.record.get("ledger"),
        "run": dict(run.record),
        "stages": list(run.history.get("stages", ())),
        "cards": plain_cards,
    }
    return html, everything


def class_counts(stored: StoredAnnotation) -> list[ClassCount]:
    """One entry per class, in the order of the classes."""
    view, audit = stored.run.view, stored.run.audit
    k = len(view.class_names)
    told = np.bincount(view.given[view.given >= 0], minlength=k)
    predicted = np.bincount(view.predicted, minlength=k)
    used = np.bincount(audit.label[audit.label >= 0], minlength=k)
    return [
        ClassCount(
            view.class_names[i], int(told[i]), int(predicted[i]), int(used[i]),
            float(predicted[i] / len(view.ids)),
        )
        for i in range(k)
    ]  # fmt: skip


def origin_counts(stored: StoredAnnotation) -> dict[str, int]:
    """Nodes by where their label comes from, see `ORIGINS`."""
    origin = label_origins(stored.run.audit)
    return {name: int((origin == name).sum()) for name in ORIGINS}


def tiles(stored: StoredAnnotation, answers: AnswerNumbers) -> list[tuple[str, str, str]]:
    """What the reader sees first, as (label, value, note)."""
    record = stored.run.record
    total = (record.get("ledger") or {}).get("total") or record.get("usage", {})
    tokens = int(total.get("prompt_tokens", 0)) + int(total.get("completion_tokens", 0))
    n = len(stored.run.view.ids)
    found = [
        ("Nodes", count(n), f"{len(stored.run.view.class_names)} classes"),
        ("Asked", count(answers.asked), f"{percent(answers.asked / n)} of the nodes"),
        (
            "Answered",
            count(answers.answered),
            f"{count(answers.abstained)} without an answer",
        ),
        (
            "Spent",
            paid(total),
            f"{count(tokens)} tokens in {seconds(float(total.get('seconds', 0)))};"
            f" budget {budget(record.get('budget', {}))}",
        ),
    ]
    reliability = stored.nodes["reliability"]
    known = reliability[np.isfinite(reliability)]
    if len(known):
        note = "estimated, without any true label"
        found.append(("Answers believed right", percent(float(known.mean())), note))
    scores = record.get("scores", {})
    if answers.right is not None:
        found.append(("Answers really right", percent(answers.right), "by the known truth"))
    if scores.get("all") is not None:
        found.append(("Classifier right", percent(scores["all"]), "all nodes, by the known truth"))
    return found


def suspicious_section(stored: StoredAnnotation, cards: list[Any]) -> Section:
    """The cards of answers that the rest of the evidence doubts."""
    return replace(
        card_section(cards, stored.run),
        title="The most suspicious answers",
        lead="Each node among its neighbours. The fill is the annotator’s label, hollow where it"
        " was not asked and the classifier’s is shown; the ring of the centre is the suggested"
        " label. Wide edges are strong influences in label propagation; numbers name the classes.",
    )


def heading(stored: StoredAnnotation, answers: AnswerNumbers) -> Heading:
    """Title, notice and provenance from the record."""
    run, record = stored.run, stored.run.record
    data = record.get("data", {})
    edges = run.view.adjacency.nnz // 2
    return Heading(
        title=f"Labels for {data.get('name', 'graph')}",
        subtitle=f"{count(len(run.view.ids))} nodes · {count(edges)} edges · asked"
        f" {_who(record)} · recipe {run.audit.method}",
        notice=_notice(record, answers),
        provenance=_provenance(stored),
    )


def _who(record: Mapping[str, Any]) -> str:
    """The annotator by its spec; of a file or folder only the name."""
    annotator = record.get("annotator", {})
    spec = str(annotator.get("spec") or annotator.get("name", "an annotator"))
    kind, mark, rest = spec.partition(":")
    return f"{kind}:{Path(rest).name}" if mark and kind in ("replay", "local") else spec


def _notice(record: Mapping[str, Any], answers: AnswerNumbers) -> str:
    if record.get("status") == "budget_reached":
        left = sum(one.number for one in answers.abstentions if one.code == "budget_reached")
        return (
            f"The budget ({budget(record.get('budget', {}))}) was used up before every chosen node"
            f" was asked: {count(left)} were not. The same command with a larger --budget goes on"
            " and pays for nothing twice."
        )
    if answers.right is None:
        return (
            "The true labels are not known here: the page shows what is believed, not how often"
            " it is right."
        )
    if record.get("annotator", {}).get("name") == "simulated":
        return (
            "The annotator is simulated: it drew its answers from the data set's own labels, with"
            " an LLM's errors. Nothing else but the scores has read them."
        )
    return "The data set's own labels serve as the truth; nothing but the scores has read them."


def _provenance(stored: StoredAnnotation) -> dict[str, str]:
    record = stored.run.record
    facts = provenance(stored.run)
    facts["Method"] = f"recipe {stored.run.audit.method}"
    facts["Annotator"] = str(record.get("annotator", {}).get("spec", ""))
    facts["Budget"] = budget(record.get("budget", {}))
    return facts


def _audited(stored: StoredAnnotation, truth: Any) -> Any:
    view = stored.run.view
    order = np.argsort(view.ids, kind="stable")
    return truth[order[np.searchsorted(view.ids[order], stored.run.audit.ids)]]
