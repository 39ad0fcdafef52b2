import json

import numpy as np
import pytest
from scipy import sparse

from graphnoise import load_graph
from graphnoise.datasets.cora_texts import FILES, cora_class_scores
from graphnoise.datasets.places import Places
from graphnoise.text_graph import text_graph

PAPERS = [str(7 * v % 61 + 1) for v in range(60)]


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The same files for 60 papers and two classes, with nothing else to be found."""
    folder = tmp_path / "data" / "tag"
    folder.mkdir(parents=True)
    np.savez(
        folder / FILES[0],
        y=np.arange(60) % 2,
        paper_id=np.array(PAPERS),
        classes=np.array(["Case_Based", "Theory"]),
        edge_index=np.array([[0, 2], [1, 0]]),
        minilm=np.eye(60, dtype=np.float16),
    )
    np.savez(folder / FILES[2], scores=np.ones((60, 2), np.float32))
    write(folder, PAPERS)
    monkeypatch.setenv("NOISE_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("graphnoise.datasets.places.PROJECT", tmp_path / "elsewhere")
    return folder


def write(folder, papers):
    rows = [
        {"node": v, "paper_id": paper, "title": f"title {paper}", "abstract": "x" * v}
        for v, paper in enumerate(papers)
    ]
    # the order of the lines does not matter
    (folder / FILES[1]).write_text("".join(f"{json.dumps(row)}\n" for row in reversed(rows)))


def test_reads_texts_in_the_order_of_the_arrays(small):
    graph = load_graph("cora-texts", root=small.parent)
    assert graph.texts[:3] == (
        f"title {PAPERS[0]}",
        f"title {PAPERS[1]}\nx",
        f"title {PAPERS[2]}\nxx",
    )
    assert graph.node_names.tolist() == PAPERS
    assert graph.truth.tolist() == [0, 1] * 30
    assert graph.class_names == ("Case Based", "Theory")
    np.testing.assert_array_equal(
        np.argwhere(graph.adjacency.toarray()), [[0, 1], [0, 2], [1, 0], [2, 0]]
    )
    # also where the files lie directly in the folder
    assert load_graph("cora-texts", root=small).texts == graph.texts
    assert cora_class_scores(Places(small)).shape == (60, 2)


def test_missing_files_are_named_and_nothing_is_downloaded(small):
    (small / FILES[2]).unlink()
    with pytest.raises(FileNotFoundError, match=r"cora_minilm_zeroshot\.npz.*cannot be downloaded"):
        load_graph("cora-texts", root=small.parent)


def test_texts_of_other_papers_are_refused(small):
    write(small, [PAPERS[1], PAPERS[0], *PAPERS[2:]])
    with pytest.raises(ValueError, match=f"node 1 is not paper {PAPERS[0]} "):
        load_graph("cora-texts", root=small.parent)
    write(small, PAPERS[:-1])
    with pytest.raises(ValueError, match="60 texts expected, found 59"):
        load_graph("cora-texts", root=small.parent)


@pytest.mark.real_data
def test_is_cora(real_data):
    graph = load_graph("cora-texts", root=real_data)
    assert np.bincount(graph.truth).tolist() == [298, 418, 818, 426, 217, 180, 351]
    assert graph.adjacency.nnz == 2 * 5278
    assert (np.diff(graph.adjacency.indptr) > 0).all()
    ends = sparse.triu(graph.adjacency).tocoo()
    assert round((graph.truth[ends.row] == graph.truth[ends.col]).mean(), 3) == 0.810
    assert sum("\n" not in text for text in graph.texts) == 42
    assert all(graph.texts)
    # the same papers as Planetoid's, in another order: as many edges, the same sizes of classes
    planetoid = load_graph("cora", root=real_data)
    assert planetoid.adjacency.nnz == graph.adjacency.nnz
    assert sorted(np.bincount(planetoid.truth)) == sorted(np.bincount(graph.truth))


@pytest.mark.real_data
def test_zero_shot_scores_are_right_as_often_as_was_measured(real_data):
    from graphnoise.annotators.base import Questions
    from graphnoise.annotators.choosing import make_annotator
    from graphnoise.annotators.options import AnnotatorOptions
    from graphnoise.annotators.zero_shot import zero_shot_prior

    graph = text_graph("cora-texts", root=real_data)
    scores = cora_class_scores(Places(real_data))
    assert round(100 * (scores.argmax(axis=1) == graph.truth).mean(), 1) == 61.5
    prior = zero_shot_prior(graph, scores)
    assert round(100 * (prior.argmax(axis=1) == graph.truth).mean(), 1) == 61.7
    options = AnnotatorOptions(class_scores=real_data / "tag" / FILES[2])
    annotator = make_annotator("embedding", options, graph=graph)
    votes = annotator.annotate(Questions(np.arange(2708), graph.texts, graph.classes))
    np.testing.assert_array_equal(votes.probabilities, prior)
    # and with GPT-3.5 on 62.8 % of the papers, where both are right more often
    gpt = make_annotator(f"replay:{real_data}/tag/{FILES[0]}#gpt35_topk", graph=graph)
    agree = gpt.annotate(Questions(np.arange(2708), graph.texts, graph.classes)).labels
    agree = agree == scores.argmax(axis=1)
    assert round(100 * agree.mean(), 1) == 62.8
    assert round(100 * (scores.argmax(axis=1) == graph.truth)[agree].mean(), 1) == 82.7
