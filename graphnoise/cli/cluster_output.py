"""One cluster: ask, say what was found, write it where it is wanted."""

import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

import labelnoise
from graphnoise.cli.cluster_input import open_graph, parse_ids
from graphnoise.cli.cluster_job import ClusterJob, query_options
from graphnoise.report.cluster_files import KINDS, as_json, write_cluster
from graphnoise.report.cluster_words import certificate_short, convergence, made_by, number, spent
from labelnoise.console import facts, output, table

if TYPE_CHECKING:
    from graphnoise.local_clusters.cluster import Cluster
    from graphnoise.local_clusters.query import LabelFunction
    from graphnoise.local_clusters.searching import Search
    from graphnoise.report.cluster_view import ClusterView

TOP = 10
LABELS = {1: "1", 0: "0", -1: "unknown"}
# edge visits that load every kernel and cost some milliseconds
FIRST_PART = 50_000
# what --out FOLDER holds
IN_FOLDER = ("cluster.json", "members.csv")
PAGE = "page.html"


@dataclass(frozen=True)
class Outputs:
    """Where an answer goes.

    Attributes:
        out: A file by suffix, or a folder; or None.
        plot: A picture, or None.
        page: A page, or None.
        as_json: Whether stdout is the JSON record alone.
    """

    out: Path | None = None
    plot: Path | None = None
    page: Path | None = None
    as_json: bool = False

    def __post_init__(self) -> None:
        # before any work: a wrong name must not cost a query
        kinds = {"--plot": (self.plot, (".png", ".svg", ".pdf")), "--page": (self.page, (".html",))}
        for option, (path, wanted) in kinds.items():
            if path is not None and path.suffix not in wanted:
                raise ValueError(f"{option} must end in one of {list(wanted)}, got {path.name!r}")
        if self.out is not None and self.out.suffix not in ("", *KINDS) and not self.out.is_dir():
            raise ValueError(
                f"--out must be a folder or end in one of {list(KINDS)}, got {self.out.name!r}"
            )

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that hold the cluster."""
        if self.out is None:
            return ()
        if self.out.suffix in KINDS and not self.out.is_dir():
            return (self.out,)
        return tuple(self.out / name for name in IN_FOLDER)

    @property
    def pages(self) -> tuple[Path, ...]:
        """Pages to write."""
        folder = self.out is not None and self.out not in self.files
        of_folder = (self.out / PAGE,) if self.out is not None and folder else ()
        return (*of_folder, *(() if self.page is None else (self.page,)))


def answer_one(
    job: ClusterJob, seed_node: Sequence[str], outputs: Outputs, *, root: Path | None
) -> None:
    """Ask for one cluster and deliver it.

    Raises:
        ValueError: Anything of the request cannot be.
    """
    from graphnoise.local_clusters.searching import prepare_search

    adjacency = open_graph(job.graph, root)
    search = prepare_search(adjacency, **query_options(job, adjacency))
    seeds = parse_ids(list(seed_node), adjacency, "--seed-node")
    _load_kernels(search, seeds)
    cluster = search.cluster(seeds)
    # what was done to the graph belongs to the answer
    cluster = replace(cluster, notes=(*adjacency.notes, *cluster.notes))
    for path in outputs.files:
        write_cluster(cluster, path)
    if outputs.pages or outputs.plot:
        _draw(cluster, search, outputs, name=Path(job.graph).name)
    if outputs.as_json:
        output().print(as_json(cluster))
        return
    say = output()
    say.print(facts(_title(cluster), fact_rows(cluster, adjacency.n_nodes)))
    say.print()
    say.print(top_members(cluster))
    for path in (*outputs.files, *outputs.pages, *filter(None, [outputs.plot])):
        say.print(f"written  {path}")


def fact_rows(cluster: "Cluster", n_nodes: int) -> list[tuple[str, str]]:
    """What a cluster is, as names and values."""
    touched = f"{cluster.touched} of {n_nodes} nodes ({100 * cluster.touched / n_nodes:.2g} %)"
    rows = [
        ("size", str(len(cluster.nodes))),
        ("conductance", number(cluster.conductance)),
        ("volume", number(cluster.volume)),
        *([("mass", spent(cluster))] if spent(cluster) else []),
        ("touched", touched),
        ("edge visits", str(cluster.edges)),
        ("certificate", certificate_short(cluster)),
        ("converged", convergence(cluster)),
        ("time", f"{1000 * cluster.seconds:.1f} ms"),
        ("by", made_by(cluster)),
    ]
    return [*rows, *(("note", note) for note in cluster.notes)]


def top_members(cluster: "Cluster") -> Table:
    """The members of highest score."""
    size = len(cluster.nodes)
    title = f"Top {TOP} of {size} members" if size > TOP else f"{size} members"
    columns = ("id", "score", "label") if cluster.labels is not None else ("id", "score")
    made = table(title, *columns)
    for rank, name in enumerate(cluster.nodes[:TOP].tolist()):
        row = [str(name), f"{cluster.score[rank]:.4g}"]
        if cluster.labels is not None:
            row.append(LABELS[int(cluster.labels[rank])])
        made.add_row(*row)
    return made


def label_function(search: "Search", seeds: NDArray[Any]) -> "LabelFunction | None":
    """Labels of positions as the query saw them, also outside its cluster; None without labels."""
    from graphnoise.local_clusters.node_ids import known_positions
    from graphnoise.local_clusters.query import Query
    from graphnoise.local_clusters.searching import borrowed_workspace

    if search.labels is None:
        return None
    positions = known_positions(search.adjacency, seeds, "seeds")
    with borrowed_workspace(search.adjacency) as workspace:
        query = Query(positions, search.mass, None, search.budget)
        labels, _ = search.labels.labels_for(search.adjacency, query, workspace)
    if labels.function is not None:
        return labels.function

    def look_up(nodes: NDArray[np.int64]) -> NDArray[np.int8]:
        found = labels.array[nodes]
        return np.where(found < 0, -1, found == labels.target).astype(np.int8)

    return look_up


def _load_kernels(search: "Search", seeds: Sequence[object]) -> None:
    """Compile or load what the query needs, so that its time is its own; the first part of it."""
    from graphnoise.local_clusters.query import Budget

    # what is wrong with the query, the query itself says
    with suppress(ValueError):
        replace(search, budget=Budget(max_edges=FIRST_PART)).cluster(seeds)


def _draw(cluster: "Cluster", search: "Search", outputs: Outputs, *, name: str) -> None:
    view = _view(cluster, search, name)
    if outputs.plot is not None:
        from graphnoise.report.cluster_plot import plot_cluster

        plot_cluster(cluster, view, outputs.plot)
    if outputs.pages:
        from graphnoise.report.cluster_page import write_cluster_page

        for path in outputs.pages:
            write_cluster_page(cluster, view, path, provenance=_provenance(cluster))


def _view(cluster: "Cluster", search: "Search", name: str) -> "ClusterView":
    from graphnoise.report.cluster_view import view_cluster

    labels = label_function(search, cluster.seeds)
    return view_cluster(cluster, search.adjacency, graph=name, label_of=labels)


def _provenance(cluster: "Cluster") -> Mapping[str, str]:
    return {
        "Command": shlex.join(["graphnoise", *sys.argv[1:]]),
        "Method": made_by(cluster),
        "Versions": f"graphnoise {labelnoise.__version__}, python {platform.python_version()}",
    }


def _title(cluster: "Cluster") -> str:
    seeds = [str(seed) for seed in cluster.seeds[:TOP].tolist()]
    more = len(cluster.seeds) - TOP
    return f"Cluster around {', '.join(seeds)}" + (f" and {more} more" if more > 0 else "")
