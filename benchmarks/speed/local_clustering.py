"""CPU time of local queries: PageRank against other libraries, flow diffusions by order of pushes.

50 random seeds of the largest component; every rival answers the first seed, then every rival the
second, and so on. Before anything is timed, PageRank vectors are held against the exact ones to the
guarantee they share (``|p_i - p*_i| <= epsilon d_i``) and diffusions against their optimality
conditions. Flow diffusion answers another question than PageRank: their ratio says what a query
costs, not that one replaces the other.

Run: ``python -m benchmarks.speed.local_clustering [--graphs coauthor-cs amazon-photo]``
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.papers.local_clustering_protocol import (
    Target,
    Trial,
    draw_examples,
    generator,
    load_target,
    score,
)
from benchmarks.speed.pagerank_peers import (
    Peer,
    exact_pagerank,
    global_peers,
    largest_error,
    not_installed,
    push_peers,
)
from benchmarks.speed.paired import write_result
from graphnoise.local_clusters import CLUSTER_METHODS, Adjacency, local_cluster
from graphnoise.local_clusters.base import Workspace
from graphnoise.local_clusters.cluster import Diffused
from graphnoise.local_clusters.learned_labels import LabelsFromExamples
from graphnoise.local_clusters.query import Labels, Query
from graphnoise.local_clusters.rounding import round_cluster
from graphnoise.local_subgraph import NODES

TELEPORT, EPSILONS = 0.1, (1e-4, 1e-5)
# PyG's time at this epsilon is what the bars for flow diffusions are stated against
BAR_EPSILON, BAR_PEER = 1e-5, "pyg_get_ppr"
ORDERS = ("fifo", "over_relaxed", "conjugate")
TOLERANCE, PER_SIDE = 1e-2, 25
N_SEEDS, REPEATS = 50, 3
# the push alone, and `local_cluster` with sweep cut, as users call it
OURS, WHOLE = "ours", "ours_with_sweep"
NIBBLE = "networkit_pagerank_nibble_with_sweep"
Call = Callable[[int], object]


@dataclass(frozen=True, eq=False)
class Queries:
    """The same questions for every rival.

    Attributes:
        target: The graph.
        trials: One per seed; the class of the seed is its target.
        labels: Predicted for each trial, all nodes ``[N]`` int32.
        label_ms: CPU time per trial of fitting the classifier and of predicting all nodes.
    """

    target: Target
    trials: list[Trial]
    labels: list[NDArray[np.int32]]
    label_ms: NDArray[np.float64]

    def members(self, at: int) -> NDArray[np.bool_]:
        """The target of one trial ``[N]``."""
        return self.target.members(self.trials[at].target)


def main() -> None:
    """Equal answers first, then times in turns, then compilation in processes of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graphs", nargs="+", default=["coauthor-cs", "amazon-photo"])
    parser.add_argument("--seeds", type=int, default=N_SEEDS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--first-call", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    if arguments.first_call:
        print(_first_call(arguments.first_call))
        return
    measured = {
        graph: measure(graph, arguments.seeds, arguments.repeats) for graph in arguments.graphs
    }
    methods = [name for name in ("pagerank", "label_flow_diffusion") if name in CLUSTER_METHODS]
    write_result(
        "local_clustering",
        {
            "graphs": measured,
            "peers_left_out": not_installed(),
            "first_call_seconds": {name: compile_times(name) for name in methods},
        },
    )


def measure(graph: str, n_seeds: int, repeats: int) -> dict[str, Any]:
    """Everything about one graph."""
    target = load_target(graph)
    asked = queries(graph, target, n_seeds)
    matrix = as_matrix(target.adjacency)
    found: dict[str, Any] = {
        "nodes": target.adjacency.n_nodes, "edges": matrix.nnz // 2, "seeds": n_seeds,
        "repeats": repeats, "teleport": TELEPORT, "tolerance": TOLERANCE,
        "labels_cpu_ms": {
            "fit_median": float(np.median(asked.label_ms[:, 0])),
            "predict_all_nodes_median": float(np.median(asked.label_ms[:, 1])),
        },
    }  # fmt: skip
    found["pagerank"] = {
        f"{epsilon:g}": pagerank_times(asked, matrix, epsilon, repeats) for epsilon in EPSILONS
    }
    found["flow"] = flow_times(asked, matrix, repeats)
    return found


def queries(graph: str, target: Target, n_seeds: int) -> Queries:
    """Random seeds of the whole component, and labels from examples of the seed's class."""
    seeds = generator(graph, "speed").choice(target.adjacency.n_nodes, n_seeds, replace=False)
    trials = [Trial(graph, int(target.classes[s]), at, int(s)) for at, s in enumerate(seeds)]
    made = [_predict(target, trial) for trial in trials]
    return Queries(target, trials, [row[0] for row in made], np.array([row[1] for row in made]))


def _predict(target: Target, trial: Trial) -> tuple[NDArray[np.int32], tuple[float, float]]:
    positives, negatives = draw_examples(target.members(trial.target), PER_SIDE, trial)
    adjacency, workspace = target.adjacency, Workspace(target.adjacency.n_nodes)
    started = time.process_time()
    source = LabelsFromExamples(positives, negatives)
    labels, _ = source.labels_for(adjacency, Query(np.array([trial.seed])), workspace)
    fitted = time.process_time()
    assert labels.function is not None
    predicted = labels.function(np.arange(adjacency.n_nodes)).astype(np.int32)
    done = time.process_time()
    return predicted, (1e3 * (fitted - started), 1e3 * (done - fitted))


def as_matrix(adjacency: Adjacency) -> sparse.csr_array:
    """An unweighted graph as scipy sees it."""
    arrays = adjacency.arrays
    ones = np.ones(len(arrays.indices), np.int8)
    shape = (adjacency.n_nodes, adjacency.n_nodes)
    return sparse.csr_array((ones, arrays.indices, arrays.indptr), shape=shape)


def pagerank_times(
    asked: Queries, matrix: sparse.csr_array, epsilon: float, repeats: int
) -> dict[str, Any]:
    """Ours against the peers at one epsilon, after checking everybody's vectors."""
    adjacency, workspace = asked.target.adjacency, Workspace(matrix.shape[0])
    method = CLUSTER_METHODS.load("pagerank")(teleport=TELEPORT, epsilon=epsilon)
    peers = push_peers(matrix, teleport=TELEPORT, epsilon=epsilon)
    if epsilon == min(EPSILONS):
        peers |= global_peers(matrix, teleport=TELEPORT)

    def ours(seed: int) -> Diffused:
        return method.diffuse(adjacency, Query(np.array([seed])), workspace)

    def whole_query(seed: int) -> object:
        return local_cluster(adjacency, seed, method=method, rounding="sweep", workspace=workspace)

    everyone = {OURS: Peer(ours, _vector)} | peers
    errors = vector_errors(asked, matrix, everyone)
    if errors[OURS] > epsilon * (1 + 1e-9):
        raise RuntimeError(f"PageRank is wrong by {errors[OURS]} per degree, allowed {epsilon}")
    seeds = [trial.seed for trial in asked.trials]
    calls: dict[str, Call] = {name: peer.call for name, peer in everyone.items()}
    spent = time_queries(calls | {WHOLE: whole_query}, seeds, repeats)
    table = as_table(spent, against=OURS)
    if NIBBLE in spent:
        table[NIBBLE][f"times_of_{WHOLE}"] = float(np.median(spent[NIBBLE] / spent[WHOLE]))
    for name, error in errors.items():
        table[name]["largest_error_per_degree"] = error
    edges = [ours(seed).edges for seed in seeds]
    return table | {"edge_visits_median": float(np.median(edges))}


def _vector(found: Diffused) -> tuple[NDArray[Any], NDArray[Any]]:
    return found.subgraph.node[: len(found.mass)], found.mass


def vector_errors(
    asked: Queries, matrix: sparse.csr_array, peers: Mapping[str, Peer]
) -> dict[str, float]:
    """Largest ``|p_i - p*_i| / d_i`` over all seeds, of everyone that returns a vector."""
    degree = np.diff(matrix.indptr)
    errors = {name: 0.0 for name, peer in peers.items() if peer.vector}
    for trial in asked.trials:
        exact = exact_pagerank(matrix, trial.seed, teleport=TELEPORT)
        for name, peer in peers.items():
            if peer.vector:
                error = largest_error(peer.vector(peer.call(trial.seed)), exact, degree)
                errors[name] = max(errors[name], error)
    return errors


def flow_times(asked: Queries, matrix: sparse.csr_array, repeats: int) -> dict[str, Any]:
    """Plain and label-weighted flow diffusion in each order, beside PyG's PageRank."""
    solvers = flow_solvers(asked)
    calls: dict[str, Call] = dict(solvers)
    bar = push_peers(matrix, teleport=TELEPORT, epsilon=BAR_EPSILON)[BAR_PEER]
    calls[BAR_PEER] = lambda at: bar.call(asked.trials[at].seed)
    checked = {name: _checked(asked, solve) for name, solve in solvers.items()}
    every = range(len(asked.trials))
    table = as_table(time_queries(calls, every, repeats), against=BAR_PEER)
    sweeps = {name: sweep_ms(asked, solvers[name]) for name in solvers}
    return {
        name: row
        | checked.get(name, {})
        | ({"sweep_cpu_ms": sweeps[name]} if name in sweeps else {})
        for name, row in table.items()
    }


def flow_solvers(asked: Queries) -> dict[str, Callable[[int], Diffused]]:
    """Name -> number of a query -> its diffusion."""
    workspace = Workspace(asked.target.adjacency.n_nodes)

    def solve(method: Any, labelled: bool, at: int) -> Diffused:
        trial = asked.trials[at]
        query = Query(np.array([trial.seed]), asked.target.oracle_mass(trial.target))
        if labelled:
            query = replace(query, labels=Labels(asked.labels[at]))
        return method.diffuse(asked.target.adjacency, query, workspace)

    return {
        f"{name}_{order}": partial(
            solve, CLUSTER_METHODS.load(name)(order=order, tolerance=TOLERANCE), labelled
        )
        for name, labelled in (("flow_diffusion", False), ("label_flow_diffusion", True))
        for order in ORDERS
        if name in CLUSTER_METHODS
    }


def _checked(asked: Queries, solve: Callable[[int], Diffused]) -> dict[str, Any]:
    """Optimality of every answer, what it cost in edges and what it is worth.

    Raises:
        RuntimeError: An answer that did not converge or violates a condition.
    """
    degree = np.diff(asked.target.adjacency.arrays.indptr)
    rows = []
    for at in range(len(asked.trials)):
        found = solve(at)
        proof = found.certificate
        if not (found.converged and proof.within(TOLERANCE * (1 + 1e-6))):
            raise RuntimeError(f"query {at} is not solved: {proof}, {found.stopped_by!r}")
        nodes = found.subgraph.node[: len(found.score)][found.score > 0]
        volume = degree[nodes].sum()
        rows.append(
            (
                found.edges, found.edges / volume, found.subgraph.used[NODES],
                score(nodes, asked.members(at))[0], max(proof.excess, proof.slack, proof.negative),
            )
        )  # fmt: skip
    edges, per_volume, touched, f1, violation = np.array(rows).T
    return {
        "edge_visits_median": float(np.median(edges)),
        "edge_visits_per_volume_median": float(np.median(per_volume)),
        "touched_median": float(np.median(touched)),
        "f1_mean": float(f1.mean()),
        "largest_violation": float(violation.max()),
    }


def sweep_ms(asked: Queries, solve: Callable[[int], Diffused]) -> float:
    """Median CPU milliseconds of the sweep alone."""
    spent = []
    for at in range(len(asked.trials)):
        found = solve(at)
        started = time.process_time()
        round_cluster(found, "sweep", asked.target.adjacency)
        spent.append(time.process_time() - started)
    return 1e3 * float(np.median(spent))


def time_queries(
    calls: Mapping[str, Call], queries: Sequence[int], repeats: int
) -> dict[str, NDArray[np.float64]]:
    """CPU milliseconds ``[queries]`` of each rival; they take turns at every query.

    The median over `repeats` turns of one query; all have answered once before, so that nothing
    is compiled while the clock runs.
    """
    for call in calls.values():
        call(queries[0])
    spent = {name: np.empty((len(queries), repeats)) for name in calls}
    for at, query in enumerate(queries):
        for turn in range(repeats):
            for name, call in calls.items():
                started = time.process_time()
                call(query)
                spent[name][at, turn] = 1e3 * (time.process_time() - started)
    return {name: np.median(turns, axis=1) for name, turns in spent.items()}


def as_table(
    milliseconds: Mapping[str, NDArray[np.float64]], *, against: str
) -> dict[str, dict[str, Any]]:
    """Median and quartiles over queries, and the median of per-query ratios to one rival."""
    reference = milliseconds[against]
    return {
        name: {
            "cpu_ms_median": float(np.median(spent)),
            "cpu_ms_quartiles": np.quantile(spent, [0.25, 0.75]).tolist(),
            # of each query apart, so that hard seeds weigh as much as easy ones
            f"times_of_{against}": float(np.median(spent / reference)),
        }
        for name, spent in milliseconds.items()
    }


def compile_times(method: str) -> dict[str, float]:
    """Seconds of the first query in a new process, with an empty and with a filled cache."""
    found = {}
    with tempfile.TemporaryDirectory() as cache:
        for name in ("compiled", "from_cache"):
            run = subprocess.run(
                [sys.executable, "-m", "benchmarks.speed.local_clustering", "--first-call", method],
                env=os.environ | {"NUMBA_CACHE_DIR": cache}, capture_output=True, text=True,
                check=True,
            )  # fmt: skip
            found[name] = float(run.stdout)
    return found


def _first_call(name: str) -> float:
    from benchmarks.planted_clusters import SMALL, planted_graph
    from graphnoise.local_clusters import as_adjacency

    graph = planted_graph(10_000, SMALL)
    adjacency, members = as_adjacency(graph.matrix), graph.members
    labels = np.zeros(adjacency.n_nodes, np.int32)
    labels[members] = 1
    started = time.process_time()
    local_cluster(
        adjacency, int(members[0]), labels=None if name == "pagerank" else labels, method=name,
        rounding="sweep", mass=None if name == "pagerank" else 7500.0,
    )  # fmt: skip
    return time.process_time() - started


if __name__ == "__main__":
    main()
