import numpy as np
import pytest

from graphnoise.annotators.base import NoLimit, Questions
from graphnoise.annotators.choosing import make_annotator
from graphnoise.annotators.combined import CombinedAnnotator, served_parts
from graphnoise.annotators.combining import combine_votes
from graphnoise.annotators.options import AnnotatorOptions
from graphnoise.annotators.replay import ReplayAnnotator
from labelnoise.class_list import ClassList

CLASSES = ClassList(("cat", "dog", "owl"))


@pytest.fixture
def files(tmp_path):
    """Three files of recorded answers: two that mostly agree and one that is often silent."""
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=60)
    paths = []
    for name, wrong, silent in (("a", 0.1, 0.0), ("b", 0.2, 0.1), ("c", 0.3, 0.5)):
        said = np.where(rng.random(60) < wrong, rng.integers(3, size=60), truth)
        said = np.where(rng.random(60) < silent, -1, said)
        paths.append(tmp_path / f"{name}.npz")
        np.savez(paths[-1], topk=said[:, None])
    return truth, paths


def questions(n=60):
    return Questions(np.arange(n), tuple(f"text {i}" for i in range(n)), CLASSES)


def spec(paths):
    return "combined:" + ",".join(f"replay:{path}#topk" for path in paths)


def test_the_votes_are_those_of_the_parts_combined(files):
    truth, paths = files
    parts = [ReplayAnnotator(path, key="topk").annotate(questions()) for path in paths]
    want = combine_votes(parts)
    got = make_annotator(spec(paths)).annotate(questions())
    np.testing.assert_array_equal(got.labels, want.labels)
    np.testing.assert_allclose(got.probabilities, want.probabilities)
    right = [(part.labels == truth).mean() for part in (*parts, got)]
    assert right[-1] >= max(right[:-1])


def test_every_annotator_costs_a_call(files):
    _, paths = files
    purse = NoLimit()
    annotator = make_annotator(spec(paths))
    votes = annotator.annotate(questions(), purse=purse)
    assert annotator.estimate(questions()).usage.calls == 180
    assert votes.usage.calls == purse.spent.calls == 180


def test_a_record_tells_who_said_what(files):
    _, paths = files
    votes = make_annotator(spec(paths)).annotate(questions())
    silent = np.load(paths[2])["topk"][:, 0]
    for row, record in enumerate(votes.records):
        assert [one["name"] for one in record["annotators"]] == ["replay"] * 3
        assert record["annotators"][2]["label"] == silent[row]
        assert (record["annotators"][2]["reason"] == "") == (silent[row] >= 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("combined", "needs two specs"),
        ("combined:replay:{file}#topk", "at least 2"),
        ("combined:replay:{file}#topk,nobody:x", "must be KIND"),
    ],
)
def test_bad_specs(text, message, files):
    with pytest.raises(ValueError, match=message):
        make_annotator(text.format(file=files[1][0]))


def test_needs_two():
    with pytest.raises(ValueError, match="at least 2"):
        CombinedAnnotator([])


def test_the_parts_with_a_ledger_are_found(files, tmp_path):
    options = AnnotatorOptions(cache=tmp_path / "answers.sqlite")
    served = [f"openai:{model}@http://127.0.0.1:9/v1" for model in ("one", "two")]
    recorded = f"replay:{files[1][0]}#topk"
    annotator = make_annotator("combined:" + ",".join([*served, recorded]), options)
    assert [part.settings()["model"] for part in served_parts(annotator)] == ["one", "two"]
    alone = make_annotator(served[0], options)
    assert served_parts(alone) == [alone]
    assert served_parts(make_annotator(recorded)) == []
    annotator.close()
    alone.close()
