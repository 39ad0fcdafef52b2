from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labelnoise.kernels.class_means import BACKENDS, ClassSums, blocked, class_means

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
    monkeypatch.setattr(blocked, "BLOCK_ROWS", 7)


def problem(shape, dtype=torch.float32, device="cpu"):
    n, c, d = shape
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(n, d, generator=generator).to(device, dtype)
    labels = torch.randint(-1, c, (n,), generator=generator).to(device)
    return features, labels, torch.rand(n, generator=generator).to(device)


def assert_same(found, want):
    torch.testing.assert_close(found.means, want.means, rtol=0, atol=1e-6, equal_nan=True)
    assert torch.equal(found.counts, want.counts)
    assert torch.equal(found.present, want.present)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_reference(shape, weighted, dtype, device):
    features, labels, weights = problem(shape, dtype, device)
    options = {"weights": weights if weighted else None}

    found = class_means(features, labels, shape[1], **options)
    want = class_means(features, labels, shape[1], **options, backend="reference")

    assert_same(found, want)


def test_agrees_with_numpy(backend):
    features, labels, weights = problem((50, 4, 7), torch.float64)

    found = class_means(features, labels, 4, weights=weights, backend=backend)

    for c in range(4):
        rows = (labels == c).numpy()
        want = np.average(features.numpy()[rows], axis=0, weights=weights.numpy()[rows])
        np.testing.assert_allclose(found.means[c], want, atol=1e-6)
        assert found.counts[c] == rows.sum()


def test_by_hand(backend):
    features = torch.tensor([[1.0], [3.0], [5.0], [100.0], [7.0]])
    labels = torch.tensor([0, 0, 2, -1, 3])
    weights = torch.tensor([3.0, 1.0, 2.0, 1.0, 0.0])

    found = class_means(features, labels, 4, weights=weights, backend=backend)

    assert found.present.tolist() == [True, False, True, False]
    assert found.counts.tolist() == [2, 0, 1, 1]
    assert found.means[found.present].tolist() == [[1.5], [5.0]]
    assert found.means[~found.present].isnan().all()


def test_nan_stays_in_its_class(backend):
    features = torch.tensor([[1.0], [torch.nan], [torch.nan]])

    found = class_means(features, torch.tensor([0, 1, -1]), 2, backend=backend)

    assert found.means[0].item() == 1
    assert found.means[1].isnan()


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 50), max_size=5), block=st.integers(1, 60))
def test_cutting_the_stream_does_not_show(cuts, block):
    features, labels, weights = problem((50, 4, 7))
    want = class_means(features, labels, 4, weights=weights, backend="reference")
    edges = [0, *sorted(cuts), 50]
    total = ClassSums(4, 7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocked, "BLOCK_ROWS", block)

        for start, stop in pairwise(edges):
            shard = ClassSums(4, 7)
            part = slice(start, stop)
            shard.update(features[part], labels[part], weights=weights[part])
            total = shard.merge(total)  # the later shard first: order is no matter

    assert_same(total.compute(), want)


def test_long_stream_keeps_its_digits():
    # float32 sums stop growing at 2**24 ones
    features = torch.full((1000, 1), 2.0**14 + 1)
    state = ClassSums(1, 1)

    for _ in range(50):
        state.update(features, torch.zeros(1000, dtype=torch.int64))

    assert state.compute().means.item() == 2.0**14 + 1


def test_merge_leaves_its_parts_alone():
    left, right = ClassSums(1, 1), ClassSums(1, 1)
    left.update(torch.ones(1, 1), torch.tensor([0]))

    merged = left.merge(right)
    merged.update(torch.ones(1, 1) * 3, torch.tensor([0]))

    assert merged.compute().means.item() == 2
    assert left.compute().counts.item() == 1
    assert right.compute().counts.item() == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.ones(3)}, r"features must be floating point \[N, D\]"),
        ({"features": torch.ones(3, 2).long()}, "features must be floating point"),
        ({"labels": torch.zeros(2).long()}, r"labels must be int64 \[3\]"),
        ({"labels": torch.zeros(3)}, "labels must be int64"),
        ({"labels": torch.tensor([0, 2, 0])}, "labels must lie in -1 .. 1"),
        ({"labels": torch.tensor([0, -2, 0])}, "labels must lie in -1 .. 1"),
        ({"n_classes": 0}, "n_classes must be at least 1, got 0"),
        ({"weights": torch.ones(2)}, r"weights must be \[3\]"),
        ({"weights": torch.tensor([1.0, -1.0, 1.0])}, "not negative"),
        ({"weights": torch.tensor([1.0, torch.nan, 1.0])}, "finite"),
    ],
)
def test_rejects(change, message):
    arguments = {"features": torch.ones(3, 2), "labels": torch.zeros(3).long(), "n_classes": 2}

    with pytest.raises(ValueError, match=message):
        class_means(**arguments | change)


def test_state_rejects():
    with pytest.raises(ValueError, match="n_classes must be at least 1"):
        ClassSums(0, 1)
    with pytest.raises(ValueError, match="2 columns, got 3"):
        ClassSums(1, 2).update(torch.ones(1, 3), torch.tensor([0]))
    with pytest.raises(ValueError, match="1 classes of 2 features and 1 classes of 3"):
        ClassSums(1, 2).merge(ClassSums(1, 3))
