from dataclasses import replace

import numpy as np
import pytest

from graphnoise.annotators.base import ABSTAIN
from graphnoise.label_free import RECIPES
from graphnoise.label_free.base import Oracle
from graphnoise.label_free.corrector import CorrectorSettings
from graphnoise.label_free.edge_scores import ScorerSettings
from graphnoise.label_free.locle import Locle
from graphnoise.label_free.locle_settings import LocleSettings
from graphnoise.label_free.rewiring import RewiringSettings
from graphnoise.label_free.training import FixedTraining
from graphnoise.methods.networks import NetworkSettings
from tests.graphnoise.label_free.small_text_graphs import (
    RecordedAnnotator,
    cora,
    noisy_answers,
    planted_graph,
    renumbered,
)

TRAINING = FixedTraining(NetworkSettings(hidden=16), epochs=10, learning_rate=0.05)
OURS = LocleSettings(
    training=TRAINING,
    stages=4,
    corrector=CorrectorSettings(TRAINING, folds=2),
    rewiring=RewiringSettings(trials=5),
)
# the paper's rules, small
PAPER = replace(
    LocleSettings.paper("cora"),
    training=TRAINING,
    confident=8,
    corrector=CorrectorSettings(TRAINING, rule="ranks", tau=0.7),
    rewiring=RewiringSettings(
        drop=0.1, add=0.05, trials=3, scorer="trained", network=ScorerSettings(widths=(16, 8))
    ),
)
BOTH = pytest.mark.parametrize("settings", [OURS, PAPER], ids=["ours", "paper"])


def run(settings, graph, *, budget=24, seed=0, answers=None, prior=None, report=None):
    labels, confidence = noisy_answers(graph) if answers is None else answers
    oracle = Oracle(graph, RecordedAnnotator(graph, labels, confidence), budget=budget)
    return Locle(settings).run(oracle, seed=seed, prior=prior, report=report), oracle


@pytest.mark.parametrize(("settings", "floor"), [(OURS, 0.88), (PAPER, 0.6)], ids=["ours", "paper"])
def test_learns_from_noisy_answers(settings, floor):
    graph = planted_graph()
    fit, _ = run(settings, graph, budget=36, answers=noisy_answers(graph, 0.35))
    assert (fit.votes.labels == graph.truth[fit.asked]).mean() < 0.95
    assert (fit.probabilities.argmax(1) == graph.truth).mean() > floor
    np.testing.assert_allclose(fit.probabilities.sum(1), 1, atol=1e-5)


@BOTH
@pytest.mark.parametrize("budget", [7, 70, 175])
def test_calls_are_exactly_the_budget(settings, budget):
    graph = planted_graph(n_nodes=200)
    cheap = replace(settings, training=replace(TRAINING, epochs=3), review="none")
    fit, oracle = run(cheap, graph, budget=budget)
    assert len(oracle.asked) == len(set(oracle.asked)) == budget
    assert len(oracle.annotator.asked) == budget
    assert fit.votes.usage.calls == budget
    assert fit.asked.tolist() == oracle.asked


@BOTH
def test_the_truth_is_not_read(settings):
    graph = planted_graph()
    answers = noisy_answers(graph)
    shuffled = np.random.default_rng(0).permutation(graph.truth)
    first, _ = run(settings, graph, answers=answers)
    for other in (replace(graph, truth=shuffled), replace(graph, truth=None)):
        again, _ = run(settings, other, answers=answers)
        np.testing.assert_array_equal(again.probabilities, first.probabilities)
        np.testing.assert_array_equal(again.label, first.label)


@BOTH
def test_runs_repeat_and_seeds_differ(settings):
    graph = planted_graph()
    (first, _), (again, _), (other, _) = (run(settings, graph, seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(again.probabilities, first.probabilities)
    assert not np.array_equal(other.probabilities, first.probabilities)
    # a second run of the same recipe object starts from nothing
    assert len(again.stages) == settings.stages


@BOTH
def test_renumbering_the_nodes_renumbers_the_answer(settings):
    graph = planted_graph()
    labels, _ = noisy_answers(graph)
    confidence = np.random.default_rng(2).random(graph.n_nodes)
    order = np.random.default_rng(7).permutation(graph.n_nodes)
    # dropout draws by position, so it is off here
    still = replace(TRAINING, network=NetworkSettings(hidden=16, dropout=0))
    scorer = replace(settings.rewiring, network=ScorerSettings(widths=(16, 8), dropout=0))
    settings = replace(
        settings,
        # draws nothing at random
        selector="pagerank",
        selector_options={},
        training=still,
        corrector=replace(settings.corrector, training=still),
        rewiring=scorer,
    )
    first, _ = run(settings, graph, answers=(labels, confidence))
    moved, _ = run(settings, renumbered(graph, order), answers=(labels[order], confidence[order]))

    np.testing.assert_array_equal(order[moved.asked], first.asked)
    np.testing.assert_array_equal(moved.label, first.label[order])
    np.testing.assert_allclose(moved.probabilities, first.probabilities[order], atol=1e-3)


def test_a_hand_made_graph():
    """Two cliques and a bridge; one answer in the first is wrong and the filter removes it."""
    graph = planted_graph(n_nodes=12, n_classes=2)
    side = np.repeat([0, 1], 6)
    dense = (side[:, None] == side).astype(np.float32) - np.eye(12, dtype=np.float32)
    dense[5, 6] = dense[6, 5] = 1
    rows = np.eye(12, graph.embedding.shape[1], dtype=np.float32) * 0.2
    rows[np.arange(12), side] += 1
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    adjacency = type(graph.adjacency)(dense)
    graph = replace(graph, adjacency=adjacency, embedding=rows / lengths, truth=side)
    labels, confidence = side.copy(), np.full(12, 0.9)
    labels[2], confidence[2] = 1, 0.2
    settings = replace(OURS, sureness="raw", filter_ratio=0.1, weighted=False, stages=3)

    fit, _ = run(settings, graph, budget=12, answers=(labels, confidence))

    assert fit.columns["filtered_out"].nonzero()[0].tolist() == [2]
    np.testing.assert_array_equal(fit.probabilities.argmax(1), side)
    assert [stage["asked"] for stage in fit.stages] == [12, 12, 12]


def test_stages_are_reported_as_they_end():
    rows = []
    fit, _ = run(OURS, planted_graph(), report=lambda name, row: rows.append((name, dict(row))))
    assert [name for name, _ in rows] == [f"stage {s}" for s in range(1, 5)]
    assert [row for _, row in rows] == [dict(stage) for stage in fit.stages]
    first, *_, last = fit.stages
    assert first["filtered"] == 4
    assert first["labelled"] == 20
    assert last["labelled"] > first["labelled"]
    # nothing is bought, corrected or adopted where nobody would learn from it
    assert set(last) == {"stage", "labelled", "mean_probability", "asked"}
    assert all(s["energy"] <= s["energy_before"] for s in fit.stages[:-1])


def test_later_purchases_come_between_stages():
    fit, _ = run(PAPER, planted_graph(), budget=27)
    # half of 27 is 13: 4 rounds of 3, and the remainder at the start
    assert [stage["asked"] for stage in fit.stages] == [18, 21, 24, 27, 27]
    in_stage = fit.columns["bought_in_stage"][fit.asked]
    assert in_stage.tolist() == [0.0] * 18 + [1.0] * 3 + [2.0] * 3 + [3.0] * 3


def test_both_opinions_of_a_corrected_label_are_recorded():
    graph = planted_graph()
    labels = np.where(np.arange(90) % 5 == 0, (graph.truth + 1) % 3, graph.truth)
    fit, _ = run(OURS, graph, budget=60, answers=(labels, np.full(90, 0.6)))
    replaced = fit.columns["label_replaced"] > 0
    assert replaced.any()
    np.testing.assert_array_equal(fit.label[replaced], fit.columns["corrector_label"][replaced])
    assert (fit.label[replaced] != labels[replaced]).all()
    better = fit.columns["corrector_reliability"][replaced] > fit.reliability[replaced]
    assert better.all()
    kept = np.setdiff1d(fit.asked, np.flatnonzero(replaced | (fit.columns["filtered_out"] > 0)))
    np.testing.assert_array_equal(fit.label[kept], labels[kept])


def test_abstentions_are_paid_for_and_not_learned():
    graph = planted_graph()
    labels, confidence = noisy_answers(graph)
    labels[::3] = ABSTAIN
    for settings in (OURS, PAPER):
        fit, _ = run(settings, graph, answers=(labels, confidence))
        silent = fit.asked[fit.votes.labels == ABSTAIN]
        assert len(silent)
        assert np.isnan(fit.reliability[silent]).all()
        by_ensemble = fit.columns["labelled_by_ensemble"][silent] > 0
        assert (by_ensemble == (fit.label[silent] >= 0)).all()
        assert np.isfinite(fit.probabilities).all()


def test_the_prior_only_sharpens_reliability():
    graph = planted_graph()
    prior = np.full((90, 3), 0.1, np.float32)
    prior[np.arange(90), graph.truth] = 0.8
    plain, _ = run(OURS, graph)
    fit, _ = run(OURS, graph, prior=prior)
    np.testing.assert_array_equal(fit.asked, plain.asked)
    right = fit.votes.labels == graph.truth[fit.asked]
    reliability = fit.reliability[fit.asked]
    assert reliability[right].min() > reliability[~right].max()


def test_weights_follow_reliability_or_are_one():
    fit, _ = run(replace(OURS, review="none", stages=1), planted_graph())
    held = fit.label >= 0
    np.testing.assert_allclose(fit.weight[held], fit.reliability[held], rtol=1e-6)
    fit, _ = run(replace(OURS, weighted=False), planted_graph())
    np.testing.assert_array_equal(fit.weight, (fit.label >= 0).astype(np.float32))


def test_what_would_be_asked_first_is_asked_first():
    graph = planted_graph()
    for settings in (OURS, PAPER):
        _, oracle = run(settings, graph, seed=5)
        fresh = Oracle(graph, oracle.annotator, budget=24)
        first = Locle(settings).first_nodes(fresh.situation(5), 24)
        assert oracle.asked[: len(first)] == first.tolist()


def test_a_budget_beyond_the_graph_asks_about_all_of_it():
    graph = planted_graph(n_nodes=30)
    graph = replace(graph, texts=("", " ", *graph.texts[2:]))
    labels, confidence = graph.truth, np.full(30, 0.9)
    for settings in (OURS, PAPER):
        fit, _ = run(settings, graph, budget=100, answers=(labels, confidence))
        assert len(fit.asked) <= 28
        assert not {0, 1} & set(fit.asked.tolist())


def test_nothing_to_ask_or_no_answer_is_an_error():
    graph = planted_graph(n_nodes=30)
    nothing = np.full(30, ABSTAIN), np.full(30, np.nan)
    with pytest.raises(ValueError, match="none of the first 10 answers is a label"):
        run(OURS, graph, budget=10, answers=nothing)
    with pytest.raises(ValueError, match="no node can be asked about"):
        run(OURS, replace(graph, texts=("",) * 30))


def test_is_registered():
    recipe = RECIPES.load("locle")()
    assert (recipe.name, recipe.needs_prior) == ("locle", True)
    assert not Locle.paper().needs_prior


@pytest.mark.real_data
def test_cora_with_the_answers_of_a_real_llm(real_data):
    graph, labels, confidence = cora(real_data / "tag")
    settings = LocleSettings(stages=3, corrector=CorrectorSettings(folds=2))
    fit, oracle = run(settings, graph, budget=175, answers=(labels, confidence))
    assert len(oracle.asked) == 175
    assert (fit.probabilities.argmax(1) == graph.truth).mean() > 0.6
    # the filter and the corrector leave better labels than they found
    bought = np.intersect1d(fit.asked, np.flatnonzero(fit.columns["labelled_by_ensemble"] == 0))
    bought = bought[fit.label[bought] >= 0]
    kept = (fit.label[bought] == graph.truth[bought]).mean()
    assert kept > (fit.votes.labels == graph.truth[fit.asked]).mean()
