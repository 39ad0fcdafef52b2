"""Many queries on one graph over threads: streamed, in order, the same however many threads."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from graphnoise.local_clusters.base import LocalMethod
from graphnoise.local_clusters.cluster import Cluster
from graphnoise.local_clusters.query import Budget
from graphnoise.local_clusters.searching import Search, prepare_search

ON_ERROR = ("raise", "record")
# handing over a task costs some tens of microseconds, a query about a millisecond
SEEDS_PER_TASK = 4
# enough that no thread waits for the one whose result is next
TASKS_PER_THREAD = 8


@dataclass(frozen=True)
class Failure:
    """A query of a batch that could not be answered.

    Attributes:
        seeds: As the caller gave them.
        error: Why, in words.
    """

    seeds: Any
    error: str


def cluster_many(
    graph: Any,
    seeds: Iterable[Any],
    *,
    labels: Any = None,
    method: str | LocalMethod | None = None,
    rounding: str | None = None,
    mass: float | None = None,
    budget: Budget | None = None,
    target_label: int | None = None,
    threads: int | None = None,
    on_error: str = "raise",
) -> Iterator[Cluster | Failure]:
    """A cluster around each seed, in the order of the seeds, whatever the number of threads.

    The graph and the labels are converted once. Results are yielded as they come and seeds are
    taken from their iterator as results are taken, so memory does not grow with their number. Stop
    at any time; queries that have not begun are dropped. Compiled loops release the interpreter's
    lock; a label function in Python holds it.

    Args:
        graph: See `as_adjacency`.
        seeds: One query per item: an id, or a sequence of ids.
        labels, method, rounding, mass, budget, target_label: See `local_cluster`; the same for
            every query, the budget for each of them.
        threads: By default as many as processors may be used.
        on_error: "raise" ends the batch at the first seed that is unknown, isolated or repeated,
            or whose component cannot hold the mass; "record" yields a `Failure` in its place.

    Raises:
        TypeError: See `local_cluster`.
        ValueError: See `local_cluster`.
    """
    check_batch(seeds, on_error, "threads", threads)
    search = prepare_search(
        graph, labels=labels, method=method, rounding=rounding, mass=mass, budget=budget,
        target_label=target_label,
    )  # fmt: skip
    # checks come when the function is called, not when the first result is asked for
    return _stream(search, iter(seeds), threads or available_processors(), on_error == "record")


def check_batch(seeds: Any, on_error: str, argument: str, count: int | None) -> None:
    """Refuse wrong options of a batch; `count` of threads or workers, as `argument` says.

    Raises:
        TypeError: Seeds that are not one item per query.
        ValueError: Another `on_error`, or fewer than one thread.
    """
    if on_error not in ON_ERROR:
        raise ValueError(f"on_error must be one of {list(ON_ERROR)}, got {on_error!r}")
    if count is not None and count < 1:
        raise ValueError(f"{argument} must be at least 1, got {count}")
    if isinstance(seeds, str | bytes) or not isinstance(seeds, Iterable):
        raise TypeError(
            f"seeds must be a sequence with one item per query, got {type(seeds).__name__}"
        )


def answer(search: Search, seeds: list[Any], record: bool) -> list[Cluster | Failure]:
    """Clusters of some queries, or what went wrong where that is recorded.

    Raises:
        ValueError: A query that cannot be answered, unless `record`.
        TypeError: Seeds that are no ids, unless `record`.
    """
    made: list[Cluster | Failure] = []
    for wanted in seeds:
        try:
            made.append(search.cluster(wanted))
        except (ValueError, TypeError) as error:
            if not record:
                raise
            made.append(Failure(wanted, str(error)))
    return made


def available_processors() -> int:
    """Processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _stream(
    search: Search, seeds: Iterator[Any], threads: int, record: bool
) -> Iterator[Cluster | Failure]:
    if threads == 1:
        for wanted in seeds:
            yield from answer(search, [wanted], record)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="local cluster")
    waiting = deque[Future[list[Cluster | Failure]]]()
    try:
        tasks = iter(lambda: list(islice(seeds, SEEDS_PER_TASK)), [])
        for task in islice(tasks, TASKS_PER_THREAD * threads):
            waiting.append(pool.submit(answer, search, task, record))
        while waiting:
            done = waiting.popleft().result()
            for task in islice(tasks, 1):
                waiting.append(pool.submit(answer, search, task, record))
            yield from done
    finally:
        pool.shutdown(cancel_futures=True)
