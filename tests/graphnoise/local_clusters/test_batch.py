import threading
import time

import networkx as nx
import numpy as np
import pytest

from graphnoise.local_clusters import (
    Cluster,
    Failure,
    LabelsFromSeed,
    as_adjacency,
    cluster_many,
    local_cluster,
)
from graphnoise.local_clusters.batch import SEEDS_PER_TASK, TASKS_PER_THREAD
from tests.graphnoise.local_clusters.test_learned_labels import graph_with, words
from tests.graphnoise.local_clusters.test_searching import planted, same

SEEDS = [*range(0, 80, 3), [3, 5], (60, 61, 62), np.array([2])]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"labels": np.arange(80) < 22},
        {"labels": lambda nodes: nodes < 22, "rounding": "sweep"},
        {"labels": LabelsFromSeed(n_examples=10)},
    ],
)
def test_any_number_of_threads_gives_the_answers_of_single_queries(options):
    adjacency = graph_with(words(80), "sparse")
    expected = [local_cluster(adjacency, seeds, mass=90.0, **options) for seeds in SEEDS]

    for threads in (1, 2, 4):
        found = list(cluster_many(adjacency, SEEDS, mass=90.0, threads=threads, **options))

        assert len(found) == len(SEEDS)
        for one, other in zip(found, expected, strict=True):
            same(one, other)


@pytest.mark.parametrize("threads", [1, 2])
def test_failures_are_recorded_in_their_places(threads):
    graph = nx.path_graph(6)
    graph.add_node(6)
    seeds = [0, 9, 6, [1, 1], "a", [], 2]

    found = list(cluster_many(graph, seeds, mass=2.0, threads=threads, on_error="record"))

    assert [type(one) for one in found] == [Cluster, *[Failure] * 5, Cluster]
    assert [one.seeds for one in found[1:6]] == seeds[1:6]
    assert [word in one.error for one, word in zip(
        found[1:6], ["no node 9", "isolated", "twice", "no node 'a'", "none"], strict=True
    )] == [True] * 5  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_failure_ends_the_batch_otherwise(threads):
    results = cluster_many(nx.path_graph(6), [0, 9, 2], mass=2.0, threads=threads)

    with pytest.raises(ValueError, match="no node 9"):
        list(results)


@pytest.mark.parametrize("threads", [1, 2])
def test_seeds_are_taken_as_results_are(threads):
    taken = []

    def endless():
        while True:
            taken.append(0)
            yield len(taken) % 80

    results = cluster_many(planted(), endless(), mass=50.0, threads=threads)
    for _ in range(10):
        next(results)
    ahead = 0 if threads == 1 else (TASKS_PER_THREAD * threads + 1) * SEEDS_PER_TASK
    assert len(taken) <= 10 + ahead + SEEDS_PER_TASK
    results.close()


def test_stopping_early_ends_the_threads():
    before = threading.active_count()
    results = cluster_many(planted(), range(80), mass=50.0, threads=3)
    next(results)
    assert threading.active_count() > before

    results.close()

    assert threading.active_count() == before


def test_queries_run_side_by_side():
    meeting = threading.Barrier(2, timeout=60)

    def label(nodes):
        # passes only if two queries are inside at the same time
        if (nodes == 3).any():
            meeting.wait()
        return nodes < 20

    seeds = [3] * (2 * SEEDS_PER_TASK)
    found = list(cluster_many(planted(), seeds, labels=label, mass=50.0, threads=2))

    assert len(found) == len(seeds)


def test_no_seeds_no_results():
    assert list(cluster_many(planted(), [], threads=2)) == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"threads": 0}, ValueError, "threads must be at least 1, got 0"),
        ({"on_error": "ignore"}, ValueError, "on_error must be one of"),
        ({"seeds": 3}, TypeError, "one item per query, got int"),
        ({"seeds": "abc"}, TypeError, "one item per query, got str"),
        ({"mass": -1}, ValueError, "mass must be positive"),
        ({"rounding": "labels"}, ValueError, "needs labels"),
    ],
)
def test_wrong_options_are_told_before_the_first_result(options, error, message):
    with pytest.raises(error, match=message):
        cluster_many(nx.path_graph(4), options.pop("seeds", [0]), **options)


def test_a_graph_is_converted_once(monkeypatch):
    from graphnoise.local_clusters import searching

    times = []

    def count(graph):
        times.append(time.monotonic())
        return as_adjacency(graph)

    monkeypatch.setattr(searching, "as_adjacency", count)

    list(cluster_many(planted(), range(10), mass=50.0, threads=2))

    assert len(times) == 1
