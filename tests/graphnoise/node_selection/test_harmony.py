"""Entropy and disharmonicity against dense formulas, the two sets against a slow rereading."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import entropy

from graphnoise.node_selection.harmony import (
    confident_nodes,
    critical_nodes,
    label_disharmonicity,
    label_entropy,
)


def drawn(seed, n=60, k=4, edges=150):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((n, n)) < edges / n**2, 1)
    upper[-3:] = upper[:, -3:] = False  # isolated nodes
    rows = rng.dirichlet(np.full(k, 0.4), size=n)
    return rows, sparse.csr_array((upper + upper.T).astype(np.float32))


def test_entropy_is_scipys():
    rows, _ = drawn(0)
    rows[0] = [1, 0, 0, 0]

    np.testing.assert_allclose(label_entropy(rows), entropy(rows, axis=1), atol=1e-12)
    assert label_entropy(rows)[0] == 0


def test_disharmonicity_is_the_row_sums_of_the_random_walk_laplacian():
    rows, adjacency = drawn(1)
    dense = adjacency.toarray().astype(float)
    degree = dense.sum(axis=1)
    reached = degree > 0
    laplacian = np.eye(60) - dense / np.where(reached, degree, 1)[:, None]

    expected = np.where(reached, np.abs(laplacian @ rows).sum(axis=1), 0)

    np.testing.assert_allclose(label_disharmonicity(rows, adjacency), expected, atol=1e-12)


def test_a_path_by_hand():
    path = sparse.csr_array([[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]], dtype=float)
    rows = [[1, 0], [0.5, 0.5], [0, 1], [0.3, 0.7]]

    np.testing.assert_allclose(label_disharmonicity(rows, path), [1, 0, 1, 0])
    np.testing.assert_allclose(label_entropy(rows)[1], np.log(2))


def test_heavy_edges_count_more():
    star = sparse.csr_array([[0, 3, 1], [3, 0, 0], [1, 0, 0]], dtype=float)

    found = label_disharmonicity([[1, 0], [1, 0], [0, 1]], star)

    np.testing.assert_allclose(found, [0.5, 0, 2])


def slow_critical(rows, adjacency, available, m, share):
    """The rules of the specification, one node at a time."""
    apart, unsure = label_disharmonicity(rows, adjacency), label_entropy(rows)
    free = [int(v) for v in np.flatnonzero(available)]
    pool = sorted(free, key=lambda v: (-apart[v], v))[: max(1, round(share * len(free)))]
    chosen = sorted(pool, key=lambda v: (-unsure[v], v))[:m]
    missing = min(m, len(free)) - len(chosen)
    turn = -(-missing // 2)
    for score, count in ((apart, turn), (unsure, missing - turn)):
        left = [v for v in free if v not in chosen]
        chosen += sorted(left, key=lambda v, s=score: (-s[v], v))[:count]
    return chosen


@given(st.integers(0, 10**6), st.integers(0, 70), st.sampled_from([0.05, 0.1, 0.5, 1.0]))
def test_critical_nodes_are_exact_distinct_and_as_specified(seed, m, share):
    rows, adjacency = drawn(seed)
    available = np.random.default_rng(seed).random(60) < 0.7

    found = critical_nodes(rows, adjacency, available, m, share=share)

    assert len(set(found.tolist())) == len(found) == min(m, available.sum())
    assert available[found].all()
    assert set(found.tolist()) == set(slow_critical(rows, adjacency, available, m, share))


@given(st.integers(0, 10**6), st.integers(0, 20))
def test_confident_nodes_are_the_surest_of_the_most_harmonious(seed, p):
    rows, adjacency = drawn(seed)
    available = np.random.default_rng(seed).random(60) < 0.7
    apart, unsure = label_disharmonicity(rows, adjacency), label_entropy(rows)
    free = np.flatnonzero(available)
    count = max(1, round(0.1 * len(free)), int((apart[free] < 1e-9).sum()))
    pool = sorted(free.tolist(), key=lambda v: (apart[v], v))[:count]

    found = confident_nodes(rows, adjacency, available, p)

    assert found.tolist() == sorted(pool, key=lambda v: (unsure[v], v))[:p]


def test_more_calm_nodes_than_the_share_are_all_considered():
    rows = np.tile([0.9, 0.1], (40, 1))
    rows[30] = [1, 0]
    none = sparse.csr_array((40, 40))

    assert confident_nodes(rows, none, np.ones(40, bool), 1).tolist() == [30]


def test_renumbering_renumbers_the_answer():
    rows, adjacency = drawn(5)
    order = np.random.default_rng(5).permutation(60)
    available = np.ones(60, bool)

    for choose in (critical_nodes, confident_nodes):
        before = choose(rows, adjacency, available, 6)
        after = choose(rows[order], adjacency[order][:, order], available, 6)
        # of isolated nodes disharmonicity is tied, and ties fall to the lower number
        if choose is critical_nodes:
            assert order[after].tolist() == before.tolist()
        assert len(after) == len(before)


@pytest.mark.parametrize("choose", [critical_nodes, confident_nodes])
def test_errors(choose):
    rows, adjacency = drawn(0)
    free = np.ones(60, bool)

    with pytest.raises(ValueError, match="must not be negative, got -1"):
        choose(rows, adjacency, free, -1)
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\], got 0"):
        choose(rows, adjacency, free, 1, share=0)
    with pytest.raises(ValueError, match=r"available must be \[60\] bool"):
        choose(rows, adjacency, free[:5], 1)
    with pytest.raises(ValueError, match=r"adjacency must be \[60, 60\]"):
        choose(rows, adjacency[:5, :5], free, 1)
    with pytest.raises(ValueError, match="probabilities must be finite"):
        choose(np.full((60, 2), np.nan), adjacency, free, 1)
    assert len(choose(rows, adjacency, np.zeros(60, bool), 3)) == 0
