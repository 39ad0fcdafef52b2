import math

import pytest
import torch

from benchmarks.speed.dense_erase import dense_coding_rate_loss
from labelnoise.kernels.coding_rate import (
    class_coding_rate,
    closed_form,
    coding_rate,
    coding_rate_loss,
)

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
ERASE = {"gamma1": 1.0, "gamma2": 2.0, "epsilon": 0.05}
# rows per class (the last number: rows of no class) and width; sizes 0, 1, < D, = D and > D
CASES = [
    ([7, 0, 1, 30, 12], 9, 12),
    ([3, 2, 2, 1], 0, 40),
    ([50], 3, 4),
    ([1, 0], 0, 1),
    ([200, 150, 20], 4, 130),  # more than one strip of the Gram matrix
    ([0, 0], 6, 3),
]


def make_rows(sizes, n_without, width, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor(
        [k for k, size in enumerate(sizes) for _ in range(size)] + [-1] * n_without
    )
    labels = labels[torch.randperm(len(labels), generator=generator)]
    features = torch.rand(len(labels), width, generator=generator, dtype=torch.float64)
    return features.to(dtype), labels


def loss_and_gradient(features, labels, n_classes, backend="auto", **settings):
    features = features.clone().requires_grad_()
    rates = coding_rate_loss(features, labels, n_classes, backend=backend, **(ERASE | settings))
    rates.loss.backward()
    return rates, features.grad


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(("gamma1", "gamma2"), [(1.0, 2.0), (0.7, 3.0), (1.0, 0.0), (0.0, 1.0)])
def test_matches_reference(case, gamma1, gamma2, device):
    features, labels = (t.to(device) for t in make_rows(*case))
    settings = {"gamma1": gamma1, "gamma2": gamma2}

    rates, gradient = loss_and_gradient(features, labels, len(case[0]), **settings)
    want, want_gradient = loss_and_gradient(features, labels, len(case[0]), "reference", **settings)

    torch.testing.assert_close(rates.loss, want.loss)
    torch.testing.assert_close(gradient, want_gradient)
    # a rate of weight 0 is not computed
    if gamma2:
        torch.testing.assert_close(rates.expansion, want.expansion)
    if gamma1:
        torch.testing.assert_close(rates.compression, want.compression)


@pytest.mark.parametrize("case", [([7, 0, 1, 12], 3, 6), ([3, 2, 1], 0, 10)], ids=str)
def test_gradient_against_finite_differences(case):
    features, labels = make_rows(*case)
    features.requires_grad_()

    assert torch.autograd.gradcheck(
        lambda z: coding_rate_loss(z, labels, len(case[0]), **ERASE).loss, features
    )
    assert torch.autograd.gradcheck(lambda z: coding_rate(z, epsilon=0.5, scale=2.0), features)
    assert torch.autograd.gradcheck(
        lambda z: class_coding_rate(z, labels, len(case[0]), epsilon=0.5), features
    )


def test_orthogonal_rows():
    # N orthonormal rows: every eigenvalue of Z^T Z is 1 or 0, so the logdets are sums by hand
    features, labels = torch.eye(6, 10, dtype=torch.float64), torch.tensor([0, 0, 0, 0, 1, 1])
    epsilon = 0.05

    expansion = coding_rate(features, epsilon=epsilon)
    compression = class_coding_rate(features, labels, 2, epsilon=epsilon)

    assert expansion.item() == pytest.approx(6 / 2 * math.log(1 + 10 / (6 * epsilon)))
    by_hand = 4 / 12 * 4 * math.log(1 + 10 / (4 * epsilon))
    by_hand += 2 / 12 * 2 * math.log(1 + 10 / (2 * epsilon))
    assert compression.item() == pytest.approx(by_hand)


def test_loss_is_the_difference_of_the_two_rates():
    features, labels = make_rows([7, 0, 1, 30, 12], 9, 12)

    rates = coding_rate_loss(features, labels, 5, gamma1=0.7, gamma2=3.0, epsilon=0.1)
    expansion = coding_rate(features, epsilon=0.1, scale=0.7)
    compression = class_coding_rate(features, labels, 5, epsilon=0.1)

    torch.testing.assert_close(rates.expansion, expansion)
    torch.testing.assert_close(rates.compression, compression)
    torch.testing.assert_close(rates.loss, 0.7 * compression - 3.0 * expansion)


def test_rows_of_no_class_count_in_the_expansion_only():
    features, labels = make_rows([20, 9], 8, 6)
    rates, _ = loss_and_gradient(features, labels, 2)
    kept = labels >= 0

    without = class_coding_rate(features[kept], labels[kept], 2, epsilon=0.05)

    torch.testing.assert_close(rates.compression, without * kept.sum() / len(labels))
    torch.testing.assert_close(rates.expansion, coding_rate(features, epsilon=0.05))


def test_one_class_that_holds_every_row_compresses_what_expands():
    features, labels = make_rows([30], 0, 5)

    rates, gradient = loss_and_gradient(features, labels, 1, gamma2=1.0)

    assert rates.loss.item() == pytest.approx(0, abs=1e-12)
    assert gradient.abs().max().item() < 1e-12


def test_renumbering_rows_and_classes():
    features, labels = make_rows([7, 0, 1, 30, 12], 9, 12)
    rates, gradient = loss_and_gradient(features, labels, 5)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    names = torch.tensor([3, 1, 4, 0, 2, -1])  # the last entry serves label -1

    moved, moved_gradient = loss_and_gradient(features[order], names[labels[order]], 5)

    torch.testing.assert_close(moved, rates)
    torch.testing.assert_close(moved_gradient, gradient[order])


@pytest.mark.parametrize("length", [1e-3, 0.15, 1.0])
def test_float32_at_the_scale_of_the_rows(length):
    # ERASE starts at mean |z|^2 of about .0015 and ends near .14
    features, labels = make_rows([90, 40, 33, 5], 0, 64)
    features *= (length / features.pow(2).sum(1).mean()).sqrt()

    rates, gradient = loss_and_gradient(features.float(), labels, 4)
    want, want_gradient = loss_and_gradient(features, labels, 4, "reference")

    assert rates.loss.dtype == gradient.dtype == torch.float32
    assert rates.expansion.item() == pytest.approx(want.expansion.item(), rel=2e-5)
    assert rates.compression.item() == pytest.approx(want.compression.item(), rel=2e-5)
    error = (gradient.double() - want_gradient).norm() / want_gradient.norm()
    assert error.item() < 1e-4


@pytest.mark.parametrize("row_side", [0.0, 0.6, 10.0])
@pytest.mark.parametrize("stack_size", [1, 600, 2**25])
def test_how_it_is_split_does_not_show(monkeypatch, row_side, stack_size):
    features, labels = make_rows([7, 0, 1, 30, 12, 12, 13, 40], 9, 12)
    want = loss_and_gradient(features, labels, 8, "reference")
    monkeypatch.setattr(closed_form, "ROW_SIDE", row_side)
    monkeypatch.setattr(closed_form, "STACK_SIZE", stack_size)
    monkeypatch.setattr(closed_form, "STRIP", 5)

    torch.testing.assert_close(loss_and_gradient(features, labels, 8), want)


def test_unwritten_memory_does_not_show(monkeypatch):
    features, labels = make_rows([150, 9, 170], 4, 140)
    want = loss_and_gradient(features, labels, 3, "reference")
    fresh = torch.Tensor.new_empty
    monkeypatch.setattr(
        torch.Tensor, "new_empty", lambda *a, **k: fresh(*a, **k).fill_(float("nan"))
    )

    torch.testing.assert_close(loss_and_gradient(features, labels, 3), want)


def test_many_classes():
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(-1, 900, (3000,), generator=generator)
    features = torch.rand(3000, 8, generator=generator, dtype=torch.float64)

    rates, gradient = loss_and_gradient(features, labels, 1000)
    want, want_gradient = loss_and_gradient(features, labels, 1000, "reference")

    torch.testing.assert_close(rates, want)
    torch.testing.assert_close(gradient, want_gradient)


def test_dense_form_of_the_benchmark_is_the_same_loss():
    features, labels = make_rows([7, 1, 30, 12], 0, 12)
    features.requires_grad_()
    loss, expansion, compression = dense_coding_rate_loss(features, labels, 4, **ERASE)
    loss.backward()

    rates, gradient = loss_and_gradient(features.detach(), labels, 4)

    torch.testing.assert_close((loss, expansion, compression), tuple(rates), rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, features.grad, rtol=1e-5, atol=1e-7)


def test_only_the_loss_carries_a_gradient():
    features, labels = make_rows([5, 6], 0, 3)
    rates = coding_rate_loss(features.requires_grad_(), labels, 2, **ERASE)

    assert rates.loss.requires_grad
    assert not rates.expansion.requires_grad
    assert not rates.compression.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(coding_rate_loss(features, labels, 2, **ERASE).loss, rates.loss)


def test_gradient_scales_with_what_arrives():
    features, labels = make_rows([5, 6], 0, 3)
    _, gradient = loss_and_gradient(features, labels, 2)
    features.requires_grad_()

    (3 * coding_rate_loss(features, labels, 2, **ERASE).loss).backward()

    torch.testing.assert_close(features.grad, 3 * gradient)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
def test_nothing_has_rate_zero(shape):
    labels = torch.zeros(shape[0], dtype=torch.int64)

    rates, gradient = loss_and_gradient(torch.ones(shape), labels, 2)

    assert [rate.item() for rate in rates] == [0, 0, 0]
    assert gradient.shape == shape


def test_arguments_are_left_alone():
    features, labels = make_rows([5, 6], 2, 3)
    before = features.clone(), labels.clone()

    loss_and_gradient(features, labels, 2)

    assert torch.equal(features, before[0])
    assert torch.equal(labels, before[1])


ROWS, LABELS = torch.ones(3, 2), torch.tensor([0, 1, 1])


@pytest.mark.parametrize(
    ("features", "labels", "n_classes", "settings", "message"),
    [
        (ROWS, LABELS[:2], 2, {}, r"labels \[N\]"),
        (ROWS[0], LABELS[:2], 2, {}, r"features \[N, D\]"),
        (ROWS.half(), LABELS, 2, {}, "float32 or float64"),
        (ROWS, LABELS.float(), 2, {}, "labels must be integers"),
        (ROWS, LABELS, 1, {}, r"labels must lie in -1 .. 0, found 0 .. 1"),
        (ROWS, LABELS - 2, 2, {}, "found -2"),
        (ROWS, LABELS, 0, {}, "n_classes"),
        (ROWS, LABELS, 2, {"epsilon": 0.0}, "epsilon"),
        (ROWS, LABELS, 2, {"gamma1": -1.0}, "gamma1"),
        (ROWS, LABELS, 2, {"gamma2": math.nan}, "gamma2"),
        (ROWS * math.nan, LABELS, 2, {}, "finite"),
        (ROWS * math.inf, LABELS, 2, {}, "finite"),
        (ROWS, LABELS, 2, {"backend": "fast"}, "backend"),
    ],
)
def test_rejects(features, labels, n_classes, settings, message):
    with pytest.raises(ValueError, match=message):
        coding_rate_loss(features, labels, n_classes, **(ERASE | settings))
