"""The page of two runs: what changed from one to the other, with examples."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelnoise.audit import VERDICTS
from labelnoise.report.page import Heading, Section, count, percent
from multimodal.pair_facts import PairFacts
from multimodal.report.comparison import Comparison
from multimodal.report.gallery import MAX_CAPTION, one_line, shortened, wording
from multimodal.report.page import WORDS, render_template
from multimodal.report.thumbnails import CARD_SIDE, Album, read_pictures
from multimodal.run_folder import CleanedRun

if TYPE_CHECKING:
    from multimodal.pair_facts import Place

MAX_CLASSES = 60
BUDGET = 6_000_000


def comparison_page(comparison: Comparison, a: CleanedRun, b: CleanedRun) -> str:
    """One self-contained HTML page; pictures are read from the corpus of `a`, where it is there."""
    sections = [
        Section(
            "verdicts",
            "From verdict to verdict",
            "Pairs of both runs by the verdict in A (row) and in B (column). The diagonal agrees.",
            render_template("diff_verdicts.html", _verdicts(comparison)),
        ),
        Section(
            "changes",
            "What changed",
            "For each kind of change the pairs whose quality changed most.",
            render_template("diff_changes.html", _changes(comparison, a)),
        ),
        Section(
            "classes",
            "Class by class",
            "Given classes, the most changed first: labels kept and flagged in A → in B.",
            render_template(
                "diff_classes.html",
                {"rows": comparison.classes[:MAX_CLASSES], "all": len(comparison.classes)},
            ),
        ),
        Section(
            "settings",
            "What differs between the runs",
            "Settings, encoders, versions and input as each run recorded them.",
            render_template("diff_settings.html", {"rows": comparison.settings}),
        ),
    ]
    heading = Heading(
        title="Two cleanings of one corpus",
        subtitle=f"A: {_named(a)} · B: {_named(b)}",
        notice=_notice(comparison),
        provenance={"A": _command(a), "B": _command(b)},
    )
    values = {"sections": sections, "heading": heading, "tiles": _tiles(comparison)}
    return str(render_template("diff_page.html", values))


def _tiles(comparison: Comparison) -> list[tuple[str, str, str]]:
    changed = comparison.both - round(comparison.same * comparison.both)
    tiles = [
        ("Pairs in both", count(comparison.both), "compared by id"),
        ("Decided alike", percent(comparison.same), f"{count(changed)} decided differently"),
    ]
    if comparison.kappa is not None:
        note = "Cohen's kappa of what is flagged; 0 is chance"
        tiles.append(("Agreement", f"{comparison.kappa:.2f}", note))
    if comparison.rank_correlation is not None:
        note = "Spearman's correlation of the qualities"
        tiles.append(("Ranking", f"{comparison.rank_correlation:.2f}", note))
    return tiles


def _notice(comparison: Comparison) -> str:
    alone = [
        f"{count(rows)} pairs are in {name} only"
        for rows, name in ((comparison.only_a, "A"), (comparison.only_b, "B"))
        if rows
    ]
    return " and ".join(alone) + "." if alone else ""


def _verdicts(comparison: Comparison) -> dict[str, Any]:
    most = max(
        (n for i, row in enumerate(comparison.verdicts) for j, n in enumerate(row) if i != j),
        default=0,
    )
    return {
        "names": [WORDS[name] for name in VERDICTS],
        "table": comparison.verdicts,
        "most": max(1, most),
    }


def _changes(comparison: Comparison, a: CleanedRun) -> dict[str, Any]:
    facts: dict[Place, PairFacts] = {
        place: first
        for change in comparison.changes
        for place, (first, _) in zip(change.places, change.examples, strict=True)
    }
    note = ""
    try:
        pictures = read_pictures(a.corpus(), facts, dict.fromkeys(facts, (CARD_SIDE,)))
        album: Album | None = Album(pictures, BUDGET)
    except (OSError, ValueError, ImportError) as error:
        album, note = None, f"No pictures: the corpus cannot be opened again ({error})."
    groups = [
        {
            "before": WORDS[change.before],
            "after": WORDS[change.after],
            "rows": change.rows,
            "cards": [
                _card(first, second, comparison.class_names, _picture(album, place))
                for place, (first, second) in zip(change.places, change.examples, strict=True)
            ],
        }
        for change in comparison.changes
    ]
    return {"groups": groups, "note": note}


def _picture(album: Album | None, place: "Place") -> tuple[str, str]:
    if album is None:
        return "", "no picture"
    uri = album.take(place, CARD_SIDE)
    return uri, "" if uri else album.why_not(place)


def _card(
    first: PairFacts, second: PairFacts, names: tuple[str, ...], picture: tuple[str, str]
) -> Mapping[str, Any]:
    def side(fact: PairFacts) -> dict[str, Any]:
        return {
            "verdict": fact.verdict,
            "word": WORDS[fact.verdict],
            "label": names[fact.label] if fact.label >= 0 else "",
            "quality": fact.quality,
            "code": fact.reason,
        }

    return {
        "id": first.id,
        "caption": shortened(wording(first), MAX_CAPTION),
        "given": names[first.given] if first.given >= 0 else "",
        "picture": picture[0],
        "no_picture": picture[1],
        "a": side(first),
        "b": side(second),
    }


def _named(run: CleanedRun) -> str:
    method = run.record.get("method", "")
    return shortened(one_line(f"{Path(run.path).name} ({method})"), 60)


def _command(run: CleanedRun) -> str:
    return str(run.record.get("command", ""))
