"""Smoothed features against plain matrices, and what they are for."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.preprocessing import normalize

from graphnoise.local_clusters import as_adjacency, local_cluster
from graphnoise.local_clusters.smoothed_features import smooth_features

NODES, BLOCK = 120, 30


def blocks(seed=0):
    """A graph of four blocks that edges barely show, and words that show them ``[N, 60]``."""
    rng = np.random.default_rng(seed)
    block = np.arange(NODES) // BLOCK
    same = block[:, None] == block
    upper = np.triu(rng.random((NODES, NODES)) < np.where(same, 0.3, 0.07), 1)
    words = rng.poisson(0.1 + 0.5 * (np.arange(60) // 15 == block[:, None])).astype(np.float32)
    return sparse.csr_array((upper | upper.T).astype(float)), words


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_is_a_product_with_the_random_walk(form):
    matrix, words = blocks()
    walk = matrix.toarray() / matrix.sum(axis=1)[:, None]
    expected = normalize(words.astype(float))
    for _ in range(3):
        expected = (expected + walk @ expected) / 2

    found = smooth_features(as_adjacency(matrix, features=form(words)), n_components=60, steps=3)

    np.testing.assert_allclose(found, normalize(expected), atol=1e-6)


def test_fewer_components_keep_the_leading_directions():
    matrix, words = blocks()
    left, values, _ = np.linalg.svd(normalize(words.astype(float)), full_matrices=False)
    expected = normalize(left[:, :4] * values[:4])

    found = smooth_features(matrix, features=words, n_components=4, steps=0)

    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=0.02)


def test_isolated_nodes_keep_their_own():
    matrix = sparse.csr_array(([1.0, 1.0], ([0, 1], [1, 0])), shape=(3, 3))
    found = smooth_features(matrix, features=np.eye(3), steps=1)
    np.testing.assert_allclose(found[2], [0, 0, 1])
    np.testing.assert_allclose(found[0], found[1])


def test_tells_neighbours_of_the_cluster_from_others():
    matrix, words = blocks()
    volume = float(matrix[:BLOCK].sum())

    def overlap(features, method):
        graph = as_adjacency(matrix, features=features)
        hits = [
            (np.asarray(local_cluster(graph, seed, method=method, mass=volume).nodes) < BLOCK)
            for seed in range(5)
        ]
        return np.mean([hit.mean() for hit in hits])

    plain = overlap(words, "flow_diffusion")
    assert overlap(smooth_features(matrix, features=words), "attributed_flow_diffusion") > plain


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, "graph has none"), ({"n_components": 0}, "n_components"), ({"steps": -1}, "steps")],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        smooth_features(blocks()[0], **options)
