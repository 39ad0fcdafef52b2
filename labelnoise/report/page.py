"""Assembly of the page: sections in, one self-contained HTML file out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelnoise.atomic_files import replacing
from labelnoise.report import charts
from labelnoise.report.numbers import AuditNumbers, Pair

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"
# more lines than this are not read, they only make the file heavy; report.json has all of them
MAX_CLASS_ROWS = 200


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes:
        anchor: Its id in the page, for links.
        title: Its heading.
        lead: One or two sentences that say how to read it.
        body: HTML, already escaped by the template that made it.
    """

    anchor: str
    title: str
    lead: str
    body: "Markup"


@dataclass(frozen=True)
class Heading:
    """What stands above the sections.

    Attributes:
        title: Of the page.
        subtitle: One line under it: data, method.
        notice: What the reader must know before reading any number (injected noise), or "".
        provenance: Name -> value of everything that is needed to run it again.
        extra: Further tiles beside those of the audit, as (label, value, note).
        rows_are: What a row of the audit is, for the bar of verdicts.
    """

    title: str
    subtitle: str = ""
    notice: str = ""
    provenance: Mapping[str, str] | None = None
    extra: Sequence[tuple[str, str, str]] = ()
    rows_are: str = "labels audited"


@cache
def environment(*folders: Path) -> "Environment":
    """Jinja environment with escaping on, undefined names refused and the page's filters.

    Args:
        folders: Template folders searched before this package's own.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "percent": percent,
        "count": count,
        "decimal": decimal,
        "coordinate": coordinate,
    }
    return env


def render(template: str, *, values: Mapping[str, Any], folders: tuple[Path, ...] = ()) -> "Markup":
    """Render one template to escaped HTML."""
    from markupsafe import Markup

    return Markup(environment(*folders).get_template(template).render(values))


def audit_sections(numbers: AuditNumbers) -> list[Section]:
    """The sections every audit has: classes, transition, quality."""
    return [class_section(numbers), transition_section(numbers), quality_section(numbers)]


def class_section(numbers: AuditNumbers) -> Section:
    """The table of classes, worst first."""
    values = {
        "rows": numbers.classes[:MAX_CLASS_ROWS],
        "hidden": max(0, len(numbers.classes) - MAX_CLASS_ROWS),
        "truth": numbers.detection is not None,
    }
    return Section(
        "classes",
        "Classes, worst first",
        "What became of the labels of each class. Quality is the audit's belief that a given"
        " label is right, averaged over the class. A click on a heading sorts.",
        render("classes.html", values=values),
    )


def transition_section(numbers: AuditNumbers) -> Section:
    """Heat maps of given against suggested and true classes, or their top pairs."""
    names = numbers.class_names
    title = "Given → suggested by the audit"
    maps = [_transition(numbers.suggested, numbers.suggested_pairs, names, title)]
    if numbers.true is not None and numbers.detection is not None:
        maps.append(_transition(numbers.true, numbers.true_pairs, names, "Given → true class"))
    return Section(
        "transition",
        "Which class is mistaken for which",
        "Of the labels given as the row's class, the share that the evidence puts into the"
        " column's class. The diagonal agrees with the given label and is left grey.",
        render("transition.html", values={"maps": maps}),
    )


def _transition(
    matrix: Sequence[Sequence[int]],
    pairs: Sequence[Pair] | None,
    names: Sequence[str],
    title: str,
) -> charts.TransitionChart:
    if pairs is not None:
        return charts.pairs_chart(pairs, names, title)
    return charts.transition_chart(matrix, names, title)


def quality_section(numbers: AuditNumbers) -> Section:
    """Histogram, threshold curve with its slider, and reliability where the truth is known."""
    truth = numbers.detection is not None
    values = {
        "histogram": charts.histogram_chart(numbers.quality),
        "curve": charts.threshold_chart(numbers.quality),
        "reliability": (
            charts.reliability_chart(numbers.reliability) if truth and numbers.reliability else None
        ),
        "truth": truth,
        "points": threshold_points(numbers),
        "start": _verdicts_threshold(numbers),
    }
    return Section(
        "quality",
        "Quality and where to draw the line",
        "Labels by quality, and what a single threshold on it would do: keep everything to the"
        " right, look again at everything to the left.",
        render("quality.html", values=values),
    )


def threshold_points(numbers: AuditNumbers) -> list[list[float | None]]:
    """Threshold, kept share, precision, recall of each point of the curve, for the slider."""
    curve = numbers.quality
    nothing: list[float | None] = [None] * len(curve.thresholds)
    columns = (curve.thresholds, curve.kept, curve.precision or nothing, curve.recall or nothing)
    return [
        [None if value is None else round(value, 4) for value in point]
        for point in zip(*columns, strict=True)
    ]


def _verdicts_threshold(numbers: AuditNumbers) -> int:
    """The point of the curve that keeps about as many labels as the verdicts do."""
    kept = sum(row.keep for row in numbers.classes) / max(1, numbers.labelled)
    curve = numbers.quality.kept
    return min(range(len(curve)), key=lambda i: abs(curve[i] - kept))


def render_page(numbers: AuditNumbers, sections: Sequence[Section], *, heading: Heading) -> str:
    """The whole page as one HTML string that refers to nothing outside itself."""
    values = {"numbers": numbers, "sections": sections, "heading": heading}
    return str(render("page.html", values=values))


def write_report(html: str, numbers: Mapping[str, Any], folder: Path) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.json`` into `folder`, each atomically.

    Returns:
        The two paths.
    """
    page, data = folder / "report.html", folder / "report.json"
    text = json.dumps(finite(numbers), indent=1, allow_nan=False, ensure_ascii=False)
    for path, content in ((page, html), (data, text + "\n")):
        with replacing(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return page, data


def finite(value: Any) -> Any:
    """The same plain values with None for NaN and infinity, which JSON does not know."""
    if isinstance(value, Mapping):
        return {str(key): finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def percent(share: float | None, digits: int = 1) -> str:
    """A share as per cent; a dash where there is none."""
    if share is None or not isfinite(share):
        return "–"
    return f"{100 * share:.{digits}f} %"


def count(number: int) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{number:,}".replace(",", "\u202f")


def decimal(value: float | None, digits: int = 2) -> str:
    """A number with a fixed number of decimals; a dash where there is none."""
    return "–" if value is None or not isfinite(value) else f"{value:.{digits}f}"


def coordinate(value: float) -> str:
    """A drawing coordinate: two decimals are finer than a pixel, more only weigh."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
