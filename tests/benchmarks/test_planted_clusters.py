"""The planted graphs have the degrees they promise, whatever their size."""

import numpy as np
import pytest

from benchmarks.planted_clusters import (
    DEGREE_IN,
    DEGREE_OUT,
    MEAN_DEGREE,
    HashedLabels,
    fitting,
    planted_graph,
)


@pytest.mark.parametrize(("n_edges", "sizes"), [(10_000, (100,)), (100_000, (100, 500))])
def test_degrees(n_edges, sizes):
    graph = planted_graph(n_edges, sizes, seed=3)
    matrix = graph.matrix
    degrees = np.diff(matrix.indptr)

    assert (matrix != matrix.T).nnz == 0
    assert not matrix.diagonal().any()
    assert matrix.has_canonical_format
    assert graph.n_edges == pytest.approx(n_edges, rel=0.06)
    assert degrees.mean() == pytest.approx(MEAN_DEGREE, rel=0.06)
    for members, size in zip(graph.clusters, sizes, strict=True):
        inside = matrix[members][:, members].sum(dtype=np.int64)
        assert len(np.unique(members)) == size
        assert inside == size * DEGREE_IN
        # a pair drawn twice counts once
        across = degrees[members].sum() - inside
        assert size * DEGREE_OUT * 0.95 <= across <= size * DEGREE_OUT


def test_clusters_do_not_overlap_and_lie_scattered():
    graph = planted_graph(100_000, (100, 500))
    first, second = graph.clusters
    assert not np.intersect1d(first, second).size
    assert second.max() - second.min() > 0.9 * graph.matrix.shape[0]


def test_only_small_clusters_fit():
    assert fitting((100, 500), 10_000) == (100,)
    assert fitting((100, 500), 100_000) == (100, 500)
    with pytest.raises(ValueError, match="sizes must be small"):
        planted_graph(10_000, (500,))


def test_labels_are_right_as_often_as_stated_and_do_not_depend_on_what_is_asked():
    members = np.arange(0, 40_000, 2)
    labels = HashedLabels(members, 0.9)
    nodes = np.arange(40_000)
    found = labels(nodes)

    right = found == (nodes % 2 == 0)
    assert right[::2].mean() == pytest.approx(0.9, abs=0.01)
    assert right[1::2].mean() == pytest.approx(0.9, abs=0.01)
    np.testing.assert_array_equal(labels(nodes[::-3]), found[::-3])
