"""Image-text cleaning: every method side by side on real label noise and on people's judgments.

fashion2k_*        Web-shop photos; labels are read from the titles by the classes' names, texts are
                   the titles. Images by CLIP, and again by MobileNetV2.
cifar10n_*         People's labels of 25,000 photos, 9, 17 and 41 % wrong; a probe trained on given
                   or on cleaned labels of four fifths is scored on the rest.
simulated_crawl    Where settings were chosen: for comparison, not as evidence.
flickr8k_judged    Pairs that people judged, among all own captions; encoders that share no space.
flickr8k_clip      500 pairs of CLIP, a share of the captions mixed.

Runs append to ``benchmarks/results/image_text_cleaning.jsonl``; what is there is not run again,
but for errors. Embeddings of texts are kept in the user's cache. Tables:
``python -m benchmarks.papers.image_text_cleaning --tables`` rewrites ``.json`` and ``.md``.
"""

import argparse
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.papers.image_text_data import DATA_SETS, DataSet, Sources, Task, find_sources
from benchmarks.papers.image_text_entrants import Entrant, entrants, why_not
from benchmarks.papers.image_text_metrics import label_scores, pair_scores, probe_accuracy
from benchmarks.papers.image_text_tables import GIVEN, write_tables
from benchmarks.papers.run_log import read_runs, session_head
from benchmarks.speed.paired import RESULTS

RUNS = RESULTS / "image_text_cleaning.jsonl"
# a method that fails is a row with its error, not a gap
FAILURES = (
    ArithmeticError, AttributeError, ImportError, LookupError, MemoryError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One run: everything its result depends on."""

    data: str
    method: str
    seed: int


def measure(cell: Cell, sources: Sources) -> dict[str, Any]:
    """The row of a cell: scores, or why there are none."""
    import torch

    torch.set_num_threads(1)
    found: Mapping[str, Any]
    try:
        data_set = DATA_SETS[cell.data]
        task = _task(cell.data, cell.seed if data_set.drawn else 0, sources)
        found = given_labels(task) if cell.method == GIVEN else judged(cell, task)
    except FAILURES as error:
        found = {"error": f"{type(error).__name__}: {error}"[:500]}
    return asdict(cell) | _short(found)


@lru_cache(maxsize=1)
def _task(name: str, seed: int, sources: Sources) -> Task:
    return DATA_SETS[name].load(sources, seed)


def given_labels(task: Task) -> dict[str, Any]:
    """What there is before any cleaning; a probe on given and, as the bound, on true labels."""
    found: dict[str, Any] = {"rows": len(task.corpus)}
    if task.match is not None:
        match = task.match[~np.isnan(task.match)]
        return found | {"judged": len(match), "matching": float(match.mean())}
    assert task.truth is not None
    given, truth = task.corpus.given, task.truth
    labelled = given >= 0
    found |= {
        "classes": task.corpus.n_classes,
        "labelled": float(labelled.mean()),
        "before": float((given == truth)[labelled].mean()),
        "strangers": float((truth < 0).mean()),
    }
    return found | _probed(task, given, "probe") | _probed(task, truth, "probe_of_truth")


def judged(cell: Cell, task: Task) -> dict[str, Any]:
    """Scores of a method's audit and the CPU seconds of all its threads."""
    method = entrants()[cell.method].make()
    reason = why_not(method, task.corpus)
    if reason is not None:
        return {"skipped": reason}
    started = time.process_time()
    audit = method.judge(task.corpus, seed=cell.seed)
    found: dict[str, Any] = {"cpu_seconds": time.process_time() - started}
    if audit.noise_rate is not None:
        found["noise_rate"] = audit.noise_rate
    if task.match is not None:
        assert task.own is not None
        return found | pair_scores(audit, task.match, task.own)
    assert task.truth is not None
    return found | label_scores(audit, task.truth) | _probed(task, audit.label, "probe")


def _probed(task: Task, labels: Any, name: str) -> dict[str, float]:
    if task.held_out is None:
        return {}
    assert task.corpus.image is not None
    rows = task.corpus.image.read(0, len(task.corpus))
    assert task.truth is not None
    held, learnt = task.held_out, np.setdiff1d(np.arange(len(rows)), task.held_out)
    accuracy = probe_accuracy(rows[learnt], labels[learnt], rows[held], task.truth[held])
    return {} if accuracy is None else {name: accuracy}


def _short(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: float(f"{value:.5g}") if isinstance(value, float) else value
        for name, value in found.items()
    }


def planned(
    data_sets: Sequence[str],
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> Iterator[Cell]:
    """Cells, data set by data set and, where it is drawn, draw by draw: it is made once for all."""
    known = entrants()
    for name in data_sets:
        data_set = DATA_SETS[name]
        asked = [
            Cell(name, method, seed)
            for method in (GIVEN, *known)
            for seed in seeds_of(known.get(method), data_set)
            if (not methods or method in (*methods, GIVEN)) and (not seeds or seed in seeds)
        ]
        # a stable sort: methods stay in their order within a draw
        yield from sorted(asked, key=lambda cell: cell.seed) if data_set.drawn else asked


def seeds_of(entrant: Entrant | None, data_set: DataSet) -> tuple[int, ...]:
    """Seeds an entrant runs with; None stands for the given labels."""
    if data_set.drawn:
        return data_set.seeds
    once = entrant is None or not entrant.draws or (entrant.slow and data_set.large)
    return data_set.seeds[:1] if once else data_set.seeds


def run(
    cells: Iterable[Cell],
    sources: Sources,
    *,
    workers: int = 1,
    path: Path = RUNS,
    again: bool = False,
) -> None:
    """Run what is missing, or everything `again`; append as results come.

    Args:
        cells: What is asked.
        sources: Data and cache.
        workers: Processes of one thread each; 1: this one.
        path: Where rows are appended.
        again: Whether rows already there are run again; the later row counts.
    """
    # what failed is tried again
    done = {_key(row) for row in read_runs(path)[0] if "error" not in row and not again}
    missing = [cell for cell in cells if _key(asdict(cell)) not in done]
    if not missing:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        head = session_head()
        # the empty line ends one that a crash has cut short
        file.write("\n" * (path.stat().st_size > 0) + json.dumps(head) + "\n")
        for count, row in enumerate(_rows(missing, sources, workers), start=1):
            file.write(json.dumps(row | {"commit": head["commit"]}) + "\n")
            file.flush()
            print(f"{count}/{len(missing)}", _brief(row), flush=True)


def _rows(cells: Sequence[Cell], sources: Sources, workers: int) -> Iterator[dict[str, Any]]:
    call = partial(measure, sources=sources)
    if workers == 1:
        yield from map(call, cells)
        return
    for data_set in (DATA_SETS[name] for name in dict.fromkeys(cell.data for cell in cells)):
        if data_set.encodes:
            # into the cache, or every worker would encode for itself
            data_set.load(sources, data_set.seeds[0])
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(call, cell) for cell in cells]):
            yield future.result()


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in Cell.__annotations__)


def _brief(row: Mapping[str, Any]) -> str:
    keys = (*Cell.__annotations__, "auroc", "before", "after_all", "cpu_seconds", "skipped")
    return " ".join(f"{row[key]}" for key in (*keys, "error") if key in row)


def main() -> None:
    """Parse the command line, run, write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=DATA_SETS, default=list(DATA_SETS))
    parser.add_argument("--methods", nargs="+", choices=entrants())
    parser.add_argument("--seeds", nargs="+", type=int, help="of those that would run")
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread")
    parser.add_argument("--cache", type=Path, help="folder of embeddings, by default the user's")
    parser.add_argument("--runs", type=Path, default=RUNS, help="where rows are appended")
    parser.add_argument("--again", action="store_true", help="run also what is there")
    parser.add_argument("--tables", action="store_true", help="only rewrite the tables")
    arguments = parser.parse_args()
    if not arguments.tables:
        cells = planned(arguments.only, arguments.methods, arguments.seeds)
        run(
            cells, find_sources(arguments.cache), workers=arguments.workers, path=arguments.runs,
            again=arguments.again,
        )  # fmt: skip
    write_tables(*read_runs(arguments.runs), arguments.runs.with_suffix(""))


if __name__ == "__main__":
    main()
