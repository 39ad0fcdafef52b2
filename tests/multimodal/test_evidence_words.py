"""Evidence in words."""

from dataclasses import replace

import pytest

from multimodal.channel_networks import NetworkSettings
from multimodal.evidence_words import EVIDENCE, in_words, known, meaning, short_name, shown_scores
from multimodal.methods import CLEANING_METHODS
from multimodal.methods.channel_network import ChannelNetwork
from tests.multimodal.methods.planted import planted

NAMES = ("cat", "dog")


def test_values_read_as_what_they_are():
    assert in_words("suggested", 1.0, NAMES) == "dog"
    assert in_words("probe_class", 0.0, NAMES) == "cat"
    assert in_words("suggested", 7.0, NAMES) == "7.00"
    assert in_words("cpc_vote", 1.0, NAMES) == "dog"
    assert in_words("in_core", 1.0, NAMES) == "1"
    assert in_words("duplicate_of", 12345.0, NAMES) == "12345"
    assert in_words("suggested_p", 0.123456, NAMES) == "0.12"
    assert in_words("suggested_p", 0.123456, NAMES, digits=4) == "0.1235"
    assert in_words("vote_ratio", 1234.5, NAMES) == "1234"
    assert known({"a": 0.0, "b": float("nan")}) == {"a": 0.0}


def test_the_scores_that_are_shown():
    assert shown_scores(["entropy", "text_cosine", "suggested_p"]) == ["suggested_p", "text_cosine"]
    assert shown_scores(["suggested", "similarity", "pair_score"]) == ["pair_score"]
    assert shown_scores(["in_core", "something", "more"]) == ["something"]
    assert shown_scores(["suggested"]) == []
    assert shown_scores(["duplicate_of", "kept_similarity"]) == ["kept_similarity"]


def test_every_sentence_is_one():
    for short, sentence in EVIDENCE.values():
        assert 0 < len(short) <= 14
        assert sentence.endswith(".")


def test_methods_that_were_asked_stand_in_the_words():
    assert short_name("neighbour_vote_p") == "neighbour vote"
    assert meaning("cpc_vote") == "The class that cpc would use."
    assert (short_name("my_own"), meaning("my_own")) == ("my own", "")


# the networks are slow at their own size, and the ensemble asks them
SMALL = ChannelNetwork(NetworkSettings(n_columns=8, hidden=16, epochs=2, n_members=1, n_folds=2))


@pytest.mark.filterwarnings("ignore:pool 20 is below:UserWarning")  # of the paper's preset
@pytest.mark.parametrize("name", list(CLEANING_METHODS))
def test_every_method_has_words_for_its_evidence(name):
    method = CLEANING_METHODS.load(name)()
    if name == "channel_network":
        method = SMALL
    if name == "ensemble":
        method = replace(method, members=("confident_learning", "neighbour_vote"))
    corpus = planted(120).corpus
    audit = method.judge(replace(corpus, early=corpus.image))
    assert audit.evidence
    assert not [column for column in audit.evidence if not meaning(column)]
