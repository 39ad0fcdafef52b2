import math
from dataclasses import fields
from importlib import import_module

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import logsumexp, softmax

from labelnoise.kernels.prototype_scores import (
    BACKENDS,
    PrototypeScores,
    blocked,
    prototype_scores,
)

pytestmark = pytest.mark.usefixtures("dirty_memory")

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
# rows, classes, width: nothing divides a block; one row, class and column, and no row
SHAPES = [(37, 41, 19), (5, 2, 1), (3, 1, 4), (1, 1, 1), (0, 3, 4)]
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
FAST = [name for name in BACKENDS if name != "reference"]
NUMBERS = [f.name for f in fields(PrototypeScores) if f.name != "top_index"]


@pytest.fixture(params=FAST)
def backend(request):
    return request.param


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocked, "BLOCK_ROWS", 7)
    monkeypatch.setattr(blocked, "BLOCK_CLASSES", 11)
    if BACKENDS["fused"].obstacle(torch.zeros(1)) is None:
        # what the interpreter costs is programs x blocks
        fused = import_module(BACKENDS["fused"].module)
        for name in ("ROWS", "CLASSES", "WIDTH"):
            monkeypatch.setattr(fused, name, 16)


def run_or_skip(features, prototypes, *, backend, **options):
    if obstacle := BACKENDS[backend].obstacle(features):
        pytest.skip(obstacle)
    return prototype_scores(features, prototypes, backend=backend, **options)


def problem(shape, dtype=torch.float32, device="cpu"):
    n, c, d = shape
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(n, d, generator=generator).to(device, dtype)
    prototypes = torch.randn(c, d, generator=generator).to(device, dtype)
    return features, prototypes, torch.randint(-1, c, (n,), generator=generator).to(device)


def assert_same(found, want, atol):
    for name in NUMBERS:
        torch.testing.assert_close(
            getattr(found, name), getattr(want, name), rtol=0, atol=atol, equal_nan=True
        )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_reference(backend, shape, normalise, dtype, device):
    features, prototypes, labels = problem(shape, dtype, device)
    temperature = torch.linspace(0.2, 1.5, shape[1])
    options = {"given": labels, "temperature": temperature, "top": 6, "normalise": normalise}

    found = run_or_skip(features, prototypes, **options, backend=backend)
    want = prototype_scores(features, prototypes, **options, backend="reference")

    # logits reach some 60 here, and float32 keeps 7 digits
    assert_same(found, want, atol=3e-5)
    # near-ties may come in another order: what matters is that each index earns its score
    rows, classes = features.double().cpu(), prototypes.double().cpu()
    if normalise:
        rows = torch.nn.functional.normalize(rows)
        classes = torch.nn.functional.normalize(classes)
    earned = (rows @ classes.T / temperature).gather(1, found.top_index.cpu()).float()
    torch.testing.assert_close(earned, want.top_score.cpu(), rtol=0, atol=3e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_with_scipy(backend):
    features, prototypes, labels = problem((23, 30, 9))
    labels = labels.clamp(min=0)
    found = run_or_skip(
        features, prototypes, given=labels, temperature=0.1, normalise=False, backend=backend
    )

    logits = features.double().numpy() @ prototypes.double().numpy().T / 0.1
    p = softmax(logits, axis=1)
    every, own = np.arange(23), labels.numpy()
    others = p.copy()
    others[every, own] = -1
    close = {"rtol": 1e-4, "atol": 2e-5}
    np.testing.assert_array_equal(found.argmax, logits.argmax(axis=1))
    np.testing.assert_allclose(found.log_normaliser, logsumexp(logits, axis=1), **close)
    np.testing.assert_allclose(found.entropy, stats.entropy(p, axis=1), **close)
    np.testing.assert_allclose(found.given_probability, p[every, own], **close)
    np.testing.assert_allclose(found.margin, p[every, own] - others.max(axis=1), **close)
    np.testing.assert_allclose(found.top_probability, -np.sort(-p, axis=1)[:, :5], **close)


@pytest.mark.parametrize("backend", BACKENDS)
def test_by_hand(backend):
    # logits 0, log 2, log 5: probabilities 1/8, 2/8, 5/8
    features = torch.ones(3, 1)
    prototypes = torch.tensor([[0.0], [math.log(2)], [math.log(5)]])
    options = {"normalise": False, "top": 2, "backend": backend}

    free = run_or_skip(features, prototypes, **options)
    judged = run_or_skip(features, prototypes, given=torch.tensor([2, 1, -1]), **options)

    assert free.top_index.tolist() == [[2, 1]] * 3
    torch.testing.assert_close(free.margin, torch.full((3,), 3 / 8))
    assert free.given_probability.isnan().all()
    torch.testing.assert_close(
        judged.given_probability, torch.tensor([5 / 8, 2 / 8, torch.nan]), equal_nan=True
    )
    torch.testing.assert_close(
        judged.margin, torch.tensor([3 / 8, -3 / 8, torch.nan]), equal_nan=True
    )


def test_lower_index_wins_a_tie(backend):
    found = run_or_skip(torch.ones(2, 4), torch.ones(40, 4), backend=backend, top=3)

    assert found.top_index.tolist() == [[0, 1, 2]] * 2
    torch.testing.assert_close(found.entropy, torch.full((2,), math.log(40)))
    assert found.margin.tolist() == [0.0, 0.0]


def test_large_logits_do_not_overflow(backend):
    # exp(1e4) is infinite, and exp(-1e4) is 0
    features, prototypes = torch.tensor([[1.0], [-1.0]]), torch.tensor([[1e4], [1e4 - 1], [0.0]])

    found = run_or_skip(features, prototypes, normalise=False, backend=backend)

    p = 1 / (1 + math.exp(-1))
    entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
    torch.testing.assert_close(found.entropy, torch.tensor([entropy, 0.0]), rtol=0, atol=2e-3)
    torch.testing.assert_close(found.margin, torch.tensor([2 * p - 1, 1.0]), rtol=0, atol=2e-3)


def test_all_logits_negative(backend):
    # padding must lose against a real prototype, even a bad one
    found = run_or_skip(torch.ones(3, 5), -torch.ones(2, 5), normalise=False, backend=backend)

    assert found.top_score.tolist() == [[-5.0, -5.0]] * 3
    torch.testing.assert_close(found.log_normaliser, torch.full((3,), math.log(2) - 5))


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 40), classes=st.integers(1, 40), top=st.integers(1, 8))
def test_block_size_does_not_show(rows, classes, top):
    features, prototypes, labels = problem((30, 35, 6))
    features, prototypes = features.round(), prototypes.round()  # with many ties
    options = {"given": labels, "top": top, "normalise": False}
    want = prototype_scores(features, prototypes, **options, backend="reference")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocked, "BLOCK_ROWS", rows)
        patch.setattr(blocked, "BLOCK_CLASSES", classes)

        found = prototype_scores(features, prototypes, **options, backend="blocked")

    assert torch.equal(found.top_index, want.top_index)
    assert_same(found, want, atol=5e-6)


@pytest.mark.parametrize("rows", [16, 32])
@pytest.mark.parametrize("classes", [16, 64])
def test_fused_block_size_does_not_show(monkeypatch, rows, classes):
    features, prototypes, labels = problem((30, 35, 6))
    features, prototypes = features.round(), prototypes.round()
    want = prototype_scores(
        features, prototypes, given=labels, normalise=False, backend="reference"
    )
    if obstacle := BACKENDS["fused"].obstacle(features):
        pytest.skip(obstacle)
    fused = import_module(BACKENDS["fused"].module)
    monkeypatch.setattr(fused, "ROWS", rows)
    monkeypatch.setattr(fused, "CLASSES", classes)

    found = prototype_scores(features, prototypes, given=labels, normalise=False, backend="fused")

    assert torch.equal(found.top_index, want.top_index)
    assert_same(found, want, atol=5e-6)


def test_renumbering_classes_renumbers_the_answer(backend):
    features, prototypes, labels = problem((20, 30, 6))
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    place = order.argsort()

    plain = run_or_skip(features, prototypes, given=labels, backend=backend)
    moved_labels = torch.where(labels < 0, -1, place[labels])
    moved = run_or_skip(features, prototypes[order], given=moved_labels, backend=backend)

    assert torch.equal(order[moved.top_index], plain.top_index)
    assert_same(moved, plain, atol=1e-6)


@pytest.mark.parametrize("length", [1e-12, 1e12])
def test_only_direction_counts_when_normalised(backend, length):
    features, prototypes, labels = problem((9, 20, 6))
    want = run_or_skip(features, prototypes, given=labels, backend=backend)

    found = run_or_skip(features * length, prototypes / length, given=labels, backend=backend)

    assert_same(found, want, atol=1e-6)


def test_row_of_zeros_knows_nothing(backend):
    found = run_or_skip(torch.zeros(1, 3), torch.eye(3), backend=backend)

    torch.testing.assert_close(found.entropy, torch.tensor([math.log(3)]))
    assert found.argmax.tolist() == [0]


def test_auto_avoids_the_interpreter():
    assert prototype_scores(torch.ones(1, 1), torch.ones(2, 1)).top_index.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.ones(2, 4)}, "want features"),
        ({"prototypes": torch.ones(0, 3)}, "at least one"),
        ({"prototypes": torch.ones(2, 3).half()}, "dtype"),
        ({"features": torch.ones(2, 3).long(), "prototypes": torch.ones(2, 3).long()}, "floating"),
        ({"features": torch.full((2, 3), torch.nan)}, "features must be finite"),
        ({"prototypes": torch.full((2, 3), torch.inf)}, "prototypes must be finite"),
        ({"top": 0}, "top must lie in 1 .. 8, got 0"),
        ({"top": 9}, "top must lie in 1 .. 8, got 9"),
        ({"given": torch.tensor([0, 2])}, "given must lie in -1 .. 1"),
        ({"given": torch.tensor([0])}, "given must be int64"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"temperature": torch.ones(3)}, r"temperature must be a number or \[2\], got \[3\]"),
    ],
)
def test_rejects(change, message):
    arguments = {"features": torch.ones(2, 3), "prototypes": torch.ones(2, 3)} | change

    with pytest.raises(ValueError, match=message):
        prototype_scores(**arguments)
