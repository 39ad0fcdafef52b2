import os
import sys
import warnings

import networkx as nx
import numpy as np
import pytest

from graphnoise import build_store
from graphnoise.local_clusters import Failure, LabelsFromExamples, cluster_many, cluster_many_ray
from graphnoise.local_clusters.ray_batch import SEEDS_PER_TASK
from tests.graphnoise.local_clusters.test_learned_labels import graph_with, words
from tests.graphnoise.local_clusters.test_searching import planted, same


@pytest.fixture(scope="module")
def started_ray():
    ray = pytest.importorskip("ray", reason="no Ray: pip install 'graphnoise[ray]'")
    with warnings.catch_warnings():
        # what Ray's own processes and sockets leave behind is not ours
        warnings.simplefilter("ignore")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield ray
        ray.shutdown()


@pytest.mark.filterwarnings("ignore")
def test_ray_gives_the_answers_of_threads(started_ray):
    adjacency = graph_with(words(80), "sparse")
    options = {"labels": LabelsFromExamples(range(1, 10), range(30, 60)), "mass": 90.0}
    seeds = [*range(80), [3, 5], 99]
    expected = list(cluster_many(adjacency, seeds, on_error="record", **options))

    found = list(cluster_many_ray(adjacency, seeds, workers=2, on_error="record", **options))

    assert len(found) == len(seeds)
    assert found[-1] == expected[-1] == Failure(99, expected[-1].error)
    for one, other in zip(found[:-1], expected[:-1], strict=True):
        same(one, other)
    assert started_ray.is_initialized()


@pytest.mark.filterwarnings("ignore")
def test_a_worker_opens_the_store_and_fails_as_without_ray(started_ray, tmp_path):
    matrix = planted()
    ends = np.array(matrix.nonzero())
    np.savetxt(tmp_path / "edges.csv", ends.T[ends[0] < ends[1]], fmt="%d", delimiter=",")
    build_store(tmp_path / "edges.csv", tmp_path / "store")
    seeds = [3] * SEEDS_PER_TASK

    results = cluster_many_ray(tmp_path / "store", [*seeds, 99], mass=90.0, workers=1)
    expected = next(cluster_many(matrix, [3], mass=90.0))
    for _ in seeds:
        assert set(next(results).nodes.tolist()) == set(expected.nodes.tolist())
    with pytest.raises(ValueError, match="found no node 99"):
        next(results)


def test_without_ray_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'graphnoise\[ray\]'"):
        cluster_many_ray(nx.path_graph(4), [0])
