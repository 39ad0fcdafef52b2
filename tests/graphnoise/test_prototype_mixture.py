import numpy as np
import pytest
import torch
from scipy import sparse

from graphnoise.datasets import load_graph
from graphnoise.methods import METHODS
from graphnoise.methods.base import Run
from graphnoise.methods.prototype_mixture import (
    PrototypeMixtureSettings,
    most_confident,
    spectral_features,
)
from graphnoise.noise import with_noise


def test_spectral_features_keep_the_angles_of_the_weighted_words():
    rng = np.random.default_rng(0)
    words = (rng.random((30, 12)) < 0.3).astype(np.float32)
    words[:, 0] = 1  # in every text: says nothing, weight log(1) = 0
    weighted = words * np.log(30 / np.maximum(words.sum(0), 1))
    length = np.linalg.norm(weighted, axis=1, keepdims=True)
    weighted /= np.where(length > 0, length, 1)

    found = spectral_features(sparse.csr_array(words), n_dimensions=11)

    np.testing.assert_allclose(found @ found.T, weighted @ weighted.T, atol=1e-4)


def test_narrow_features_are_left_alone_but_for_length():
    rows = np.array([[3.0, -4.0], [0.0, 2.0], [0.0, 0.0]], np.float32)

    found = spectral_features(rows, n_dimensions=2)

    np.testing.assert_allclose(found, [[0.6, -0.8], [0, 1], [0, 0]], atol=1e-7)


def test_most_confident_takes_a_share_of_each_class_and_at_least_five():
    confidence = torch.linspace(0.6, 0.99, 40)
    first = torch.stack([confidence, 1 - confidence], dim=1)
    second = torch.tensor([[0.1, 0.9], [0.3, 0.7]])

    rows = most_confident(torch.cat([first, second]), 0.5, at_most=1000).tolist()

    assert sorted(rows[:20]) == list(range(20, 40))
    assert rows[20:] == [40, 41]


@pytest.mark.real_data
def test_better_than_class_means_on_cora(real_data):
    graph, _ = with_noise(load_graph("cora", root=real_data), "asymmetric:0.3", seed=7)
    quick = PrototypeMixtureSettings(n_dimensions=128, hops=(4,), distilled_shares=(0.6,))

    mixture = METHODS.load("prototype_mixture")(quick).fit(graph)
    means = METHODS.load("ppr_class_means")().fit(graph)

    def right(model):
        return (model.predict() == graph.truth)[graph.test].mean()

    assert right(mixture) > right(means) + 0.02
    assert sum(candidate["chosen"] for candidate in mixture.candidates_) == 3
    np.testing.assert_allclose(mixture.transition_.sum(1), 1, atol=1e-5)


@pytest.mark.real_data
def test_without_validation_labels_every_candidate_counts(real_data):
    graph, _ = with_noise(load_graph("cora", root=real_data), "uniform:0.3", seed=7)
    quick = PrototypeMixtureSettings(
        n_dimensions=64, hops=(2,), concentrations=(10.0,), distilled_shares=()
    )

    model = METHODS.load("prototype_mixture")(quick, run=Run(selection="last")).fit(graph)

    assert all(candidate["chosen"] for candidate in model.candidates_)


@pytest.mark.parametrize(
    "wrong", [{"n_averaged": 0}, {"hops": ()}, {"distilled_shares": (0.0,)}, {"n_dimensions": 0}]
)
def test_rejects_settings(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PrototypeMixtureSettings(**wrong)
