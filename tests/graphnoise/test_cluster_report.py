"""The page, the picture and the files of a local cluster, on a cluster made by hand."""

import csv
import json
import re
from dataclasses import replace
from math import hypot, nan

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from graphnoise.local_clusters import as_adjacency
from graphnoise.local_clusters.adjacency import Adjacency
from graphnoise.local_clusters.cluster import Certificate, Cluster, SweepProfile
from graphnoise.local_clusters.node_ids import NamedNodes
from graphnoise.report.cluster_drawing import HALF, OUTER, draw_cluster
from graphnoise.report.cluster_files import cluster_record, read_cluster, write_cluster
from graphnoise.report.cluster_page import (
    MAX_POINTS,
    cluster_page,
    lowest_prefix,
    shown_points,
    sweep_chart,
    write_cluster_page,
)
from graphnoise.report.cluster_plot import plot_cluster
from graphnoise.report.cluster_view import MAX_DRAWN, MAX_LISTED, MAX_OUTSIDE, view_cluster
from graphnoise.report.cluster_words import certificate_sentence, convergence

# two triangles joined by the edge 2 - 3, and a node 6 that hangs on 3
EDGES = [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5), (2, 3), (3, 6)]
MISCHIEF = "<script>alert('x')</script>"
NAMES = np.array(["a", "b", MISCHIEF, "d", "e", "f", "g"])


def graph_of(edges, n_nodes, names=None, weights=None) -> Adjacency:
    ends = np.array(edges).T
    values = np.ones(len(edges)) if weights is None else np.array(weights)
    half = sparse.coo_array((values, (ends[0], ends[1])), shape=(n_nodes, n_nodes))
    adjacency = as_adjacency(sparse.csr_array(half + half.T))
    return adjacency if names is None else replace(adjacency, ids=NamedNodes(names.tolist()))


def triangles() -> Adjacency:
    return graph_of(EDGES, 7, NAMES)


def cluster_of(nodes, **changes) -> Cluster:
    size = len(nodes)
    values = {
        "nodes": np.array(nodes),
        "score": np.linspace(1, 0.1, size),
        "seeds": np.array(nodes[:1]),
        "conductance": 1 / 7,
        "volume": 7.0,
        "mass": 14.0,
        "sweep": SweepProfile(
            size=np.arange(1, size + 1),
            volume=np.arange(1.0, size + 1) * 2,
            cut=np.full(size, 1.0),
            conductance=np.linspace(1, 1 / 7, size),
        ),
        "touched": 5,
        "edges": 40,
        "certificate": Certificate("flow", 0.01, 0.02, 0.0, 1e-3),
        "converged": True,
        "stopped_by": "",
        "method": "flow_diffusion",
        "rounding": "support",
        "settings": {"tolerance": 0.05},
        "seconds": 0.0123,
        "labels": np.resize(np.array([1, 0, -1], np.int8), size),
        "notes": ("a note & more",),
    }
    return Cluster(**(values | changes))


def triangle(**changes) -> Cluster:
    return cluster_of(NAMES[:3].tolist(), **changes)


def page_of(cluster, adjacency, **options) -> str:
    view = view_cluster(cluster, adjacency, **options)
    return cluster_page(cluster, view, provenance={"Command": "graphnoise cluster"})


def big_case(n=600):
    """A cycle of `n` nodes with chords, all but the last 30 in the cluster."""
    edges = [(i, (i + 1) % n) for i in range(n)] + [(i, (i + 7) % n) for i in range(n)]
    return cluster_of(list(range(n - 30))), graph_of(edges, n)


def test_view_finds_members_outsiders_and_edges():
    asked = []

    def label_of(positions):
        asked.extend(positions.tolist())
        return np.zeros(len(positions), np.int8)

    view = view_cluster(triangle(), triangles(), graph="toy", label_of=label_of)
    assert [node.id for node in view.drawn] == ["a", "b", MISCHIEF, "d"]
    assert [node.member for node in view.drawn] == [True, True, True, False]
    assert [node.degree for node in view.drawn] == [2, 2, 3, 4]
    assert [node.label for node in view.drawn] == [1, 0, -1, 0]
    assert asked == [3]  # members carry their labels already
    assert view.edges == ((0, 1), (0, 2), (1, 2), (2, 3))
    assert (view.n_nodes, view.size, view.hidden_edges) == (7, 3, 0)


def test_outsiders_with_most_links_come_first():
    edges = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 4), (2, 4), (0, 4)]
    view = view_cluster(cluster_of([0, 1, 2]), graph_of(edges, 5))
    assert [node.id for node in view.drawn if not node.member] == ["4", "3"]


def test_degree_is_that_of_the_weights():
    adjacency = graph_of(EDGES, 7, NAMES, weights=np.arange(1.0, 9.0))
    assert view_cluster(triangle(), adjacency).drawn[0].degree == 1 + 3


def test_a_seed_that_is_no_member_is_drawn_in_the_middle():
    cluster = triangle(seeds=np.array(["d"]))
    drawing = draw_cluster(view_cluster(cluster, triangles()))
    middle = [one.node for one in drawing.nodes if hypot(one.x, one.y) < 1e-9]
    assert [(node.id, node.member, node.seed) for node in middle] == [("d", False, True)]


def test_renumbering_the_graph_moves_no_fact():
    """Positions are the graph's business: ids, degrees, labels and edges stay."""
    order = np.random.default_rng(0).permutation(7)
    place = np.argsort(order)
    moved = graph_of([(place[u], place[v]) for u, v in EDGES], 7, NAMES[order])
    views = [view_cluster(triangle(), adjacency) for adjacency in (triangles(), moved)]
    facts = [
        (
            {(node.id, node.degree, node.label, node.member) for node in view.drawn},
            {frozenset((view.drawn[i].id, view.drawn[j].id)) for i, j in view.edges},
        )
        for view in views
    ]
    assert facts[0] == facts[1]


def test_large_cluster_shows_its_top_and_says_so():
    cluster, adjacency = big_case()
    view = view_cluster(cluster, adjacency)
    assert len(view.listed) == MAX_LISTED
    assert sum(node.member for node in view.drawn) == MAX_DRAWN
    assert sum(not node.member for node in view.drawn) <= MAX_OUTSIDE
    html = page_of(cluster, adjacency)
    assert f"The {MAX_DRAWN} members of highest score of 570" in html
    assert "The first 200 of 570 members" in html
    assert html.count("<tr>") == MAX_LISTED + 1


def test_drawing_stays_inside_and_no_two_marks_meet():
    drawing = draw_cluster(view_cluster(*big_case()))
    assert all(hypot(one.x, one.y) <= OUTER + 1e-9 < HALF for one in drawing.nodes)
    spots = np.array([(one.x, one.y) for one in drawing.nodes])
    apart = np.hypot(*(spots[:, None] - spots).transpose(2, 0, 1)) + 1e9 * np.eye(len(spots))
    radii = np.array([one.radius for one in drawing.nodes])
    assert (apart > radii[:, None] + radii).all()
    assert drawing == draw_cluster(view_cluster(*big_case()))


def test_page_is_escaped_whole_and_refers_to_nothing_outside():
    html = page_of(triangle(seeds=NAMES[2:3]), triangles(), graph=MISCHIEF)
    assert MISCHIEF not in html
    assert "&lt;script&gt;alert(" in html
    assert "a note &amp; more" in html
    assert html.count("<script>") == 1  # the page's own
    assert re.findall(r"(?:src|href)=\"(?!#)|https?://|@import|url\(", html) == []
    assert "report.json" not in html  # there is none beside this page


def test_page_says_what_was_found():
    html = page_of(triangle(), triangles())
    for said in (
        "Cluster around a",
        "0.143",
        "12.3 ms",
        "Every node keeps to its capacity within 1 %",
    ):
        assert said in html
    assert ">label 0<" in html
    assert ">label 0<" not in page_of(triangle(labels=None), triangles())


def test_page_of_a_run_that_was_stopped_says_so_on_top():
    stopped = triangle(converged=False, stopped_by="max_edges")
    assert convergence(stopped).startswith("no: the edge visits allowed")
    assert 'class="notice">Not finished: the edge visits allowed' in page_of(stopped, triangles())


def test_certificate_of_each_kind_is_a_sentence():
    flow = certificate_sentence(triangle())
    assert "1 %" in flow
    assert "2 %" in flow
    push = triangle(certificate=Certificate("pagerank", 1e-4, 0.0, 0.0, nan))
    assert "at most 0.0001 of its degree" in certificate_sentence(push)
    wrong = triangle(certificate=Certificate("flow", 0.0, 0.0, 0.5, 0.0))
    assert "-0.5, where none may be negative" in certificate_sentence(wrong)


def test_sweep_chart_marks_the_size_and_keeps_the_lowest_point():
    cluster, _ = big_case(5000)
    curve = np.full(4970, 0.9)
    curve[3210] = 0.01
    cluster = replace(cluster, sweep=replace(cluster.sweep, conductance=curve))
    chart = sweep_chart(cluster)
    assert len(chart.lines[0].points) <= MAX_POINTS + 1
    assert 3210 in shown_points(cluster.sweep.size, curve)
    assert lowest_prefix(cluster) == (3211, 0.01)
    assert chart.bars[0].text == "the cluster: 4970 nodes"
    right = chart.frame.width - chart.frame.right
    assert all(chart.frame.left <= x <= right for x, _ in chart.lines[0].points)


@pytest.mark.parametrize("size", [0, 1])
def test_profile_of_next_to_nothing_is_drawn(size, tmp_path):
    cluster = triangle(
        sweep=SweepProfile(*(np.ones(size, kind) for kind in (np.int64, float, float, float)))
    )
    assert "Sweep profile" in page_of(cluster, triangles())
    plot_cluster(cluster, view_cluster(cluster, triangles()), tmp_path / "p.png")


def test_conductance_of_the_whole_graph_is_a_dash():
    everything = cluster_of(
        NAMES.tolist(),
        conductance=nan,
        sweep=SweepProfile(np.arange(1, 8), np.ones(7), np.ones(7), np.full(7, nan)),
    )
    html = page_of(everything, triangles())
    assert "–" in html
    assert "There is no profile" in html
    assert not re.search(r">\s*nan|nan\s*<", html, re.I)


@pytest.mark.parametrize("suffix", [".json", ".parquet"])
@pytest.mark.parametrize(
    "cluster",
    [
        triangle(),
        triangle(labels=None, conductance=nan, seconds=nan),
        cluster_of([5, 3], certificate=Certificate("pagerank", 1e-4, 0.0, 0.0, nan)),
    ],
    ids=["labels", "nothing", "numbers"],
)
def test_files_give_back_what_was_written(cluster, suffix, tmp_path):
    path = tmp_path / "deep" / f"cluster{suffix}"
    write_cluster(cluster, path)
    found = read_cluster(path)
    assert cluster_record(found) == cluster_record(cluster)
    assert found.nodes.dtype == cluster.nodes.dtype
    assert found.score.tolist() == cluster.score.tolist()
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_csv_lists_the_members(tmp_path):
    write_cluster(triangle(), tmp_path / "c.csv")
    with (tmp_path / "c.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == NAMES[:3].tolist()
    assert [float(row["score"]) for row in rows] == triangle().score.tolist()
    assert [row["label"] for row in rows] == ["1", "0", ""]


def test_json_has_no_nan(tmp_path):
    write_cluster(triangle(conductance=nan), tmp_path / "c.json")
    refused = json.loads((tmp_path / "c.json").read_text(), parse_constant=pytest.fail)
    assert refused["conductance"] is None


def test_files_that_hold_no_cluster_are_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"format": 99, "nodes": []}')
    (tmp_path / "b.json").write_text("not json")
    (tmp_path / "c.parquet").write_text("not parquet")
    pq.write_table(pa.table({"id": [1]}), tmp_path / "d.parquet")
    for name in ("a.json", "b.json", "c.parquet", "d.parquet"):
        with pytest.raises(ValueError, match="no cluster"):
            read_cluster(tmp_path / name)
    with pytest.raises(ValueError, match="must be a folder or end in one of"):
        write_cluster(triangle(), tmp_path / "c.xlsx")


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_plot_is_an_image_and_the_same_twice(suffix, magic, tmp_path):
    # a dollar sign must not begin a formula
    names = NAMES.copy()
    names[0] = "$x_{1$"
    adjacency = graph_of(EDGES, 7, names)
    cluster = cluster_of(names[:3].tolist())
    paths = [tmp_path / f"{k}{suffix}" for k in range(2)]
    for path in paths:
        plot_cluster(cluster, view_cluster(cluster, adjacency), path)
    first, second = (path.read_bytes() for path in paths)
    assert first.startswith(magic)
    assert first == second
    assert len(first) > 5000


def test_plot_refuses_other_suffixes(tmp_path):
    with pytest.raises(ValueError, match="--plot must end in one of"):
        plot_cluster(triangle(), view_cluster(triangle(), triangles()), tmp_path / "p.gif")


def test_page_is_written_whole(tmp_path):
    view = view_cluster(triangle(), triangles())
    write_cluster_page(triangle(), view, tmp_path / "new" / "page.html", provenance={})
    text = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert text.rstrip().endswith("</html>")
    assert [one.name for one in (tmp_path / "new").iterdir()] == ["page.html"]
