"""10,000 local clusters on Coauthor CS: two threads against one, the same results to the last bit.

Seeds are random, with repetition where the graph has fewer; labels name the class of each node and
are right with probability .9. Seeds are answered in blocks, by one thread and by two in turns, the
first of them alternating, so that what else the machine does falls on both.

Run: ``python -m benchmarks.speed.local_batch [--seeds 10000] [--threads 2]``
"""

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.papers.local_clustering_protocol import Target, generator, load_target
from benchmarks.speed.paired import write_result
from graphnoise.local_clusters import CLUSTER_METHODS
from graphnoise.local_clusters.batch import cluster_many

GRAPH, N_SEEDS, BLOCK = "coauthor-cs", 10_000, 1_000
RIGHT = 0.9
METHODS = ("label_flow_diffusion", "flow_diffusion", "pagerank")
Batch = Callable[[NDArray[np.int64]], Iterable[Any]]


def main() -> None:
    """Time every method in blocks, compare digests, add Ray where it is installed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=N_SEEDS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    target = load_target(GRAPH)
    seeds = draw_seeds(target.adjacency.n_nodes, arguments.seeds)
    measured: dict[str, Any] = {"graph": GRAPH, "seeds": len(seeds), "block": BLOCK}
    for name in arguments.methods:
        options = options_of(name, target)
        measured[name] = compare(target, options, seeds, arguments.threads)
        print(name, json.dumps(measured[name]), flush=True)
    write_result("local_batch", measured)


def draw_seeds(n_nodes: int, count: int) -> NDArray[np.int64]:
    """Random nodes, all different as long as there are enough."""
    rng = generator(GRAPH, "batch")
    rounds = [rng.permutation(n_nodes) for _ in range(-(-count // n_nodes))]
    return np.concatenate(rounds)[:count]


def options_of(name: str, target: Target) -> dict[str, Any]:
    """What `cluster_many` is asked for; the mass is twice the mean volume of a class."""
    method = CLUSTER_METHODS.load(name)()
    if name == "pagerank":
        return {"method": method, "rounding": "sweep"}
    mass = 2 * target.adjacency.total_volume / len(target.names)
    labels = noisy_classes(target) if name == "label_flow_diffusion" else None
    return {"method": method, "rounding": "support", "mass": mass, "labels": labels}


def noisy_classes(target: Target) -> NDArray[np.int64]:
    """Class of each node, replaced by a random one so that `RIGHT` of them are true."""
    rng, count = generator(GRAPH, "batch labels"), len(target.names)
    wrong = rng.random(len(target.classes)) >= RIGHT
    shift = rng.integers(1, count, len(wrong))
    return np.where(wrong, (target.classes + shift) % count, target.classes)


def compare(
    target: Target, options: dict[str, Any], seeds: NDArray[np.int64], threads: int
) -> dict[str, Any]:
    """Wall times by number of threads, and whether every block has the same digest."""

    def over(count: int) -> Batch:
        return lambda block: cluster_many(target.adjacency, block, threads=count, **options)

    rivals: dict[str, Batch] = {"1": over(1), str(threads): over(threads)}
    found = _in_turns(rivals, list(blocks(seeds)))
    one, many = (np.array(found[key]["wall"]) for key in rivals)
    row = {
        "threads": threads,
        "wall_seconds": {key: sum(found[key]["wall"]) for key in rivals},
        "cpu_seconds": {key: sum(found[key]["cpu"]) for key in rivals},
        "speedup_total": float(one.sum() / many.sum()),
        "speedup_median_of_blocks": float(np.median(one / many)),
        "speedup_of_blocks": (one / many).round(3).tolist(),
        "identical": found["1"]["digest"] == found[str(threads)]["digest"],
    }
    return row | {"ray": _over_ray(target, options, seeds, threads, found["1"]["digest"])}


def blocks(seeds: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Blocks of seeds, the last one perhaps shorter."""
    for start in range(0, len(seeds), BLOCK):
        yield seeds[start : start + BLOCK]


def _in_turns(
    rivals: dict[str, Batch], parts: list[NDArray[np.int64]]
) -> dict[str, dict[str, list[Any]]]:
    found: dict[str, dict[str, list[Any]]] = {
        name: {"wall": [], "cpu": [], "digest": []} for name in rivals
    }
    for batch in rivals.values():
        list(batch(parts[0][:20]))
    for at, part in enumerate(parts):
        order = list(rivals) if at % 2 == 0 else list(rivals)[::-1]
        for name in order:
            wall, cpu = time.perf_counter(), time.process_time()
            clusters = list(rivals[name](part))
            found[name]["cpu"].append(time.process_time() - cpu)
            found[name]["wall"].append(time.perf_counter() - wall)
            found[name]["digest"].append(digest(clusters))
    return found


def digest(clusters: Iterable[Any]) -> str:
    """Of members, scores, conductance, work and certificate of all clusters in order."""
    made = hashlib.sha256()
    for cluster in clusters:
        proof = cluster.certificate
        numbers = [cluster.conductance, cluster.edges, proof.excess, proof.slack, proof.gap]
        for array in (cluster.nodes, cluster.score, np.array(numbers)):
            made.update(np.ascontiguousarray(array).tobytes())
    return made.hexdigest()


def _over_ray(
    target: Target,
    options: dict[str, Any],
    seeds: NDArray[np.int64],
    workers: int,
    expected: list[str],
) -> dict[str, Any] | str:
    """One run over Ray processes, their start included and apart."""
    if find_spec("ray") is None:
        return "not installed"
    import ray

    from graphnoise.local_clusters.ray_batch import cluster_many_ray

    started = time.perf_counter()
    ray.init(num_cpus=workers, log_to_driver=False, include_dashboard=False)
    ready = time.perf_counter()
    try:
        clusters = list(cluster_many_ray(target.adjacency, seeds, workers=workers, **options))
        done = time.perf_counter()
    finally:
        ray.shutdown()
    found = [digest(clusters[at : at + BLOCK]) for at in range(0, len(clusters), BLOCK)]
    return {
        "workers": workers, "start_seconds": ready - started, "wall_seconds": done - ready,
        "identical": found == expected,
    }  # fmt: skip


if __name__ == "__main__":
    main()
