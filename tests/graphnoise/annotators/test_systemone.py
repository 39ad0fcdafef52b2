import numpy as np
import pytest

from graphnoise.annotators.budget import Budget, BudgetPurse
from graphnoise.annotators.choosing import make_annotator
from graphnoise.annotators.options import AnnotatorOptions
from graphnoise.annotators.retrying import EndpointError
from graphnoise.annotators.systemone import SystemoneAnnotator
from labelnoise.class_list import ClassList
from tests.graphnoise.annotators.endpoint_cases import CLASSES, QUICK, questions
from tests.graphnoise.annotators.scripted_server import Features, Reply, ScriptedServer

SERVES = Features("none", n=False, systemone=True)


def systemone(server, cache=None, **options):
    settings = AnnotatorOptions(cache=cache, **{"timeout": 5.0, "concurrency": 4, **options})
    return SystemoneAnnotator("tiny", server.url, settings, patience=QUICK)


def by_text(body):
    return Reply(next((n for n in CLASSES.names if n in body["state"]), "Theory"))


def test_probabilities_become_votes(tmp_path):
    asked = questions(3, texts=["about Theory", "about Neural_Networks", ""])
    with ScriptedServer(answer=by_text, features=SERVES) as server:
        with systemone(server, tmp_path / "answers.sqlite") as annotator:
            plan = annotator.estimate(asked)
            votes = annotator.annotate(asked)
            again = annotator.annotate(asked)
        sent = len(server.bodies)
    assert sent == plan.usage.sent == 2
    assert votes.labels.tolist() == [1, 2, -1]
    assert list(votes.rung) == ["class_probabilities", "class_probabilities", "none"]
    np.testing.assert_allclose(votes.probabilities[0], [0.15, 0.7, 0.15], atol=1e-6)
    assert votes.confidence[0] == pytest.approx(0.7)
    assert votes.usage.prompt_tokens == 3 * 40  # two questions and the probe, as the server counts
    assert votes.usage.completion_tokens == 0
    np.testing.assert_array_equal(again.probabilities, votes.probabilities)
    assert again.usage.cached == 2
    assert again.usage.sent == 0


def test_the_order_of_the_options_is_part_of_the_key():
    turned = ClassList(CLASSES.names[::-1])
    with (
        ScriptedServer(answer=by_text, features=SERVES) as server,
        systemone(server) as annotator,
    ):
        first = annotator.annotate(questions(1, texts=["about Theory"]))
        second = annotator.annotate(questions(1, texts=["about Theory"], classes=turned))
    assert len(server.bodies) == 2
    assert list(server.bodies[1]["questions"]["label"]["criteria"]) == list(turned.names)
    assert CLASSES.names[first.labels[0]] == turned.names[second.labels[0]] == "Theory"


def test_definitions_are_told():
    classes = ClassList(("a", "b"), definitions=("the first", ""))
    with ScriptedServer(features=SERVES) as server, systemone(server) as annotator:
        annotator.annotate(questions(1, classes=classes))
    assert server.bodies[0]["questions"]["label"]["criteria"] == {"a": "the first", "b": None}


def test_more_classes_than_letters_are_refused():
    many = ClassList(tuple(f"class {i}" for i in range(27)))
    with ScriptedServer(features=SERVES) as server, systemone(server) as annotator:
        with pytest.raises(ValueError, match="at most 26 classes, got 27"):
            annotator.estimate(questions(1, classes=many))
        fits = ClassList(many.names[:26])
        assert annotator.annotate(questions(1, classes=fits)).answered.all()


def test_another_server_is_told_apart():
    with (
        ScriptedServer(features=Features(systemone=False)) as server,
        systemone(server) as annotator,
        pytest.raises(EndpointError, match="no /systemone"),
    ):
        annotator.annotate(questions(1))
    assert not server.bodies


def test_errors_retries_and_the_purse_are_those_of_every_endpoint():
    script = [Reply(status=503), Reply(body='{"answers": {}}')]
    purse = BudgetPurse(Budget(calls=2))
    with (
        ScriptedServer(script, by_text, SERVES) as server,
        systemone(server, concurrency=1) as annotator,
    ):
        texts = [f"{i} about Theory" for i in range(3)]
        votes = annotator.annotate(questions(3, texts=texts), purse=purse)
    assert votes.labels.tolist() == [1, 1, -1]
    assert votes.reason[2] == "budget_reached"
    assert votes.usage.retries == 2
    assert purse.spent == votes.usage


def test_long_texts_are_shortened():
    def answer(body):
        too_long = len(body["state"]) > 500
        return Reply(status=400, message="prompt is too long") if too_long else by_text(body)

    with ScriptedServer(answer=answer, features=SERVES) as server, systemone(server) as annotator:
        votes = annotator.annotate(questions(1, texts=["Theory " + "word " * 300]))
    assert votes.labels[0] == 1


def test_a_spec_makes_it():
    annotator = make_annotator("systemone:/models/tiny@http://127.0.0.1:9/v1")
    assert (annotator.name, annotator.settings()["model"]) == ("systemone", "/models/tiny")
