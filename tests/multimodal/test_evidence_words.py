"""Evidence in words."""

from multimodal.evidence_words import EVIDENCE, in_words, known, shown_scores

NAMES = ("cat", "dog")


def test_values_read_as_what_they_are():
    assert in_words("suggested", 1.0, NAMES) == "dog"
    assert in_words("probe_class", 0.0, NAMES) == "cat"
    assert in_words("suggested", 7.0, NAMES) == "7.00"
    assert in_words("in_core", 1.0, NAMES) == "1"
    assert in_words("suggested_p", 0.123456, NAMES) == "0.12"
    assert in_words("suggested_p", 0.123456, NAMES, digits=4) == "0.1235"
    assert in_words("vote_ratio", 1234.5, NAMES) == "1234"
    assert known({"a": 0.0, "b": float("nan")}) == {"a": 0.0}


def test_the_scores_that_are_shown():
    assert shown_scores(["entropy", "text_cosine", "suggested_p"]) == ["suggested_p", "text_cosine"]
    assert shown_scores(["suggested", "similarity", "pair_score"]) == ["pair_score"]
    assert shown_scores(["in_core", "something", "more"]) == ["something"]
    assert shown_scores(["suggested"]) == []


def test_every_sentence_is_one():
    for short, sentence in EVIDENCE.values():
        assert 0 < len(short) <= 14
        assert sentence.endswith(".")
