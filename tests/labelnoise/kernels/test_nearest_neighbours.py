from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from labelnoise.kernels._ranking import pack
from labelnoise.kernels.nearest_neighbours import BACKENDS, faiss_flat, nearest_neighbours, tiled

pytestmark = pytest.mark.usefixtures("dirty_memory")

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
# queries, candidates, width, k: nothing divides a block; one row, one column, none at all, k > M
SHAPES = [(37, 41, 19, 5), (3, 2, 1, 4), (1, 1, 1, 1), (0, 3, 4, 2), (3, 0, 4, 2), (5, 70, 3, 17)]
# float32 rounding of a product of unit rows; products of halves are exact in float32
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
TOLERANCE = 5e-6
FAST = [name for name in BACKENDS if name != "reference"]


@pytest.fixture(params=FAST)
def backend(request):
    return request.param


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(tiled, "QUERY_ROWS", 7)
    monkeypatch.setattr(tiled, "CANDIDATE_ROWS", 11)
    monkeypatch.setattr(faiss_flat, "QUERY_ROWS", 9)
    monkeypatch.setattr(faiss_flat, "CANDIDATE_ROWS", 13)
    if BACKENDS["fused"].obstacle(torch.zeros(1)) is None:
        # what the interpreter costs is programs x blocks
        fused = import_module(BACKENDS["fused"].module)
        for name in ("ROWS", "COLUMNS", "WIDTH"):
            monkeypatch.setattr(fused, name, 16)
        monkeypatch.setattr(fused, "ENOUGH_PROGRAMS", 4)


def run_or_skip(queries, k, *, backend, **rules):
    if obstacle := BACKENDS[backend].obstacle(queries):
        pytest.skip(obstacle)
    if backend == "faiss" and rules.get("allowed", "all") != "all":
        pytest.skip("faiss knows no labels")
    return nearest_neighbours(queries, k, backend=backend, **rules)


def problem(shape, dtype=torch.float32, device="cpu"):
    n, m, d, k = shape
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(n + m, d, generator=generator).to(device, dtype)
    labels = torch.randint(-1, 3, (n + m,), generator=generator).to(device)
    return {
        "queries": rows[:n],
        "k": k,
        "candidates": rows[n:],
        "query_labels": labels[:n],
        "candidate_labels": labels[n:],
    }


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("allowed", ["all", "same_label", "different_label"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_reference(backend, shape, allowed, dtype, device):
    arguments = problem(shape, dtype, device) | {"allowed": allowed}

    scores, ids = run_or_skip(**arguments, backend=backend)
    want_scores, want_ids = nearest_neighbours(**arguments, backend="reference")

    close = {"rtol": 0, "atol": TOLERANCE}
    torch.testing.assert_close(scores, want_scores, **close)
    assert torch.equal(ids < 0, want_ids < 0)
    # near-ties may come in another order: what matters is that each id earns its score
    queries, candidates = arguments["queries"].double(), arguments["candidates"].double()
    for row, slot in (ids >= 0).nonzero().tolist():
        cosine = torch.cosine_similarity(queries[row], candidates[ids[row, slot]], dim=0)
        torch.testing.assert_close(cosine.float(), scores[row, slot], **close)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
def test_whole_numbers_match_exactly(backend, shape, device):
    # products of small whole numbers are exact and tie all the time
    arguments = problem(shape, device=device)
    arguments["queries"] = arguments["queries"].round()
    arguments["candidates"] = arguments["candidates"].round()

    found = run_or_skip(**arguments, normalise=False, backend=backend)
    want = nearest_neighbours(**arguments, normalise=False, backend="reference")

    torch.testing.assert_close(found, want, rtol=0, atol=0)


def test_agrees_with_scikit_learn():
    rows = torch.randn(60, 8, generator=torch.Generator().manual_seed(1))

    scores, ids = nearest_neighbours(rows, 4)

    index = NearestNeighbors(n_neighbors=4, metric="cosine", algorithm="brute").fit(rows.numpy())
    distance, want = index.kneighbors()
    assert ids.tolist() == want.tolist()
    torch.testing.assert_close(1 - scores, torch.from_numpy(distance), rtol=0, atol=1e-6)


def test_by_hand(backend):
    # on a line at 0, 1, 2, 10 with labels a, a, b, unknown: the dot product prefers the far end
    rows, labels = torch.tensor([[0.0], [1.0], [2.0], [10.0]]), torch.tensor([0, 0, 1, -1])

    _, anyone = run_or_skip(rows, 2, normalise=False, backend=backend)
    assert anyone.tolist() == [[1, 2], [3, 2], [3, 1], [2, 1]]
    scores, same = run_or_skip(
        rows, 2, query_labels=labels, allowed="same_label", normalise=False, backend=backend
    )
    _, different = run_or_skip(
        rows, 2, query_labels=labels, allowed="different_label", normalise=False, backend=backend
    )

    assert same.tolist() == [[1, -1], [0, -1], [-1, -1], [-1, -1]]
    assert scores[:, 1].isneginf().all()
    assert different.tolist() == [[2, -1], [2, -1], [1, 0], [-1, -1]]


def test_lower_id_wins_a_tie(backend):
    rows = torch.ones(40, 3)  # more than one block holds

    _, ids = run_or_skip(rows, 3, backend=backend)

    assert ids[:4].tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    assert ids[-1].tolist() == [0, 1, 2]


def test_minus_zero_ties_with_zero():
    keys = pack(torch.tensor([[-0.0, 0.0, -0.0, -1.0]]), torch.arange(4))

    assert keys.argsort(descending=True).tolist() == [[0, 1, 2, 3]]


@settings(max_examples=30, deadline=None)
@given(
    queries=st.integers(1, 50),
    tile=st.integers(1, 50),
    k=st.integers(1, 9),
    seed=st.integers(0, 100),
)
def test_block_size_does_not_show(queries, tile, k, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(-2, 3, (40, 3), generator=generator).float()
    labels = torch.randint(-1, 3, (40,), generator=generator)
    rules = {"query_labels": labels, "allowed": "different_label", "normalise": False}
    want = nearest_neighbours(rows, k, **rules, backend="reference")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiled, "QUERY_ROWS", queries)
        patch.setattr(tiled, "CANDIDATE_ROWS", tile)

        found = nearest_neighbours(rows, k, **rules, backend="tiled")

    torch.testing.assert_close(found, want, rtol=0, atol=0)


@settings(max_examples=30, deadline=None)
@given(
    queries=st.integers(1, 50),
    tile=st.integers(1, 50),
    k=st.integers(1, 9),
    exclude_self=st.booleans(),
    seed=st.integers(0, 100),
)
def test_faiss_block_size_does_not_show(queries, tile, k, exclude_self, seed):
    rows = torch.randint(-2, 3, (40, 3), generator=torch.Generator().manual_seed(seed)).float()
    rules = {"exclude_self": exclude_self, "normalise": False}
    want = nearest_neighbours(rows, k, **rules, backend="reference")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faiss_flat, "QUERY_ROWS", queries)
        patch.setattr(faiss_flat, "CANDIDATE_ROWS", tile)

        found = nearest_neighbours(rows, k, **rules, backend="faiss")

    torch.testing.assert_close(found, want, rtol=0, atol=0)


def test_faiss_refuses_labels():
    with pytest.raises(RuntimeError, match="knows no labels"):
        nearest_neighbours(
            torch.ones(2, 2),
            1,
            query_labels=torch.zeros(2, dtype=torch.int64),
            allowed="same_label",
            backend="faiss",
        )


@pytest.mark.parametrize("rows", [16, 32])
@pytest.mark.parametrize("columns", [16, 64])
@pytest.mark.parametrize("programs", [1, 100])
def test_fused_block_size_does_not_show(monkeypatch, rows, columns, programs):
    queries = torch.randint(-2, 3, (40, 3), generator=torch.Generator().manual_seed(0)).float()
    want = nearest_neighbours(queries, 5, normalise=False, backend="reference")
    if obstacle := BACKENDS["fused"].obstacle(queries):
        pytest.skip(obstacle)
    fused = import_module(BACKENDS["fused"].module)
    monkeypatch.setattr(fused, "ROWS", rows)
    monkeypatch.setattr(fused, "COLUMNS", columns)
    monkeypatch.setattr(fused, "ENOUGH_PROGRAMS", programs)

    found = nearest_neighbours(queries, 5, normalise=False, backend="fused")

    torch.testing.assert_close(found, want, rtol=0, atol=0)


def test_shuffled_candidates_give_the_same_neighbours(backend):
    arguments = problem((20, 30, 6, 4))
    order = torch.randperm(30, generator=torch.Generator().manual_seed(2))

    _, ids = run_or_skip(**arguments, backend=backend)
    arguments["candidates"] = arguments["candidates"][order]
    _, shuffled = run_or_skip(**arguments, backend=backend)

    assert torch.equal(order[shuffled], ids)


@pytest.mark.parametrize("length", [1e-12, 1e12])
def test_only_direction_counts_when_normalised(backend, length):
    arguments = problem((9, 30, 6, 4))
    want = run_or_skip(**arguments, backend=backend)

    arguments["candidates"] = arguments["candidates"] * length
    found = run_or_skip(**arguments, backend=backend)

    torch.testing.assert_close(found, want, rtol=0, atol=1e-6)


def test_row_of_zeros_is_similar_to_nothing(backend):
    scores, ids = run_or_skip(torch.zeros(2, 3), 1, backend=backend)

    assert scores.tolist() == [[0.0], [0.0]]
    assert ids.tolist() == [[1], [0]]


def test_self_is_a_neighbour_on_request(backend):
    rows = torch.eye(20)

    _, ids = run_or_skip(rows, 1, exclude_self=False, backend=backend)

    assert ids.flatten().tolist() == list(range(20))


def test_auto_avoids_the_interpreter_and_long_k():
    rows = torch.randn(3, 2)

    scores, _ = nearest_neighbours(rows, 100)

    assert scores.shape == (3, 100)
    with pytest.raises(RuntimeError, match="up to 64"):
        nearest_neighbours(rows, 100, backend="fused")


def test_arguments_are_left_alone(backend):
    arguments = problem((9, 30, 6, 4))
    before = {name: value.clone() for name, value in arguments.items() if name != "k"}

    run_or_skip(**arguments, backend=backend)

    assert all(torch.equal(arguments[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"candidates": torch.ones(3, 5)}, r"want queries \[N, D\]"),
        ({"candidates": torch.ones(3, 4).half()}, "dtype"),
        ({"queries": torch.ones(3, 4).long(), "candidates": None}, "floating point"),
        ({"queries": torch.full((3, 4), torch.nan)}, "queries must be finite"),
        ({"candidates": torch.full((3, 4), torch.inf)}, "candidates must be finite"),
        ({"allowed": "some"}, "allowed must be one of"),
        ({"allowed": "same_label"}, "query_labels are needed"),
        ({"allowed": "same_label", "query_labels": torch.zeros(3)}, "query_labels must be int64"),
        (
            {"allowed": "same_label", "query_labels": torch.zeros(3).long()},
            "candidate_labels are needed",
        ),
        ({"backend": "abacus"}, "backend must be"),
    ],
)
def test_rejects(change, message):
    arguments = {"queries": torch.ones(3, 4), "k": 1, "candidates": torch.ones(2, 4)} | change

    with pytest.raises(ValueError, match=message):
        nearest_neighbours(**arguments)
