import numpy as np
import pytest
import torch

from labelnoise.kernels.reciprocal_jaccard import (
    BACKENDS,
    Reranking,
    compiled,
    reciprocal_jaccard,
    reciprocal_query_distance,
)

pytestmark = pytest.mark.usefixtures("dirty_memory")

SETTINGS = [Reranking(), Reranking(k1=4, k2=2), Reranking(k1=7, k2=1), Reranking(40, 50, 0.0)]
TOLERANCE = 1e-6


@pytest.fixture(params=list(BACKENDS))
def backend(request):
    return request.param


@pytest.fixture(autouse=True)
def short_runs(monkeypatch):
    monkeypatch.setattr(compiled, "RUN_ROWS", 7)
    monkeypatch.setattr(compiled, "BLOCK_ROWS", 5)


def unit_rows(n_rows, width=5, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n_rows, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def with_sets(rows, settings, *, column_max):
    """The definition with Python's sets: all re-ranked distances, and each row's order."""
    n_rows = len(rows)
    near = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    order = [
        sorted(range(n_rows), key=lambda j, i=i: (j != i, near[i, j], j)) for i in range(n_rows)
    ]
    scaled = near / (np.maximum(near.max(axis=1, keepdims=True), 1e-300) if column_max else 4)

    def reciprocal(i, k):
        return {j for j in order[i][: k + 1] if i in order[j][: k + 1]}

    descriptor = np.zeros((n_rows, n_rows))
    for i in range(n_rows):
        members = reciprocal(i, settings.k1)
        expanded = set(members)
        for j in members:
            close = reciprocal(j, round(settings.k1 / 2))
            if len(close & members) > 2 / 3 * len(close):
                expanded |= close
        for j in expanded:
            descriptor[i, j] = np.exp(-scaled[i, j])
    descriptor /= descriptor.sum(axis=1, keepdims=True)
    descriptor = np.stack([descriptor[near_to[: settings.k2]].mean(axis=0) for near_to in order])
    overlap = np.minimum(descriptor[:, None], descriptor[None]).sum(axis=2)
    jaccard = 1 - overlap / (2 - overlap)
    return (1 - settings.trade_off) * jaccard + settings.trade_off * scaled, np.array(order), near


def lists_of(rows, k):
    rows = torch.as_tensor(rows)
    near = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").square()
    near.fill_diagonal_(-1)
    distance, ids = near.sort(dim=1, stable=True)
    return ids[:, 1 : k + 1], distance[:, 1 : k + 1]


@pytest.mark.parametrize("column_max", [False, True])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_complete_lists_agree_with_sets(backend, settings, column_max):
    rows = unit_rows(31)
    want, order, near = with_sets(rows, settings, column_max=column_max)
    ids = order[:, 1:]
    scale = torch.from_numpy(near.max(axis=1)) if column_max else 4.0

    found = reciprocal_jaccard(
        torch.from_numpy(ids),
        torch.from_numpy(np.take_along_axis(near, ids, 1)),
        scale=scale,
        settings=settings,
        backend=backend,
    )

    assert abs(found.distance.numpy() - np.take_along_axis(want, ids, 1)).max() < TOLERANCE
    assert found.n_capped == 0


@pytest.mark.parametrize("distance_scale", ["fixed", "column_max"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_groups_agree_with_sets(backend, settings, distance_scale):
    sizes = [12, 0, 1, 33]
    gallery, queries = unit_rows(sum(sizes)), unit_rows(len(sizes), seed=1)
    offsets = np.cumsum([0, *sizes])

    found, _ = reciprocal_query_distance(
        torch.from_numpy(queries),
        torch.from_numpy(3 * gallery),  # only directions count
        torch.from_numpy(offsets),
        distance_scale=distance_scale,
        settings=settings,
        backend=backend,
    )

    for group, query in enumerate(queries):
        mine = slice(offsets[group], offsets[group + 1])
        pool = np.concatenate([query[None], gallery[mine]])
        want, *_ = with_sets(pool, settings, column_max=distance_scale == "column_max")
        np.testing.assert_allclose(found[mine], want[0, 1:], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("k", [20, 25, 59])
@pytest.mark.parametrize("cap", [8, 64])
def test_short_lists_and_caps_agree_with_reference(k, cap):
    ids, distance = lists_of(unit_rows(60), k)
    settings = Reranking(cap=cap)

    found = reciprocal_jaccard(ids, distance, settings=settings, backend="compiled")
    want = reciprocal_jaccard(ids, distance, settings=settings, backend="reference")

    torch.testing.assert_close(found.distance, want.distance, rtol=0, atol=TOLERANCE)
    assert found.n_capped == want.n_capped
    assert (found.n_capped > 0) == (cap == 8)


def test_missing_neighbours(backend):
    # row 3 knows nobody and nobody knows it
    ids = torch.tensor([[1, 2, -1], [0, 2, -1], [1, 0, -1], [-1, -1, -1]])
    distance = torch.full((4, 3), torch.nan)
    distance[ids >= 0] = torch.tensor([0.1, 0.5, 0.1, 0.2, 0.2, 0.5])

    found, _ = reciprocal_jaccard(ids, distance, settings=Reranking(k1=2), backend=backend)
    alone, _ = reciprocal_jaccard(
        ids[:3, :2], distance[:3, :2], settings=Reranking(k1=2), backend=backend
    )

    torch.testing.assert_close(found[:3, :2], alone)
    assert found[:, 2].isinf().all()
    assert found[3].isinf().all()


def test_by_hand(backend):
    # two twins far from two other twins, k1 = 1: descriptors are the pairs, so Jaccard is 0 or 1
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    ids, distance = lists_of(rows, 3)

    found, _ = reciprocal_jaccard(
        ids, distance, settings=Reranking(k1=1, k2=1, trade_off=0.3), backend=backend
    )

    assert ids[0].tolist() == [2, 1, 3]
    # squared distance 2, of at most 4
    torch.testing.assert_close(found[0], torch.tensor([0.0, 0.85, 0.85]))


def test_a_query_prefers_the_dense_side_of_equal_neighbours(backend):
    # two rows equally near the query; five more lie about the one, further rows are on their own
    angle = torch.tensor([-0.6, 0.6, -0.58, -0.62, -0.57, -0.63, -0.55, 2.0, 2.5, 3.0])
    gallery = torch.stack([angle.cos(), angle.sin()], dim=1)

    found, _ = reciprocal_query_distance(
        torch.tensor([[1.0, 0.0]]),
        gallery,
        torch.tensor([0, 10]),
        settings=Reranking(k1=4, k2=2),
        backend=backend,
    )

    assert found[0] != found[1]
    assert found.argmax() >= 7


def test_renumbered_rows_keep_their_distances(backend):
    ids, distance = lists_of(unit_rows(50), 22)
    new_number = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    old_number = new_number.argsort()

    found, _ = reciprocal_jaccard(ids, distance, backend=backend)
    renumbered, _ = reciprocal_jaccard(
        new_number[ids][old_number], distance[old_number], backend=backend
    )

    torch.testing.assert_close(renumbered, found[old_number], rtol=0, atol=1e-7)


def test_groups_do_not_see_each_other(backend):
    gallery, queries = torch.from_numpy(unit_rows(40)), torch.from_numpy(unit_rows(2, seed=3))

    both, _ = reciprocal_query_distance(
        queries, gallery, torch.tensor([0, 15, 40]), backend=backend
    )
    second, _ = reciprocal_query_distance(
        queries[1:], gallery[15:], torch.tensor([0, 25]), backend=backend
    )

    torch.testing.assert_close(both[15:], second, rtol=0, atol=1e-7)


def test_number_of_threads_does_not_show():
    ids, distance = lists_of(unit_rows(100), 30)
    before = torch.get_num_threads()
    try:
        results = []
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            results.append(reciprocal_jaccard(ids, distance, backend="compiled").distance)
    finally:
        torch.set_num_threads(before)

    assert torch.equal(*results)


def test_duplicates_are_nearest_and_finite(backend):
    rows = torch.ones(30, 3, dtype=torch.float64)

    found, _ = reciprocal_query_distance(rows[:1], rows, torch.tensor([0, 30]), backend=backend)

    assert found.isfinite().all()
    assert found[0] < 1e-6


@pytest.mark.parametrize("n_rows", [0, 1])
def test_next_to_nothing(backend, n_rows):
    ids = torch.empty((n_rows, 0), dtype=torch.int64)

    found, n_capped = reciprocal_jaccard(ids, ids.float(), backend=backend)
    none, _ = reciprocal_query_distance(
        torch.ones(n_rows, 3),
        torch.ones(0, 3),
        torch.zeros(n_rows + 1, dtype=torch.int64),
        backend=backend,
    )

    assert found.shape == (n_rows, 0)
    assert n_capped == 0
    assert len(none) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": torch.zeros(3, 2)}, "ids must be int64"),
        ({"ids": torch.tensor([[1, 2], [0, 2], [0, 3]])}, "ids must lie in -1 .. 2"),
        ({"ids": torch.tensor([[1, 2], [1, 2], [0, 1]])}, "own neighbour"),
        ({"ids": torch.tensor([[-1, 2], [0, 2], [0, 1]])}, "after all neighbours"),
        ({"distances": torch.zeros(3, 3)}, "distances must be float"),
        ({"distances": torch.full((3, 2), torch.nan)}, "distances of neighbours must be finite"),
        ({"scale": 0.0}, "scale must be positive"),
        ({"scale": torch.ones(2)}, "scale must be a number"),
        ({"backend": "abacus"}, "backend must be"),
    ],
)
def test_rejects_lists(change, message):
    ids = torch.tensor([[1, 2], [0, 2], [0, 1]])
    arguments = {"ids": ids, "distances": torch.zeros(3, 2)} | change

    with pytest.raises(ValueError, match=message):
        reciprocal_jaccard(**arguments)


def test_rejects_lists_shorter_than_k1():
    with pytest.raises(ValueError, match="at least k1 = 20"):
        reciprocal_jaccard(*lists_of(unit_rows(40), 10))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": torch.zeros(1, 3)}, "no row of zeros"),
        ({"gallery": torch.full((4, 3), torch.nan)}, "must be finite"),
        ({"gallery": torch.ones(4, 2)}, r"want queries \[G, D\]"),
        ({"gallery": torch.ones(4, 3).half()}, "one float dtype"),
        ({"offsets": torch.tensor([0, 3])}, "ascend from 0 to 4"),
        ({"offsets": torch.tensor([0])}, r"offsets must be int64 \[2\]"),
        ({"distance_scale": "some"}, "distance_scale must be one of"),
    ],
)
def test_rejects_groups(change, message):
    arguments = {
        "queries": torch.ones(1, 3),
        "gallery": torch.ones(4, 3),
        "offsets": torch.tensor([0, 4]),
    } | change

    with pytest.raises(ValueError, match=message):
        reciprocal_query_distance(**arguments)


@pytest.mark.parametrize("change", [{"k1": 0}, {"k2": 0}, {"cap": 0}, {"trade_off": 1.5}], ids=str)
def test_rejects_settings(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        Reranking(**change)
