"""Radial layout of a node and its surroundings: no forces, so the same graph looks the same."""

from dataclasses import dataclass
from math import cos, pi, sin

from graphnoise.report.view import GraphView

# more marks than this are not read; the card says how many neighbours it leaves out
MAX_NEIGHBOURS = 14
MAX_SECOND = 3
INNER, OUTER = 78.0, 128.0
CENTRE_SIZE, NEAR_SIZE, FAR_SIZE = 17.0, 11.5, 4.5
THINNEST, THICKEST = 1.0, 5.5


@dataclass(frozen=True)
class Mark:
    """A drawn node: place and radius, class, whether its label was given, and what hover says."""

    x: float
    y: float
    radius: float
    label: int
    given: bool
    text: str


@dataclass(frozen=True)
class Stroke:
    """A drawn edge between two places; `width` grows with influence."""

    x1: float
    y1: float
    x2: float
    y2: float
    width: float
    kind: str


@dataclass(frozen=True)
class EgoDrawing:
    """Marks and strokes around the centre at (0, 0), and how many neighbours are not drawn."""

    marks: tuple[Mark, ...]
    strokes: tuple[Stroke, ...]
    left_out: int


def ego_drawing(view: GraphView, node: int) -> EgoDrawing:
    """Lay out `node` in the middle, its strongest neighbours around it, theirs outside.

    Neighbours stand sorted by class, so that a majority shows as an arc of one colour.

    Args:
        view: The graph.
        node: Row of the node in the middle.
    """
    neighbours, influence = view.neighbours(node)
    nearest = neighbours[:MAX_NEIGHBOURS]
    strongest = max(influence[:MAX_NEIGHBOURS], default=1.0)
    width = {
        int(j): THINNEST + (THICKEST - THINNEST) * float(w) / strongest
        for j, w in zip(nearest, influence, strict=False)
    }
    ring = sorted(width, key=lambda j: (int(view.shown[j]), j))
    place = {j: _on_circle(INNER, i / len(ring)) for i, j in enumerate(ring)}
    strokes = [Stroke(0, 0, *place[j], width[j], "spoke") for j in ring]
    strokes += _chords(view, ring, place)
    outside, outside_strokes = _second_ring(view, node, ring, place)
    marks = [_mark(view, j, place[j], NEAR_SIZE) for j in ring]
    centre = _mark(view, node, (0.0, 0.0), CENTRE_SIZE)
    return EgoDrawing(
        (*outside, *marks, centre),
        (*outside_strokes, *strokes),
        len(neighbours) - len(nearest),
    )


def _second_ring(
    view: GraphView, node: int, ring: list[int], place: dict[int, tuple[float, float]]
) -> tuple[list[Mark], list[Stroke]]:
    drawn, marks, strokes = {node, *ring}, [], []
    for i, j in enumerate(ring):
        further = [int(k) for k in view.neighbours(j)[0] if int(k) not in drawn][:MAX_SECOND]
        drawn.update(further)
        for n, k in enumerate(further):
            # the fans of neighbours beside each other must not run into one another
            spread = (n - (len(further) - 1) / 2) * min(0.05, 0.8 / (len(ring) * MAX_SECOND))
            spot = _on_circle(OUTER, i / len(ring) + spread)
            marks.append(_mark(view, k, spot, FAR_SIZE))
            strokes.append(Stroke(*place[j], *spot, THINNEST, "far"))
    return marks, strokes


def _chords(
    view: GraphView, ring: list[int], place: dict[int, tuple[float, float]]
) -> list[Stroke]:
    chords = []
    for j in ring:
        for k in view.neighbours(j)[0].tolist():
            if k > j and k in place:
                chords.append(Stroke(*place[j], *place[k], THINNEST, "chord"))
    return chords


def _mark(view: GraphView, node: int, place: tuple[float, float], radius: float) -> Mark:
    given = bool(view.given[node] >= 0)
    label = int(view.shown[node])
    text = f"{view.ids[node]}: {'given' if given else 'predicted'} {view.class_names[label]}"
    return Mark(*place, radius, label, given, text)


def _on_circle(radius: float, turn: float) -> tuple[float, float]:
    angle = 2 * pi * (turn - 0.25)
    return radius * cos(angle), radius * sin(angle)
