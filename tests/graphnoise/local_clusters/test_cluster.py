import json

import networkx as nx
import numpy as np

from graphnoise.local_clusters import local_cluster


def test_a_cluster_as_json_and_as_a_table():
    graph = nx.karate_club_graph()
    labels = np.array([graph.nodes[node]["club"] == "Mr. Hi" for node in graph])
    cluster = local_cluster(graph, 0, labels=labels, mass=100.0)

    told = json.loads(cluster.to_json())
    frame = cluster.to_frame()

    assert told == json.loads(json.dumps(cluster.to_dict()))
    assert told["nodes"] == cluster.nodes.tolist()
    assert told["seeds"] == [0]
    assert told["certificate"]["kind"] == "flow"
    assert told["sweep"]["size"] == cluster.sweep.size.tolist()
    assert told["settings"] == cluster.settings
    assert frame.columns.tolist() == ["id", "score", "label"]
    assert frame["id"].tolist() == cluster.nodes.tolist()
    np.testing.assert_array_equal(frame["score"], cluster.score)
    assert repr(cluster).startswith(f"Cluster({len(cluster.nodes)} nodes around 0; refined_flow")


def test_what_json_does_not_know():
    # the whole graph has no conductance, and tuples are no keys of JSON
    graph = nx.grid_2d_graph(2, 2)
    cluster = local_cluster(graph, [(0, 0), (1, 1)], method="pagerank", rounding="support")

    told = json.loads(cluster.to_json())

    assert np.isnan(cluster.conductance)
    assert told["conductance"] is None
    assert sorted(told["nodes"]) == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert cluster.to_frame().columns.tolist() == ["id", "score"]
