import numpy as np
import pandas as pd
import pytest

from multimodal.corpus.columns import ColumnNames
from multimodal.corpus.fields import as_labels, as_text, make_record
from multimodal.records import Problem


def test_guesses_use_each_column_once_and_any_case():
    found = ColumnNames().resolve(["URL", "TEXT", "Title", "caption", "UID", "cls"])
    assert (found.id, found.title, found.alt, found.label) == ("UID", "Title", "caption", "cls")
    assert found.image == found.description == ""
    assert ColumnNames().resolve(["TEXT", "URL"]).title == "TEXT"
    named = ColumnNames(description="caption").resolve(["caption", "text"])
    assert (named.description, named.title) == ("caption", "text")
    assert ColumnNames(label="").resolve(["label"]).label == ""
    assert named.all_names() == ["text", "caption"]


def test_one_named_column_may_serve_two_parts():
    found = ColumnNames(title="caption", label="caption").resolve(["caption"])
    assert (found.title, found.label) == ("caption", "caption")


def test_embeddings_are_a_tuple():
    with pytest.raises(ValueError, match="embeddings must be a tuple"):
        ColumnNames(embeddings="clip")
    with pytest.raises(ValueError, match="no column 'e' for embeddings"):
        ColumnNames(embeddings=("e",)).check(["id"], "x.csv")


@pytest.mark.parametrize(
    ("value", "text", "sound"),
    [
        *[(None, "", True), (float("nan"), "", True), (" a ", "a", True), (3, "3", True)],
        *[(2.0, "2", True), (2.5, "2.5", True), (b"caf\xc3\xa9", "café", True)],
        *[(b"caf\xe9", "caf\ufffd", False), ("\ud800x", "\ufffdx", False)],
        *[(["a", None, "b"], "a, b", True), (["a", "\udc80"], "a, \ufffd", False)],
        *[(np.array(["a", "b"]), "a, b", True), ({"a": "é"}, '{"a": "é"}', True)],
        *[(np.float64("nan"), "", True), (np.int64(4), "4", True)],
        *[(pd.NA, "", True), (pd.NaT, "", True), (np.float32("nan"), "", True)],
    ],
)
def test_values_become_text(value, text, sound):
    assert as_text(value) == (text, sound)
    text.encode("utf-8")


def test_labels_as_written():
    assert as_labels("a|b| a ", "|") == (("a", "b"), True)
    assert as_labels("a|b") == (("a|b",), True)
    assert as_labels([1, 2.0, "x", None]) == (("1", "2", "x"), True)
    assert as_labels([1, -1, 7], class_names=("cat", "dog")) == (("dog", "7"), True)
    assert as_labels(np.array([0, 1]), class_names=("cat", "dog")) == (("cat", "dog"), True)
    assert as_labels("") == ((), True)


def test_the_first_problem_counts_and_broken_text_is_repaired():
    names = ColumnNames().resolve(["id", "title", "label"])
    values = {"id": b"\xff", "title": "ok", "label": "\ud800"}
    record = make_record(values, names, default_id="0")
    assert (record.id, record.labels) == ("\ufffd", ("\ufffd",))
    assert record.problem == Problem("text_broken", "in id, label")
    first = Problem("image_missing", "x")
    assert make_record(values, names, default_id="0", problem=first).problem == first
