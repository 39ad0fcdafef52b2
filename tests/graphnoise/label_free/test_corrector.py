import numpy as np
import pytest

from graphnoise.label_free.corrector import (
    CorrectorSettings,
    Reviewed,
    agreement_rate,
    correct_labels,
    held_out_answers,
    overruled_by_rank,
)
from graphnoise.label_free.training import FixedTraining
from graphnoise.methods.networks import NetworkSettings
from tests.graphnoise.label_free.small_text_graphs import planted_graph

TRAINING = FixedTraining(NetworkSettings(hidden=16), epochs=40, learning_rate=0.05)
OURS = CorrectorSettings(TRAINING)


def labelled_case(n_wrong=6):
    """Half the nodes labelled, some of them wrong."""
    graph = planted_graph(n_nodes=90)
    rng = np.random.default_rng(0)
    nodes = rng.permutation(90)[:60]
    labels = np.full(90, -1)
    labels[nodes] = graph.truth[nodes]
    wrong = nodes[:n_wrong]
    labels[wrong] = (labels[wrong] + 1) % 3
    return graph, labels, (labels >= 0).astype(np.float32), nodes, wrong


def reviewed(labels, nodes, sureness):
    return Reviewed(nodes, labels[nodes], np.full(len(nodes), float(sureness)))


def test_corrects_the_wrong_and_keeps_the_right():
    graph, labels, weights, nodes, wrong = labelled_case()
    correction = correct_labels(graph, labels, weights, reviewed(labels, nodes, 0.6), OURS)

    changed = correction.replaces
    assert set(nodes[changed]) >= set(wrong)
    after = np.where(changed, correction.labels, labels[nodes])
    assert (after == graph.truth[nodes]).mean() >= 0.95
    assert (correction.labels[changed] != labels[nodes[changed]]).all()
    assert (correction.reliability[changed] > 0.6).all()


def test_a_reliable_annotator_is_never_overruled():
    graph, labels, weights, nodes, _ = labelled_case()
    correction = correct_labels(graph, labels, weights, reviewed(labels, nodes, 1), OURS)
    assert not correction.replaces.any()
    assert (correction.labels != labels[nodes]).any()


def test_no_answer_saw_the_label_it_judges():
    graph, labels, weights, nodes, _ = labelled_case()
    settings = CorrectorSettings(FixedTraining(NetworkSettings(hidden=4), epochs=3), folds=60)
    answers = held_out_answers(graph, labels, weights, nodes, settings)
    changed = labels.copy()
    changed[nodes[7]] = (labels[nodes[7]] + 1) % 3
    again = held_out_answers(graph, changed, weights, nodes, settings)
    np.testing.assert_array_equal(again[7], answers[7])
    assert not np.array_equal(again, answers)


def test_a_single_label_has_nothing_to_be_judged_by():
    graph, labels, _, nodes, _ = labelled_case()
    alone = np.zeros(90, np.float32)
    alone[nodes[0]] = 1
    answers = held_out_answers(graph, labels, alone, nodes[:1], OURS)
    np.testing.assert_allclose(answers, 1 / 3)


def test_rank_rule_by_hand():
    annotator = np.array([0.9, 0.8, 0.7, 0.6])
    corrector = np.array([0.3, 0.9, 0.99, 0.4])
    # ranks 1 2 3 4 against 4 2 1 3
    assert overruled_by_rank(annotator, corrector, 0).tolist() == [False, False, True, True]
    assert overruled_by_rank(annotator, corrector, 0.85).tolist() == [False, True, True, True]
    # equals share a rank, so their order does not matter
    assert overruled_by_rank(np.full(4, 0.5), corrector, 0).tolist() == [False, True, True, False]


def test_ranks_replace_whatever_the_reliability():
    graph, labels, weights, nodes, _ = labelled_case()
    settings = CorrectorSettings(TRAINING, rule="ranks", tau=1)
    correction = correct_labels(graph, labels, weights, reviewed(labels, nodes, 0.99), settings)
    np.testing.assert_array_equal(correction.replaces, correction.labels != labels[nodes])


def test_agreement_rate_is_about_the_true_rate():
    rng = np.random.default_rng(0)
    confidence = rng.random(4000).astype(np.float32)
    rate = agreement_rate(confidence, rng.random(4000) < confidence**2)
    assert np.abs(rate - confidence**2).mean() < 0.05
    assert (np.diff(rate[np.argsort(confidence)]) >= 0).all()


def test_agreement_rate_of_few():
    assert agreement_rate(np.zeros(0, np.float32), np.zeros(0, bool)).shape == (0,)
    np.testing.assert_allclose(agreement_rate(np.float32([0.9]), np.array([True])), 2 / 3)


@pytest.mark.parametrize("wrong", [{"rule": "guess"}, {"tau": 70}, {"folds": 1}])
def test_bad_settings_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CorrectorSettings(**wrong)
