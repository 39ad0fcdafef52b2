"""What is said of one pair."""

import numpy as np
import pytest

from multimodal.explanation import explain_pair, nearest_ids
from multimodal.run_folder import open_run
from tests.multimodal.run_folders import random_pairs, refused, write_run

BAD = refused("broken-one", "image_undecodable", "truncated after 10 bytes", given=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    pairs = random_pairs(50)
    again = refused(f"{pairs[2].id}#b:1", "duplicate_id", "seen in shard a")
    shards = {"a": pairs[:30], "b": [*pairs[30:], BAD, again]}
    return open_run(write_run(tmp_path_factory.mktemp("explain") / "run", shards))


def test_everything_about_a_pair(run):
    pairs = random_pairs(50)
    for wanted in pairs[::7]:
        found = explain_pair(run, wanted.id)
        (fact,) = found.decisions
        assert (fact.id, fact.verdict, fact.given) == (wanted.id, wanted.verdict, wanted.given)
        assert fact.label == wanted.used
        assert fact.text == wanted.text
        assert found.sentence == run.decisions("a").reasons[wanted.reason]


def test_neighbours_reach_into_other_shards(run):
    # the fixture's neighbours are the two before and the two after
    names = [one.id for one in explain_pair(run, "p00030").neighbours]
    assert names == ["p00028", "p00029", "p00031", "p00032"]
    assert [one.shard for one in explain_pair(run, "p00030").neighbours] == ["a", "a", "b", "b"]


def test_others_with_the_same_problem(run):
    audit = run.audit()
    row = int(np.flatnonzero(audit.verdict == "relabel")[0])
    found = explain_pair(run, str(audit.ids[row]))
    same = (audit.reason == audit.reason[row]) & (audit.given == audit.given[row])
    same &= audit.label == audit.label[row]
    assert found.same == same.sum() - 1
    assert set(found.like) <= set(audit.ids[same].tolist()) - {str(audit.ids[row])}


def test_refused_records_say_what_was_found(run):
    (fact,) = explain_pair(run, "broken-one").decisions
    assert (fact.problem, fact.detail) == ("image_undecodable", "truncated after 10 bytes")
    assert fact.neighbours == ()


def test_an_unknown_id_is_answered_with_the_nearest(run):
    with pytest.raises(ValueError, match=r"no pair with id 'p0001' .*nearest are 'p000\d\d'"):
        explain_pair(run, "p0001")
    assert nearest_ids(run, "broken")[0] == "broken-one"
    assert nearest_ids(run, "P00007")[0] == "p00007"
    assert len(nearest_ids(run, "")) == 5
