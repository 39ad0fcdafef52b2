import numpy as np
import pytest
import torch

from labelnoise.losses import LOSSES, make_loss
from labelnoise.losses.transition_estimate import (
    noise_rate_from_confident_joint,
    transition_from_anchors,
    transition_from_confident_joint,
)

N_SAMPLES, N_CLASSES, BATCH = 20, 5, 13


def batch(seed=0, scale=1.0):
    """Logits [B, K] float64, labels [B] and distinct indices [B] in no order."""
    random = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(BATCH, N_CLASSES, generator=random, dtype=torch.float64)
    labels = torch.randint(N_CLASSES, (BATCH,), generator=random)
    return logits, labels, torch.randperm(N_SAMPLES, generator=random)[:BATCH]


def built(name, **options):
    return make_loss(name, N_SAMPLES, N_CLASSES, options).double()


def softmax(logits):
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def noisy_transition():
    matrix = torch.full((N_CLASSES, N_CLASSES), 0.05, dtype=torch.float64)
    matrix[:, 0] += 0.15
    return matrix + torch.diag(1 - matrix.sum(dim=1))


# the five formulas once more, written with numpy and loops
def cross_entropy_by_hand(p, y):
    return -np.log(p[y])


def gce_by_hand(p, y):
    return (1 - p[y] ** 0.7) / 0.7


def sce_by_hand(p, y):
    reverse = -sum(p[k] * (0.0 if k == y else -4.0) for k in range(N_CLASSES))
    return -0.1 * np.log(p[y]) + reverse


def forward_by_hand(p, y):
    transition = noisy_transition().numpy()
    return -np.log(sum(p[i] * transition[i, y] for i in range(N_CLASSES)))


def elr_by_hand(p, y):
    clipped = np.clip(p, 1e-4, 1 - 1e-4)
    target = 0.3 * clipped / clipped.sum()  # the first update, from zero, with momentum .7
    return -np.log(p[y]) + 3 * np.log(1 - target @ clipped)


BY_HAND = {
    "cross_entropy": cross_entropy_by_hand,
    "gce": gce_by_hand,
    "sce": sce_by_hand,
    "forward": forward_by_hand,
    "elr": elr_by_hand,
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_equals_the_formula_by_hand(name, scale):
    logits, labels, index = batch(scale=scale)
    loss = built(name)
    if name == "forward":
        loss.set_transition(noisy_transition())

    rows = zip(softmax(logits.numpy()), labels.tolist(), strict=True)
    expected = [BY_HAND[name](p, y) for p, y in rows]

    torch.testing.assert_close(
        loss.per_sample(logits, labels, index), torch.tensor(expected, dtype=torch.float64)
    )


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_equals_central_differences(name):
    logits, labels, index = batch(seed=1, scale=2.0)
    loss = built(name)
    if name == "forward":
        loss.set_transition(noisy_transition())
    loss(logits, labels, index)  # moves per-sample state away from its start
    loss.eval()  # and now it stands still, as it does within one gradient

    assert torch.autograd.gradcheck(
        lambda z: loss.per_sample(z, labels, index), logits.clone().requires_grad_()
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gce", {"q": 0.0}),
        ("gce", {"q": 1e-9}),
        ("sce", {"forward_weight": 1.0, "reverse_weight": 0.0}),
        ("forward", {}),
        ("elr", {"strength": 0.0}),
    ],
)
def test_limit_is_cross_entropy(name, options):
    arguments = batch(seed=2, scale=3.0)

    torch.testing.assert_close(
        built(name, **options).per_sample(*arguments),
        built("cross_entropy").per_sample(*arguments),
    )


def test_gce_with_q_one_is_absolute_error():
    logits, labels, index = batch()
    one_hot = torch.eye(N_CLASSES, dtype=torch.float64)[labels]

    half_error = (torch.softmax(logits, 1) - one_hot).abs().sum(dim=1) / 2

    torch.testing.assert_close(built("gce", q=1.0).per_sample(logits, labels, index), half_error)


@pytest.mark.parametrize("name", LOSSES)
def test_order_of_the_batch_does_not_matter(name):
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(5))
    straight, shuffled = built(name), built(name)
    for seed in range(3):
        logits, labels, index = batch(seed)
        plain = straight.per_sample(logits, labels, index)
        mixed = shuffled.per_sample(logits[order], labels[order], index[order])
        torch.testing.assert_close(mixed, plain[order])


@pytest.mark.parametrize("name", LOSSES)
def test_renaming_classes_changes_nothing(name):
    logits, labels, index = batch()
    order = torch.tensor([3, 0, 4, 1, 2])
    renamed = order.argsort()[labels]

    torch.testing.assert_close(
        built(name)(logits[:, order], renamed, index), built(name)(logits, labels, index)
    )


@pytest.mark.parametrize("name", LOSSES)
def test_state_dict_round_trip(name):
    used = built(name)
    for seed in range(3):
        used(*batch(seed))
    if name == "forward":
        used.set_transition(noisy_transition())
    copy = built(name)
    copy.load_state_dict(used.state_dict())

    torch.testing.assert_close(copy(*batch(9)), used(*batch(9)), rtol=0, atol=0)
    assert copy.wants_estimate(30) == used.wants_estimate(30)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", [0, 1])
def test_caller_keeps_the_arrays_and_small_batches_work(name, size):
    logits, labels, index = (part[:size] for part in batch())
    before = [part.clone() for part in (logits, labels, index)]

    values = built(name).per_sample(logits, labels, index)

    assert values.shape == (size,)
    for part, original in zip((logits, labels, index), before, strict=True):
        assert torch.equal(part, original)


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_stay_finite(name):
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    loss = make_loss(name, 2, 2)

    value = loss(logits, torch.tensor([0, 0]), torch.arange(2))
    value.backward()

    assert value.isfinite()
    assert logits.grad.isfinite().all()


def test_forward_with_the_true_transition_is_least_at_the_clean_posterior():
    transition, clean = noisy_transition(), torch.tensor([0.5, 0.2, 0.1, 0.1, 0.1]).double()
    noisy = clean @ transition
    logits = clean.log().clone().requires_grad_()
    loss = built("forward")
    loss.set_transition(transition)

    every_label = torch.arange(N_CLASSES)
    values = loss.per_sample(logits.expand(N_CLASSES, -1), every_label, every_label)
    (noisy * values).sum().backward()

    torch.testing.assert_close(logits.grad, torch.zeros_like(clean), atol=1e-12, rtol=0)


def test_forward_estimates_once_and_not_where_the_matrix_is_given():
    loss = make_loss("forward", N_SAMPLES, N_CLASSES, {"warm_up": 4})
    assert [loss.wants_estimate(epoch) for epoch in range(3, 6)] == [False, True, False]
    loss.set_transition(noisy_transition())
    assert not loss.wants_estimate(4)


def test_elr_targets_follow_the_recurrence_only_in_training():
    loss = built("elr", momentum=0.6)
    expected = np.zeros((N_SAMPLES, N_CLASSES))
    for seed in range(4):
        logits, labels, index = batch(seed)
        loss(logits, labels, index)
        for row, sample in enumerate(index.tolist()):
            clipped = softmax(logits.numpy())[row].clip(1e-4, 1 - 1e-4)
            expected[sample] = 0.6 * expected[sample] + 0.4 * clipped / clipped.sum()
    loss.eval()
    loss(*batch(7))

    np.testing.assert_allclose(loss.targets.numpy(), expected, rtol=1e-12)


def test_elr_targets_are_constants_of_the_gradient():
    logits, labels, index = batch(scale=2.0)
    moving, standing = built("elr"), built("elr")
    first, second = logits.clone().requires_grad_(), logits.clone().requires_grad_()

    moving(first, labels, index).backward()
    standing(logits, labels, index)
    standing.eval()
    standing(second, labels, index).backward()

    assert not moving.targets.requires_grad
    torch.testing.assert_close(first.grad, second.grad)


def test_confident_joint_finds_the_transition_of_planted_noise():
    random = np.random.default_rng(0)
    truth = random.integers(N_CLASSES, size=20_000)
    transition = noisy_transition().numpy()
    given = np.array([random.choice(N_CLASSES, p=transition[k]) for k in truth])
    # a classifier that is right and rather sure, as the method assumes
    probabilities = np.eye(N_CLASSES)[truth] * 0.7 + random.dirichlet(np.ones(5), 20_000) * 0.3

    found = transition_from_confident_joint(
        torch.tensor(probabilities), torch.tensor(given), prior_weight=0.0
    )

    np.testing.assert_allclose(found, transition, atol=0.02)
    rate = noise_rate_from_confident_joint(torch.tensor(probabilities), torch.tensor(given))
    assert rate == pytest.approx((given != truth).mean(), abs=0.01)


def test_confident_joint_by_hand():
    # thresholds: class 0 (.9 + .2) / 2 = .55, class 1 .8; sample 1 is confidently 1, given as 0
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.2, 0.8]])
    given = torch.tensor([0, 0, 1])

    found = transition_from_confident_joint(probabilities, given, prior_weight=0.0)

    np.testing.assert_allclose(found, [[1.0, 0.0], [0.5, 0.5]], atol=1e-4)


def test_empty_class_has_a_row_without_noise():
    found = transition_from_confident_joint(torch.tensor([[0.9, 0.1, 0.0]]), torch.tensor([0]))

    np.testing.assert_allclose(found, np.eye(3), atol=1e-6)


def test_anchors_return_the_prediction_at_the_surest_sample():
    probabilities = torch.tensor([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9]])

    found = transition_from_anchors(probabilities, quantile=1.0)

    torch.testing.assert_close(found, probabilities[[0, 2]])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gce", {"q": 1.5}),
        ("gce", {"temperature": 1.0}),
        ("sce", {"log_zero": 4.0}),
        ("forward", {"warm_up": 0}),
        ("elr", {"momentum": 1.0}),
        ("boost", {}),
    ],
)
def test_bad_options_are_refused(name, options):
    with pytest.raises(ValueError, match=next(iter(options), "loss must be one of")):
        make_loss(name, N_SAMPLES, N_CLASSES, options)


@pytest.mark.parametrize("name", LOSSES)
def test_shapes_that_do_not_fit_are_refused(name):
    logits, labels, index = batch()
    for bad in [
        (logits[:, 1:], labels, index),
        (logits, labels[1:], index),
        (logits, labels, index[1:]),
    ]:
        with pytest.raises(ValueError, match=r"want logits \[B, 5\]"):
            built(name)(*bad)


def test_transition_that_is_no_transition_is_refused():
    with pytest.raises(ValueError, match="rows that sum to 1"):
        built("forward").set_transition(torch.ones(N_CLASSES, N_CLASSES).double())
    with pytest.raises(ValueError, match="quantile"):
        transition_from_anchors(torch.eye(2), quantile=0.0)
