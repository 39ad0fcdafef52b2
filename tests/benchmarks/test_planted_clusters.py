"""The planted graphs have the degrees they promise, whatever their size."""

import numpy as np
import pytest

from benchmarks.planted_clusters import (
    LARGE,
    SMALL,
    HashedLabels,
    planted_graph,
)


@pytest.mark.parametrize(
    ("n_edges", "cluster"), [(10_000, SMALL), (100_000, SMALL), (187_500, LARGE)]
)
def test_degrees(n_edges, cluster):
    graph = planted_graph(n_edges, cluster, seed=3)
    matrix, members = graph.matrix, graph.members
    degrees = np.diff(matrix.indptr)

    assert (matrix != matrix.T).nnz == 0
    assert not matrix.diagonal().any()
    assert matrix.has_canonical_format
    assert graph.n_edges == pytest.approx(n_edges, rel=0.02)
    assert degrees.mean() == pytest.approx(cluster.degree, rel=0.02)
    inside = matrix[members][:, members].sum(dtype=np.int64)
    assert len(np.unique(members)) == cluster.size
    assert inside == cluster.size * cluster.degree_in
    # a pair drawn twice counts once
    across, wanted = degrees[members].sum() - inside, cluster.size * cluster.degree_out
    assert wanted * 0.95 <= across <= wanted


def test_the_cluster_lies_scattered():
    graph = planted_graph(187_500, LARGE)
    assert graph.members.max() - graph.members.min() > 0.9 * graph.matrix.shape[0]


def test_only_a_small_cluster_fits():
    with pytest.raises(ValueError, match="cluster must be small"):
        planted_graph(10_000, LARGE)


def test_labels_are_right_as_often_as_stated_and_do_not_depend_on_what_is_asked():
    members = np.arange(0, 40_000, 2)
    labels = HashedLabels(members, 0.9)
    nodes = np.arange(40_000)
    found = labels(nodes)

    right = found == (nodes % 2 == 0)
    assert right[::2].mean() == pytest.approx(0.9, abs=0.01)
    assert right[1::2].mean() == pytest.approx(0.9, abs=0.01)
    np.testing.assert_array_equal(labels(nodes[::-3]), found[::-3])
