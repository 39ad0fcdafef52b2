"""The page of one finished cleaning run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelnoise.report import AuditNumbers, Section
from labelnoise.report.page import (
    Heading,
    class_section,
    count,
    environment,
    quality_section,
    render_page,
    transition_section,
    write_report,
)
from multimodal.report.gallery import (
    CardMaker,
    ClassGallery,
    class_galleries,
    one_line,
    shortened,
)
from multimodal.report.gathering import (
    Counted,
    PageSettings,
    count_run,
    gather_pairs,
    picture_notes,
    truth_of,
)
from multimodal.report.record_view import provenance, tiles
from multimodal.report.thumbnails import Album
from multimodal.report.truth import Truth, read_truth
from multimodal.run_folder import CleanedRun, open_run

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["PageSettings", "run_report", "write_run_report"]

TEMPLATES = Path(__file__).parent / "templates"
WORDS = {"keep": "kept", "relabel": "relabelled", "reject": "rejected", "abstain": "unsure"}
# class galleries that are unfolded when the page opens
OPEN_CLASSES = 2
MEGABYTE = 1_000_000
# a page that is still too large after this many tries is delivered as it is, without pictures
TRIES = 3


def write_run_report(
    folder: str | Path,
    *,
    truth: str | Path | None = None,
    settings: PageSettings = PageSettings(),  # noqa: B008
) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.json`` into the folder of a finished run.

    Args:
        folder: Of ``multimodal clean``.
        truth: File of right labels, see `read_truth`; adds precision, recall and reliability.
        settings: How much is shown.

    Returns:
        The two paths.

    Raises:
        ValueError: `folder` holds no finished run, or the truth file is of no use.
    """
    run = open_run(folder)
    html, numbers = run_report(run, truth=truth, settings=settings)
    return write_report(html, numbers, run.path)


def run_report(
    run: CleanedRun,
    *,
    truth: str | Path | None = None,
    settings: PageSettings = PageSettings(),  # noqa: B008
) -> tuple[str, dict[str, Any]]:
    """The page and the same numbers as plain values; one shard is in memory at a time.

    Returns:
        html: The whole page.
        numbers: "summary" (see `AuditNumbers`), "reasons", "gallery" (cards without pictures),
            "notes" and "run" (the record).
    """
    class_names = run.decisions(run.shards[0]).class_names
    known = None if truth is None else read_truth(truth, class_names)
    counted = count_run(run, class_names, known)
    shown = gather_pairs(run, counted, settings)
    right = truth_of(shown.facts, known)
    budget = int(settings.max_megabytes * MEGABYTE)
    for attempt in range(TRIES):
        album = Album(shown.pictures, 0 if attempt == TRIES - 1 else budget)
        maker = CardMaker(
            shown.facts, shown.neighbours, class_names, counted.sentences, right, album
        )
        galleries = class_galleries(maker, shown.classes, shown.picked, counted.moved_here)
        notes = [*shown.notes, *picture_notes(album, shown, settings)]
        html = _page(run, counted, galleries, notes, known)
        excess = len(html.encode("utf-8", "replace")) - settings.max_megabytes * MEGABYTE
        if excess <= 0:
            break
        budget = max(0, int(budget - 1.02 * excess))
    return html, _plain(run, counted, galleries, notes, known)


def _page(
    run: CleanedRun,
    counted: Counted,
    galleries: Sequence[ClassGallery],
    notes: Sequence[str],
    truth: Truth | None,
) -> str:
    numbers = counted.numbers
    sections = [_reason_section(run, counted)]
    if numbers.labelled:
        sections.append(_class_section(numbers))
    if counted.has_classes:
        sections.append(_gallery_section(galleries, notes))
    if numbers.labelled:
        sections += [transition_section(numbers), quality_section(numbers)]
    return render_page(numbers, sections, heading=_heading(run, counted, truth))


def _heading(run: CleanedRun, counted: Counted, truth: Truth | None) -> Heading:
    numbers, source = counted.numbers, str(run.record.get("job", {}).get("source") or "")
    extra = tiles(run)
    if counted.reasons.refused:
        extra.insert(
            0, ("Refused records", count(counted.reasons.refused), "unreadable, see the reasons")
        )
    return Heading(
        title="Cleaning of an image–text corpus",
        subtitle=" · ".join(
            part
            for part in (
                shortened(one_line(source), 90),
                f"{count(numbers.rows)} pairs",
                f"{count(len(numbers.class_names))} classes",
                f"method {counted.method}",
            )
            if part
        ),
        notice=_notice(run, numbers, truth),
        provenance=provenance(run, counted.settings),
        extra=tuple(extra),
        rows_are="pairs",
    )


def _notice(run: CleanedRun, numbers: AuditNumbers, truth: Truth | None) -> str:
    parts = []
    if run.failed:
        parts.append(
            f"{count(len(run.failed))} of {count(len(run.shards))} shards could not be finished;"
            " their records stand as rejected, see the reasons."
        )
    if numbers.detection is None:
        parts.append(
            "The true labels are not known here: the page shows what the method believes, not how"
            " often it is right."
        )
    elif truth is not None and truth.outside:
        parts.append(
            f"{count(truth.outside)} entries of the truth file name no class of the run and are"
            " left out."
        )
    return " ".join(parts)


def _reason_section(run: CleanedRun, counted: Counted) -> Section:
    failures = [{"name": name, "why": why} for name, why in run.failed.items()]
    return Section(
        "reasons",
        "Why",
        "Every pair is in the table with one reason, refused records included; nothing is dropped"
        " silently.",
        render_template(
            "reasons.html",
            {"rows": counted.reasons.table(), "words": WORDS, "failures": failures[:20]},
        ),
    )


def _class_section(numbers: AuditNumbers) -> Section:
    """The table of classes; a long one scrolls, so that the pictures are not pages away."""
    section = class_section(numbers)
    return replace(section, body=render_template("class_table.html", {"table": section.body}))


def _gallery_section(galleries: Sequence[ClassGallery], notes: Sequence[str]) -> Section:
    return Section(
        "gallery",
        "Class by class",
        "The classes with the most doubtful labels first. Each card shows a pair with its text,"
        " the label given → the one suggested, the quality of the given label, and the reason; a"
        " click on its last line shows the nearest neighbours and the evidence.",
        render_template(
            "gallery.html", {"galleries": galleries, "notes": notes, "open": OPEN_CLASSES}
        ),
    )


def render_template(template: str, values: Mapping[str, Any]) -> "Markup":
    """Render a template of this package to escaped HTML."""
    from markupsafe import Markup

    env = environment(TEMPLATES)
    env.filters["plain"] = plain
    return Markup(env.get_template(template).render(values))


def plain(text: str, limit: int) -> str:
    """Text from the corpus on one line, without invisible characters, at most `limit` letters."""
    return shortened(one_line(text), limit)


def _plain(
    run: CleanedRun,
    counted: Counted,
    galleries: Sequence[ClassGallery],
    notes: Sequence[str],
    truth: Truth | None,
) -> dict[str, Any]:
    gallery = [
        {
            "class": one.numbers.name,
            "groups": {
                group.key: [_plain_card(asdict(card)) for card in group.cards]
                for group in one.groups
            },
        }
        for one in galleries
    ]
    return {
        "summary": counted.numbers.as_dict(),
        "reasons": [asdict(row) for row in counted.reasons.table()],
        "gallery": gallery,
        "notes": list(notes),
        "truth": None if truth is None else {"file": truth.path.name, "labels": len(truth)},
        "run": dict(run.record),
    }


def _plain_card(card: dict[str, Any]) -> dict[str, Any]:
    near = [{k: v for k, v in one.items() if k != "picture"} for one in card["neighbours"]]
    return {k: v for k, v in card.items() if k != "picture"} | {"neighbours": near}
