import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphnoise.annotators.base import ABSTAIN, CONFIDENCE_SOURCES, Usage
from graphnoise.annotators.confidence import (
    aggregate_samples,
    answer_position,
    class_probabilities_from_logprobs,
    sampling_record,
    votes_from_readings,
)
from graphnoise.annotators.reading import Reading, read_reply
from labelnoise.class_list import ClassList

CLASSES = ClassList(("Reinforcement_Learning", "Rule_Learning", "Theory"))
SILENT = Reading(ABSTAIN, reason="ambiguous")


def says(label, confidence=math.nan, *others):
    ranked = (label, *(k for k, _ in others))
    return Reading(label, ranked, (confidence, *(c for _, c in others)), "json")


def logs(**shares):
    return {token.replace("_", " "): math.log(share) for token, share in shares.items()}


def test_tokens_belong_to_the_class_they_begin():
    shares, outside = class_probabilities_from_logprobs(
        {"Rule": math.log(0.3), " The": math.log(0.1), "Ġtheory": math.log(0.1), "R": math.log(0.2),
         "▁Re": math.log(0.1), "I": math.log(0.05), "\n": math.log(0.02), "```": math.log(0.01)},
        CLASSES,
    )  # fmt: skip
    # "R" begins two names
    np.testing.assert_allclose(shares, np.array([0.2, 0.4, 0.2]) / 0.8)
    assert outside == pytest.approx(0.2)


def test_letters_of_options():
    listed = {"A": math.log(0.5), " B": math.log(0.25), "D": math.log(0.1), "(C)": math.log(0.05)}
    shares, outside = class_probabilities_from_logprobs(listed, CLASSES, letters=True)
    np.testing.assert_allclose(shares, np.array([0.5, 0.25, 0.05]) / 0.8)
    assert outside == pytest.approx(0.2)
    many = ClassList(tuple(f"class {i}" for i in range(27)))
    with pytest.raises(ValueError, match="letters serve up to 26 classes, got 27"):
        class_probabilities_from_logprobs({}, many, letters=True)


def test_nothing_about_the_classes():
    for listed in ({}, logs(Hello=0.9), {"Theory": -math.inf}):
        shares, outside = class_probabilities_from_logprobs(listed, CLASSES)
        assert not shares.any()
        assert outside == 1
    # a server that rounds gives a little more than 1
    assert class_probabilities_from_logprobs({"Theory": 0.01}, CLASSES)[1] == 0


@settings(max_examples=50, deadline=None)
@given(st.permutations([0, 1, 2]))
def test_numbering_of_the_classes_only_renumbers(order):
    listed = {"Ru": -1.0, "R": -1.5, " Theory": -2.0, "x": -3.0}
    shares, outside = class_probabilities_from_logprobs(listed, CLASSES)
    renamed = ClassList(tuple(CLASSES.names[k] for k in order))
    other, same = class_probabilities_from_logprobs(listed, renamed)
    np.testing.assert_allclose(other, shares[list(order)])
    assert outside == pytest.approx(same)


@pytest.mark.parametrize(
    ("tokens", "position"),
    [
        (["Theory"], 0),
        (["{", '"answer', '":', ' "', "Rule", "_Learning", '"}'], 4),
        (["{", '"answer":', ' "Rule', "_", "Learning", '"}'], 2),
        (["ĠThe", "Ġbest", "Ġis", "Ġrule", "Ġlearning"], 3),
        (["no", "thing"], None),
        ([], None),
    ],
)
def test_where_the_answer_begins(tokens, position):
    assert answer_position(tokens, CLASSES) == position


def locle(samples):
    """The paper's formula, percent and all."""
    n, first = len(samples), [label for label, _ in samples]
    mode = max(first, key=first.count)
    stated = {}
    for label, confidence in samples:
        stated.setdefault(label, confidence)
    total = sum(
        (stated[mode] + c) / 2 if label == mode else 100 - c for label, c in samples
    )  # fmt: skip
    return mode, total / (100 * n)


@pytest.mark.parametrize("n", [2, 3])
def test_the_papers_confidence(n):
    for labels in itertools.product(range(3), repeat=n):
        for numbers in itertools.product((0, 35, 80, 100), repeat=n):
            samples = list(zip(labels, numbers, strict=True))
            counts = sorted((labels.count(k) for k in set(labels)), reverse=True)
            if len(counts) > 1 and counts[0] == counts[1]:
                continue
            said = aggregate_samples([says(k, c / 100) for k, c in samples], 3)
            mode, confidence = locle(samples)
            assert said.label == mode
            assert said.confidence == pytest.approx(confidence)
            assert said.source == "votes"


def test_votes_without_stated_numbers_are_shares():
    said = aggregate_samples([says(2), says(0), says(2), says(1)], 3)
    assert (said.label, said.confidence, said.source) == (2, 0.5, "votes")
    np.testing.assert_allclose(said.probabilities, [0.25, 0.25, 0.5])
    # an unreadable sample was received: it weakens the answer, and speaks for no class
    said = aggregate_samples([says(2), SILENT], 3)
    assert (said.label, said.confidence) == (2, 0.5)
    np.testing.assert_allclose(said.probabilities, [0, 0, 1])


def test_equal_counts_go_to_the_surer_and_then_to_the_first():
    assert aggregate_samples([says(2), says(0)], 3).label == 2
    assert aggregate_samples([says(2, 0.4), says(0, 0.6)], 3).label == 0


def test_one_sample_says_what_it_states():
    said = aggregate_samples([says(1, 0.6, (2, 0.2))], 3)
    assert (said.label, said.source, said.ranked) == (1, "stated", (1, 2))
    assert said.confidence == 0.6
    np.testing.assert_allclose(said.probabilities, [0.2, 0.6, 0.2])
    assert aggregate_samples([says(1)], 3).source == "none"
    assert aggregate_samples([SILENT], 3).label == ABSTAIN
    assert aggregate_samples([], 3).label == ABSTAIN
    # a list that contradicts itself is only a label
    np.testing.assert_allclose(
        aggregate_samples([says(1, 0.2, (2, 0.7))], 3).probabilities, [0, 1, 0]
    )


numbers = st.one_of(st.just(math.nan), st.floats(0, 1))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(
    st.just(SILENT),
    st.builds(lambda ks, cs: Reading(ks[0], tuple(ks), tuple(cs[: len(ks)]), "json"),
              st.lists(st.integers(0, 4), min_size=1, max_size=4, unique=True),
              st.lists(numbers, min_size=4, max_size=4)),
), max_size=6))  # fmt: skip
def test_samples_give_a_distribution_whose_best_is_the_label(readings):
    said = aggregate_samples(readings, 5)
    assert said.source in CONFIDENCE_SOURCES
    assert math.isnan(said.confidence) or 0 <= said.confidence <= 1
    if said.label == ABSTAIN:
        assert not said.probabilities.any()
    else:
        assert said.probabilities.sum() == pytest.approx(1)
        assert said.probabilities[said.label] == pytest.approx(said.probabilities.max())
        assert said.ranked[0] == said.label


def test_votes_by_the_ladder():
    samples = [
        [says(0, 0.7), says(2, 0.9)],
        [read_reply("theory", CLASSES)],
        [SILENT],
        [],
        [says(1, 0.5, (0, 0.4))],
        [read_reply("theory", CLASSES)],
    ]
    shares = np.array([[0, 0, 0], [0.1, 0.7, 0.2], [0, 0, 0], [0, 0, 0], [0.3, 0.3, 0.4],
                       [0.5, 0.5, 0]])  # fmt: skip
    votes = votes_from_readings(
        samples, 3, class_probabilities=shares, outside=np.array([0, 0.1, 0, 0, 0.9, 0]),
        reasons=["", "", "", "request_failed", "", ""], usage=Usage(calls=6),
        records=[{"i": i} for i in range(6)],
    )  # fmt: skip
    assert votes.labels.tolist() == [2, 1, -1, -1, 1, 2]
    assert votes.source.tolist() == ["votes", "class_probabilities", "none", "none", "stated",
                                     "none"]  # fmt: skip
    assert votes.rung.tolist() == ["json", "class_probabilities", "none", "none", "json", "name"]
    assert votes.reason.tolist() == ["", "", "ambiguous", "request_failed", "", ""]
    assert votes.ranked.tolist()[1] == [1, 2, 0]
    assert votes.ranked.tolist()[4] == [1, 0, -1]
    np.testing.assert_allclose(votes.confidence[[1, 4]], [0.7, 0.5])
    assert votes.usage.calls == 6
    assert votes.records[5] == {"i": 5}


def test_votes_of_nothing_and_of_misfits():
    assert len(votes_from_readings([], 3)) == 0
    with pytest.raises(ValueError, match="question 0 has neither a reading nor a reason"):
        votes_from_readings([[]], 3)
    with pytest.raises(ValueError, match=r"class_probabilities must be \[1, 3\]"):
        votes_from_readings([[says(1)]], 3, class_probabilities=np.zeros((1, 2)))


def test_what_is_recorded_about_samples():
    readings = [SILENT, Reading(0, (0,), (math.nan,), "json", repeated=(0, 0))]
    assert sampling_record(readings, 3) == {
        "samples_asked": 3, "samples_received": 2, "samples_read": 1, "ranks_repeated": 2,
    }  # fmt: skip
