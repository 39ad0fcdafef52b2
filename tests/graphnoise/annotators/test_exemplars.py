from dataclasses import replace

import numpy as np
import pytest

from graphnoise.annotators.base import Exemplar, Questions
from graphnoise.annotators.choosing import make_annotator
from graphnoise.annotators.exemplars import read_exemplars, with_exemplars
from graphnoise.annotators.options import AnnotatorOptions
from labelnoise.class_list import ClassList
from tests.graphnoise.annotators.scripted_server import Reply, ScriptedServer

CLASSES = ClassList(("Case_Based", "Theory"), synonyms=((), ("bounds",)))
EXPECTED = (Exemplar("old, cases", 0), Exemplar("proofs\nof limits", 1))
ASKED = Questions(np.arange(1), ("?",), CLASSES)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'label,text\ncase based,"old, cases"\n1,"proofs\nof limits"\n'),
        (
            "a.jsonl",
            '{"text": "old, cases", "label": "Case_Based", "more": 1}\n\n'
            '{"text": "proofs\\nof limits", "label": "BOUNDS"}\n',
        ),
    ],
)
def test_both_formats(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    assert read_exemplars(path, CLASSES) == EXPECTED
    assert with_exemplars(ASKED, path).exemplars == EXPECTED
    # numbers mean another class in another list, also where the file was read before
    turned = ClassList(("Theory", "Case_Based"), synonyms=(("bounds",), ()))
    found = with_exemplars(replace(ASKED, classes=turned), path).exemplars
    assert found[0] == Exemplar("old, cases", 1)


def test_examples_of_the_question_stand(tmp_path):
    own = replace(ASKED, exemplars=EXPECTED[:1])
    assert with_exemplars(own, tmp_path / "nothing.csv") is own
    assert with_exemplars(ASKED, None) is ASKED


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", r"must be one of \['.csv', '.jsonl'\]"),
        ("a.csv", "text,label\n", "at least one example"),
        ("a.csv", "text,label\nx,\n", "row 1 needs a text and a label"),
        ("a.csv", "text,label\nx,plum\n", "row 1: 'plum' is none of the classes"),
        ("a.jsonl", "[1]\n", "row 1 needs"),
        ("a.jsonl", "{\n", "row 1 is no JSON"),
    ],
)
def test_files_that_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_exemplars(tmp_path / name, CLASSES)


def test_a_served_model_is_shown_the_examples_of_the_options(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\nold cases,Case_Based\n")
    options = AnnotatorOptions(prompt="few_shot", few_shot=path, cache=tmp_path / "a.sqlite")
    with ScriptedServer(answer=lambda body: Reply("Theory")) as server:
        spec = f"openai:m@{server.url}"
        with make_annotator(spec, options) as annotator:
            assert "old cases" in annotator.estimate(ASKED).sample_prompt
            assert annotator.annotate(ASKED).labels.tolist() == [1]
        assert "old cases" in str(server.bodies[-1]["messages"])
