"""Networks behind an estimated channel: planted noise, repeats, and odd corpora. All small."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from labelnoise.noise_channel import NoiseChannel
from multimodal.channel_networks import NetworkSettings, fit_channel_networks, pooled
from multimodal.channel_networks.inputs import fit_inputs
from multimodal.channel_networks.networks import train_network
from multimodal.methods import CLEANING_METHODS
from multimodal.methods.channel_network import ChannelNetwork
from multimodal.probe import stratified_folds
from multimodal.rows import Rows
from tests.multimodal.methods.planted import planted, renumbered

SMALL = NetworkSettings(
    n_columns=12, hidden=24, epochs=12, batch=64, rate=1e-2, n_members=2, n_folds=3
)
METHOD = ChannelNetwork(SMALL)
# labels of class 0 turn into 1, those of 2 into 3, and never back
PAIRED = np.array([[0.7, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 0.7, 0.3], [0, 0, 0, 1]])


def paired(n=600, seed=0, **options):
    """Clusters whose labels go wrong in one direction."""
    made = planted(n, wrong_labels=0, wrong_pairs=0, seed=seed, **options)
    draw = np.random.default_rng(seed + 100)
    given = (PAIRED[made.truth].cumsum(1) < draw.random(n)[:, None]).sum(1)
    return replace(made, corpus=replace(made.corpus, given=given))


@pytest.fixture(scope="module")
def case():
    return planted(600)


@pytest.fixture(scope="module")
def audit(case):
    return METHOD.judge(case.corpus, seed=3)


def test_planted_noise_is_found(case, audit):
    assert roc_auc_score(case.right_label, audit.quality) > 0.95
    changed = audit.verdict == "relabel"
    assert changed.sum() > 60
    assert (audit.label == case.truth)[changed].mean() > 0.95
    assert case.right_label[audit.verdict == "keep"].mean() > 0.95
    assert abs(audit.noise_rate - (~case.right_label).mean()) < 0.06


def test_what_is_recorded(case, audit):
    assert CLEANING_METHODS.load("channel_network") is ChannelNetwork
    assert audit.ids.tolist() == case.corpus.ids.tolist()
    assert audit.settings["networks"]["hidden"] == 24
    assert audit.transition.shape == (4, 4)
    assert np.diag(audit.transition).mean() == pytest.approx(0.75, abs=0.1)
    assert {"networks_p_given", "networks_class", "suggested", "margin"} <= set(audit.evidence)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_channel_and_correction_beat_plain_networks_on_one_sided_noise(seed):
    made = paired(seed=seed, spread=1.2)
    corpus = made.corpus
    folds = stratified_folds(corpus.given, 3, ids=corpus.ids.tolist())
    # the first networks of all, which learn the labels as they are, pooled over as many members
    inputs = fit_inputs(corpus.image, np.arange(len(folds)), SMALL.n_columns)
    features = inputs.of(corpus.image.read(0, len(folds)))
    targets = np.eye(4, dtype=np.float32)[corpus.given]
    plain = tuple(
        tuple(
            train_network(
                features[folds.fold != one], targets[folds.fold != one], None, SMALL,
                seed=member * 3 + one,
            )
            for one in range(3)
        )
        for member in range(2)
    )  # fmt: skip
    said = pooled(plain, features, folds.fold)[np.arange(len(folds)), corpus.given]
    found = METHOD.judge(corpus)
    assert roc_auc_score(made.right_label, found.quality) > 0.97
    assert roc_auc_score(made.right_label, found.quality) > (
        roc_auc_score(made.right_label, said) + 0.03
    )
    np.testing.assert_allclose(found.transition, PAIRED, atol=0.08)


def test_nobody_is_judged_by_networks_that_saw_its_label(case):
    # labels at random cannot be foretold, unless they were seen
    given = np.random.default_rng(0).integers(0, 4, 600)
    settings = replace(SMALL, epochs=25, n_members=1)
    folds = stratified_folds(given, 3)
    fitted = fit_channel_networks(case.corpus.image, given, 4, folds=folds, settings=settings)
    view = np.concatenate([block for _, block in fitted.blocks()])
    assert abs((view.argmax(1) == given).mean() - 0.25) < 0.08


def test_seeds_repeat_and_leave_the_global_state_alone(case, audit):
    state = torch.random.get_rng_state()
    again = METHOD.judge(case.corpus, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(again.quality, audit.quality)
    other = METHOD.judge(case.corpus, seed=4)
    assert not np.array_equal(other.quality, audit.quality)
    assert (other.verdict == audit.verdict).mean() > 0.93


def test_the_order_and_cut_of_the_rows_change_nothing(case, audit):
    order = np.random.default_rng(1).permutation(600)
    first, second = audit.select(order), METHOD.judge(renumbered(case.corpus, order), seed=3)
    assert (first.ids == second.ids).all()
    np.testing.assert_allclose(first.quality, second.quality, atol=5e-3)
    # a score at the cut may fall either way, as sums of floats depend on their order
    assert (first.verdict != second.verdict).sum() <= 2


def test_rows_without_a_label_are_judged_by_all_that_was_learnt(case):
    given = case.corpus.given.copy()
    given[::4] = -1
    audit = METHOD.judge(replace(case.corpus, given=given))
    assert set(audit.reason[::4]) == {"no_given_label"}
    assert set(audit.verdict[::4]) <= {"abstain", "relabel"}
    proposed = np.isin(np.arange(600) % 4, 0) & (audit.verdict == "relabel")
    assert (audit.label == case.truth)[proposed].all()
    rest = np.arange(600) % 4 > 0
    assert roc_auc_score(case.right_label[rest], audit.quality[rest]) > 0.95


def test_fewer_rows_than_a_batch():
    made = planted(40)
    audit = ChannelNetwork(replace(SMALL, batch=256)).judge(made.corpus)
    assert np.isfinite(audit.quality).all()
    assert len(audit) == 40


@pytest.mark.parametrize("n", [1, 2, 5])
def test_hardly_any_rows(n):
    audit = METHOD.judge(planted(n).corpus)
    assert len(audit) == n
    assert ((audit.quality >= 0) & (audit.quality <= 1)).all()


def test_no_labels_at_all(case):
    audit = METHOD.judge(replace(case.corpus, given=np.full(600, -1)))
    assert set(audit.reason) == {"no_given_label"}
    assert (audit.quality == 0.5).all()


def test_an_empty_class_is_not_suggested(case):
    names = (*case.corpus.class_names, "nobody's")
    corpus = replace(case.corpus, class_names=names, text=None, class_texts=None)
    audit = METHOD.judge(corpus, seed=3)
    assert not (audit.label == 4).any()
    assert roc_auc_score(case.right_label, audit.quality) > 0.95


def test_block_size_changes_nothing(case):
    folds = stratified_folds(case.corpus.given, 3)
    fitted = fit_channel_networks(
        case.corpus.image, case.corpus.given, 4, folds=folds, settings=replace(SMALL, epochs=2)
    )
    whole = np.concatenate([block for _, block in fitted.blocks()])
    cut = np.concatenate([block for _, block in fitted.blocks(37)])
    np.testing.assert_allclose(whole, cut, atol=1e-6)
    np.testing.assert_allclose(whole.sum(1), 1, atol=1e-9)


def test_only_so_many_rows_train(case):
    # who trains is told by ids; labels of the others change nothing that is learnt
    settings = replace(SMALL, epochs=2, most_rows=200)
    folds = stratified_folds(case.corpus.given, 3, ids=case.corpus.ids.tolist())
    last = np.argsort(folds.key)[200:]
    given = case.corpus.given.copy()
    given[last] = 0
    views = [
        np.concatenate([
            block
            for _, block in fit_channel_networks(
                case.corpus.image, labels, 4, folds=folds, settings=settings
            ).blocks()
        ])
        for labels in (case.corpus.given, given)
    ]  # fmt: skip
    np.testing.assert_array_equal(*views)


def test_a_channel_explains_what_the_labels_get_wrong():
    # noise that turns half of class 0 into 1: behind its channel the network still says 0
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 2, 800)
    rows = np.stack([2.0 * truth - 1, draw.normal(size=800)], axis=1).astype(np.float32)
    noise = np.array([[0.4, 0.6], [0.0, 1.0]])
    given = np.where((truth == 0) & (draw.random(800) < 0.6), 1, truth)
    targets = np.eye(2, dtype=np.float32)[given]
    settings = replace(SMALL, n_columns=2, epochs=30)
    plain = train_network(rows, targets, None, settings, seed=0).answer(rows)
    behind = train_network(rows, targets, NoiseChannel(noise), settings, seed=0).answer(rows)
    assert plain[truth == 0, 0].mean() == pytest.approx(0.4, abs=0.1)
    assert behind[truth == 0, 0].mean() > 0.85
    assert behind[truth == 1, 1].mean() > 0.95


def test_inputs_are_principal_components():
    draw = np.random.default_rng(0)
    rows = (draw.normal(size=(400, 5)) * [5, 3, 1, 0.5, 0.1] + 2).astype(np.float32)
    inputs = fit_inputs(Rows([rows[:150], rows[150:]]), np.arange(400), 3)
    out = inputs.of(rows)
    from sklearn.decomposition import PCA

    expected = PCA(3).fit_transform(rows)
    scale = out.std() / expected.std()
    np.testing.assert_allclose(abs(out), abs(expected) * scale, atol=2e-3)
    assert (out**2).mean() == pytest.approx(1, abs=1e-3)


def test_rejects():
    for settings, words in {
        (("n_folds", 1),): "n_folds must be at least 2",
        (("epochs", 0),): "epochs must be at least 1",
        (("dropout", 1.0),): r"dropout must lie in \[0, 1\)",
        (("rate", 0.0),): "want a positive rate",
    }.items():
        with pytest.raises(ValueError, match=words):
            NetworkSettings(**dict(settings))
    with pytest.raises(ValueError, match="channel_network needs image rows"):
        METHOD.judge(replace(planted(20).corpus, image=None))
