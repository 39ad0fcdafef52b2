import subprocess
import sys

import numpy as np
import pytest

import multimodal
from multimodal import clean_embeddings
from multimodal.arrays import class_numbers
from multimodal.methods.configured import configured
from multimodal.methods.neighbour_vote import NeighbourVote
from multimodal.rows import Rows
from tests.multimodal.methods.planted import planted


@pytest.fixture(scope="module")
def case():
    return planted(200, aligned=True)


def matrix(rows):
    return rows.gather(np.arange(len(rows)))


def test_arrays_are_judged_as_a_corpus_is(case):
    corpus = case.corpus
    # lengths do not matter
    image = matrix(corpus.image) * np.linspace(0.5, 3, len(corpus))[:, None]
    found = clean_embeddings(
        image, corpus.given, class_names=corpus.class_names, method="neighbour_vote",
        settings={"k": 30}, ids=corpus.ids,
    )  # fmt: skip
    expected = NeighbourVote(k=30).judge(corpus)
    assert np.array_equal(found.verdict, expected.verdict)
    assert found.quality == pytest.approx(expected.quality, abs=1e-6)
    assert found.ids.tolist() == corpus.ids.tolist()


@pytest.mark.parametrize("method", ["capro", "pair_score", "clip_cleaner"])
def test_methods_that_read_texts(case, method):
    corpus = case.corpus
    found = clean_embeddings(
        corpus.image, corpus.given, class_names=corpus.class_names, text=matrix(corpus.text),
        class_texts=corpus.class_texts * 3, aligned=True, method=method, seed=4,
    )  # fmt: skip
    assert found.method == method
    assert found.seed == 4
    assert len(found) == 200


def test_labels_may_be_names():
    names = ("cat", "dog")
    assert class_numbers(["dog", "", "cat"], names).tolist() == [1, -1, 0]
    assert class_numbers(np.array([None, "cat"], object), names).tolist() == [-1, 0]
    assert class_numbers([-1, 1], names).tolist() == [-1, 1]
    with pytest.raises(ValueError, match="got 'cow'"):
        class_numbers(["cow"], names)
    with pytest.raises(ValueError, match=r"got 0\.5"):
        class_numbers([0.5], names)
    with pytest.raises(ValueError, match=r"must be \[N\]"):
        class_numbers([[0]], names)


def test_bad_input_is_named(case):
    corpus = case.corpus
    image, names = matrix(corpus.image), corpus.class_names

    def clean(image=image, labels=corpus.given, **changed):
        return clean_embeddings(
            image, labels, class_names=names, method="neighbour_vote", **changed
        )

    with pytest.raises(ValueError, match="image must be finite"):
        clean(np.full_like(image, np.nan))
    with pytest.raises(ValueError, match="image must be numbers"):
        clean(image[0])
    with pytest.raises(ValueError, match="given must have 200 rows"):
        clean(labels=corpus.given[:5])
    with pytest.raises(ValueError, match=r"given must lie in -1 \.\. 3"):
        clean(labels=corpus.given + 1)
    with pytest.raises(ValueError, match="200 unique"):
        clean(ids=np.zeros(200))
    with pytest.raises(ValueError, match="text must have 200 rows"):
        clean(text=image[:3])
    with pytest.raises(ValueError, match="no setting 'kk'"):
        clean(settings=["kk=3"])
    with pytest.raises(ValueError, match="needs text rows"):
        clean_embeddings(Rows([image]), corpus.given, class_names=names)
    with pytest.raises(ValueError, match="method must be one of"):
        configured("nothing")
    assert configured(NeighbourVote(k=3), ["k=4"]).k == 4


def test_public_names_load_nothing_before_they_are_used():
    assert {"clean_embeddings", "label_columns", "PrototypeCleaner"} <= set(multimodal.__all__)
    assert set(multimodal.__all__) == set(dir(multimodal))
    assert callable(multimodal.label_columns)
    heavy = "sys.modules.keys() & {'torch', 'sklearn', 'numpy', 'pyarrow'}"
    command = [sys.executable, "-c", f"import multimodal, sys; print(*{heavy})"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
