from dataclasses import replace

import numpy as np
import pytest

from graphnoise.annotators.base import ABSTAIN, NoLimit, Usage
from graphnoise.label_free.auditing import REASONS
from graphnoise.label_free.classifier import LabelFreeClassifier, scaled
from graphnoise.label_free.locle import Locle
from graphnoise.label_free.locle_settings import LocleSettings
from graphnoise.text_graph import TextGraph
from tests.graphnoise.label_free.small_text_graphs import (
    RecordedAnnotator,
    noisy_answers,
    planted_graph,
)
from tests.graphnoise.label_free.test_second_opinion import OURS, PLAIN, prior_of, spoken


@pytest.fixture(scope="module")
def graph():
    return spoken(planted_graph(n_nodes=150))


def classifier(graph, *, budget=40, recipe=OURS, share=0.3, labels=None, **options):
    labels = noisy_answers(graph, share)[0] if labels is None else labels
    annotator = RecordedAnnotator(graph, labels)
    return LabelFreeClassifier(
        annotator, budget=budget, recipe=recipe, prior=prior_of(graph), **options
    )


def test_a_plan_asks_nothing_and_counts_what_a_fit_asks(graph):
    one = classifier(graph)
    plan = one.plan(graph)
    assert one.annotator.asked == []
    assert plan.estimate.usage.calls == plan.budget == 40
    one.fit(graph)
    assert len(one.annotator.asked) == 40
    assert [graph.texts[v] for v in plan.first_nodes] == one.annotator.asked
    assert any("40" in value for _, value in plan.rows())


def test_a_plan_of_several_rounds_scales_the_first(graph):
    settings = LocleSettings(queries="disharmony", stages=3, training=PLAIN.training)
    plan = classifier(graph, recipe=Locle(settings)).plan(graph)
    assert len(plan.first_nodes) < 40
    assert plan.estimate.usage.calls == 40


def test_a_budget_beyond_the_texts_is_cut_to_them(graph):
    few = replace(graph, texts=("",) * 140 + graph.texts[140:])
    plan = classifier(few, budget=40).plan(few)
    assert plan.budget == 10


def test_every_node_has_a_row_with_its_reason(graph):
    labels = noisy_answers(graph, 0.3)[0]
    labels[::5] = ABSTAIN
    fitted = classifier(graph, labels=labels).fit(graph)
    audit = fitted.audit()
    assert len(audit) == graph.n_nodes
    given = np.full(graph.n_nodes, ABSTAIN)
    given[fitted.fit_.asked] = fitted.fit_.votes.labels
    np.testing.assert_array_equal(audit.given, given)
    asked = np.isin(np.arange(graph.n_nodes), fitted.fit_.asked)
    assert set(audit.reason) <= set(REASONS)
    assert set(audit.reason[~asked]) <= {"not_asked", "low_evidence"}
    assert set(audit.reason[asked & (given == ABSTAIN)]) <= {"llm_abstained", "low_evidence"}
    assert (audit.quality[given == ABSTAIN] == 0.5).all()
    told = audit.label >= 0
    assert np.isfinite(audit.evidence["label_p"][told]).all()


def test_the_quality_ranks_wrong_answers_low(graph):
    fitted = classifier(graph, budget=100, share=0.4).fit(graph)
    audit = fitted.audit()
    asked = audit.given >= 0
    wrong = audit.given[asked] != graph.truth[asked]
    quality = audit.quality[asked]
    pairs = quality[wrong][:, None] < quality[~wrong][None, :]
    assert pairs.mean() > 0.8


def test_relabels_are_right_more_often_than_what_they_replace(graph):
    audit = classifier(graph, budget=100, share=0.4).fit(graph).audit()
    changed = (audit.verdict == "relabel") & (audit.given >= 0)
    assert changed.any()
    assert (audit.label == graph.truth)[changed].mean() > (audit.given == graph.truth)[
        changed
    ].mean()


def test_predictions_are_the_likeliest_classes(graph):
    fitted = classifier(graph).fit(graph)
    np.testing.assert_array_equal(fitted.predict(), fitted.predict_proba().argmax(axis=1))
    assert fitted.get_params()["budget"] == 40


def test_takes_a_labelled_graph_and_reads_none_of_its_labels(graph):
    labelled = replace(graph.labelled(graph.truth), texts=graph.texts)
    fitted = classifier(graph).fit(labelled)
    assert isinstance(fitted.graph_, TextGraph)
    np.testing.assert_allclose(
        fitted.predict_proba(), classifier(graph).fit(graph).predict_proba(), atol=1e-4
    )


def test_an_embedding_annotator_is_not_judged_by_its_own_prior(graph):
    class Embedding(RecordedAnnotator):
        name = "embedding"

    labels = prior_of(graph).argmax(axis=1)
    own = LabelFreeClassifier(
        Embedding(graph, labels), budget=60, recipe=OURS, prior=prior_of(graph)
    ).fit(graph)
    assert "descriptions" not in own.fit_.views
    other = LabelFreeClassifier(
        RecordedAnnotator(graph, labels), budget=60, recipe=OURS, prior=prior_of(graph)
    ).fit(graph)
    assert np.nanmean(own.fit_.reliability) < np.nanmean(other.fit_.reliability)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0}, "budget must be at least 1 call, got 0"),
        ({"recipe": "lokle"}, "did you mean 'locle'"),
    ],
)
def test_bad_options(graph, options, message):
    with pytest.raises(ValueError, match=message):
        classifier(graph, **options)


def test_a_prior_of_the_wrong_shape(graph):
    annotator = RecordedAnnotator(graph, graph.truth)
    one = LabelFreeClassifier(annotator, budget=5, prior=np.ones((3, 3)))
    with pytest.raises(ValueError, match=r"prior must be \[150, 3\], got \(3, 3\)"):
        one.fit(graph)


def test_asking_for_an_answer_before_fitting(graph):
    with pytest.raises(RuntimeError, match="not fitted"):
        classifier(graph).predict()


def test_usage_is_scaled_but_an_unknown_price_stays_unknown():
    usage = Usage(calls=10, prompt_tokens=105, money=None, seconds=3.0)
    assert scaled(usage, 2.0) == Usage(calls=20, prompt_tokens=210, money=None, seconds=6.0)


def test_the_purse_counts_what_was_asked(graph):
    purse = NoLimit()
    classifier(graph, purse=purse).fit(graph)
    assert purse.spent.calls == 40
