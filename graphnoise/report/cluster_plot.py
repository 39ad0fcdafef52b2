"""The picture and the sweep profile of a cluster as one image file, by matplotlib."""

from pathlib import Path
from typing import Any

import numpy as np

from graphnoise.local_clusters.cluster import Cluster
from graphnoise.report.cluster_drawing import HALF, draw_cluster, short_name
from graphnoise.report.cluster_page import LOGARITHMIC_FROM, lowest_prefix, shown_points
from graphnoise.report.cluster_view import ClusterView
from labelnoise.atomic_files import replacing

KINDS = (".png", ".svg", ".pdf")
INK, FAINT, GREY = "#1b1f24", "#c9ced4", "#59626d"
ONE, ZERO, UNKNOWN = "#1f5f99", "#d98324", "#6d7680"
COLOURS = {1: ONE, 0: ZERO, -1: UNKNOWN}


def plot_cluster(cluster: Cluster, view: ClusterView, path: Path) -> None:
    """Draw the local subgraph and the sweep profile side by side.

    Args:
        cluster: The answer to a query.
        view: Its surroundings, see `view_cluster`.
        path: Where to; the suffix says how.

    Raises:
        ValueError: The suffix is none of ``.png``, ``.svg``, ``.pdf``.
        ImportError: matplotlib is not installed.
    """
    if path.suffix not in KINDS:
        raise ValueError(f"--plot must end in one of {list(KINDS)}, got {path.name!r}")
    try:
        # a figure of its own, not pyplot: no window system, nothing global
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("--plot needs matplotlib: pip install 'graphnoise[plot]'") from None
    # text as text and fixed ids: the same cluster gives the same file
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "graphnoise"}):
        figure = Figure(figsize=(13, 6.2), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1))
        _draw_network(left, cluster, view)
        _draw_sweep(right, cluster)
        path.parent.mkdir(parents=True, exist_ok=True)
        dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
        with replacing(path) as temporary:
            figure.savefig(
                temporary, format=path.suffix[1:], dpi=150, metadata=dates.get(path.suffix)
            )


def _draw_network(axes: Any, cluster: Cluster, view: ClusterView) -> None:
    drawing = draw_cluster(view)
    for link in drawing.links:
        inside = link.kind == "inside"
        axes.plot(
            [link.x1, link.x2], [link.y1, link.y2], color=GREY if inside else FAINT,
            linewidth=0.6, alpha=0.4 if inside else 1, linestyle="-" if inside else ":", zorder=1,
        )  # fmt: skip
    for one in drawing.nodes:
        node = one.node
        known = cluster.labels is not None or not node.member
        # the area of a mark is in square points, the radius in units of the drawing
        if node.member or node.seed:
            axes.scatter(
                one.x, one.y, s=(one.radius + 1.5) ** 2 * 1.4, zorder=3, facecolors="white",
                edgecolors=INK, linewidths=2.4 if node.seed else 0.9,
            )  # fmt: skip
        axes.scatter(
            one.x, one.y, s=one.radius**2 * 1.4, zorder=4,
            color=COLOURS[node.label] if known else ONE, alpha=one.opacity, linewidths=0,
        )  # fmt: skip
        if node.member or node.seed:
            # ids are the user's: a dollar sign in one is no formula
            axes.text(
                one.x, one.y + one.radius + 6, short_name(node.id), fontsize=6.5, color=INK,
                ha="center", va="top", parse_math=False, zorder=5,
            )  # fmt: skip
    axes.set(xlim=(-HALF, HALF), ylim=(HALF, -HALF), aspect="equal")
    axes.axis("off")
    shown = sum(node.member for node in view.drawn)
    axes.set_title(f"{shown} of {view.size} members, and neighbours outside", fontsize=11)
    _legend(axes, labels=cluster.labels is not None)


def _legend(axes: Any, *, labels: bool) -> None:
    names = {"label 1": ONE, "label 0": ZERO, "label unknown": UNKNOWN}
    names = names if labels else {"member": ONE, "outside": UNKNOWN}
    for name, colour in names.items():
        axes.scatter([], [], s=40, color=colour, label=name)
    axes.scatter([], [], s=70, facecolors="none", edgecolors=INK, linewidths=2.4, label="seed")
    axes.legend(loc="lower center", ncols=4, frameon=False, fontsize=9, bbox_to_anchor=(0.5, -0.06))


def _draw_sweep(axes: Any, cluster: Cluster) -> None:
    sizes, curve = cluster.sweep.size, cluster.sweep.conductance
    kept = shown_points(sizes, curve)
    axes.plot(sizes[kept], curve[kept], color=ONE, linewidth=1.8)
    axes.axvline(len(cluster.nodes), color=GREY, linewidth=1)
    if len(sizes) and sizes[-1] >= LOGARITHMIC_FROM:
        axes.set_xscale("log")
    top = float(np.max(curve[kept], initial=0))
    axes.set(xlabel="nodes taken, highest score first", ylabel="conductance")
    axes.set_ylim(0, 1 if top > 0.5 else 0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    lowest = lowest_prefix(cluster)
    said = "" if lowest is None else f"; lowest {lowest[1]:.3f} at {lowest[0]} nodes"
    axes.set_title(f"Sweep profile; line: {len(cluster.nodes)} members{said}", fontsize=11)
