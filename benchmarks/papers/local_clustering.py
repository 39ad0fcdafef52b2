"""Local clusters around random seeds: every method on the same seeds and the same noisy labels.

Every class is a target, its seeds are random nodes of it. Labels are the truth flipped at a stated
rate (``noise-.9``: a1 = a0 = .9), the predictions of a classifier fitted to a few examples per side
(``examples-25``), or of one that knows nothing but the seed (``seed``). Source mass is twice the
target's true volume ("oracle": no user has it) or found by the method ("auto").

Runs append to ``benchmarks/results/local_clustering.jsonl``; what is there is not run again. A line
is either the head of a session (machine, commit, names of the columns) or one run as a list.
Tables: ``python -m benchmarks.papers.local_clustering --tables`` rewrites ``.json`` and ``.md``.
"""

import argparse
import json
import math
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.papers.local_clustering_protocol import (
    SEEDS_PER_CLASS,
    SETTINGS,
    UNLABELLED,
    Trial,
    conductance,
    draw_trials,
    labels_of,
    load_target,
    quality,
    score,
)
from benchmarks.papers.local_clustering_tables import write_tables
from benchmarks.speed.paired import RESULTS, machine

RUNS = RESULTS / "local_clustering.jsonl"
GRAPHS = ("coauthor-cs", "amazon-photo", "cora")
LABELS_ALONE, FROM_SEED_ALONE = "labels_alone", "seed"
KEY = ("graph", "target", "draw", "setting", "method", "rounding", "mass")
MEASURED = (
    "seed", "f1", "precision", "recall", "size", "conductance", "touched", "edges", "cpu_ms",
    "converged", "excess", "slack", "negative", "gap", "a1", "a0", "error",
)  # fmt: skip


@dataclass(frozen=True)
class Entrant:
    """A method in the study.

    Attributes:
        method: Its name in `CLUSTER_METHODS`.
        rounded: Pairs (rounding, mass) to report; mass is "oracle", "auto" or "none".
        labelled: Whether it takes labels.
        settings: That differ from its defaults; chosen on Cora or taken from the sheet.
    """

    method: str
    rounded: tuple[tuple[str, str], ...]
    labelled: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


# one line per method
# the one that reads features prepared for it
SMOOTHED = "attributed_flow_diffusion"
ENTRANTS = (
    Entrant("flow_diffusion", (("support", "oracle"), ("sweep", "oracle"), ("support", "auto"))),
    Entrant(
        "label_flow_diffusion",
        (
            ("support", "oracle"),
            ("labels", "oracle"),
            ("sweep", "oracle"),
            ("support", "auto"),
            ("labels", "auto"),
        ),
        labelled=True,
    ),
    Entrant("attributed_flow_diffusion", (("support", "oracle"),)),
    Entrant("p_norm_flow_diffusion", (("support", "oracle"),)),
    Entrant("pagerank", (("sweep", "none"),)),
    Entrant("label_pagerank", (("sweep", "none"),), labelled=True),
    Entrant(
        "refined_flow_diffusion",
        (("labels", "oracle"), ("support", "oracle"), ("labels", "auto")),
        labelled=True,
    ),
)


@dataclass(frozen=True)
class Cell:
    """One query and its rounding: everything a row depends on."""

    trial: Trial
    setting: str
    method: str
    rounding: str
    mass: str

    @property
    def key(self) -> tuple[Any, ...]:
        """As in the columns `KEY`."""
        trial = self.trial
        return (
            trial.graph, trial.target, trial.draw, self.setting, self.method, self.rounding,
            self.mass,
        )  # fmt: skip


def run_trial(cells: list[Cell]) -> list[list[Any]]:
    """Rows of the cells of one trial and one label setting: labels are made once for all.

    A query that fails is a row with its error, not a gap.
    """
    import torch

    torch.set_num_threads(1)
    made: dict[bool, Any] = {}
    rows = []
    for cell in cells:
        # labels from the seed begin with a diffusion: no result marked "auto" may use true volumes
        oracle = cell.mass == "oracle" or cell.setting != FROM_SEED_ALONE
        try:
            if oracle not in made:
                made[oracle] = _labels(cell, oracle)
            found = answer(cell, *made[oracle])
        except (ValueError, FloatingPointError, RuntimeError) as error:
            found = {"error": f"{type(error).__name__}: {error}"[:200]}
        rows.append(as_row(cell, found))
    return rows


def _labels(cell: Cell, oracle: bool) -> tuple[NDArray[np.int8] | None, float]:
    """Labels, and the CPU milliseconds it took to make them."""
    target = load_target(cell.trial.graph)
    mass = target.oracle_mass(cell.trial.target) if oracle else None
    started = time.process_time()
    labels = labels_of(target, cell.trial, cell.setting, mass)
    return labels, 1e3 * (time.process_time() - started)


def answer(cell: Cell, labels: NDArray[np.int8] | None, label_ms: float) -> dict[str, Any]:
    """Run and score one cell."""
    target = load_target(cell.trial.graph)
    members = target.members(cell.trial.target)
    if cell.method == LABELS_ALONE:
        assert labels is not None
        nodes = np.flatnonzero(labels == 1)
        a1, a0 = quality(labels, members)
        scored = dict(zip(("f1", "precision", "recall"), score(nodes, members), strict=True))
        return scored | {
            "size": len(nodes), "conductance": conductance(target.adjacency, nodes),
            "touched": len(members), "cpu_ms": label_ms, "a1": a1, "a0": a0,
        }  # fmt: skip
    mass = target.oracle_mass(cell.trial.target) if cell.mass == "oracle" else None
    call = _query(cell, labels, mass)
    _compiled(cell.trial.graph, cell.method, cell.rounding, cell.mass, labels is None)
    started = time.process_time()
    cluster = call()
    spent = time.process_time() - started
    return _measures(cluster, members) | {"cpu_ms": 1e3 * spent}


def _measures(cluster: Any, members: NDArray[np.bool_]) -> dict[str, Any]:
    f1, precision, recall = score(cluster.nodes, members)
    proof = cluster.certificate
    return {
        "f1": f1, "precision": precision, "recall": recall, "size": len(cluster.nodes),
        "conductance": cluster.conductance, "touched": cluster.touched, "edges": cluster.edges,
        "converged": int(cluster.converged), "excess": proof.excess, "slack": proof.slack,
        "negative": proof.negative, "gap": proof.gap,
    }  # fmt: skip


def _query(cell: Cell, labels: NDArray[np.int8] | None, mass: float | None) -> Callable[[], Any]:
    from graphnoise.local_clusters import CLUSTER_METHODS, local_cluster

    entrant = next(entrant for entrant in ENTRANTS if entrant.method == cell.method)
    method = CLUSTER_METHODS.load(cell.method)(**entrant.settings)
    target, workspace = load_target(cell.trial.graph), _workspace(cell.trial.graph)
    adjacency = target.smoothed if cell.method == SMOOTHED else target.adjacency
    return lambda: local_cluster(
        adjacency, [cell.trial.seed], labels=labels if entrant.labelled else None, method=method,
        rounding=cell.rounding, mass=mass, workspace=workspace,
    )  # fmt: skip


@cache
def _workspace(graph: str) -> Any:
    from graphnoise.local_clusters.base import Workspace

    return Workspace(load_target(graph).adjacency.n_nodes)


@cache
def _compiled(graph: str, method: str, rounding: str, mass: str, unlabelled: bool) -> None:
    """Run one query before the first that is timed, so that compiling is not."""
    target = load_target(graph)
    trial = next(draw_trials(graph, target.classes, 1))
    labels = None if unlabelled else target.members(trial.target).astype(np.int8)
    cell = Cell(trial, UNLABELLED, method, rounding, mass)
    _query(cell, labels, target.oracle_mass(trial.target) if mass == "oracle" else None)()


def as_row(cell: Cell, found: Mapping[str, Any]) -> list[Any]:
    """Values in the order of the columns, four digits each."""
    found = {"seed": cell.trial.seed, **found}
    return [*cell.key, *(_short(found.get(name)) for name in MEASURED)]


def _short(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def planned(arguments: argparse.Namespace) -> Iterator[Cell]:
    """Cells graph by graph, then draw by draw: a run cut short has seen every class."""
    from graphnoise.local_clusters import CLUSTER_METHODS

    known = [entrant for entrant in ENTRANTS if entrant.method in CLUSTER_METHODS]
    for graph in arguments.graphs:
        count = arguments.seeds_per_class or SEEDS_PER_CLASS.get(graph, 7)
        for trial in draw_trials(graph, load_target(graph).classes, count):
            for setting in arguments.settings:
                for cell in cells_of(trial, setting, known):
                    if not arguments.methods or cell.method in arguments.methods:
                        yield cell


def cells_of(trial: Trial, setting: str, entrants: Iterable[Entrant]) -> Iterator[Cell]:
    """What is asked in one trial under one label setting."""
    if setting != UNLABELLED:
        for mass in ("oracle", "auto") if setting == FROM_SEED_ALONE else ("none",):
            yield Cell(trial, setting, LABELS_ALONE, "", mass)
    for entrant in entrants:
        if entrant.labelled == (setting != UNLABELLED):
            for rounding, mass in entrant.rounded:
                yield Cell(trial, setting, entrant.method, rounding, mass)


def read_runs(path: Path = RUNS) -> list[dict[str, Any]]:
    """Rows written so far, each with its session's commit; a line cut short is left out."""
    rows: list[dict[str, Any]] = []
    head: dict[str, Any] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            found = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(found, dict):
            head = found
        else:
            row = dict(zip(head["columns"], found, strict=True))
            rows.append(row | {"commit": head["commit"]})
    return rows


def run(cells: Iterable[Cell], *, workers: int, path: Path = RUNS) -> None:
    """Run what is missing on `workers` processes of one thread each; append as results come."""
    # what failed is tried again; of two rows of one key the later one counts
    good = [row for row in read_runs(path) if row["error"] is None]
    done = {tuple(row[name] for name in KEY) for row in good}
    missing = [cell for cell in cells if cell.key not in done]
    groups = [list(group) for _, group in groupby(missing, key=lambda c: (c.trial, c.setting))]
    if not groups:
        return
    path.parent.mkdir(exist_ok=True)
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        path.open("a") as file,
    ):
        # the empty line ends one that a crash has cut short
        file.write("\n" * (path.stat().st_size > 0) + json.dumps(_head()) + "\n")
        for count, rows in enumerate(pool.map(run_trial, groups), start=1):
            file.writelines(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
            file.flush()
            print(f"{count}/{len(groups)}", *_brief(rows), flush=True)


def _head() -> dict[str, Any]:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    settings = {entrant.method: dict(entrant.settings) for entrant in ENTRANTS}
    return {
        "columns": [*KEY, *MEASURED], "commit": found.stdout.strip(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()), "settings": settings, **machine(),
    }  # fmt: skip


def _brief(rows: list[list[Any]]) -> Iterator[str]:
    named = [dict(zip((*KEY, *MEASURED), row, strict=True)) for row in rows]
    yield f"{named[0]['graph']} {named[0]['target']}/{named[0]['draw']} {named[0]['setting']}:"
    for row in named:
        yield f"{row['method']}/{row['rounding']}/{row['mass']} {row['error'] or row['f1']}"


def main() -> None:
    """Parse the command line, run, write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--graphs", nargs="+", default=list(GRAPHS))
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--seeds-per-class", type=int, help=f"default {SEEDS_PER_CLASS}")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=Path, default=RUNS, help="where rows are appended")
    parser.add_argument("--tables", action="store_true", help="only rewrite the tables")
    arguments = parser.parse_args()
    if not arguments.tables:
        run(planned(arguments), workers=arguments.workers, path=arguments.runs)
    write_tables(read_runs(arguments.runs), arguments.runs.with_suffix(""))


if __name__ == "__main__":
    main()
