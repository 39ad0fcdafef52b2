"""Selectors: how good scalable medoids are on Cora, and what 1,000 nodes of 170,000 cost.

Quality: mean distance to the nearest chosen node (the k-medoids objective) in ``A_hat^2 X`` of
Cora's texts, against k-medoids by swaps on all N^2 distances, and the share of nodes within two
hops of a chosen one. Gold labels are not read. Cost: CPU seconds (all threads), wall seconds and
peak memory of every selector, each in a process of its own, beside the memory of the graph.

Run: ``python -m benchmarks.speed.node_selection [--seeds 6] [--nodes 170000]``
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.speed.k_medoids import all_distances, mean_distance, swap_until_still
from benchmarks.speed.paired import write_result
from graphnoise.node_selection import SELECTORS
from graphnoise.node_selection.base import Situation
from graphnoise.node_selection.k_means import Clusters, k_means, nearest_centre
from graphnoise.node_selection.medoids import medoids_of, propagated
from graphnoise.text_graph import TextGraph, text_graph
from labelnoise.class_list import ClassList

BUDGETS, SWAP_SEEDS, DIMENSIONS, BUDGET = (70, 175, 350), 2, 384, 1000
OURS, EXACT = "medoids", "k-medoids by swaps"
Nodes = NDArray[np.int64]


def main() -> None:
    """Quality on Cora, then every selector at size; JSON and a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--nodes", type=int, default=170_000)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(cost(arguments.one, arguments.nodes)))
        return
    measured = {
        "cora": {str(budget): quality(budget, arguments.seeds) for budget in BUDGETS},
        "nodes": arguments.nodes,
        "cost": {name: in_a_process(name, arguments.nodes) for name in SELECTORS},
    }
    path = write_result("node_selection", measured)
    path.with_suffix(".md").write_text(page(measured, json.loads(path.read_text())))


def quality(budget: int, n_seeds: int) -> dict[str, dict[str, float]]:
    """Objective, its ratio to exact k-medoids, coverage and CPU seconds, means over seeds."""
    graph = text_graph("cora-texts")
    rows = propagated(graph.adjacency, graph.embedding)
    distances, near = all_distances(rows), two_hops(graph.adjacency)
    rivals: dict[str, tuple[int, Callable[[int], Nodes]]] = {
        "random": (n_seeds, lambda seed: at_random(len(rows), budget, seed)),
        OURS: (n_seeds, lambda seed: ours(rows, budget, seed)),
        "medoids, scikit-learn's k-means": (n_seeds, lambda seed: theirs(rows, budget, seed)),
        EXACT: (
            SWAP_SEEDS,
            lambda seed: swap_until_still(distances, at_random(len(rows), budget, seed)),
        ),
        "medoids, then swaps": (
            SWAP_SEEDS,
            lambda seed: swap_until_still(distances, ours(rows, budget, seed)),
        ),
    }
    found = {
        name: _averaged(seeds, call, distances, near) for name, (seeds, call) in rivals.items()
    }
    for numbers in found.values():
        numbers["ratio_to_exact"] = numbers["objective"] / found[EXACT]["objective"]
    return found


def _averaged(
    seeds: int, call: Callable[[int], Nodes], distances: NDArray[np.float32], near: Any
) -> dict[str, float]:
    objectives, coverages = [], []
    before = time.process_time()
    chosen = [call(seed) for seed in range(seeds)]
    seconds = (time.process_time() - before) / seeds
    for nodes in chosen:
        objectives.append(mean_distance(distances, nodes))
        coverages.append(float((near[:, nodes].sum(axis=1) > 0).mean()))
    return {
        "seeds": seeds,
        "objective": float(np.mean(objectives)),
        "objective_deviation": float(np.std(objectives)),
        "within_two_hops": float(np.mean(coverages)),
        "cpu_seconds": seconds,
    }


def at_random(n_nodes: int, budget: int, seed: int) -> Nodes:
    """Distinct nodes."""
    return np.random.default_rng(seed).choice(n_nodes, budget, replace=False)


def ours(rows: NDArray[np.float32], budget: int, seed: int) -> Nodes:
    """What the selector does after propagation."""
    clusters = k_means(rows, budget, seed=seed)
    return medoids_of(rows, clusters, np.arange(len(rows)), budget).nodes


def theirs(rows: NDArray[np.float32], budget: int, seed: int) -> Nodes:
    """The same with scikit-learn's k-means, one start."""
    from sklearn.cluster import KMeans

    centres = KMeans(budget, n_init=1, random_state=seed).fit(rows).cluster_centers_
    clusters = Clusters(centres, *nearest_centre(rows, centres))
    return medoids_of(rows, clusters, np.arange(len(rows)), budget).nodes


def two_hops(adjacency: sparse.csr_array) -> sparse.csr_array:
    """Who is within two edges of whom ``[N, N]``, themselves included."""
    step = sparse.csr_array(adjacency + sparse.eye_array(adjacency.shape[0], format="csr"))
    return sparse.csr_array(step @ step) > 0


def in_a_process(name: str, n_nodes: int) -> dict[str, float]:
    """`cost` in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, "-m", "benchmarks.speed.node_selection", "--one", name]
    run = subprocess.run(
        [*command, "--nodes", str(n_nodes)], check=True, capture_output=True, text=True
    )
    print(name, run.stdout.strip(), flush=True)
    return json.loads(run.stdout)


def cost(name: str, n_nodes: int) -> dict[str, float]:
    """Seconds and peak memory of one selection, after one on a small graph (compilation)."""
    selector = SELECTORS.load(name)()
    selector.select(planted(500, 20), 10)
    situation = planted(n_nodes, DIMENSIONS)
    held = _peak_gb()
    cpu, wall = time.process_time(), time.perf_counter()
    found = selector.select(situation, BUDGET)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if len(np.unique(found.nodes)) != BUDGET:
        raise RuntimeError(f"{name} gave {len(np.unique(found.nodes))} nodes, expected {BUDGET}")
    return {"cpu_seconds": cpu, "wall_seconds": wall, "graph_gb": held, "peak_gb": _peak_gb()}


def planted(n_nodes: int, n_dimensions: int, *, n_classes: int = 40) -> Situation:
    """A graph of about ogbn-arxiv's size: 14 ends per node, degrees of a power law, homophily .65.

    Embeddings are a centre per class and noise of the same size; prior and model are drawn.
    """
    rng = np.random.default_rng(0)
    kind = rng.integers(n_classes, size=n_nodes)
    weight = rng.pareto(2.0, n_nodes) + 1
    n_edges = 7 * n_nodes
    source = rng.choice(n_nodes, n_edges, p=weight / weight.sum())
    target = rng.integers(n_nodes, size=n_edges)
    by_kind = np.argsort(kind, kind="stable")
    start = np.searchsorted(kind[by_kind], np.arange(n_classes + 1))
    alike = np.flatnonzero(rng.random(n_edges) < 0.65)
    first, after = start[kind[source[alike]]], start[kind[source[alike]] + 1]
    target[alike] = by_kind[rng.integers(first, after)]
    kept = source != target
    edges = sparse.csr_array(
        (np.ones(kept.sum(), np.float32), (source[kept], target[kept])), shape=(n_nodes, n_nodes)
    )
    adjacency = sparse.csr_array(edges.maximum(edges.T))
    adjacency.data[:] = 1
    rows = rng.standard_normal((n_nodes, n_dimensions), dtype=np.float32)
    rows += rng.standard_normal((n_classes, n_dimensions), dtype=np.float32)[kind]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    names = ClassList(tuple(f"class {k}" for k in range(n_classes)))
    graph = TextGraph(adjacency, ("text",) * n_nodes, rows, names)
    opinions = rng.standard_exponential((2, n_nodes, n_classes), dtype=np.float32)
    opinions /= opinions.sum(axis=2, keepdims=True)
    return Situation(graph, np.ones(n_nodes, bool), 0, opinions[0], opinions[1])


def page(measured: dict[str, Any], record: dict[str, Any]) -> str:
    """The tables as Markdown."""
    machine = record["machine"]
    lines = [
        "# Selecting nodes: quality and cost",
        "",
        f"{record['date']}, {machine['processor']}, {machine['cores']} cores,"
        f" {machine['threads']} thread(s), load before {machine['load_before']}: beside other work"
        " wall seconds are disturbed and CPU seconds are the measure.",
        "",
        "## Cora, 2,708 nodes: medoids against k-medoids on all distances",
        "",
        f"Mean distance to the nearest chosen node in A_hat^2 X; the ratio is to `{EXACT}`"
        " (FasterPAM from random nodes, a local optimum).",
        "",
        "| calls | selection | seeds | objective | ratio | within two hops | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {budget} | {name} | {n['seeds']} | {n['objective']:.4f}"
        f" ± {n['objective_deviation']:.4f} | {n['ratio_to_exact']:.3f}"
        f" | {n['within_two_hops']:.3f} | {n['cpu_seconds']:.2f} |"
        for budget, rivals in measured["cora"].items()
        for name, n in rivals.items()
    ]
    lines += [
        "",
        f"## {BUDGET:,} nodes of {measured['nodes']:,} (synthetic, {DIMENSIONS} dimensions)",
        "",
        "| selector | CPU s | wall s | peak GB | of which the graph |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {n['cpu_seconds']:.1f} | {n['wall_seconds']:.1f} | {n['peak_gb']:.2f}"
        f" | {n['graph_gb']:.2f} |"
        for name, n in measured["cost"].items()
    ]
    return "\n".join(lines) + "\n"


def _peak_gb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


if __name__ == "__main__":
    main()
