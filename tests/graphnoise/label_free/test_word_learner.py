import numpy as np
import pytest

from graphnoise.label_free.word_learner import WordSettings, learn_words

ANIMALS = ["the cat purrs", "a cat and a kitten", "kitten purrs", "cat kitten", "purrs kitten"]
ENGINES = [
    "the piston fires",
    "a valve and a piston",
    "valve fires",
    "piston valve",
    "fires piston",
]
SETTINGS = WordSettings(least_texts=1, largest_share=0.9)


def test_words_carry_a_class_to_texts_without_a_label():
    texts = ANIMALS + ENGINES
    labels = np.array([0, 0, -1, -1, -1, 1, 1, -1, -1, -1])
    found = learn_words(texts, labels, 2, settings=SETTINGS)
    assert found.argmax(axis=1).tolist() == [0] * 5 + [1] * 5
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_a_class_nobody_carries_gets_nothing():
    labels = np.array([0, -1, -1, -1, -1, 2, -1, -1, -1, -1])
    found = learn_words(ANIMALS + ENGINES, labels, 4, settings=SETTINGS)
    assert (found[:, [1, 3]] == 0).all()


def test_the_order_of_texts_does_not_matter():
    texts = ANIMALS + ENGINES
    labels = np.array([0, 0, -1, -1, -1, 1, 1, -1, -1, -1])
    order = np.random.default_rng(0).permutation(10)
    turned = learn_words([texts[i] for i in order], labels[order], 2, settings=SETTINGS)
    np.testing.assert_allclose(
        turned, learn_words(texts, labels, 2, settings=SETTINGS)[order], atol=1e-4
    )


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (ANIMALS, [0, 0, -1, -1, -1]),  # a single class
        (ANIMALS, [-1] * 5),
        (["", " ", "", "", ""], [0, 1, 0, 1, 0]),  # no word
        (["+ - *"] * 5, [0, 1, 0, 1, 0]),
    ],
)
def test_says_that_there_is_nothing_to_learn(texts, labels):
    assert learn_words(texts, np.array(labels), 2, settings=SETTINGS) is None


def test_learns_from_no_more_rows_than_told():
    # labels in turns: every second row alone would show one class
    texts = ["cat", "piston"] * 20
    labels = np.array([0, 1] * 20)
    few = WordSettings(least_texts=1, largest_share=0.9, rows=12)
    assert learn_words(texts, labels, 2, settings=few) is not None
