import importlib.util

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from multimodal.duplicate_groups import cosines, find_duplicate_groups
from multimodal.neighbours import NeighbourSettings
from multimodal.rows import Rows

needs_faiss = pytest.mark.skipif(
    importlib.util.find_spec("faiss") is None, reason="inverted lists need faiss"
)


def on_circle(degrees):
    angles = np.deg2rad(np.asarray(degrees, float))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def clumps(rng, n=120, d=12, n_clumps=40, spread=0.06):
    centres = rng.normal(size=(n_clumps, d))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    rows = centres[rng.integers(0, n_clumps, n)] + spread * rng.normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def by_search(rows, threshold):
    """The oracle: walk from row to row over a dense matrix."""
    near = rows.astype(float) @ rows.T.astype(float) > threshold
    near |= (rows[:, None] == rows[None]).all(axis=2)
    near[~rows.any(axis=1)] = False
    answer, number = np.full(len(rows), -1), 0
    for start in range(len(rows)):
        members, todo = {start}, [start]
        while todo:
            for other in np.flatnonzero(near[todo.pop()]):
                if other not in members:
                    members.add(int(other))
                    todo.append(int(other))
        if answer[start] < 0 and len(members) > 1:
            answer[list(members)] = number
            number += 1
    return answer


def test_a_chain_is_one_group_by_hand():
    # neighbours 10 degrees apart have a cosine of 0.985, the ends of the chain one of 0.94
    rows = Rows([on_circle([0, 90, 10, 20, 180, 181])])
    assert find_duplicate_groups(rows, threshold=0.98).tolist() == [0, -1, 0, 0, 1, 1]
    assert find_duplicate_groups(rows, threshold=0.99).tolist() == [-1, -1, -1, -1, 0, 0]


@hypothesis_settings(max_examples=25, deadline=None)
@drawn(st.integers(0, 1000), st.integers(1, 60), st.sampled_from([0.3, 0.8, 0.95, 1.0]))
def test_groups_are_those_of_a_walk_over_the_dense_matrix(seed, n, threshold):
    rng = np.random.default_rng(seed)
    rows = clumps(rng, n, n_clumps=max(1, n // 3))
    rows[rng.integers(0, n, n // 5)] = rows[rng.integers(0, n)]
    rows[rng.integers(0, n, n // 9)] = 0
    found = find_duplicate_groups(Rows([rows]), threshold=threshold)
    assert found.tolist() == by_search(rows, threshold).tolist()


def test_shards_in_another_order_and_other_tiles_give_the_same_groups(monkeypatch):
    rows = clumps(np.random.default_rng(0))
    found = find_duplicate_groups(Rows([rows]), threshold=0.95)
    assert (found >= 0).sum() > 20
    turn = np.random.default_rng(1).permutation(len(rows))
    monkeypatch.setattr("multimodal.duplicate_groups.TILE_ROWS", 7)
    monkeypatch.setattr("multimodal.duplicate_groups.MOST_PAIRS", 5)
    monkeypatch.setattr("multimodal.duplicate_groups.DOUBT_PAIRS", 2)
    monkeypatch.setattr("multimodal.duplicate_groups.DOUBT", 0.01)
    other = find_duplicate_groups(Rows([rows[turn][:50], rows[turn][50:]]), threshold=0.95)
    assert partition(other) == partition(found[turn])
    assert other[other >= 0][0] == 0


def partition(groups):
    """Which rows are together, whatever the groups are called."""
    alone = {(int(row),) for row in np.flatnonzero(groups < 0)}
    return alone | {tuple(np.flatnonzero(groups == one).tolist()) for one in set(groups) - {-1}}


@needs_faiss
def test_inverted_lists_find_the_same_groups_where_all_are_searched():
    rows = Rows([clumps(np.random.default_rng(3), 200)])
    settings = NeighbourSettings(flat_up_to=0, lists=4, probes=4)
    flat = find_duplicate_groups(rows, threshold=0.95)
    assert (flat >= 0).any()
    assert np.array_equal(find_duplicate_groups(rows, threshold=0.95, settings=settings), flat)
    # lists too short for the clumps are asked for more
    few = find_duplicate_groups(rows, threshold=0.95, settings=settings, neighbours=2)
    assert np.array_equal(few, flat)


def test_rows_in_doubt_are_measured_in_double_precision():
    rows = on_circle([0, 30, 77])
    exact = rows.astype(float) @ rows.T.astype(float)
    pairs = np.array([[0, 1], [2, 0]])
    assert cosines(Rows([rows]), pairs) == pytest.approx(exact[[0, 2], [1, 0]], abs=1e-15)
    rng = np.random.default_rng(0)
    for _ in range(20):
        two = clumps(rng, 2, 50, 1)
        exact = float(two[0].astype(float) @ two[1].astype(float))
        for step, together in ((-1e-9, True), (1e-9, False)):
            found = find_duplicate_groups(Rows([two]), threshold=exact + step)
            assert (found >= 0).all() == together


@needs_faiss
def test_lists_full_of_duplicates_are_asked_for_more():
    # the two nearest of each are of its own three, but both threes lie within the threshold
    rows = Rows([on_circle([0, 0.1, 0.2, 5, 5.1, 5.2, 90])])
    settings = NeighbourSettings(lists=1, probes=1)
    found = find_duplicate_groups(
        rows, threshold=0.995, method="ivf", neighbours=2, settings=settings
    )
    assert found.tolist() == [0] * 6 + [-1]


def test_edges_and_errors():
    assert len(find_duplicate_groups(Rows([np.empty((0, 3), np.float32)]))) == 0
    assert find_duplicate_groups(Rows([np.zeros((3, 2), np.float32)])).tolist() == [-1] * 3
    rows = Rows([np.eye(3, dtype=np.float32)])
    for bad in ({"threshold": 2}, {"method": "x"}, {"neighbours": 0}):
        with pytest.raises(ValueError, match="want a threshold"):
            find_duplicate_groups(rows, **bad)
