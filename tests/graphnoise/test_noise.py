import numpy as np
import pytest

from graphnoise.datasets import load_graph
from graphnoise.graph import UNLABELLED, graph_from_arrays
from graphnoise.noise import with_noise

N_NODES = 3000
TRUTH = np.arange(N_NODES) % 3
SPLIT = np.arange(N_NODES) // 1000
MASKS = {"train": SPLIT == 0, "validation": SPLIT == 1, "test": SPLIT == 2}


def graph(**changes):
    features = np.random.default_rng(0).normal(size=(N_NODES, 4))
    edges = np.stack([np.arange(N_NODES - 1), np.arange(1, N_NODES)])
    arguments = {"labels": TRUTH, "truth": TRUTH, "masks": MASKS, **changes}
    return graph_from_arrays(edges, features, **arguments)


@pytest.mark.parametrize("kind", ["uniform", "pair", "asymmetric", "instance"])
def test_train_and_validation_are_corrupted_at_the_rate(kind):
    clean = graph()
    noisy, drawn = with_noise(clean, f"{kind}:0.3", seed=1)
    for mask in (clean.train, clean.validation):
        rate = np.mean(noisy.given[mask] != TRUTH[mask])
        assert rate == pytest.approx(0.3, abs=0.06)  # four standard deviations
    np.testing.assert_array_equal(noisy.given[clean.test], UNLABELLED)
    np.testing.assert_array_equal(noisy.truth, TRUTH)
    np.testing.assert_array_equal(
        drawn.flipped, clean.labelled & (noisy.given != np.where(clean.labelled, TRUTH, -1))
    )
    assert drawn.realised_rate == pytest.approx(drawn.flipped.sum() / clean.labelled.sum())
    assert f"simulated noise {kind}:0.3, seed 1" in noisy.notes[-1]
    np.testing.assert_array_equal(clean.given[clean.labelled], TRUTH[clean.labelled])


def test_same_seed_same_labels_and_noise_never_piles_up():
    clean = graph()
    once, _ = with_noise(clean, "uniform:0.4", seed=5)
    twice, _ = with_noise(once, "uniform:0.4", seed=5)
    other, _ = with_noise(clean, "uniform:0.4", seed=6)
    np.testing.assert_array_equal(once.given, twice.given)
    assert (once.given != other.given).any()


def test_none_and_exact():
    clean = graph()
    same, drawn = with_noise(clean, "none", seed=0)
    np.testing.assert_array_equal(same.given, clean.given)
    assert drawn.realised_rate == 0
    _, drawn = with_noise(clean, "pair:0.25", seed=0, exact=True)
    assert drawn.flipped.sum() == 500


def test_validation_can_stay_clean():
    clean = graph()
    noisy, drawn = with_noise(clean, "uniform:0.5", seed=0, validation_too=False)
    np.testing.assert_array_equal(noisy.given[clean.validation], TRUTH[clean.validation])
    assert not drawn.flipped[clean.validation].any()
    assert drawn.flipped[clean.train].any()


def test_given_labels_stand_in_for_an_unknown_truth():
    noisy, _ = with_noise(graph(truth=None), "uniform:0.3", seed=0)
    np.testing.assert_array_equal(noisy.truth, np.where(SPLIT < 2, TRUTH, UNLABELLED))
    partly = np.where(np.arange(N_NODES) == 7, UNLABELLED, TRUTH)
    with pytest.raises(ValueError, match="unknown at labelled node 7"):
        with_noise(graph(truth=partly), "uniform:0.3", seed=0)


def test_bad_specifications_are_refused():
    for spec, message in (("unifrm:0.3", "kind must be one of"), ("uniform:1.5", "rate")):
        with pytest.raises(ValueError, match=message):
            with_noise(graph(), spec, seed=0)


@pytest.mark.real_data
@pytest.mark.parametrize(("spec", "rate"), [("asymmetric:0.3", 0.250), ("uniform:0.3", 0.200)])
def test_draw_123_on_cora_is_the_released_one(real_data, spec, rate):
    """Rates of the ERASE sheet, section 4: measured on the released code's own draw."""
    cora = load_graph("cora", root=real_data)
    _, drawn = with_noise(cora, spec, seed=123)
    assert drawn.flipped[cora.train].mean() == pytest.approx(rate, abs=5e-4)
    _, only_train = with_noise(cora, spec, seed=123, validation_too=False)
    np.testing.assert_array_equal(only_train.labels[cora.train], drawn.labels[cora.train])
