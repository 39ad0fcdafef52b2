import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal.basic_filters import BasicFilters
from multimodal.text_balance import EntryMatcher, entry_probabilities, keep_probabilities

WORD = st.sampled_from(["red", "blue", "shoe", "hat"])


@given(st.lists(WORD, max_size=8), st.sets(st.lists(WORD, min_size=1, max_size=3).map(" ".join)))
def test_matches_are_those_of_a_search_between_blanks(words, entries):
    names = sorted(entries)
    text = " ".join(words)
    wanted = [number for number, name in enumerate(names) if f" {name} " in f" {text} "]
    assert EntryMatcher(names).match(text) == wanted


def test_rare_entries_always_stay_and_frequent_ones_come_down_to_the_cap():
    texts = ["a dog"] * 500 + ["an okapi"] * 3 + ["a dog and an okapi"] + ["nothing"] * 4
    matcher = EntryMatcher(["dog", "okapi"])
    counts = matcher.count(texts[:200]) + matcher.count(texts[200:])
    assert counts.tolist() == [501, 4]
    chances = np.array(list(keep_probabilities(texts, matcher, entry_probabilities(counts, 50))))
    assert chances[:500] == pytest.approx(np.full(500, 50 / 501))
    assert chances[500:].tolist() == [1.0] * 4 + [0.0] * 4
    assert chances[:500].sum() == pytest.approx(50, rel=0.01)


def test_one_keeping_entry_is_enough():
    matcher = EntryMatcher(["a", "b"])
    assert list(keep_probabilities(["A b"], matcher, np.array([0.5, 0.2]))) == pytest.approx([0.6])


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match="have a word each"):
        EntryMatcher(["..."])
    with pytest.raises(ValueError, match="distinct"):
        EntryMatcher(["Red shoe", "red  shoe"])
    with pytest.raises(ValueError, match="cap"):
        entry_probabilities(np.array([1]), 0)


def test_the_edges_of_the_basic_filters():
    filters = BasicFilters()
    assert filters.captions(["a cat sat", " a  b ", "", "ab c d", "one two three"]).tolist() == [
        True, False, False, True, True,
    ]  # fmt: skip
    assert filters.images([600, 601, 200, 0], [200, 200, 200, 0]).tolist() == [
        True, False, True, False,
    ]  # fmt: skip
