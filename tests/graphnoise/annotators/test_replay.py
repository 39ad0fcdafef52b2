import json

import numpy as np
import pytest

from graphnoise.annotators.base import Questions, Usage
from graphnoise.annotators.budget import Budget, BudgetPurse
from graphnoise.annotators.choosing import make_annotator
from graphnoise.annotators.options import AnnotatorOptions
from graphnoise.annotators.replay import ReplayAnnotator
from labelnoise.class_list import ClassList

CLASSES = ClassList(("apple", "Big_Pear", "cherry", "date"))
LISTS = [[0, 0, -1, -1], [2, 1, 2, -1], [3, 2, 1, 0], [-1, -1, -1, -1], [1, -1, -1, -1]]
FIRST = [0, 2, 3, -1, 1]


def questions(nodes, classes=CLASSES):
    nodes = np.asarray(nodes, np.int64)
    return Questions(nodes, tuple(f"text {v}" for v in nodes), classes)


@pytest.fixture(params=["npz", "named npz", "csv", "jsonl", "numbers in jsonl"])
def recorded(request, tmp_path):
    kind = request.param
    path = tmp_path / f"answers.{kind.split()[-1]}"
    named = [[CLASSES.names[k] for k in row if k >= 0] for row in LISTS]
    if kind == "npz":
        np.savez(path, answers=np.array(LISTS))
    elif kind == "named npz":
        # other numbers for the same names; y must not be read
        order = [2, 0, 3, 1]
        numbers = [[order.index(k) if k >= 0 else -1 for k in row] for row in LISTS]
        names = np.array([CLASSES.names[k] for k in order])
        np.savez(path, ranked=np.array(numbers), classes=names, y=np.zeros((5, 2), int))
    elif kind == "csv":
        rows = [",".join([str(v), *row, *[""] * (4 - len(row))]) for v, row in enumerate(named)]
        path.write_text("\n".join(["node,rank1,rank2,rank3,rank4", *rows]) + "\n")
    else:
        lists = named if kind == "jsonl" else LISTS
        lines = [json.dumps({"node": v, "ranked": row}) for v, row in enumerate(lists)]
        path.write_text("\n".join(reversed(lines)) + "\n")
    return path


def test_every_format_gives_the_same_votes(recorded):
    votes = ReplayAnnotator(recorded).annotate(questions([4, 1, 0, 3, 2]))
    assert votes.labels.tolist() == [1, 2, 0, -1, 3]
    assert votes.ranked.tolist() == [
        [1, -1, -1, -1], [2, 1, -1, -1], [0, -1, -1, -1], [-1, -1, -1, -1], [3, 2, 1, 0],
    ]  # fmt: skip
    assert votes.reason.tolist() == ["", "", "", "not_recorded", ""]
    np.testing.assert_allclose(votes.confidence, [0.9, 0.75, 0.9, np.nan, 0.5], rtol=1e-6)
    assert votes.source.tolist() == ["list_length"] * 3 + ["none", "list_length"]
    assert votes.usage == Usage(calls=5, samples=5)
    assert votes.records[0]["sha256"] == ReplayAnnotator(recorded).sha256


def test_soft_labels_by_hand(recorded):
    votes = ReplayAnnotator(recorded).annotate(questions([0, 1, 2, 3]))
    rest = 0.1 / 3
    np.testing.assert_allclose(
        votes.probabilities,
        [
            [0.9, rest, rest, rest],
            # .25 is left: .2 for the other listed class, .05 over three
            [0.05 / 3, 0.2 + 0.05 / 3, 0.75, 0.05 / 3],
            [0.5 / 3, 0.5 / 3, 0.5 / 3, 0.5],
            [0, 0, 0, 0],
        ],
        rtol=1e-6,
    )


def test_the_budget_is_a_cap_and_order_decides(recorded):
    purse = BudgetPurse(Budget(calls=2))
    votes = ReplayAnnotator(recorded).annotate(questions([2, 1, 0]), purse=purse)
    assert votes.labels.tolist() == [3, 2, -1]
    assert votes.reason.tolist() == ["", "", "budget_reached"]
    assert votes.usage.calls == purse.spent.calls == 2
    assert ReplayAnnotator(recorded).estimate(questions([0, 1])).usage.calls == 2


def test_order_of_questions_and_of_classes_does_not_matter(recorded):
    annotator = ReplayAnnotator(recorded)
    straight = annotator.annotate(questions(range(5)))
    order = [3, 1, 4, 0, 2]
    other = annotator.annotate(questions(order))
    assert (other.labels == straight.labels[order]).all()
    np.testing.assert_array_equal(other.probabilities, straight.probabilities[order])


def test_other_class_order_by_names(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"node": 0, "ranked": ["big pear", "CHERRY"]}\n')
    turned = ClassList(CLASSES.names[::-1])
    assert ReplayAnnotator(path).annotate(questions([0], turned)).ranked.tolist() == [[2, 1]]


def test_spec_names_the_array(tmp_path):
    path = tmp_path / "two#parts.npz"
    np.savez(path, one=np.array([[0], [1]]), two=np.array([[1], [0]]))
    options = AnnotatorOptions(list_confidence=(0.5,))
    votes = make_annotator(f"replay:{path}#two", options).annotate(questions([0, 1]))
    assert votes.labels.tolist() == [1, 0]
    assert votes.confidence.tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match=r"which array.*'one', 'two'"):
        make_annotator(f"replay:{path}")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", r"must be one of \['.npz', '.csv', '.jsonl'\]"),
        ("a.csv", "node,label\n0,apple\n", "needs columns node, rank1"),
        ("a.csv", "node,rank1\n0,apple\n0,apple\n", "said once, got '0'"),
        ("a.csv", "node,rank1\nx,apple\n", "positions"),
        ("a.jsonl", "nonsense\n", "line 1 is no JSON"),
        ("a.jsonl", '{"node": 0, "ranked": "apple"}\n', "needs 'node' and a list"),
    ],
)
def test_files_that_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        ReplayAnnotator(tmp_path / name)


def test_questions_that_are_refused(recorded):
    annotator = ReplayAnnotator(recorded)
    with pytest.raises(ValueError, match="no answer for node 5"):
        annotator.annotate(questions([0, 5]))
    with pytest.raises(ValueError, match="no answer for node -1"):
        annotator.annotate(questions([-1]))
    with pytest.raises(ValueError, match=r"list_confidence must be numbers in \(0, 1\]"):
        ReplayAnnotator(recorded, list_confidence=(1.5,))


def test_unknown_class_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"node": 0, "ranked": ["plum"]}\n')
    with pytest.raises(ValueError, match="'plum' is none of the 4 classes"):
        ReplayAnnotator(path).annotate(questions([0]))
    np.savez(tmp_path / "b.npz", ranked=np.array([[9]]), classes=np.array(["apple"]))
    with pytest.raises(ValueError, match="must number 1 classes, got 9"):
        ReplayAnnotator(tmp_path / "b.npz")


@pytest.mark.real_data
def test_gpt_on_cora_is_right_about_67_69_percent(real_data):
    path = real_data / "tag" / "cora_tag.npz"
    with np.load(path) as archive:
        truth, names = archive["y"], tuple(archive["classes"].tolist())
    asked = questions(range(len(truth)), ClassList(names))
    votes = ReplayAnnotator(path, key="gpt35_topk").annotate(asked)
    assert round(100 * (votes.labels == truth).mean(), 2) == 67.69
    listed = (votes.ranked == truth[:, None]).any(axis=1)
    assert round(100 * listed.mean(), 1) == 77.6
    # as counted over the file: 253 lists repeat a class
    with np.load(path) as archive:
        raw = archive["gpt35_topk"]
    distinct = [len(set(row[row >= 0].tolist())) for row in raw]
    assert (votes.ranked >= 0).sum(axis=1).tolist() == distinct
    assert ((raw >= 0).sum(axis=1) != distinct).sum() == 253
    assert (votes.probabilities.argmax(axis=1) == votes.labels).all()
    # the names in the text file are the same answers
    lines = ReplayAnnotator(real_data / "tag" / "cora_text.jsonl").annotate(asked)
    np.testing.assert_array_equal(lines.ranked, votes.ranked)
