"""The page of one local cluster: facts, sweep profile, picture, members; one static file."""

from collections.abc import Mapping, Sequence
from math import isfinite, log10
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graphnoise.local_clusters.cluster import Cluster
from graphnoise.report.cluster_drawing import HALF, draw_cluster, short_name
from graphnoise.report.cluster_view import ClusterView
from graphnoise.report.cluster_words import (
    certificate_sentence,
    certificate_short,
    convergence,
    made_by,
    number,
    spent,
)
from labelnoise.atomic_files import replacing
from labelnoise.report import Section
from labelnoise.report.charts import Chart, Frame, Line, Rectangle
from labelnoise.report.page import Heading, count, decimal, render

# searched before the templates of the audit page: `summary.html` takes the place of its tiles
FOLDERS = (Path(__file__).parent / "templates" / "cluster",)
# finer curves only weigh; the lowest point is always among those drawn
MAX_POINTS = 400
# from here on sizes are better read by their powers of ten
LOGARITHMIC_FROM = 60
# ids that fit into the subtitle
MAX_SEEDS = 6


def cluster_page(cluster: Cluster, view: ClusterView, *, provenance: Mapping[str, str]) -> str:
    """The whole page as one HTML string that refers to nothing outside itself.

    Args:
        cluster: The answer to a query.
        view: Its surroundings, see `view_cluster`.
        provenance: Name -> value of what is needed to ask again (command, versions, ...).
    """
    names = ", ".join(str(seed) for seed in cluster.seeds[:MAX_SEEDS].tolist())
    more = len(cluster.seeds) - MAX_SEEDS
    seeds = f"{names} and {more} more" if more > 0 else names
    heading = Heading(
        title=f"Cluster around {seeds}",
        subtitle=f"{view.graph} · {count(view.n_nodes)} nodes · {made_by(cluster)}",
        notice="" if cluster.converged else f"Not finished: {convergence(cluster)[4:]}.",
        provenance=provenance,
    )
    values = {
        "heading": heading,
        "sections": [
            picture_section(cluster, view),
            sweep_section(cluster),
            member_section(cluster, view),
        ],
        "tiles": tiles(cluster, view),
        "certificate": certificate_sentence(cluster),
        "notes": cluster.notes,
    }
    return str(render("cluster_page.html", values=values, folders=FOLDERS))


def write_cluster_page(
    cluster: Cluster, view: ClusterView, path: Path, *, provenance: Mapping[str, str]
) -> None:
    """Write the page; a reader sees the old file or the whole new one."""
    html = cluster_page(cluster, view, provenance=provenance)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def tiles(cluster: Cluster, view: ClusterView) -> list[tuple[str, str, str]]:
    """What the reader sees first, as (label, value, note)."""
    reached = f"of {count(view.n_nodes)} nodes, {100 * cluster.touched / view.n_nodes:.2g} %"
    milliseconds = 1000 * cluster.seconds
    mass = f"; {spent(cluster)} mass was spent" if spent(cluster) else ""
    inside = "share of its volume that leads out"
    return [
        ("Members", count(len(cluster.nodes)), f"rounded by {cluster.rounding}"),
        ("Conductance", decimal(cluster.conductance, 3), inside),
        (
            "Volume",
            number(cluster.volume),
            f"sum of degrees{mass}",
        ),
        ("Nodes reached", count(cluster.touched), reached),
        ("Converged", "yes" if cluster.converged else "no", certificate_short(cluster)),
        (
            "Time",
            f"{milliseconds:.1f} ms" if isfinite(milliseconds) else "–",
            f"{count(cluster.edges)} edge visits",
        ),
    ]


def picture_section(cluster: Cluster, view: ClusterView) -> Section:
    """The top members and their neighbours outside, drawn."""
    members = sum(node.member for node in view.drawn)
    outside = len(view.drawn) - members
    values = {
        "drawing": draw_cluster(view),
        "half": HALF,
        "short": short_name,
        "labels": cluster.labels is not None,
        "edges": len(view.edges),
        "hidden": view.hidden_edges,
        "description": f"{members} members around {len(cluster.seeds)} seed nodes, with"
        f" {outside} neighbours outside and {len(view.edges)} edges",
    }
    part = (
        f"The {members} members of highest score of {count(view.size)}"
        if members < view.size
        else "All members"
    )
    around = "none of them has a neighbour outside"
    if outside:
        around = f"on the outermost ring the {outside} neighbours outside with most links to them"
    return Section(
        "picture",
        "The cluster among its neighbours",
        f"{part}, in rings by their number of steps from the seed; {around}. Strong colour is a"
        " high score.",
        render("subgraph.html", values=values, folders=FOLDERS),
    )


def sweep_section(cluster: Cluster) -> Section:
    """Conductance of every prefix of the ranking, with the cluster's size marked."""
    chart = sweep_chart(cluster)
    values = {"chart": chart, "size": len(cluster.nodes), "lowest": lowest_prefix(cluster)}
    return Section(
        "sweep",
        "Sweep profile",
        "Nodes are taken in descending order of score, one after the other; the curve is the"
        " conductance of what has been taken. A deep valley is a cluster with a clear edge; a flat"
        " curve says that the size is a matter of taste.",
        render("sweep.html", values=values, folders=FOLDERS),
    )


def member_section(cluster: Cluster, view: ClusterView) -> Section:
    """The table of members."""
    hidden = view.size - len(view.listed)
    values = {"rows": view.listed, "labels": cluster.labels is not None, "hidden": hidden}
    lead = "Highest score first. A click on a heading sorts."
    return Section(
        "members", "Members", lead, render("members.html", values=values, folders=FOLDERS)
    )


def lowest_prefix(cluster: Cluster) -> tuple[int, float] | None:
    """Size and conductance of the best prefix; None where there is no finite one."""
    curve = cluster.sweep.conductance
    finite = np.flatnonzero(np.isfinite(curve))
    if not len(finite):
        return None
    best = int(finite[curve[finite].argmin()])
    return int(cluster.sweep.size[best]), float(curve[best])


def sweep_chart(cluster: Cluster) -> Chart:
    """Conductance against size; sizes on a logarithmic axis where there are many."""
    frame = Frame(width=1080.0, height=280.0)
    size, curve = cluster.sweep.size, cluster.sweep.conductance
    largest = int(size[-1]) if len(size) else 1
    logarithmic = largest >= LOGARITHMIC_FROM

    def x(value: float) -> float:
        if logarithmic:
            return frame.x(log10(value) / log10(largest))
        return frame.x((value - 1) / max(1, largest - 1))

    kept = shown_points(size, curve)
    top = 1.0 if not len(kept) or curve[kept].max() > 0.5 else 0.5
    points = [(x(float(size[i])), frame.y(float(curve[i]) / top)) for i in kept]
    marks = []
    if 1 <= len(cluster.nodes) <= largest:
        place, text = x(len(cluster.nodes)), f"the cluster: {len(cluster.nodes)} nodes"
        marks.append(
            Rectangle(place - 0.75, frame.y(1), 1.5, frame.y(0) - frame.y(1), "chosen", text)
        )
    y_ticks = [(frame.y(k / 5), f"{top * k / 5:.1f}") for k in range(6)]
    x_ticks = [(x(value), count(value)) for value in size_ticks(largest, logarithmic)]
    lines = [Line(points, "series0", "conductance")] if points else []
    description = f"Conductance of the first 1 to {largest} nodes by score."
    return Chart(frame, marks, lines, x_ticks, y_ticks, description)


def shown_points(size: NDArray[np.int64], curve: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which points of the curve are drawn: about evenly spaced on the axis, and the lowest."""
    finite = np.flatnonzero(np.isfinite(curve))
    if len(finite) <= MAX_POINTS:
        return finite
    even = np.unique(np.geomspace(1, len(finite), MAX_POINTS).astype(np.int64)) - 1
    return np.unique(np.append(finite[even], finite[curve[finite].argmin()]))


def size_ticks(largest: int, logarithmic: bool) -> Sequence[int]:
    """Sizes written under the axis."""
    if logarithmic:
        powers = [k * 10**p for p in range(len(str(largest))) for k in (1, 2, 5)]
        # the last tick may not run into the end of the axis
        return [value for value in powers if value <= largest]
    step = max(1, largest // 8)
    return range(1, largest + 1, step)
