from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from labelnoise.kernels.grouped_neighbours import BACKENDS, grouped_neighbours, tiled
from labelnoise.kernels.nearest_neighbours import tiled as ungrouped

pytestmark = pytest.mark.usefixtures("dirty_memory")

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
# rows of each group: empty ones, single rows, one group with nearly all, nothing at all
SIZES = [[7, 0, 1, 30, 3], [1], [0, 0], [], [2, 90, 0, 1, 5], [1] * 40, [0, 41]]
FORMS = ["members", "earlier", "queries"]
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
TOLERANCE = 5e-6


@pytest.fixture(params=[name for name in BACKENDS if name != "reference"])
def backend(request):
    return request.param


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(tiled, "SMALL_ROWS", 9)
    monkeypatch.setattr(tiled, "BATCH_NUMBERS", 300)
    monkeypatch.setattr(ungrouped, "QUERY_ROWS", 7)
    monkeypatch.setattr(ungrouped, "CANDIDATE_ROWS", 11)
    if BACKENDS["fused"].obstacle(torch.zeros(1)) is None:
        fused = import_module(BACKENDS["fused"].module)
        for name in ("ROWS", "COLUMNS", "WIDTH"):
            monkeypatch.setattr(fused, name, 16)
        monkeypatch.setattr(fused, "ENOUGH_PROGRAMS", 8)


def offsets_of(sizes):
    return torch.tensor([0, *sizes]).cumsum(0)


def problem(sizes, form, dtype=torch.float32, device="cpu", width=5):
    generator = torch.Generator().manual_seed(len(sizes))
    rows = torch.randn(sum(sizes), width, generator=generator).to(device, dtype)
    queries = torch.randn(len(sizes), width, generator=generator).to(device, dtype)
    return {
        "rows": rows,
        "offsets": offsets_of(sizes).to(device),
        "k": 4,
        "queries": queries if form == "queries" else None,
        "earlier": form == "earlier",
    }


def run_or_skip(*, backend, **arguments):
    if obstacle := BACKENDS[backend].obstacle(arguments["rows"]):
        pytest.skip(obstacle)
    return grouped_neighbours(**arguments, backend=backend)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_matches_reference(backend, sizes, form, dtype, device):
    arguments = problem(sizes, form, dtype, device)

    scores, ids = run_or_skip(**arguments, backend=backend)
    want_scores, want_ids = grouped_neighbours(**arguments, backend="reference")

    torch.testing.assert_close(scores, want_scores, rtol=0, atol=TOLERANCE)
    # rows are random: only the rounding of half precision brings ties
    if dtype in (torch.float32, torch.float64):
        assert torch.equal(ids, want_ids)
    assert torch.equal(ids < 0, want_ids < 0)


@pytest.mark.parametrize("form", FORMS)
def test_whole_numbers_match_exactly(backend, form):
    arguments = problem([7, 0, 1, 30, 3], form) | {"normalise": False}
    arguments["rows"] = arguments["rows"].round()

    if form == "queries":
        arguments["queries"] = arguments["queries"].round()
    found = run_or_skip(**arguments, backend=backend)
    want = grouped_neighbours(**arguments, backend="reference")

    torch.testing.assert_close(found, want, rtol=0, atol=0)


def test_one_group_agrees_with_scikit_learn(backend):
    rows = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))

    scores, ids = run_or_skip(rows=rows, offsets=torch.tensor([0, 30]), k=3, backend=backend)

    index = NearestNeighbors(n_neighbors=3, metric="cosine", algorithm="brute").fit(rows.numpy())
    distance, want = index.kneighbors()
    assert ids.tolist() == want.tolist()
    torch.testing.assert_close(1 - scores, torch.from_numpy(distance), rtol=0, atol=1e-6)


def test_by_hand(backend):
    # on a line at 1, 3, 2 | 5: the dot product prefers the far end
    rows, offsets = torch.tensor([[1.0], [3.0], [2.0], [5.0]]), torch.tensor([0, 3, 4])
    arguments = {"rows": rows, "offsets": offsets, "k": 2, "normalise": False}

    _, members = run_or_skip(**arguments, backend=backend)
    scores, earlier = run_or_skip(**arguments, earlier=True, backend=backend)
    _, best = run_or_skip(**arguments, queries=torch.tensor([[1.0], [-1.0]]), backend=backend)

    assert members.tolist() == [[1, 2], [2, 0], [1, 0], [-1, -1]]
    assert earlier.tolist() == [[-1, -1], [0, -1], [1, 0], [-1, -1]]
    assert scores[1:3].tolist() == [[3.0, -torch.inf], [6.0, 2.0]]
    assert best.tolist() == [[1, 2], [3, -1]]


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 25), min_size=1, max_size=8),
    small=st.integers(0, 60),
    step=st.integers(1, 9),
    tile=st.integers(1, 30),
    form=st.sampled_from(FORMS),
)
def test_block_size_does_not_show(sizes, small, step, tile, form):
    arguments = problem(sizes, form, width=3) | {"normalise": False}
    arguments["rows"] = arguments["rows"].round()
    if form == "queries":
        arguments["queries"] = arguments["queries"].round()
    want = grouped_neighbours(**arguments, backend="reference")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiled, "SMALL_ROWS", small)
        patch.setattr(tiled, "SIZE_STEP", step)
        patch.setattr(ungrouped, "QUERY_ROWS", tile)
        patch.setattr(ungrouped, "CANDIDATE_ROWS", tile + 3)

        found = grouped_neighbours(**arguments, backend="tiled")

    torch.testing.assert_close(found, want, rtol=0, atol=0)


def test_reordered_groups_give_the_same_neighbours(backend):
    sizes, order = [4, 9, 2], [2, 0, 1]
    rows, starts = problem(sizes, "members")["rows"], offsets_of(sizes).tolist()
    moved = torch.cat([torch.arange(starts[g], starts[g + 1]) for g in order])

    _, ids = run_or_skip(rows=rows, offsets=offsets_of(sizes), k=1, backend=backend)
    _, reordered = run_or_skip(
        rows=rows[moved], offsets=offsets_of([sizes[g] for g in order]), k=1, backend=backend
    )

    assert torch.equal(moved[reordered[:, 0]], ids[moved, 0])


def test_lower_number_wins_a_tie(backend):
    rows = torch.ones(40, 3)

    _, ids = run_or_skip(rows=rows, offsets=torch.tensor([0, 4, 40]), k=2, backend=backend)

    assert ids[:5].tolist() == [[1, 2], [0, 2], [0, 1], [0, 1], [5, 6]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"offsets": torch.tensor([0, 2])}, "ascend from 0 to 3"),
        ({"offsets": torch.tensor([0, 3, 2, 3])}, "ascend from 0 to 3"),
        ({"offsets": torch.tensor([0.0, 3.0])}, "offsets must be int64"),
        ({"rows": torch.ones(3, 4).long()}, "floating point"),
        ({"rows": torch.full((3, 4), torch.nan)}, "rows must be finite"),
        ({"queries": torch.ones(2, 4)}, "one per group, 1, got 2"),
        ({"queries": torch.ones(1, 5)}, r"want rows \[N, D\]"),
        ({"queries": torch.ones(1, 4).half()}, "dtype"),
        ({"queries": torch.ones(1, 4), "earlier": True}, "give it no queries"),
        ({"backend": "abacus"}, "backend must be"),
    ],
)
def test_rejects(change, message):
    arguments = {"rows": torch.ones(3, 4), "offsets": torch.tensor([0, 3]), "k": 1} | change

    with pytest.raises(ValueError, match=message):
        grouped_neighbours(**arguments)
