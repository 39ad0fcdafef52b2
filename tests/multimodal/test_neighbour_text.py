import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal.neighbour_text import (
    SOURCES,
    GraphSettings,
    TextSettings,
    VisualGraph,
    join_lists,
    present_texts,
    rank_neighbours,
    smooth_texts,
    smoothing,
    visual_graph,
)
from multimodal.neighbour_text import graph as graph_module
from multimodal.rows import Rows
from tests.multimodal.text_oracles import (
    Lists,
    as_dense,
    dense_graph,
    nearest,
    rerank_by_sets,
    unit_rows,
)

LOCAL = GraphSettings(graph="local", kept=3, pool=8, k1=4, k2=2)
GLOBAL = GraphSettings(graph="global", kept=3, pool=6, k1=4, k2=2)


@pytest.fixture
def vectors():
    generator = np.random.default_rng(0)
    centres = np.repeat(unit_rows(generator, 5, 12), 9, axis=0)
    return unit_rows(generator, 45, 12, around=centres, spread=0.2)


def random_lists(seed, n=23, k=6):
    generator = np.random.default_rng(seed)
    ids = np.array([generator.permutation(np.delete(np.arange(n), i))[:k] for i in range(n)])
    ids[generator.random((n, k)) < 0.2] = -1
    weights = generator.integers(0, 4, (n, k)).astype(np.float32) / 4
    return ids, weights


def smooth_plainly(rows, dense, present, own_weight):
    """Rows ``[N, E]`` for samples with text evidence, zeros otherwise, straight from 1.5."""
    smoothed = np.zeros(rows.shape)
    for i in range(len(rows)):
        near = [j for j in range(len(rows)) if dense[i, j] > 0 and present[j]]
        total = np.zeros(rows.shape[1])
        if near:
            weights = dense[i, near] / dense[i, near].sum()
            total += (weights[:, None] * rows[near].astype(np.float64)).sum(axis=0)
        if present[i]:
            total += (own_weight if near else 1) * rows[i]
        length = np.linalg.norm(total)
        smoothed[i] = total / length if length else 0
    return smoothed


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_join_matches_dense(seed):
    ids, weights = random_lists(seed)

    graph = join_lists(ids, weights)

    np.testing.assert_allclose(as_dense(graph), dense_graph(ids, weights), atol=1e-6)
    assert graph.indptr.dtype == np.int64
    assert graph.neighbours.dtype == np.int32
    assert (graph.weights > 0).all()
    for i in range(len(ids)):
        row = graph.neighbours[graph.indptr[i] : graph.indptr[i + 1]]
        assert (np.diff(row) > 0).all()


def test_join_by_hand():
    # 0 -> 1 with .2, 1 -> 0 with .6, 1 -> 2 with .6, 2 -> itself; 3 is alone
    ids = np.array([[1, -1], [0, 2], [2, -1], [-1, -1]])
    weights = np.array([[0.2, 9], [0.6, 0.6], [1, 9], [9, 9]], dtype=np.float32)

    graph = join_lists(ids, weights)

    assert graph.indptr.tolist() == [0, 1, 3, 4, 4]
    assert graph.neighbours.tolist() == [1, 0, 2, 1]
    assert graph.weights.tolist() == [1, 0.5, 0.5, 1]


def test_a_neighbour_listed_twice_is_one():
    graph = join_lists(np.array([[1, 1], [-1, -1]]), np.array([[0.2, 0.5], [0, 0]], np.float32))

    assert graph.neighbours.tolist() == [1, 0]


@pytest.mark.parametrize("edge_weight", ["similarity", "cosine", "distance"])
@pytest.mark.parametrize("column_max", [False, True])
@pytest.mark.parametrize("count_self", [False, True])
def test_local_lists_match_sets(vectors, edge_weight, column_max, count_self):
    chosen = GraphSettings(
        graph="local", kept=4, pool=9, k1=4, k2=3, edge_weight=edge_weight, count_self=count_self,
        distance_scale="column_max" if column_max else "fixed",
    )  # fmt: skip
    lists = nearest(vectors, chosen.n_neighbours)

    ids, weights = rank_neighbours(lists, settings=chosen, vectors=vectors)

    for i in range(len(vectors)):
        pool = [i, *lists.ids[i]] if count_self else list(lists.ids[i])
        distance = rerank_by_sets(vectors[[i, *pool]], k1=4, k2=3, column_max=column_max)
        best = np.argsort(distance, kind="stable")[:4]
        np.testing.assert_allclose(
            np.sort(distance[[pool.index(j) for j in ids[i]]]), distance[best], atol=1e-5
        )
        near = np.clip([distance[pool.index(j)] for j in ids[i]], 0, 1)
        wanted = {
            "similarity": 1 - near,
            "cosine": np.maximum(vectors[ids[i]].astype(float) @ vectors[i], 0),
            "distance": near,
        }
        np.testing.assert_allclose(weights[i], wanted[edge_weight], atol=1e-5)


def test_global_lists_rank_pairs_in_one_graph(vectors):
    # complete lists: the same numbers as of sets over all rows
    complete = nearest(vectors, len(vectors) - 1)
    chosen = GraphSettings(graph="global", kept=44, pool=44, k1=4, k2=2)

    ids, weights = rank_neighbours(complete, settings=chosen)

    order = [7, *np.delete(np.arange(45), 7)]
    distance = dict(zip(order[1:], rerank_by_sets(vectors[order], k1=4, k2=2), strict=True))
    near = np.array([distance[j] for j in ids[7]])
    np.testing.assert_allclose(weights[7], np.maximum(0, 1 - near), atol=1e-5)
    assert (np.diff(near) > -1e-5).all()


@pytest.mark.parametrize("chosen", [GraphSettings(kept=3), LOCAL, GLOBAL])
def test_lists_do_not_depend_on_the_cut(vectors, chosen, monkeypatch):
    lists = nearest(vectors, chosen.n_neighbours)
    whole = rank_neighbours(lists, settings=chosen, vectors=vectors)
    monkeypatch.setattr(graph_module, "POOL_VALUES", 500)

    pieces = [
        rank_neighbours(lists, settings=chosen, vectors=vectors, start=a, stop=b)
        for a, b in [(0, 11), (11, 11), (11, 12), (12, 99)]
    ]

    ids, weights = (np.concatenate([piece[part] for piece in pieces]) for part in (0, 1))
    assert np.array_equal(ids, whole[0])
    # what is re-ranked is rounded in the kernel's blocks, what is not is the same bit for bit
    np.testing.assert_allclose(weights, whole[1], atol=0 if chosen.graph == "cosine" else 1e-6)


def test_cosine_graph_keeps_the_nearest(vectors):
    lists = nearest(vectors, 7)

    graph = visual_graph(lists, settings=GraphSettings(kept=5))

    kept = np.maximum(lists.similarity[:, :5], 0)
    np.testing.assert_allclose(as_dense(graph), dense_graph(lists.ids[:, :5], kept), atol=1e-6)


def test_count_self_keeps_one_neighbour_less(vectors):
    lists = nearest(vectors, 7)

    ids, _ = rank_neighbours(lists, settings=GraphSettings(kept=5, count_self=True))

    assert np.array_equal(ids, lists.ids[:, :4])


@pytest.mark.parametrize("own_weight", [0.0, 0.3, 1.0])
def test_smoothing_matches_dense(own_weight):
    generator = np.random.default_rng(3)
    ids, weights = random_lists(5)
    rows = unit_rows(generator, 23, 7)
    present = generator.random(23) < 0.6
    rows[~present] = 0

    block = smooth_texts(
        rows, join_lists(ids, weights), settings=TextSettings(own_text_weight=own_weight)
    )

    want = smooth_plainly(rows, dense_graph(ids, weights), present, own_weight)
    np.testing.assert_allclose(block.rows, want, atol=1e-6)
    assert np.array_equal(block.present, want.any(axis=1))
    np.testing.assert_allclose(np.linalg.norm(block.rows, axis=1)[block.present], 1, atol=1e-6)


@pytest.mark.parametrize("fill", [np.nan, np.inf, 7.0])
def test_empty_texts_never_show(fill):
    generator = np.random.default_rng(3)
    graph = join_lists(*random_lists(5))
    rows = unit_rows(generator, 23, 7)
    present = generator.random(23) < 0.5
    rows[~present] = 0
    want = smooth_texts(rows, graph)
    rows[~present] = fill

    block = smooth_texts(rows, graph, text_present=present)

    assert np.array_equal(block.rows, want.rows)
    assert np.array_equal(block.source, want.source)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("cuts", [[], [1], [4, 4, 20]])
def test_blocks_and_pieces_do_not_show(dtype, cuts, monkeypatch):
    rows = unit_rows(np.random.default_rng(3), 23, 7).astype(dtype)
    graph = join_lists(*random_lists(5))
    want = smooth_texts(rows, graph).rows
    monkeypatch.setattr(smoothing, "BLOCK_ROWS", 5)

    pieces = Rows(np.split(rows, cuts))
    parts = [smooth_texts(pieces, graph, start=a, stop=b) for a, b in [(0, 6), (6, 6), (6, 50)]]

    assert np.array_equal(np.concatenate([part.rows for part in parts]), want)


def test_files_are_read_where_they_lie(tmp_path):
    rows = unit_rows(np.random.default_rng(3), 23, 7)
    ids, weights = random_lists(5)
    graph = join_lists(ids, weights)
    for name, part in (("a", rows[:9]), ("b", rows[9:])):
        np.save(tmp_path / f"{name}.npy", part)
    for name in ("indptr", "neighbours", "weights"):
        np.save(tmp_path / f"{name}.npy", getattr(graph, name))
    mapped = VisualGraph(
        *(np.load(tmp_path / f"{name}.npy", "r") for name in ("indptr", "neighbours", "weights"))
    )

    block = smooth_texts(Rows.open([tmp_path / "a.npy", tmp_path / "b.npy"]), mapped)

    assert np.array_equal(block.rows, smooth_texts(rows, graph).rows)


def test_half_rows_count_as_what_they_are():
    rows = unit_rows(np.random.default_rng(3), 23, 7).astype(np.float16)
    graph = join_lists(*random_lists(5))

    assert np.array_equal(
        smooth_texts(rows, graph).rows, smooth_texts(rows.astype(np.float32), graph).rows
    )


def test_renumbering_renumbers_the_result(vectors):
    generator = np.random.default_rng(4)
    rows = unit_rows(generator, 45, 7)
    order = generator.permutation(45)

    first = smooth_texts(rows, visual_graph(nearest(vectors, 20))).rows
    second = smooth_texts(rows[order], visual_graph(nearest(vectors[order], 20))).rows

    np.testing.assert_allclose(second, first[order], atol=1e-6)


def edge(weight=1.0):
    """0 and 1 are neighbours, 2 is alone."""
    return join_lists(np.array([[1], [-1], [-1]]), np.full((3, 1), weight, np.float32))


A, B, NONE = [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]


@pytest.mark.parametrize(
    ("texts", "chosen", "want", "sources"),
    [
        # own weight 0: replaced by the neighbour's; alone: the own text stays
        ([A, B, A], {"own_text_weight": 0.0}, [B, A, A], [2, 2, 3]),
        # the empty one takes its neighbour's; the other has no neighbour with a text
        ([A, NONE, A], {}, [A, A, A], [3, 2, 3]),
        # nothing anywhere
        ([NONE, NONE, NONE], {}, [NONE, NONE, NONE], [0, 0, 0]),
        ([A, B, NONE], {"own_text_weight": 0.0}, [B, A, NONE], [2, 2, 0]),
        ([A, B, A], {"own_text_weight": 0.0, "zero_rows": "zero"}, [B, A, NONE], [2, 2, 4]),
        # the own text has weight, so its row is not zero
        ([A, A, B], {"own_text_weight": 0.1, "zero_rows": "zero"}, [A, A, B], [1, 1, 3]),
        # a blank counts: beside one, the text of 0 is gone
        (
            [A, NONE, B],
            {"own_text_weight": 0.0, "empty_text": "blank"},
            [A, A, B],
            [3, 2, 3],
        ),
    ],
)
def test_smoothing_by_hand(texts, chosen, want, sources):
    block = smooth_texts(np.array(texts), edge(), settings=TextSettings(**chosen))

    np.testing.assert_allclose(block.rows, want, atol=1e-6)
    assert block.source.tolist() == sources
    assert block.present.tolist() == [SOURCES[code] not in ("missing", "zero") for code in sources]


def test_texts_that_cancel_leave_the_own():
    graph = join_lists(np.array([[1, 2], [-1, -1], [-1, -1]]), np.ones((3, 2), np.float32))
    texts = np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])

    block = smooth_texts(texts, graph, settings=TextSettings(own_text_weight=0.0))

    assert block.rows[0].tolist() == [0, 1]
    assert SOURCES[block.source[0]] == "own alone"


def test_blank_texts_count_in_the_paper():
    # 0 has two neighbours, one with a blank, which the encoder still gives a direction
    graph = join_lists(np.array([[1, 2], [-1, -1], [-1, -1]]), np.ones((3, 2), np.float32))
    texts, present = np.array([NONE, A, B]), np.array([True, True, False])

    paper = smooth_texts(texts, graph, settings=TextSettings.paper(), text_present=present)
    ours = smooth_texts(texts, graph, text_present=present)

    np.testing.assert_allclose(paper.rows[0], np.sqrt([0.5, 0.5]), atol=1e-6)
    np.testing.assert_allclose(ours.rows[0], A, atol=1e-6)


def test_paper_counts_self_and_weighs_by_distance():
    # on a line: 1 is near to 0, 2 far from it
    vectors = np.array([[1, 0], [0.99, 0.1], [0.6, 0.8], [0, 1.0]], np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    paper = GraphSettings.paper()
    lists = nearest(vectors, 3)

    with pytest.warns(UserWarning, match="pool 20 is below"):
        ids, weights = rank_neighbours(lists, settings=paper, vectors=vectors)

    # the sample itself stands first in its list, at distance 0, and twice in its pool
    assert ids[:, 0].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(weights[:, 0], 0, atol=1e-6)
    pool = vectors[[0, 0, *lists.ids[0]]]
    want = rerank_by_sets(pool, column_max=True)
    np.testing.assert_allclose(np.sort(weights[0]), np.sort(want), atol=1e-5)
    # a pool of 4 is no larger than k1: all reciprocal, the farther counts more
    assert ids[0].tolist() == [0, 1, 2, 3]
    assert (np.diff(weights[0]) > 0).all()


def test_paper_keeps_four_real_neighbours(vectors):
    with pytest.warns(UserWarning, match="pool"):
        ids, _ = rank_neighbours(
            nearest(vectors, 19), settings=GraphSettings.paper(), vectors=vectors
        )

    assert ids.shape == (45, 5)
    assert ((ids != np.arange(45)[:, None]).sum(axis=1) == 4).all()
    assert GraphSettings.paper(multi_label=True).n_neighbours == 39


def test_small_pool_equals_no_reciprocal_test(vectors):
    # k1 = 20 in a pool of 20: as if everyone were everyone's neighbour
    with pytest.warns(UserWarning, match="pool"):
        _, weights = rank_neighbours(
            nearest(vectors, 19), settings=GraphSettings.paper(), vectors=vectors
        )

    lists = nearest(vectors, 19)
    pool = vectors[[0, 0, *lists.ids[0]]].astype(np.float64)
    near = np.maximum(2 - 2 * pool @ pool.T, 0)
    near[0, 1] = near[1, 0] = 0
    np.fill_diagonal(near, 0)
    scaled = near / near.max(axis=1, keepdims=True)
    softmax = np.exp(-scaled) / np.exp(-scaled).sum(axis=1, keepdims=True)
    first = np.argsort(near, axis=1, kind="stable")[:, :6]
    mean = softmax[first].mean(axis=1)
    shared = np.minimum(mean[0], mean).sum(axis=1)
    distance = 0.7 * (1 - shared / (2 - shared)) + 0.3 * scaled[0]
    np.testing.assert_allclose(np.sort(distance[1:])[:5], weights[0], atol=1e-5)


def test_a_large_pool_warns_of_nothing(vectors):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rank_neighbours(nearest(vectors, 8), settings=LOCAL, vectors=vectors)


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("chosen", [GraphSettings(), LOCAL, GLOBAL])
def test_hardly_any_samples(n, chosen):
    vectors = unit_rows(np.random.default_rng(0), n, 4)
    lists = nearest(vectors, 8) if n > 1 else Lists(np.full((n, 8), -1), np.full((n, 8), -np.inf))

    block = smooth_texts(vectors, visual_graph(lists, settings=chosen, vectors=vectors))

    assert block.rows.shape == (n, 4)
    assert block.present.all()


def test_neighbours_that_are_not_there(vectors):
    lists = nearest(vectors, 8)
    lists.ids[3, 2:], lists.similarity[3, 2:] = -1, np.nan

    ids, weights = rank_neighbours(lists, settings=LOCAL, vectors=vectors)

    assert sorted(ids[3].tolist()) == [-1, *sorted(lists.ids[3, :2])]
    assert weights[3, 2] == 0


def test_present_texts_reads_pieces():
    rows = Rows([np.array([A, NONE]), np.array([B])])

    assert present_texts(rows).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"graph": "euclid"}, "graph must be one of"),
        ({"edge_weight": "none"}, "edge_weight must be one of"),
        ({"distance_scale": "x"}, "distance_scale must be one of"),
        ({"small_pool": "x"}, "small_pool must be one of"),
        ({"kept": 0}, "kept must be at least 1, got 0"),
        ({"kept": 1, "count_self": True}, "kept must be at least 2"),
        ({"k1": 0}, "k1 must be at least 1"),
        ({"trade_off": 1.5}, "trade_off must be in 0 .. 1, got 1.5"),
        ({"graph": "local", "pool": 39}, "pool must be at least 2 \\* k1 = 40, got 39"),
        ({"graph": "global", "kept": 50}, "pool must be at least 50, got 40"),
        ({"graph": "global", "distance_scale": "column_max"}, "must be 'fixed'"),
    ],
)
def test_rejects_graph_settings(change, message):
    with pytest.raises(ValueError, match=message):
        GraphSettings(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"own_text_weight": -0.1}, "own_text_weight must be in 0 .. 1"),
        ({"zero_rows": "x"}, "zero_rows must be one of"),
        ({"empty_text": "x"}, "empty_text must be one of"),
    ],
)
def test_rejects_text_settings(change, message):
    with pytest.raises(ValueError, match=message):
        TextSettings(**change)


def test_rejects_bad_lists(vectors):
    lists = nearest(vectors, 8)
    with pytest.raises(ValueError, match="must have 20 columns, got 8"):
        visual_graph(lists)
    with pytest.raises(ValueError, match="vectors must be given"):
        visual_graph(lists, settings=LOCAL)
    lists.similarity[0, 0] = np.nan
    with pytest.raises(ValueError, match="similarity of neighbours must be finite"):
        visual_graph(lists, settings=GraphSettings(kept=4))
    lists.similarity = lists.similarity[:, :3]
    with pytest.raises(ValueError, match="must hold ids and similarity"):
        visual_graph(lists)


@pytest.mark.parametrize(
    ("ids", "weights", "message"),
    [
        ([[1], [2]], [[1.0], [1.0]], "ids must lie in -1 .. 1"),
        ([[1], [0]], [[1.0], [-1.0]], "weights must be finite and at least 0"),
        ([[1], [0]], [[1.0], [np.nan]], "weights must be finite and at least 0"),
        ([[1], [0]], [[1.0]], "must both be"),
    ],
)
def test_rejects_bad_edges(ids, weights, message):
    with pytest.raises(ValueError, match=message):
        join_lists(np.array(ids), np.array(weights, np.float32))


def test_rejects_bad_texts():
    with pytest.raises(ValueError, match="rows must be 3 like the graph's, got 2"):
        smooth_texts(np.eye(2), edge())
    with pytest.raises(ValueError, match="text_present must be bool"):
        smooth_texts(np.eye(3), edge(), text_present=np.ones(2, bool))
