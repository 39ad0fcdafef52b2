from dataclasses import replace

import numpy as np
import pytest

from graphnoise.datasets import load_graph
from graphnoise.methods.adaptive_mixture import AdaptiveMixture, AdaptiveMixtureSettings
from graphnoise.methods.base import Run
from graphnoise.methods.neural import GraphAttentionNetwork
from graphnoise.methods.prototype_mixture import PrototypeMixtureSettings
from graphnoise.noise import with_noise

QUICK = AdaptiveMixtureSettings(
    PrototypeMixtureSettings(n_dimensions=64, hops=(4,), distilled_shares=()),
    replace(GraphAttentionNetwork.default_settings(), epochs=15),
)


@pytest.fixture(scope="module")
def noisy_cora(real_data):
    return with_noise(load_graph("cora", root=real_data), "uniform:0.3", seed=7)[0]


@pytest.mark.real_data
def test_the_answer_is_the_candidate_that_noisy_validation_trusts_most(noisy_cora):
    model = AdaptiveMixture(QUICK).fit(noisy_cora)

    right = (model.predict() == noisy_cora.given)[noisy_cora.validation].mean()
    assert right == pytest.approx(max(model.candidates_.values()))
    assert model.candidates_[model.chosen_] == max(model.candidates_.values())
    assert len(model.candidates_) == 5


@pytest.mark.real_data
def test_without_validation_the_mixture_answers(noisy_cora):
    model = AdaptiveMixture(QUICK, run=Run(selection="last")).fit(noisy_cora)

    assert model.candidates_ == {"mixture": 0.0}


@pytest.mark.real_data
def test_taught_nodes_never_carry_the_truth_or_a_validation_label(noisy_cora):
    probabilities = np.random.default_rng(0).dirichlet(np.ones(7), noisy_cora.n_nodes)
    before = noisy_cora.given.copy()

    taught = AdaptiveMixture(QUICK)._taught(noisy_cora, probabilities.astype(np.float32))

    assert not (taught.train & noisy_cora.validation).any()
    assert taught.train.sum() > noisy_cora.train.sum()
    np.testing.assert_array_equal(taught.given[taught.train], probabilities.argmax(1)[taught.train])
    held_out = noisy_cora.validation
    np.testing.assert_array_equal(taught.given[held_out], noisy_cora.given[held_out])
    np.testing.assert_array_equal(noisy_cora.given, before)
