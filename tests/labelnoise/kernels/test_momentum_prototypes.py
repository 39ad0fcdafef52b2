from functools import reduce
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labelnoise.kernels.momentum_prototypes import (
    BACKENDS,
    MomentumSums,
    closed_form,
    momentum_prototypes,
)

pytestmark = pytest.mark.usefixtures("dirty_memory")

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
# rows, classes, width: more classes than rows, one of each, no row
SHAPES = [(50, 4, 7), (3, 9, 2), (1, 1, 1), (0, 2, 3)]


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(closed_form, "BLOCK_ROWS", 7)


def problem(shape, dtype=torch.float32, device="cpu"):
    n, c, d = shape
    generator = torch.Generator().manual_seed(0)
    prototypes = torch.randn(c, d, generator=generator).to(device)
    features = torch.randn(n, d, generator=generator).to(device, dtype)
    return prototypes, features, torch.randint(-1, c, (n,), generator=generator).to(device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.999, 1.0])
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_the_loop(shape, normalise, momentum, dtype, device):
    arguments = problem(shape, dtype, device)
    options = {"momentum": momentum, "normalise": normalise}

    found = momentum_prototypes(*arguments, **options)
    want = momentum_prototypes(*arguments, **options, backend="reference")

    torch.testing.assert_close(found, want, rtol=0, atol=1e-6)


def test_by_hand(backend):
    # class 0: 8 -> 4 + 1/2 = 4.5 -> 2.25 + 1 = 3.25; class 1 meets nobody
    prototypes, features = torch.tensor([[8.0], [5.0]]), torch.tensor([[1.0], [77.0], [2.0]])

    found = momentum_prototypes(
        prototypes,
        features,
        torch.tensor([0, -1, 0]),
        momentum=0.5,
        normalise=False,
        backend=backend,
    )

    assert found.tolist() == [[3.25], [5.0]]
    assert prototypes.tolist() == [[8.0], [5.0]]


def test_no_momentum_leaves_the_last_row(backend):
    prototypes, features, labels = problem((50, 4, 7))

    found = momentum_prototypes(
        prototypes, features, labels, momentum=0, normalise=False, backend=backend
    )

    last = [labels.tolist()[::-1].index(c) for c in range(4)]
    assert torch.equal(found, torch.stack([features[49 - r] for r in last]))


def test_long_run_forgets_the_start(backend):
    # 0.5 ** 3000 is 0 in float64
    features, labels = torch.ones(3000, 1), torch.zeros(3000, dtype=torch.int64)

    found = momentum_prototypes(
        torch.full((1, 1), 1e30), features, labels, momentum=0.5, normalise=False, backend=backend
    )

    assert found.item() == 1


def test_prototypes_have_unit_length_unless_zero(backend):
    prototypes, features, labels = problem((50, 4, 7))
    prototypes = torch.cat([prototypes, torch.zeros(1, 7)])

    found = momentum_prototypes(prototypes, features, labels, backend=backend)

    torch.testing.assert_close(found.norm(dim=1), torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0]))


def test_only_order_within_a_class_matters():
    prototypes, features, labels = problem((50, 4, 7))
    by_class = labels.argsort(stable=True)
    options = {"momentum": 0.7, "normalise": False}

    plain = momentum_prototypes(prototypes, features, labels, **options)
    grouped = momentum_prototypes(prototypes, features[by_class], labels[by_class], **options)
    backwards = momentum_prototypes(prototypes, features.flip(0), labels.flip(0), **options)

    torch.testing.assert_close(grouped, plain, rtol=0, atol=1e-6)
    assert (backwards - plain).abs().max() > 0.1


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 50), min_size=2, max_size=5),
    momentum=st.floats(0, 1),
    block=st.integers(1, 60),
)
def test_merging_in_any_grouping_equals_the_loop(cuts, momentum, block):
    prototypes, features, labels = problem((50, 4, 7))
    edges = [0, *sorted(cuts), 50]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closed_form, "BLOCK_ROWS", block)
        states = [
            MomentumSums.of(features[a:b], labels[a:b], 4, momentum=momentum)
            for a, b in pairwise(edges)
        ]

    from_left = reduce(MomentumSums.merge, states)
    from_right = states[0].merge(reduce(MomentumSums.merge, states[1:]))
    want = momentum_prototypes(
        prototypes, features, labels, momentum=momentum, normalise=False, backend="reference"
    )

    for state in (from_left, from_right):
        found = state.apply(prototypes.double()).float()
        torch.testing.assert_close(found, want, rtol=0, atol=1e-6)
        assert state.counts.tolist() == [(labels == c).sum() for c in range(4)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prototypes": torch.ones(2)}, r"prototypes must be floating point \[C, D\]"),
        ({"prototypes": torch.ones(0, 2)}, "n_classes must be at least 1"),
        ({"prototypes": torch.ones(2, 5)}, r"features \[3, 2\] on cpu do not fit"),
        ({"features": torch.ones(3, 2).long()}, "features must be floating point"),
        ({"labels": torch.tensor([0, 2, 0])}, "labels must lie in -1 .. 1"),
        ({"momentum": 1.1}, r"momentum must lie in \[0, 1\], got 1.1"),
        ({"momentum": float("nan")}, r"momentum must lie in \[0, 1\], got nan"),
    ],
)
def test_rejects(change, message):
    arguments = {
        "prototypes": torch.ones(2, 2),
        "features": torch.ones(3, 2),
        "labels": torch.zeros(3).long(),
    }

    with pytest.raises(ValueError, match=message):
        momentum_prototypes(**arguments | change)


def test_states_of_different_momentum_do_not_merge():
    left, right = (
        MomentumSums.of(torch.ones(1, 1), torch.tensor([0]), 1, momentum=m) for m in (0.5, 0.6)
    )

    with pytest.raises(ValueError, match="momentum"):
        left.merge(right)
