from dataclasses import replace

import numpy as np
import pytest

from multimodal.embedded import EmbeddedCorpus
from multimodal.methods.neighbour_vote import NeighbourVote
from multimodal.rows import Rows
from tests.multimodal.methods.planted import planted


def on_a_line(given, n_classes):
    """Images on an arc, so that neighbours are the rows beside."""
    angles = np.arange(len(given)) * 0.1
    image = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    names = tuple("abc"[:n_classes])
    return EmbeddedCorpus(np.arange(len(given)).astype(str), given, names, image=Rows([image]))


def test_an_arc_by_hand_with_each_row_left_out_of_its_own_vote():
    # the neighbours of row 2 are rows 1 and 3: itself excluded it is outvoted
    given = np.array([0, 0, 1, 0, 0, 1, 1, 1])
    method = NeighbourVote(k=2, fit_to_classes=False, balanced=False)
    audit = method.judge(on_a_line(given, 2))
    assert audit.evidence["vote_ratio"].tolist() == [0.5 / 0.5, 1, 0, 1, 1, 1, 1, 1]
    assert audit.verdict[2] == "relabel"
    assert audit.label[2] == 0
    assert audit.quality[2] == 0
    assert audit.quality[1] == 0.5
    assert audit.quality[7] == 1


def test_the_ladder_of_verdicts():
    given = np.array([0, 0, 1, 0, 0, -1, 0, 0, -1, -1, -1])
    method = NeighbourVote(k=2, fit_to_classes=False, balanced=False)
    audit = method.judge(on_a_line(given, 3))
    assert audit.verdict.tolist()[:7] == [
        "keep", "keep", "relabel", "keep", "keep", "abstain", "keep",
    ]  # fmt: skip
    proposed = replace(method, label_unlabelled=True).judge(on_a_line(given, 3))
    assert proposed.verdict[5] == "relabel"
    assert proposed.reason[5] == "no_given_label"
    assert proposed.label[5] == 0
    # both neighbours of the last row have no label
    assert proposed.verdict[10] == "abstain"
    lonely = method.judge(on_a_line(np.array([-1, -1, -1, 0]), 1))
    assert lonely.reason[3] == "no_votes"
    assert lonely.quality[3] == 0.5
    # the two neighbours of row 1 are of two other classes: no clear leader
    torn = method.judge(on_a_line(np.array([0, 2, 1]), 3))
    assert (torn.verdict[1], torn.reason[1]) == ("reject", "outvoted")


def test_a_later_round_votes_with_the_relabelled():
    case = planted(300, wrong_labels=0.4)
    first, second = (NeighbourVote(k=20, rounds=n).judge(case.corpus) for n in (1, 2))
    right = [(audit.label == case.truth).sum() for audit in (first, second)]
    assert right[1] > right[0]


def test_small_classes_ask_fewer_neighbours():
    audit = NeighbourVote(k=200).judge(planted(400).corpus)
    assert audit.settings["neighbours_asked"] == 50
    few = NeighbourVote(k=200, fit_to_classes=False).judge(planted(40).corpus)
    assert few.settings["neighbours_asked"] == 200


def test_settings_are_checked():
    with pytest.raises(ValueError, match="k and rounds"):
        NeighbourVote(k=0)
    with pytest.raises(ValueError, match="keep_ratio"):
        NeighbourVote(keep_ratio=2)
    with pytest.raises(ValueError, match="relabel_lead"):
        NeighbourVote(relabel_lead=0.4)
