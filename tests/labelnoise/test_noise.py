import shutil
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import truncnorm

from labelnoise.noise import (
    KINDS,
    NoiseSpec,
    asymmetric_transition,
    checked_transition,
    flip_labels,
    flip_labels_exactly,
    inject_instance_noise,
    inject_noise,
    pair_transition,
    uniform_transition,
)
from labelnoise.noise import instance as instance_module

RATES = [0.1, 0.2, 0.3, 0.4, 0.5]


@pytest.fixture(scope="module")
def cora(real_data, tmp_path_factory):
    with warnings.catch_warnings():
        # importing torch_geometric calls what newer torch deprecates; loading it is not under test
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch_geometric.datasets import Planetoid

    root = tmp_path_factory.mktemp("planetoid")
    (root / "Cora").mkdir()
    shutil.copytree(real_data / "planetoid" / "Cora" / "raw", root / "Cora" / "raw")
    return Planetoid(str(root), "Cora")[0]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("kind", "shares"),
    [
        ("asymmetric", [0.057, 0.157, 0.250, 0.400, 0.543]),
        ("uniform", [0.057, 0.150, 0.200, 0.300, 0.407]),
    ],
)
def test_published_shares_on_cora(cora, kind, shares):
    train = np.where(cora.train_mask, cora.y, -1)

    drawn = [inject_noise(train, NoiseSpec(kind, r), seed=123, n_classes=7) for r in RATES]

    assert [round(one.realised_rate, 3) for one in drawn] == shares


@pytest.mark.real_data
def test_instance_noise_on_cora_is_the_same_dense_and_sparse(cora):
    labels, dense = cora.y.numpy(), cora.x.numpy()

    one = inject_noise(labels, "instance:0.3", seed=5, n_classes=7, features=dense)
    other = inject_noise(
        labels, "instance:0.3", seed=5, n_classes=7, features=sparse.csr_array(dense)
    )

    np.testing.assert_array_equal(one.labels, other.labels)
    assert one.realised_rate == pytest.approx(0.3, abs=0.03)


def test_class_targets_of_seed_123():
    target = asymmetric_transition(7, 0.3, seed=123)

    assert (target - 0.7 * np.eye(7)).argmax(axis=1).tolist() == [6, 3, 5, 2, 1, 3, 2]


@pytest.mark.parametrize("kind", ["uniform", "pair", "asymmetric"])
def test_draw_equals_one_choice_per_label(kind):
    # the oracle is NumPy's own loop: K target draws, then one draw per labelled sample
    n_classes, rate, seed = 5, 0.4, 9
    labels = np.random.default_rng(0).integers(-1, n_classes, 200)
    stream = np.random.RandomState(seed)
    matrix = {"uniform": uniform_transition, "pair": pair_transition}.get(kind, lambda k, r: None)(
        n_classes, rate
    )
    if matrix is None:
        matrix = (1 - rate) * np.eye(n_classes)
        for i in range(n_classes):
            matrix[i, stream.choice([j for j in range(n_classes) if j != i])] = rate
    want = [-1 if y < 0 else stream.choice(n_classes, p=matrix[y]) for y in labels]

    drawn = inject_noise(labels, f"{kind}:{rate}", seed=seed, n_classes=n_classes)

    assert drawn.labels.tolist() == want
    np.testing.assert_array_equal(drawn.flipped, drawn.labels != labels)
    np.testing.assert_array_equal(drawn.transition, matrix)


def test_known_stream():
    # typed in once: another machine or NumPy version must give these very labels
    labels = np.arange(12) % 4

    def drawn(spec, **more):
        noisy = inject_noise(labels, spec, seed=2024, n_classes=4, **more)
        return "".join(map(str, noisy.labels))

    features = np.outer(np.arange(1, 13), [1.0, -1.0, 0.5]) % 7
    assert drawn("uniform:0.5") == "121000230103"
    assert drawn("asymmetric:0.5") == "010013000323"
    assert drawn("pair:0.5", exact=True) == "013012230233"
    assert drawn("instance:0.5", features=features) == "222320212121"


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS[1:]),
    percent=st.integers(0, 100),
    labels=st.lists(st.integers(-1, 3), max_size=60),
    seed=st.integers(0, 2**32 - 1),
)
def test_exact_count(kind, percent, labels, seed):
    labels = np.array(labels, dtype=np.int64)
    n_labelled = int((labels >= 0).sum())
    features = np.random.default_rng(seed).normal(size=(len(labels), 3))

    noisy = inject_noise(
        labels,
        NoiseSpec(kind, percent / 100),
        seed=seed,
        n_classes=4,
        features=features,
        exact=True,
    )

    assert noisy.flipped.sum() == round(percent / 100 * n_labelled)
    assert not noisy.flipped[labels < 0].any()
    assert noisy.realised_rate == noisy.flipped.sum() / max(n_labelled, 1)
    if kind == "pair":
        assert (noisy.labels[noisy.flipped] == (labels[noisy.flipped] + 1) % 4).all()


def test_exact_flips_prefer_noisier_classes():
    matrix = np.array([[1.0, 0, 0], [0.1, 0.9, 0], [0.25, 0.25, 0.5]])
    labels = np.repeat([0, 1, 2], 2000)

    noisy = flip_labels_exactly(labels, matrix, seed=0)

    by_class = np.bincount(labels[noisy.flipped], minlength=3)
    assert noisy.flipped.sum() == 1200
    assert by_class[0] == 0
    # drawn without replacement the heavy class gives a little less than its share of 1000
    assert 800 < by_class[2] < 1000


@pytest.mark.parametrize("flip", [flip_labels, flip_labels_exactly])
def test_counts_match_the_matrix(flip):
    rng = np.random.default_rng(1)
    matrix = rng.dirichlet(np.ones(4), 4) * 0.3 + 0.7 * np.eye(4)
    labels = np.repeat(np.arange(4), 20_000)

    noisy = flip(labels, matrix, seed=3).labels

    found = np.bincount(labels * 4 + noisy, minlength=16).reshape(4, 4) / 20_000
    np.testing.assert_allclose(found, matrix, atol=0.03 if flip is flip_labels_exactly else 0.012)


def test_instance_noise_follows_the_features():
    # two samples alike in class and features share where they flip to; a brute-force loop agrees
    rng = np.random.default_rng(0)
    labels, features = rng.integers(0, 3, 400), rng.normal(size=(400, 6))
    stream = np.random.RandomState(11)
    rate = 0.4 + 0.1 * stream.standard_normal(400)
    assert ((rate >= 0) & (rate <= 1)).all()  # nothing was cut off with this seed
    flips, uniform = stream.random_sample(400) < rate, stream.random_sample(400)
    projections = [stream.standard_normal((6, 3)) for _ in range(3)]
    want, mean = labels.copy(), np.zeros((3, 3))
    for i, y in enumerate(labels):
        scores = features[i] / np.linalg.norm(features[i]) @ projections[y]
        scores[y] = -np.inf
        p = np.exp(scores) / np.exp(scores).sum()
        mean[y] += rate[i] * p + (1 - rate[i]) * np.eye(3)[y]
        if flips[i]:
            want[i] = np.searchsorted(p.cumsum(), uniform[i], side="right")

    drawn = inject_instance_noise(labels, features, 0.4, n_classes=3, seed=11)

    np.testing.assert_array_equal(drawn.labels, want)
    np.testing.assert_allclose(drawn.transition, mean / mean.sum(axis=1, keepdims=True))


def test_instance_block_size_does_not_show(monkeypatch):
    rng = np.random.default_rng(0)
    labels, features = rng.integers(-1, 3, 100), rng.normal(size=(100, 6))
    whole = inject_noise(labels, "instance:0.4", seed=1, n_classes=3, features=features)
    monkeypatch.setattr(instance_module, "BLOCK_ENTRIES", 40)

    in_parts = inject_noise(labels, "instance:0.4", seed=1, n_classes=3, features=features)

    np.testing.assert_array_equal(in_parts.labels, whole.labels)


@pytest.mark.parametrize("rate", [0.05, 0.3, 1.0])
def test_flip_rates_are_a_cut_off_normal(rate):
    drawn = instance_module._flip_rates(rate, 40_000, np.random.RandomState(0))
    want = truncnorm(-rate / 0.1, (1 - rate) / 0.1, loc=rate, scale=0.1)

    assert drawn.mean() == pytest.approx(want.mean(), abs=0.002)
    assert drawn.std() == pytest.approx(want.std(), abs=0.002)
    assert ((drawn >= 0) & (drawn <= 1)).all()


def test_pair_shift():
    np.testing.assert_array_equal(pair_transition(3, 1.0), [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(pair_transition(3, 1.0, shift=-1), pair_transition(3, 1.0).T)


def test_input_is_not_modified_and_nothing_can_be_nothing():
    labels = np.array([0, 1, 1, -1])
    for kind in KINDS:
        noisy = inject_noise(
            labels, NoiseSpec(kind, 0.0), seed=0, n_classes=2, features=np.ones((4, 1))
        )
        assert noisy.labels.tolist() == [0, 1, 1, -1]
        assert not np.shares_memory(noisy.labels, labels)
        nobody = inject_noise(
            [-1, -1], NoiseSpec(kind, 0.0), seed=0, n_classes=2, features=np.zeros((2, 1))
        )
        assert nobody.realised_rate == 0


@pytest.mark.parametrize("text", ["none", "uniform:0.3", "pair:0.25", "asymmetric:1", "instance:0"])
def test_spec_round_trip(text):
    assert str(NoiseSpec.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("uniform", "must read KIND:RATE"),
        ("uniform:much", "must be a number"),
        ("uniform:1.1", "rate must lie in"),
        ("uniform:nan", "rate must lie in"),
        ("salt:0.1", "kind must be one of"),
        ("none:0.1", "has rate 0"),
    ],
)
def test_spec_rejects(text, message):
    with pytest.raises(ValueError, match=message):
        NoiseSpec.parse(text)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: inject_noise([0, 2], "uniform:0.1", seed=0, n_classes=2), "found 2 at 1"),
        (lambda: inject_noise([0.0, 1.0], "uniform:0.1", seed=0, n_classes=2), "integers"),
        (lambda: inject_noise([0], "pair:0.1", seed=0, n_classes=1), "at least 2"),
        (lambda: inject_noise([0], "instance:0.1", seed=0, n_classes=2), "needs features"),
        (
            lambda: inject_instance_noise([0], [[np.nan]], 0.1, n_classes=2, seed=0),
            "features must be finite",
        ),
        (
            lambda: inject_instance_noise([0], np.ones((2, 2)), 0.1, n_classes=2, seed=0),
            r"features must be \[1, F\]",
        ),
        (lambda: checked_transition([[0.5, 0.4], [0, 1]]), "row 0 must add up"),
        (lambda: checked_transition([[2.0, -1], [0, 1]]), "probabilities"),
        (lambda: checked_transition(np.ones((2, 3))), r"\[K, K\]"),
        (lambda: pair_transition(3, 0.1, shift=3), "multiple"),
    ],
)
def test_rejects(call, message):
    with pytest.raises(ValueError, match=message):
        call()
