"""Graph label noise: every method on the same draws, under the honest and the released protocol.

honest    A new draw of noise (and, where the split is drawn, a new split) per run; train and
          validation noisy, epochs selected on noisy validation, test scored clean.
released  One draw of noise at seed 123 on the training nodes alone, clean validation, one run per
          initialisation: the protocol of ERASE's published numbers. Never mix the two.

Runs append to ``benchmarks/results/erase_planetoid.jsonl``; what is there is not run again. Tables:
``python -m benchmarks.papers.erase_planetoid --tables`` rewrites the ``.json`` and ``.md``.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.papers.erase_tables import write_tables
from benchmarks.speed.paired import RESULTS, machine

RUNS = RESULTS / "erase_planetoid.jsonl"
GRAPHS = ("cora", "amazon-photo", "coauthor-cs")
KINDS = ("uniform", "asymmetric", "pair", "instance")
RATES = (0.3, 0.5, 0.4, 0.2, 0.1)
BASE_SEED = 123


@dataclass(frozen=True)
class Cell:
    """One fit: everything its result depends on."""

    protocol: str
    graph: str
    kind: str
    rate: float
    draw: int
    method: str

    @property
    def noise_seed(self) -> int:
        """Of the noise, and of the split where it is drawn; 123 for all runs as released."""
        return BASE_SEED if self.protocol == "released" else BASE_SEED + 100 * self.draw

    @property
    def model_seed(self) -> int:
        """Of initialisation and dropout."""
        return BASE_SEED + 100 * self.draw


def fit_and_score(cell: Cell) -> dict[str, Any]:
    """Run one cell; a method that fails is a row with its error, not a gap."""
    import torch

    torch.set_num_threads(1)
    graph, drawn = _noisy_graph(cell.protocol, cell.graph, cell.kind, cell.rate, cell.noise_seed)
    row: dict[str, Any] = asdict(cell) | {"realised_rate": drawn.realised_rate}
    started = time.process_time()
    try:
        row |= _scores(cell, graph)
    except (ValueError, FloatingPointError, RuntimeError) as error:
        row["error"] = f"{type(error).__name__}: {error}"
    return row | {"cpu_seconds": round(time.process_time() - started, 3)}


def _scores(cell: Cell, graph: Any) -> dict[str, Any]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    from graphnoise.methods import METHODS
    from graphnoise.methods.base import Run
    from graphnoise.training import Selection

    selection: Selection = "noisy_validation"
    if cell.protocol == "released":
        selection = "clean_validation"
    method = METHODS.load(cell.method)
    # the settings published for Cora everywhere: none may be tuned on the graphs that are scored
    model = method(run=Run(seed=cell.model_seed, selection=selection))
    model.fit(graph)
    predicted, audit = model.predict(), model.audit()
    found: dict[str, Any] = {"test": _share(predicted == graph.truth, graph.test)}
    if model.history_ is not None:
        rows = model.history_
        found |= {
            f"test_{name}": rows.selected(name)["test"]
            for name in ("noisy_validation", "clean_validation", "last")
        } | {"best_epoch": rows.best_epoch, "epochs_run": len(rows.rows)}
    judged = np.flatnonzero(graph.labelled)
    wrong = graph.given[judged] != graph.truth[judged]
    if wrong.any():
        found["detection_auroc"] = float(roc_auc_score(wrong, -audit.quality))
        found["detection_ap"] = float(average_precision_score(wrong, -audit.quality))
    found["train_labels_right_before"] = _share(graph.given == graph.truth, graph.train)
    found["train_labels_right_after"] = _share(predicted == graph.truth, graph.train)
    return found


def _share(right: Any, mask: Any) -> float:
    return float(right[mask].mean())


@cache
def _clean_graph(name: str, seed: int) -> Any:
    from graphnoise.datasets import load_graph

    return load_graph(name, seed=seed)


def _noisy_graph(protocol: str, name: str, kind: str, rate: float, seed: int) -> Any:
    from graphnoise.noise import with_noise

    # Cora's split is published: the seed changes nothing there
    graph = _clean_graph(name, BASE_SEED if name == "cora" else seed)
    spec = f"{kind}:{rate}" if rate else "none"
    return with_noise(graph, spec, seed=seed, validation_too=protocol == "honest")


def planned(arguments: argparse.Namespace) -> Iterator[Cell]:
    """Cells in order of importance: draws are the innermost loop but one, methods the innermost."""
    from graphnoise.methods import METHODS

    methods = arguments.methods or list(METHODS)
    for graph, rate in product(arguments.graphs, arguments.rates):
        kinds = arguments.kinds if rate else ["uniform"]
        for kind, draw, method in product(kinds, range(arguments.draws), methods):
            yield Cell(arguments.protocol, graph, kind, rate, draw, method)


def read_runs(path: Path = RUNS) -> list[dict[str, Any]]:
    """Rows written so far; a line cut short by a crash is left out and will be run again."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def run(cells: Iterable[Cell], *, workers: int) -> None:
    """Run what is missing on `workers` processes of one thread each; append as results come."""
    done = {tuple(row[key] for key in Cell.__annotations__) for row in read_runs()}
    missing = [cell for cell in cells if tuple(asdict(cell).values()) not in done]
    where = machine() | {"commit": _commit()}
    RUNS.parent.mkdir(exist_ok=True)
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        RUNS.open("a") as file,
    ):
        for count, row in enumerate(pool.map(fit_and_score, missing), start=1):
            file.write(json.dumps(row | where) + "\n")
            file.flush()
            print(f"{count}/{len(missing)}", _brief(row), flush=True)


def _brief(row: dict[str, Any]) -> str:
    keys = ("graph", "kind", "rate", "draw", "method", "test", "cpu_seconds", "error")
    return " ".join(f"{row[key]}" for key in keys if key in row)


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


def main() -> None:
    """Parse the command line, run, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", choices=("honest", "released"), default="honest")
    parser.add_argument("--graphs", nargs="+", default=list(GRAPHS))
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    parser.add_argument("--rates", nargs="+", type=float, default=list(RATES))
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tables", action="store_true", help="only rewrite the tables")
    arguments = parser.parse_args()
    if not arguments.tables:
        run(planned(arguments), workers=arguments.workers)
    write_tables(read_runs())


if __name__ == "__main__":
    main()
