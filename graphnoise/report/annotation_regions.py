"""Where in the space of texts the annotator can be trusted: one row and one dot per region."""

from dataclasses import asdict, dataclass
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphnoise.label_free.stored import StoredAnnotation
from graphnoise.report.annotation_ledger import FOLDERS, right_labels, second_opinions
from graphnoise.report.cards import shortened
from labelnoise.report import Section
from labelnoise.report.page import percent, render

# upper ends of the shades of reliability
SHADES = (0.5, 0.65, 0.8, 0.9, 1.0)
WIDTH, HEIGHT, MARGIN = 720.0, 420.0, 34.0
SMALLEST, LARGEST = 8.0, 28.0
# many regions take smaller dots, or they hide each other
DOTS = 120.0
# a page with more is not read; report.json has all of them
MAX_ROWS, MAX_DOTS = 100, 300
MAX_EXEMPLAR = 110
# answers that pull a region towards all others before it is called bad: one answer proves little
PULL = 4


@dataclass(frozen=True)
class Region:
    """Nodes with similar texts.

    Attributes:
        number: Its place in the table, worst first, from 1.
        region: Its number in the tables of the run.
        size, asked, answered: Nodes.
        reliability: Mean estimated chance that the annotator's labels there are right; None where
            nothing was answered.
        agreement: Second opinion -> share of the answered nodes where it agrees, or None.
        right: Share of right answers, or None without truth.
        common: Class that the classifier gives most of its nodes, and the share.
        exemplar: Text of the node next to its middle, "" where there is none.
        exemplar_id: Its id.
        x, y: Of its centre on the map.
    """

    number: int
    region: int
    size: int
    asked: int
    answered: int
    reliability: float | None
    agreement: dict[str, float | None]
    right: float | None
    common: tuple[str, float]
    exemplar: str
    exemplar_id: str
    x: float
    y: float


@dataclass(frozen=True)
class Dot:
    """A region on the drawing: place, radius, shade 0 .. 4 (None: no answer), hover text."""

    number: int
    x: float
    y: float
    radius: float
    shade: int | None
    text: str


def regions(stored: StoredAnnotation, truth: NDArray[np.int64] | None) -> list[Region]:
    """One entry per region, the least reliable first, those without an answer last.

    Few answers prove little: for the order, and only for it, each region counts `PULL` answers
    of usual reliability besides its own.

    Args:
        stored: A finished run.
        truth: Right class ``[N]``, -1 where unknown; None where nothing can be judged.
    """
    opinions = second_opinions(stored)
    right = None if truth is None else right_labels(stored.run.view.given, truth)
    found = [_region(stored, members, opinions, right) for members in _members(stored)]
    known = [one for one in found if one["reliability"] is not None]
    answers = max(1, sum(one["answered"] for one in known))
    usual = sum(one["answered"] * one["reliability"] for one in known) / answers

    def order(one: dict[str, Any]) -> tuple[float, int, int]:
        if one["reliability"] is None:
            return 2.0, -one["size"], one["region"]
        n = one["answered"]
        pulled = (n * one["reliability"] + PULL * usual) / (n + PULL)
        return pulled, -one["size"], one["region"]

    found.sort(key=order)
    return [Region(number=i, **one) for i, one in enumerate(found, start=1)]


def region_section(found: list[Region]) -> Section:
    """The map and the table."""
    views = list(found[0].agreement) if found else []
    values = {
        "dots": region_dots(found[:MAX_DOTS]),
        "rows": found[:MAX_ROWS],
        "hidden": max(0, len(found) - MAX_ROWS),
        "views": views,
        "truth": any(one.right is not None for one in found),
        "shade": shade,
        "names": shade_names(),
        "width": WIDTH,
        "height": HEIGHT,
    }
    return Section(
        "regions",
        "Where the annotator can be trusted",
        "An annotator's errors gather in regions of similar texts. Each dot is a region, its area"
        " the number of nodes, its number the row of the table, worst first; dots lie close where"
        " texts are alike. Reliability is estimated without any true label.",
        render("regions.html", values=values, folders=FOLDERS),
    )


def region_dots(found: list[Region]) -> list[Dot]:
    """Dots on the drawing, large ones first so that none is hidden."""
    if not found:
        return []
    x, y = np.array([one.x for one in found]), np.array([one.y for one in found])
    largest = max(one.size for one in found)
    widest = max(2 * SMALLEST, min(LARGEST, DOTS / sqrt(len(found))))
    across, up = _stretched(x, WIDTH), HEIGHT - _stretched(y, HEIGHT)
    dots = [
        Dot(
            one.number,
            float(across[i]),
            float(up[i]),
            max(SMALLEST, widest * sqrt(one.size / largest)),
            shade(one.reliability),
            _hover(one),
        )
        for i, one in enumerate(found)
    ]
    return sorted(dots, key=lambda dot: (-dot.radius, dot.number))


def shade(reliability: float | None) -> int | None:
    """Which of the `SHADES` a reliability has."""
    if reliability is None:
        return None
    return int(np.searchsorted(SHADES[:-1], reliability, side="right"))


def shade_names() -> list[str]:
    """The shades in words, the lowest first."""
    ends = [f"{100 * value:.0f}" for value in SHADES]
    middle = [f"{low}–{high} %" for low, high in pairwise(ends[:-1])]
    return [f"below {ends[0]} %", *middle, f"{ends[-2]} % and more"]


def plain_regions(found: list[Region]) -> list[dict[str, Any]]:
    """The same as plain values, for report.json."""
    return [asdict(one) for one in found]


def _members(stored: StoredAnnotation) -> list[NDArray[np.int64]]:
    """Nodes of each region."""
    region = stored.nodes["region"]
    order = np.argsort(region, kind="stable")
    order = order[region[order] >= 0]
    if not len(order):
        return []
    return np.split(order, np.flatnonzero(np.diff(region[order])) + 1)


def _region(
    stored: StoredAnnotation,
    members: NDArray[np.int64],
    opinions: dict[str, NDArray[np.float64]],
    right: NDArray[np.float64] | None,
) -> dict[str, Any]:
    view, nodes = stored.run.view, stored.nodes
    asked = members[nodes["asked"][members] >= 0]
    answered = asked[view.given[asked] >= 0]
    counts = np.bincount(view.predicted[members], minlength=len(view.class_names))
    middle = members[nodes["exemplar"][members]]
    exemplar = int(middle[0]) if len(middle) else int(members[0])
    text = "" if view.texts is None else shortened(view.texts[exemplar], limit=MAX_EXEMPLAR)
    return {
        "region": int(nodes["region"][members[0]]),
        "size": len(members),
        "asked": len(asked),
        "answered": len(answered),
        "reliability": _mean(nodes["reliability"][answered]),
        "agreement": {
            who: _mean(_same(choice[answered], view.given[answered]))
            for who, choice in opinions.items()
        },
        "right": None if right is None else _mean(right[answered]),
        "common": (view.class_names[int(counts.argmax())], float(counts.max() / len(members))),
        "exemplar": text,
        "exemplar_id": str(view.ids[exemplar]),
        "x": float(nodes["map_x"][members].mean()),
        "y": float(nodes["map_y"][members].mean()),
    }


def _same(choice: NDArray[np.float64], given: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(choice), (choice == given).astype(np.float64), np.nan)


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _stretched(values: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    low, high = values.min(), values.max()
    if high == low:
        return np.full(len(values), length / 2)
    return MARGIN + (values - low) / (high - low) * (length - 2 * MARGIN)


def _hover(one: Region) -> str:
    told = "no answer" if one.reliability is None else f"reliability {percent(one.reliability, 0)}"
    return (
        f"Region {one.number}: {one.size} nodes, {one.answered} answers, {told},"
        f" mostly {one.common[0]}"
    )
