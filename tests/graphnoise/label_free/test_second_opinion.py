from dataclasses import replace

import numpy as np
import pytest

from graphnoise.annotators.base import ABSTAIN
from graphnoise.label_free import RECIPES
from graphnoise.label_free.base import Oracle
from graphnoise.label_free.bought_labels import BoughtLabels
from graphnoise.label_free.imprecise_labels import ImpreciseLabels, expected
from graphnoise.label_free.second_opinion import SecondOpinion
from graphnoise.label_free.training import FixedTraining
from graphnoise.label_free.word_learner import WordSettings
from graphnoise.methods.networks import NetworkSettings
from tests.graphnoise.label_free.small_text_graphs import (
    RecordedAnnotator,
    cora,
    noisy_answers,
    planted_graph,
    renumbered,
)

TRAINING = FixedTraining(NetworkSettings(hidden=16), epochs=15, learning_rate=0.05)
OURS = SecondOpinion(training=TRAINING, words=WordSettings(least_texts=1, largest_share=0.9))
PLAIN = BoughtLabels(training=TRAINING)
IMPRECISE = ImpreciseLabels(training=TRAINING, rounds=2)
BOTH = pytest.mark.parametrize(
    "recipe",
    [OURS, PLAIN, IMPRECISE],
    ids=["second_opinion", "bought_labels", "imprecise_labels"],
)
WORDS = (("cat", "kitten", "purr"), ("piston", "valve", "engine"), ("tax", "law", "court"))


def spoken(graph, seed=3):
    """The same graph with texts of words that mostly belong to the node's class."""
    rng = np.random.default_rng(seed)
    texts = []
    for node, label in enumerate(graph.truth):
        mine = rng.choice(WORDS[label], 4)
        other = rng.choice(np.concatenate(WORDS), 2)
        texts.append(f"n{node} " + " ".join([*mine, *other]))
    return replace(graph, texts=tuple(texts))


def prior_of(graph, share=0.4, seed=9):
    """A prior that errs elsewhere than the annotator."""
    labels, _ = noisy_answers(graph, share, seed)
    prior = np.full((graph.n_nodes, graph.n_classes), 0.2, np.float32)
    prior[np.arange(graph.n_nodes), labels] = 0.6
    return prior / prior.sum(axis=1, keepdims=True)


def run(recipe, graph, *, budget=24, seed=0, answers=None, prior=None):
    labels, confidence = noisy_answers(graph, 0.35) if answers is None else answers
    oracle = Oracle(graph, RecordedAnnotator(graph, labels, confidence), budget=budget)
    prior = prior_of(graph) if prior is None else prior
    return recipe.run(oracle, seed=seed, prior=prior), oracle


def test_two_weak_opinions_make_a_good_classifier():
    graph = spoken(planted_graph(n_nodes=240))
    fit, _ = run(OURS, graph, budget=40)
    prior = prior_of(graph)
    right = (fit.probabilities.argmax(1) == graph.truth).mean()
    assert right > (prior.argmax(1) == graph.truth).mean() + 0.1
    assert right > (fit.votes.labels == graph.truth[fit.asked]).mean() + 0.05
    np.testing.assert_allclose(fit.probabilities.sum(1), 1, atol=1e-5)


def test_labels_are_written_only_where_both_agree():
    graph = spoken(planted_graph(n_nodes=120))
    fit, _ = run(OURS, graph)
    around, said = fit.views["annotator_around"], fit.views["descriptions"]
    agree = around.argmax(1) == said.argmax(1)
    np.testing.assert_array_equal(fit.label != ABSTAIN, agree)
    np.testing.assert_array_equal(fit.label[agree], around.argmax(1)[agree])
    assert 0 < agree.sum() < graph.n_nodes


@BOTH
@pytest.mark.parametrize("budget", [7, 60])
def test_calls_are_exactly_the_budget(recipe, budget):
    graph = spoken(planted_graph())
    fit, oracle = run(recipe, graph, budget=budget)
    assert len(oracle.asked) == len(set(oracle.asked)) == fit.votes.usage.calls == budget
    assert fit.asked.tolist() == oracle.asked
    told = recipe.first_nodes(Oracle(graph, oracle.annotator, budget=budget).situation(0), budget)
    np.testing.assert_array_equal(told, fit.asked)


@BOTH
def test_the_truth_is_not_read(recipe):
    graph = spoken(planted_graph())
    answers, prior = noisy_answers(graph), prior_of(graph)
    first, _ = run(recipe, graph, answers=answers, prior=prior)
    shuffled = np.random.default_rng(0).permutation(graph.truth)
    for other in (replace(graph, truth=shuffled), replace(graph, truth=None)):
        again, _ = run(recipe, other, answers=answers, prior=prior)
        np.testing.assert_array_equal(again.probabilities, first.probabilities)


@BOTH
def test_runs_repeat_and_seeds_differ(recipe):
    graph = spoken(planted_graph())
    (first, _), (again, _), (other, _) = (run(recipe, graph, seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(again.probabilities, first.probabilities)
    assert not np.array_equal(other.probabilities, first.probabilities)


def test_renumbering_the_nodes_renumbers_the_answer():
    graph = spoken(planted_graph())
    labels, confidence = noisy_answers(graph)
    prior = prior_of(graph)
    order = np.random.default_rng(7).permutation(graph.n_nodes)
    recipe = replace(OURS, selector="pagerank", learner="words")
    first, _ = run(recipe, graph, answers=(labels, confidence), prior=prior)
    turned, _ = run(
        recipe,
        renumbered(graph, order),
        answers=(labels[order], confidence[order]),
        prior=prior[order],
    )
    np.testing.assert_allclose(turned.probabilities, first.probabilities[order], atol=1e-3)


@BOTH
def test_abstentions_are_counted_and_not_learned_from(recipe):
    graph = spoken(planted_graph())
    labels, confidence = noisy_answers(graph)
    labels[::2] = ABSTAIN
    fit, _ = run(recipe, graph, answers=(labels, confidence))
    silent = ~fit.votes.answered
    assert silent.any()
    assert np.isnan(fit.reliability[fit.asked[silent]]).all()
    assert np.isfinite(fit.reliability[fit.asked[~silent]]).all()
    assert np.isfinite(fit.probabilities).all()


def test_a_silent_annotator_leaves_the_descriptions():
    graph = spoken(planted_graph())
    labels = np.full(graph.n_nodes, ABSTAIN)
    fit, _ = run(OURS, graph, answers=(labels, np.full(graph.n_nodes, np.nan)))
    assert (fit.probabilities.argmax(1) == graph.truth).mean() > 0.5
    with pytest.raises(ValueError, match="answered no question"):
        run(PLAIN, graph, answers=(labels, np.full(graph.n_nodes, np.nan)))


def test_texts_without_words_leave_the_network():
    graph = replace(planted_graph(), texts=tuple("+" * (v + 1) for v in range(90)))
    fit, _ = run(OURS, graph)
    assert set(fit.views) == {"network", "annotator_around", "descriptions"}


def test_the_filter_drops_what_the_prior_finds_least_likely():
    graph = planted_graph()
    scores = np.random.default_rng(5).random((graph.n_nodes, graph.n_classes))
    prior = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    recipe = BoughtLabels(drop=0.25, training=TRAINING)
    fit, oracle = run(recipe, graph, budget=40, prior=prior)
    prior = prior[oracle.asked, fit.votes.labels]
    kept = fit.label[fit.asked] != ABSTAIN
    assert prior[~kept].max() < prior[kept].min()
    assert (~kept).sum() == 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SecondOpinion(learner="guess"), "learner must be"),
        (lambda: SecondOpinion(neighbours=0), "neighbours must be at least 1"),
        (lambda: SecondOpinion(doubt=1.5), r"doubt must lie in \[0, 1\]"),
        (lambda: BoughtLabels(drop=1.0), r"drop must lie in \[0, 1\)"),
        (lambda: ImpreciseLabels(rounds=0), "rounds must be at least 1"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("recipe", [OURS, PLAIN])
def test_needs_a_prior(recipe):
    graph = planted_graph()
    labels, _ = noisy_answers(graph)
    oracle = Oracle(graph, RecordedAnnotator(graph, labels), budget=5)
    assert recipe.needs_prior
    with pytest.raises(ValueError, match="needs a prior"):
        recipe.run(oracle, seed=0, prior=None)


def test_the_candidate_that_is_meant_is_weighed_by_the_model():
    candidates = np.array([[0.5, 0.5, 0.0], [0.75, 0.25, 0.0], [1.0, 0.0, 0.0]], np.float32)
    model = np.array([[0.1, 0.3, 0.6], [0.2, 0.6, 0.2], [0.0, 0.9, 0.1]], np.float32)
    want = [[0.25, 0.75, 0], [0.5, 0.5, 0], [1, 0, 0]]
    np.testing.assert_allclose(expected(candidates, model), want, atol=1e-5)


def test_ranked_lists_are_resolved_by_their_neighbours():
    graph = planted_graph(n_nodes=150)
    rng = np.random.default_rng(0)

    class Listing(RecordedAnnotator):
        """Names two classes, the true one among them, in any order, equally sure of both."""

        def annotate(self, questions, *, purse=None, progress=None):
            votes = super().annotate(questions, purse=purse)
            both = np.zeros_like(votes.probabilities)
            for row, node in enumerate(questions.nodes):
                other = (graph.truth[node] + rng.integers(1, 3)) % 3
                both[row, [graph.truth[node], other]] = 0.5
            return replace(votes, probabilities=both, labels=both.argmax(axis=1))

    oracle = Oracle(graph, Listing(graph, graph.truth), budget=60)
    fit = IMPRECISE.run(oracle, seed=0, prior=None)
    asked = fit.asked
    first = (fit.votes.labels == graph.truth[asked]).mean()
    assert (fit.label[asked] == graph.truth[asked]).mean() > first + 0.1


def test_every_recipe_is_registered_under_its_name():
    for name in RECIPES:
        assert RECIPES.load(name)().name == name


@pytest.mark.real_data
def test_beats_plain_training_on_real_answers(real_data):
    graph, labels, confidence = cora(real_data / "tag")
    with np.load(real_data / "tag" / "cora_minilm_zeroshot.npz") as data:
        from graphnoise.annotators.zero_shot import zero_shot_prior

        prior = zero_shot_prior(graph, data["scores"])
    answers = (labels, confidence)
    ours, _ = run(SecondOpinion(), graph, budget=175, answers=answers, prior=prior)
    plain, _ = run(BoughtLabels(drop=0.0), graph, budget=175, answers=answers, prior=prior)
    right = [(fit.probabilities.argmax(1) == graph.truth).mean() for fit in (ours, plain)]
    assert right[0] > 0.73
    assert right[0] > right[1]
