"""Many queries over the machines of a Ray cluster: one graph per worker, opened once."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphnoise.graph_store import GraphStore
from graphnoise.local_clusters.adjacency import Adjacency, as_adjacency
from graphnoise.local_clusters.base import LocalMethod
from graphnoise.local_clusters.batch import Failure, answer, check_batch
from graphnoise.local_clusters.cluster import Cluster
from graphnoise.local_clusters.query import Budget
from graphnoise.local_clusters.searching import prepare_search
from graphnoise.local_subgraph import GraphArrays

# a message costs about a millisecond, as much as a query
SEEDS_PER_TASK = 32
TASKS_PER_WORKER = 3


def cluster_many_ray(
    graph: Any,
    seeds: Iterable[Any],
    *,
    labels: Any = None,
    method: str | LocalMethod | None = None,
    rounding: str | None = None,
    mass: float | None = None,
    budget: Budget | None = None,
    target_label: int | None = None,
    workers: int | None = None,
    on_error: str = "raise",
) -> Iterator[Cluster | Failure]:
    """`cluster_many` over Ray: the same results in the same order.

    Joins the Ray that runs, else starts one on this machine and stops it at the end. Give the path
    of a store that every machine can read: each worker maps it for itself. Another graph, and the
    labels, are sent to each worker once.

    Args:
        graph, seeds, labels, method, rounding, mass, budget, target_label, on_error: See
            `cluster_many`.
        workers: Processes of one processor each; by default one per processor of the Ray cluster.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        TypeError: See `cluster_many`.
        ValueError: See `cluster_many`.
    """
    ray = _import_ray()
    check_batch(seeds, on_error, "workers", workers)
    options = {
        "labels": labels, "method": method, "rounding": rounding, "mass": mass, "budget": budget,
        "target_label": target_label,
    }  # fmt: skip
    # wrong options are told here, before anything is started
    search = prepare_search(graph, **options)
    # a store goes by its name, another graph as the arrays it was converted to
    if isinstance(graph, GraphStore):
        graph = graph.path
    sent = Path(graph).resolve() if isinstance(graph, str | Path) else search.adjacency
    return _stream(ray, sent, options, iter(seeds), workers, on_error == "record")


class ClusterWorker:
    """What runs in each process of Ray.

    Args:
        graph: Path of a store, or an `Adjacency`.
        options: Of `prepare_search`.
        record: Whether failures are recorded.
    """

    def __init__(self, graph: Any, options: dict[str, Any], record: bool) -> None:
        adjacency = as_adjacency(graph)
        if isinstance(graph, Adjacency):
            adjacency = _writable(adjacency)
        self._search, self._record = prepare_search(adjacency, **options), record

    def answer(self, seeds: list[Any]) -> list[Cluster | Failure]:
        """Clusters of some queries."""
        return answer(self._search, seeds, self._record)


def _stream(
    ray: Any,
    graph: Any,
    options: dict[str, Any],
    seeds: Iterator[Any],
    workers: int | None,
    record: bool,
) -> Iterator[Cluster | Failure]:
    started_here = not ray.is_initialized()
    if started_here:
        ray.init(log_to_driver=False, include_dashboard=False)
    actors = []
    try:
        count = workers or max(int(ray.cluster_resources().get("CPU", 1)), 1)
        shared, remote = ray.put(graph), ray.remote(num_cpus=1)(ClusterWorker)
        shared_options = ray.put(options)
        actors = [remote.remote(shared, shared_options, record) for _ in range(count)]
        tasks = enumerate(iter(lambda: list(islice(seeds, SEEDS_PER_TASK)), []))
        waiting: deque[Any] = deque()
        while True:
            for number, task in islice(tasks, TASKS_PER_WORKER * count - len(waiting)):
                waiting.append(actors[number % count].answer.remote(task))
            if not waiting:
                return
            yield from _result(ray, waiting.popleft())
    finally:
        for actor in actors:
            ray.kill(actor)
        if started_here:
            ray.shutdown()


def _result(ray: Any, reference: Any) -> list[Cluster | Failure]:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        # the error itself, as without Ray, not wrapped in the trace of another process
        raise error.cause from None


def _import_ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            "clusters over Ray need it: pip install 'graphnoise[ray]'"
        ) from missing
    return ray


def _writable(adjacency: Adjacency) -> Adjacency:
    """Ray shares arrays read-only; compiled code would be made a second time for those."""
    arrays = GraphArrays(*(_copied(array) for array in adjacency.arrays))
    return replace(adjacency, arrays=arrays)


def _copied(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.flags.writeable else np.array(array)
