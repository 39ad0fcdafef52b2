"""Labels from an LLM under a budget: Cora's texts, GPT-3.5's real answers replayed.

2,708 papers, a budget of calls that is spent exactly, no clean label anywhere before the final
score, all randomness from the run's seed, the last stage counts. Networks are GCNs with 64 hidden
units, 30 epochs, learning rate .01, fixed beforehand. Two priors: "given" are the scores that come
with the data (one line per class), "described" are MiniLM's for ``benchmarks/classes/cora.yaml``.

Runs append to ``benchmarks/results/locle_cora.jsonl``; what is there is not run again. Tables:
``python -m benchmarks.papers.locle_cora --tables`` rewrites ``.json`` and ``.md``.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.papers.locle_cora_tables import write_tables
from benchmarks.papers.run_log import read_runs, session_head
from benchmarks.speed.paired import RESULTS

RUNS = RESULTS / "locle_cora.jsonl"
CLASSES = Path(__file__).parents[1] / "classes" / "cora.yaml"
BUDGETS = (70, 140, 175, 350, 700)
SEEDS = tuple(range(10))
SELECTED = (
    "random", "degree", "pagerank", "density", "medoids", "subspace", "graphpart",
    "reliable_influence", "difficulty_aware",
)  # fmt: skip
GOLD_EPOCHS = 100


@dataclass(frozen=True)
class Cell:
    """One run: everything its result depends on."""

    method: str
    budget: int
    seed: int


@dataclass(frozen=True)
class Entrant:
    """A row of the table.

    Attributes:
        run: From (seed, budget) to the scores.
        budgets: It is run with; (0,) where it asks nothing or everything.
        seeds: Of its runs.
        about: What it is, in a line.
    """

    run: Callable[[int, int], Mapping[str, float]]
    budgets: tuple[int, ...] = BUDGETS
    seeds: tuple[int, ...] = SEEDS
    about: str = ""


def recipe_run(make: Callable[[], Any], prior: str) -> Callable[[int, int], Mapping[str, float]]:
    """A recipe with a prior, scored."""

    def run(seed: int, budget: int) -> Mapping[str, float]:
        from graphnoise.label_free.classifier import LabelFreeClassifier

        data = cora()
        fitted = LabelFreeClassifier(
            replay(), recipe=make(), budget=budget, prior=data.priors[prior], seed=seed
        ).fit(data.graph)
        fit = fitted.fit_
        assert fit.votes is not None
        if len(fit.asked) != budget:
            raise RuntimeError(f"{len(fit.asked)} calls were made for a budget of {budget}")
        kept = np.flatnonzero((fit.label >= 0) & (fit.weight > 0))
        told = fit.votes.answered
        return scored(fitted.predict(), data.truth, fit.asked) | {
            "calls": float(len(fit.asked)),
            "asked_right": share(fit.votes.labels[told] == data.truth[fit.asked[told]]),
            "trained_on": float(len(kept)),
            "trained_right": share(fit.label[kept] == data.truth[kept]),
        }

    return run


def zero_calls(prior: str) -> Callable[[int, int], Mapping[str, float]]:
    """A GCN on the prior's likeliest classes, weighted by their probability."""

    def run(seed: int, budget: int) -> Mapping[str, float]:
        from graphnoise.label_free.training import one_hot, train_network

        data = cora()
        found = data.priors[prior]
        targets = one_hot(found.argmax(axis=1), found.shape[1])
        answer = train_network(data.graph, targets, found.max(axis=1), seed=seed)
        return scored(answer.probabilities.argmax(axis=1), data.truth) | {"calls": 0.0}

    return run


def prior_alone(prior: str) -> Callable[[int, int], Mapping[str, float]]:
    """The prior's likeliest class."""

    def run(seed: int, budget: int) -> Mapping[str, float]:
        data = cora()
        return scored(data.priors[prior].argmax(axis=1), data.truth) | {"calls": 0.0}

    return run


def all_answers(seed: int, budget: int) -> Mapping[str, float]:
    """A GCN on every answer there is."""
    from graphnoise.label_free.training import one_hot, train_network

    data = cora()
    answer = train_network(data.graph, one_hot(data.answers, data.graph.n_classes), seed=seed)
    return scored(answer.probabilities.argmax(axis=1), data.truth) | {
        "calls": float(len(data.truth)),
        "asked_right": share(data.answers == data.truth),
    }


def propagated_answers(seed: int, budget: int) -> Mapping[str, float]:
    """Label propagation of every answer there is."""
    from graphnoise.label_propagation import propagate_labels

    data = cora()
    found = propagate_labels(
        data.graph.adjacency, data.answers, n_classes=data.graph.n_classes
    ).argmax(axis=1)
    return scored(found, data.truth) | {"calls": float(len(data.truth))}


def clean_labels(seed: int, budget: int) -> Mapping[str, float]:
    """The ceiling: clean labels of random nodes, more epochs."""
    from graphnoise.label_free.training import FixedTraining, one_hot, train_network

    data = cora()
    nodes = np.random.default_rng(seed).choice(len(data.truth), budget, replace=False)
    label = np.full(len(data.truth), -1)
    label[nodes] = data.truth[nodes]
    answer = train_network(
        data.graph,
        one_hot(label, data.graph.n_classes),
        settings=FixedTraining(epochs=GOLD_EPOCHS),
        seed=seed,
    )
    return scored(answer.probabilities.argmax(axis=1), data.truth, nodes) | {"calls": 0.0}


def entrants() -> dict[str, Entrant]:
    """Rows of the table, in their order."""
    from graphnoise.label_free.bought_labels import BoughtLabels
    from graphnoise.label_free.imprecise_labels import ImpreciseLabels
    from graphnoise.label_free.locle import Locle
    from graphnoise.label_free.second_opinion import SecondOpinion

    def bought(selector: str, drop: float) -> Callable[[], BoughtLabels]:
        return lambda: BoughtLabels(selector=selector, drop=drop)

    rows = {
        "zero_shot given": Entrant(prior_alone("given"), (0,), (0,)),
        "zero_shot described": Entrant(prior_alone("described"), (0,), (0,)),
        "zero_calls given": Entrant(zero_calls("given"), (0,)),
        "zero_calls described": Entrant(zero_calls("described"), (0,)),
        "all_answers": Entrant(all_answers, (0,)),
        "all_answers propagated": Entrant(propagated_answers, (0,), (0,)),
    }
    for selector in SELECTED:
        rows[f"bought_labels {selector}"] = Entrant(recipe_run(bought(selector, 0.0), "given"))
    return rows | {
        "filtered medoids given": Entrant(recipe_run(bought("medoids", 0.3), "given")),
        "filtered medoids described": Entrant(recipe_run(bought("medoids", 0.3), "described")),
        "imprecise_labels described": Entrant(recipe_run(ImpreciseLabels, "described"), (175, 350)),
        "locle given": Entrant(recipe_run(Locle, "given")),
        "locle_paper": Entrant(
            recipe_run(lambda: Locle.paper("cora", "gcn"), "given"), (175, 350), SEEDS[:3]
        ),
        "second_opinion given": Entrant(recipe_run(SecondOpinion, "given")),
        "second_opinion described": Entrant(recipe_run(SecondOpinion, "described")),
        "second_opinion words": Entrant(
            recipe_run(lambda: SecondOpinion(learner="words"), "described"), (175, 350)
        ),
        "second_opinion network": Entrant(
            recipe_run(lambda: SecondOpinion(learner="network"), "described"), (175, 350)
        ),
        "second_opinion nearest": Entrant(
            recipe_run(lambda: SecondOpinion(neighbours=1), "described"), (175, 350)
        ),
        "clean_labels": Entrant(clean_labels),
    }


@dataclass(frozen=True, eq=False)
class Cora:
    """Graph, priors by name, truth for scores, and every answer for the rows that ask all."""

    graph: Any
    priors: Mapping[str, NDArray[np.float32]]
    truth: NDArray[np.int64]
    answers: NDArray[np.int64]


def data_folder() -> Path:
    """Where the texts and answers lie."""
    from graphnoise.datasets.cora_texts import find_cora_texts
    from graphnoise.datasets.places import Places

    return Path(find_cora_texts(Places(None)))


@lru_cache(maxsize=1)
def cora() -> Cora:
    """The data, read once per process."""
    from graphnoise.annotators.zero_shot import read_class_scores, zero_shot_prior
    from graphnoise.datasets import load_graph
    from graphnoise.text_graph import text_graph

    folder = data_folder()
    described = text_graph(load_graph("cora-texts"), CLASSES)
    graph = described
    assert graph.truth is not None
    given = read_class_scores(folder / "cora_minilm_zeroshot.npz", graph.classes.names)
    with np.load(folder / "cora_tag.npz", allow_pickle=False) as archive:
        answers = archive["gpt35_topk"][:, 0].astype(np.int64)
    priors = {"given": zero_shot_prior(graph, given), "described": zero_shot_prior(described)}
    return Cora(graph, priors, graph.truth, answers)


@lru_cache(maxsize=1)
def replay() -> Any:
    """GPT-3.5's recorded answers; each costs a call."""
    from graphnoise.annotators.replay import ReplayAnnotator

    return ReplayAnnotator(data_folder() / "cora_tag.npz", key="gpt35_topk")


def scored(
    predicted: NDArray[np.int64], truth: NDArray[np.int64], asked: Sequence[int] | Any = ()
) -> dict[str, float]:
    """Accuracy over all nodes, over those never asked about, and macro F1."""
    from sklearn.metrics import f1_score

    left = np.ones(len(truth), bool)
    left[np.asarray(asked, dtype=np.int64)] = False
    right = predicted == truth
    return {
        "accuracy": share(right),
        "accuracy_unasked": share(right[left]),
        "macro_f1": float(f1_score(truth, predicted, average="macro")),
    }


def share(right: NDArray[np.bool_]) -> float:
    """Share of true entries; NaN has no place in JSON, so none is 0."""
    return float(right.mean()) if len(right) else 0.0


def measure(cell: Cell) -> dict[str, Any]:
    """The row of a cell."""
    import torch

    torch.set_num_threads(1)
    started = time.process_time()
    found = entrants()[cell.method].run(cell.seed, cell.budget)
    seconds = time.process_time() - started
    return asdict(cell) | {
        name: float(f"{value:.6g}") for name, value in {**found, "cpu_seconds": seconds}.items()
    }


def planned(
    methods: Sequence[str] | None, budgets: Sequence[int] | None, seeds: Sequence[int] | None
) -> list[Cell]:
    """What is asked for, seed by seed, so that a run cut short is still paired."""
    cells = [
        Cell(name, budget, seed)
        for name, entrant in entrants().items()
        for budget in entrant.budgets
        for seed in entrant.seeds
        if (not methods or name in methods)
        and (not budgets or budget in (0, *budgets))
        and (not seeds or seed in seeds)
    ]
    return sorted(cells, key=lambda cell: cell.seed)


def run(cells: Iterable[Cell], *, workers: int, path: Path = RUNS) -> None:
    """Run what is missing; append as results come."""
    done = {(row["method"], row["budget"], row["seed"]) for row in read_runs(path)[0]}
    missing = [cell for cell in cells if (cell.method, cell.budget, cell.seed) not in done]
    if not missing:
        return
    cora()  # what is encoded for the first time is encoded once, not by every worker
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        # the empty line ends one that a crash has cut short
        file.write("\n" * (path.stat().st_size > 0) + json.dumps(session_head()) + "\n")
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for count, future in enumerate(
                as_completed([pool.submit(measure, cell) for cell in missing]), start=1
            ):
                row = future.result()
                file.write(json.dumps(row) + "\n")
                file.flush()
                print(count, len(missing), *(row[key] for key in ("method", "budget", "seed")))


def main() -> None:
    """Parse the command line, run, write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", choices=list(entrants()))
    parser.add_argument("--budgets", type=int, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--tables", action="store_true", help="only write the tables")
    arguments = parser.parse_args()
    if not arguments.tables:
        cells = planned(arguments.methods, arguments.budgets, arguments.seeds)
        run(cells, workers=arguments.workers)
    rows, heads = read_runs(RUNS)
    write_tables(rows, heads, list(entrants()))


if __name__ == "__main__":
    main()
