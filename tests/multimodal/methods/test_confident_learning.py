import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from labelnoise.confident_learning import audit_labels
from multimodal.embedded import EmbeddedCorpus
from multimodal.methods.confident_learning import ConfidentLearning
from multimodal.methods.neighbour_vote import NeighbourVote
from multimodal.probe import ProbeSettings, out_of_fold_probe, stratified_folds
from multimodal.rows import Rows
from tests.multimodal.methods.planted import planted


def test_the_floor_judges_the_probabilities_of_the_probe():
    corpus = planted(200).corpus
    probe = out_of_fold_probe(
        corpus.image, corpus.given, 4, settings=ProbeSettings(class_weight="balanced"),
        folds=stratified_folds(corpus.given, 5, ids=corpus.ids, seed=2),
    )  # fmt: skip
    dense = np.concatenate([block for _, block in probe.blocks(64)])
    wanted = audit_labels(
        corpus.given, dense, class_names=corpus.class_names, ranking="normalized_margin"
    )
    found = ConfidentLearning(relabel=False).judge(corpus, seed=2)
    assert np.array_equal(found.verdict, wanted.verdict)
    assert found.quality == pytest.approx(wanted.quality, abs=1e-5)
    assert found.noise_rate == pytest.approx(wanted.noise_rate)
    assert found.evidence["suggested_p"] == pytest.approx(dense.max(axis=1), abs=1e-6)


def test_flagged_labels_are_relabelled_only_where_the_probe_is_sure():
    case = planted(400)
    audit = ConfidentLearning().judge(case.corpus)
    moved, dropped = audit.verdict == "relabel", audit.verdict == "reject"
    assert moved.sum() > 50
    assert (audit.label == case.truth)[moved].mean() > 0.95
    assert (audit.evidence["suggested_p"][moved] >= 0.6).all()
    assert np.array_equal(audit.label[moved], audit.evidence["suggested"][moved])
    flagged = ConfidentLearning(relabel=False).judge(case.corpus).verdict == "reject"
    assert np.array_equal(flagged, moved | dropped)


def test_rows_without_a_label_get_a_suggestion_and_no_verdict():
    case = planted(300)
    given = case.corpus.given.copy()
    given[:30] = -1
    audit = ConfidentLearning().judge(replace(case.corpus, given=given))
    assert set(audit.reason[:30]) == {"no_given_label"}
    assert (audit.quality[:30] == 0.5).all()
    assert (audit.evidence["suggested"][:30] == case.truth[:30]).mean() > 0.9
    assert np.isnan(audit.evidence["self_confidence"][:30]).all()


def test_settings_are_checked():
    with pytest.raises(ValueError, match="filter_by must be one of"):
        ConfidentLearning(filter_by="all")
    with pytest.raises(ValueError, match="class_weight must be one of"):
        ConfidentLearning(class_weight="heavy")
    with pytest.raises(ValueError, match="relabel_probability"):
        ConfidentLearning(relabel_probability=2)
    corpus = EmbeddedCorpus(
        np.array(["a"]), np.array([0]), tuple(map(str, range(10_001))),
        image=Rows([np.ones((1, 2), np.float32)]),
    )  # fmt: skip
    with pytest.raises(ValueError, match="at most 10000 classes"):
        ConfidentLearning().judge(corpus)


@pytest.mark.real_data
def test_both_find_people_s_wrong_labels_of_cifar10n(real_data):
    raw = np.load(
        real_data / "cifar10n/mobilenetv2_int8_first25000.npy", mmap_mode="r", allow_pickle=False
    )[:5000]
    quant = json.loads((real_data / "mobilenetv2/quant.json").read_text())
    image = (raw.astype(np.float32) - quant["zero_point"]) * np.float32(quant["scale"])
    image /= np.linalg.norm(image, axis=1, keepdims=True)
    with np.load(real_data / "cifar10n/cifar10n_labels.npz", allow_pickle=False) as labels:
        given = labels["worse_label"][:5000].astype(np.int64)
        truth = labels["clean_label"][:5000]
    corpus = EmbeddedCorpus(
        np.arange(5000).astype(str), given, tuple("0123456789"), image=Rows([image])
    )
    # the defaults were set on other data
    for method in (NeighbourVote(), ConfidentLearning()):
        audit = method.judge(corpus)
        assert roc_auc_score(given == truth, audit.quality) > 0.84
        used = audit.label >= 0
        assert (audit.label == truth)[used].mean() > (given == truth).mean() + 0.15
