"""Layout of a cluster in rings around its seeds: no forces, so the same cluster looks the same."""

from collections import deque
from dataclasses import dataclass
from math import atan2, cos, pi, sin, sqrt

from graphnoise.report.cluster_view import ClusterView, DrawnNode

# in units of the drawing: half its width, and the rings of members and of outsiders
HALF, INNER, OUTER, SMALLEST_GAP = 300.0, 236.0, 278.0, 52.0
SEED_SIZE, MEMBER_SIZE, OUTSIDE_SIZE = 13.0, 9.0, 5.5
# hops beyond this share the last ring
MAX_HOPS = 4
PASSES = 12
FAINTEST = 0.3
LONGEST_NAME = 14


@dataclass(frozen=True)
class PlacedNode:
    """A drawn node: place, radius, opacity and what hover says."""

    node: DrawnNode
    x: float
    y: float
    radius: float
    opacity: float
    text: str


@dataclass(frozen=True)
class Link:
    """A drawn edge; `kind` is "inside" between members, "leaving" otherwise."""

    x1: float
    y1: float
    x2: float
    y2: float
    kind: str


@dataclass(frozen=True)
class ClusterDrawing:
    """Everything with its place; the seeds are in the middle, outsiders on the outermost ring."""

    nodes: tuple[PlacedNode, ...]
    links: tuple[Link, ...]


def draw_cluster(view: ClusterView) -> ClusterDrawing:
    """Lay the drawn part of a cluster out: a ring for each number of hops from the seeds.

    Within a ring, neighbours stand close: each node moves to the mean direction of those it is
    linked to, a few times over, and the ring is then spaced evenly.
    """
    near = _neighbours(view)
    rings = _rings(view, near)
    radii = _radii([len(ring) for ring in rings])
    turn = _turns(rings, near)
    place = {
        i: (radius * cos(turn[i]), radius * sin(turn[i]))
        for ring, radius in zip(rings, radii, strict=True)
        for i in ring
    }
    strongest = max((one.score for one in view.drawn if not one.seed), default=0.0)
    nodes = tuple(
        _placed(node, place[i], strongest or node.score or 1.0) for i, node in enumerate(view.drawn)
    )
    links = tuple(
        Link(
            *place[i],
            *place[j],
            "inside" if view.drawn[i].member and view.drawn[j].member else "leaving",
        )
        for i, j in view.edges
    )
    # what leaves the cluster is drawn first, so that it never covers the inside
    return ClusterDrawing(nodes, tuple(sorted(links, key=lambda link: link.kind, reverse=True)))


def short_name(text: str) -> str:
    """An id that fits beside a mark."""
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"


def _neighbours(view: ClusterView) -> list[list[int]]:
    near: list[list[int]] = [[] for _ in view.drawn]
    for i, j in view.edges:
        near[i].append(j)
        near[j].append(i)
    return near


def _rings(view: ClusterView, near: list[list[int]]) -> list[list[int]]:
    """Seeds, members by hops, outsiders; members out of reach join the last ring of members."""
    hops = {i: 0 for i, node in enumerate(view.drawn) if node.seed}
    waiting = deque(hops)
    while waiting:
        i = waiting.popleft()
        for j in near[i]:
            if j not in hops and view.drawn[j].member:
                hops[j] = min(hops[i] + 1, MAX_HOPS)
                waiting.append(j)
    last = max(hops.values(), default=0)
    rings: list[list[int]] = [[] for _ in range(max(last, 1) + 2)]
    for i, node in enumerate(view.drawn):
        if node.member or node.seed:
            rings[hops.get(i, max(last, 1))].append(i)
        else:
            rings[-1].append(i)
    return rings


def _radii(counts: list[int]) -> list[float]:
    """Radius of each ring: the area inside grows with the nodes inside, rings stay apart."""
    middle = 0.0 if counts[0] <= 1 else min(60.0, 12.0 + 5.0 * counts[0])
    inside, so_far, radii = sum(counts[:-1]), counts[0], [middle]
    for ring, count in enumerate(counts[1:-1], start=1):
        so_far += count
        wanted = INNER * sqrt(so_far / max(1, inside))
        room = INNER - SMALLEST_GAP * (len(counts) - 2 - ring)
        radii.append(min(max(wanted, radii[-1] + SMALLEST_GAP), max(room, radii[-1] + 30.0)))
    return [*radii, OUTER]


def _turns(rings: list[list[int]], near: list[list[int]]) -> dict[int, float]:
    turn: dict[int, float] = {}
    for ring in rings:
        turn |= {i: 2 * pi * k / max(1, len(ring)) for k, i in enumerate(ring)}
    # a single seed stands in the middle and pulls nowhere
    still = set(rings[0]) if len(rings[0]) == 1 else set()
    for _ in range(PASSES):
        for ring in rings:
            _order_ring(ring, near, turn, still)
    return turn


def _order_ring(
    ring: list[int], near: list[list[int]], turn: dict[int, float], still: set[int]
) -> None:
    """Sort one ring by the mean direction of its nodes' neighbours and space it evenly."""
    wanted = {}
    for i in ring:
        around = [j for j in near[i] if j not in still]
        x = sum(cos(turn[j]) for j in around) + 0.5 * cos(turn[i])
        y = sum(sin(turn[j]) for j in around) + 0.5 * sin(turn[i])
        wanted[i] = atan2(y, x)
    ordered = sorted(ring, key=lambda i: (wanted[i], i))
    step = 2 * pi / max(1, len(ordered))
    # the rotation that moves the ring least from where its nodes want to be
    shift = [wanted[i] - step * k for k, i in enumerate(ordered)]
    start = atan2(sum(map(sin, shift)), sum(map(cos, shift)))
    for k, i in enumerate(ordered):
        turn[i] = start + step * k


def _placed(node: DrawnNode, place: tuple[float, float], strongest: float) -> PlacedNode:
    size = SEED_SIZE if node.seed else MEMBER_SIZE if node.member else OUTSIDE_SIZE
    # scores fall off fast: their square root keeps the tail visible
    share = min(1.0, sqrt(max(0.0, node.score) / strongest))
    opacity = FAINTEST + (1 - FAINTEST) * share if node.member else 1.0
    label = {1: "label 1", 0: "label 0"}.get(node.label, "label unknown")
    where = f"score {node.score:.3g}" if node.member else "not in the cluster"
    role = "seed, " if node.seed else ""
    text = f"{node.id}: {role}{where}, {label}, degree {node.degree:g}"
    return PlacedNode(node, *place, size, opacity, text)
