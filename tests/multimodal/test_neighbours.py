import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal import neighbours
from multimodal.neighbour_index import flat, inverted_lists, ranking
from multimodal.neighbour_index.compiled import keep_best
from multimodal.neighbours import NeighbourIndex, NeighbourSettings, build_index, find_neighbours
from multimodal.rows import Rows

METHODS = ["flat", "ivf"]
# as many probes as lists: exact
EXHAUSTIVE = NeighbourSettings(lists=7, probes=7)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(neighbours, "SEARCH_ROWS", 37)
    monkeypatch.setattr(flat, "CANDIDATE_ROWS", 23)
    monkeypatch.setattr(ranking, "GATHERED_ROWS", 50)
    monkeypatch.setattr(inverted_lists, "CENTRE_QUERIES", 11)
    monkeypatch.setattr(inverted_lists, "TILE_QUERIES", 13)
    monkeypatch.setattr(inverted_lists, "TILE_ROWS", 5)
    monkeypatch.setattr(inverted_lists, "BLOCK_ROWS", 31)


def unit_rows(n_rows, width=8, seed=0, dtype=np.float32):
    rows = np.random.default_rng(seed).normal(size=(n_rows, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(dtype)


def with_copies(n_rows=150):
    """Rows with one large and some small sets of equals, and rows of zeros."""
    rows = unit_rows(n_rows)
    rows[20:50] = rows[3]
    rows[[60, 140]] = rows[59]
    rows[[5, 70, 71]] = 0
    return rows


def brute_force(rows, k):
    """All in float64; of equal cosines the lower row first."""
    rows = rows.astype(np.float64)
    cosine = np.round(rows @ rows.T, 12)
    np.fill_diagonal(cosine, -np.inf)
    empty = ~rows.any(axis=1)
    cosine[empty], cosine[:, empty] = -np.inf, -np.inf
    ids = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    similarity = np.take_along_axis(cosine, ids, axis=1)
    return np.where(np.isneginf(similarity), -1, ids), similarity


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("k", [1, 5, 40, 160])
@pytest.mark.parametrize("rows", [unit_rows(150), with_copies()], ids=["plain", "copies"])
def test_agrees_with_brute_force(method, rows, k):
    want, cosine = brute_force(rows, k)
    pieces = Rows([rows[:40], rows[40:41], rows[41:]])

    found = find_neighbours(pieces, k, method=method, settings=EXHAUSTIVE)

    assert found.ids.dtype == np.int64
    assert found.similarity.dtype == np.float32
    n_found = want.shape[1]
    np.testing.assert_allclose(found.similarity[:, :n_found], cosine, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found.ids[:, :n_found], want)
    assert (found.ids[:, n_found:] == -1).all()
    assert np.isneginf(found.similarity[:, n_found:]).all()


@pytest.mark.parametrize("method", METHODS)
def test_by_hand(method):
    # 0 and 2 are the same, 3 is nothing
    rows = Rows([np.array([[1, 0], [0.6, 0.8], [1, 0], [0, 0], [0, 1]], np.float32)])

    found = find_neighbours(rows, 2, method=method, settings=EXHAUSTIVE)

    assert found.ids.tolist() == [[2, 1], [4, 0], [0, 1], [-1, -1], [1, 0]]
    np.testing.assert_allclose(found.similarity[1], [0.8, 0.6])
    assert np.isneginf(found.similarity[3]).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("settings", [EXHAUSTIVE, NeighbourSettings(lists=20, probes=2)], ids=str)
def test_cuts_do_not_show(method, settings, tmp_path):
    rows = Rows([with_copies().astype(np.float16)])
    whole = find_neighbours(rows, 6, method=method, settings=settings)
    build_index(rows, method=method, settings=settings).write(tmp_path)
    index = NeighbourIndex.open(tmp_path, rows)

    for cuts in ([0, 150], [0, 1, 149, 150], [0, 17, 33, 90, 150]):
        parts = [
            index.search(rows.read(start, stop), first_row=start, k=6)
            for start, stop in pairwise(cuts)
        ]
        np.testing.assert_array_equal(np.concatenate([part.ids for part in parts]), whole.ids)
        np.testing.assert_array_equal(
            np.concatenate([part.similarity for part in parts]), whole.similarity
        )


@pytest.mark.parametrize("method", METHODS)
def test_block_sizes_and_threads_do_not_show(method, monkeypatch):
    rows = Rows([unit_rows(300, width=64)])
    settings = NeighbourSettings(lists=12, probes=4)
    small = find_neighbours(rows, 9, method=method, settings=settings)
    before = torch.get_num_threads()
    monkeypatch.undo()
    try:
        torch.set_num_threads(2)
        large = find_neighbours(rows, 9, method=method, settings=settings)
    finally:
        torch.set_num_threads(before)

    np.testing.assert_array_equal(large.ids, small.ids)
    np.testing.assert_array_equal(large.similarity, small.similarity)


@pytest.mark.parametrize("method", METHODS)
def test_shuffled_rows_have_the_same_neighbours(method):
    rows = unit_rows(120)
    order = np.random.default_rng(1).permutation(120)

    found = find_neighbours(Rows([rows]), 5, method=method, settings=EXHAUSTIVE)
    shuffled = find_neighbours(Rows([rows[order]]), 5, method=method, settings=EXHAUSTIVE)

    np.testing.assert_array_equal(order[shuffled.ids], found.ids[order])
    np.testing.assert_array_equal(shuffled.similarity, found.similarity[order])


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(st.integers(0, 5), min_size=1, max_size=30),
    k=st.integers(1, 12),
    method=st.sampled_from(METHODS),
)
def test_few_different_rows(values, k, method):
    # 0 is the row of zeros, the others five directions of whole numbers
    directions = np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1], [1, 0]], np.float32)
    rows = directions[values]
    want, _ = brute_force(rows, k)

    found = find_neighbours(Rows([rows]), k, method=method, settings=EXHAUSTIVE)

    np.testing.assert_array_equal(found.ids[:, : want.shape[1]], want)


def test_few_probes_find_nearly_all_of_clustered_rows(monkeypatch):
    monkeypatch.undo()
    centres = unit_rows(40, width=16, seed=1)
    noise = unit_rows(2000, width=16, seed=2)
    rows = centres[np.arange(2000) % 40] + 0.5 * noise
    rows = Rows([(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)])
    want = find_neighbours(rows, 10, method="flat")

    found = find_neighbours(rows, 10, method="ivf", settings=NeighbourSettings(probes=8))

    hits = (found.ids[:, :, None] == want.ids[:, None, :]).any(axis=2)
    assert hits.mean() > 0.95
    # what is found is measured exactly
    same = found.ids == want.ids
    np.testing.assert_array_equal(found.similarity[same], want.similarity[same])


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 7), st.randoms())
def test_running_best_keeps_the_lower_of_equals(values, count, random):
    similarity = np.full((1, count), -np.inf, np.float32)
    ids = np.full((1, count), -1, np.int64)
    columns = list(range(len(values)))
    random.shuffle(columns)

    for start in range(0, len(columns), 4):
        numbers = np.array(columns[start : start + 4])
        found = np.array(values, np.float32)[None, numbers]
        keep_best(found, np.zeros(1, np.int64), numbers, similarity, ids)

    want = sorted(range(len(values)), key=lambda i: (-values[i], i))[:count]
    assert ids[0, : len(want)].tolist() == want
    assert (ids[0, len(want) :] == -1).all()


def test_auto_chooses_by_size():
    rows = Rows([unit_rows(50)])

    assert build_index(rows).method == "flat"
    assert build_index(rows, settings=NeighbourSettings(flat_up_to=49)).method == "ivf"


def test_built_in_a_folder_is_the_same(tmp_path):
    rows = Rows([with_copies().astype(np.float16)])
    settings = NeighbourSettings(lists=9, probes=2)

    index = build_index(rows, method="ivf", settings=settings, folder=tmp_path / "index")
    again = NeighbourIndex.open(tmp_path / "index", rows)
    in_memory = build_index(rows, method="ivf", settings=settings)

    queries = rows.read(30, 80)
    for one in (index, again):
        np.testing.assert_array_equal(
            one.search(queries, first_row=30, k=4).ids,
            in_memory.search(queries, first_row=30, k=4).ids,
        )
    assert again.settings == settings


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rows", [np.zeros((0, 3), np.float32), np.zeros((4, 3), np.float32)])
def test_nothing_to_find(method, rows, tmp_path):
    found = find_neighbours(Rows([rows]), 3, method=method)
    build_index(Rows([rows]), method=method, folder=tmp_path)

    assert found.ids.tolist() == [[-1] * 3] * len(rows)
    assert NeighbourIndex.open(tmp_path, Rows([rows])).lists is None


def test_tells_how_far_it_is():
    told = []

    find_neighbours(
        Rows([unit_rows(100)]), 2, method="ivf", progress=lambda stage, share: told.append(share)
    )

    assert told[-1] == 1
    assert all(0 <= share <= 1 for share in told)


def test_near_centres_do_not_depend_on_the_batch():
    centres = np.repeat(unit_rows(6, width=64), 3, axis=0)  # ties everywhere
    centres[1::3] += 1e-8
    queries = unit_rows(50, width=64, seed=5)

    together = inverted_lists.nearest_centres(queries, centres, 4)
    alone = np.concatenate(
        [inverted_lists.nearest_centres(queries[i : i + 1], centres, 4) for i in range(50)]
    )

    np.testing.assert_array_equal(np.sort(together), np.sort(alone))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"method": "guess"}, "method must be one of"),
        ({"rows": Rows([np.full((3, 2), np.nan)])}, "rows must be finite"),
    ],
)
def test_rejects(change, message):
    arguments = {"rows": Rows([unit_rows(5)]), "k": 1} | change

    with pytest.raises(ValueError, match=message):
        find_neighbours(**arguments)


@pytest.mark.parametrize("name", ["lists", "probes", "training_rows", "rounds"])
def test_rejects_settings(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        NeighbourSettings(**{name: 0})


def test_rejects_queries_from_elsewhere():
    index = build_index(Rows([unit_rows(10)]))

    with pytest.raises(ValueError, match="queries must be rows of the 10 x 8 searched"):
        index.search(unit_rows(5), first_row=6, k=1)
    with pytest.raises(ValueError, match="queries must be rows"):
        index.search(unit_rows(5, width=3), first_row=0, k=1)


def test_rejects_other_and_unfinished_indexes(tmp_path):
    rows = Rows([unit_rows(10)])
    build_index(rows, folder=tmp_path)

    with pytest.raises(ValueError, match=r"got \[9, 8\]"):
        NeighbourIndex.open(tmp_path, Rows([unit_rows(9)]))
    header = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps(header | {"format": 0}))
    with pytest.raises(ValueError, match="must be of format 1, got 0"):
        NeighbourIndex.open(tmp_path, rows)
    (tmp_path / "index.json").unlink()
    with pytest.raises(FileNotFoundError, match="no complete neighbour index"):
        NeighbourIndex.open(tmp_path, rows)


@pytest.mark.parametrize("method", ["flat", "ivf"])
def test_keys_settle_ties_whatever_the_numbering(method, tmp_path):
    generator = np.random.default_rng(5)
    rows = unit_rows(15)
    # sets of four that are equal: two neighbours leave one out
    rows = rows[generator.permutation(np.arange(60) % 15)]
    keys = generator.permutation(60).astype(np.uint64)
    settings = NeighbourSettings(lists=1)
    first = find_neighbours(Rows([rows]), 2, method=method, settings=settings, keys=keys)
    order = generator.permutation(60)
    index = build_index(
        Rows([rows[order]]), method=method, settings=settings, keys=keys[order], folder=tmp_path
    )
    again = NeighbourIndex.open(tmp_path, Rows([rows[order]]), keys=keys[order])
    for built in (index, again):
        found = built.search(rows[order], first_row=0, k=2)
        assert (order[found.ids] == first.ids[order]).all()
    # of the same set the smallest keys
    for row in range(60):
        same = np.flatnonzero((rows == rows[row]).all(axis=1) & (np.arange(60) != row))
        assert first.ids[row].tolist() == same[np.argsort(keys[same])][:2].tolist()
