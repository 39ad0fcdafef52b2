import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelnoise.confident_learning import (
    FILTERS,
    RANKINGS,
    JointState,
    ThresholdState,
    TopProbabilities,
    audit_labels,
    audit_state,
    calibrate_joint,
    count_joint,
    find_label_errors,
    top_probabilities,
)
from labelnoise.confident_learning.ranking import confidence_weighted_entropy

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def cleanlab():
    pytest.importorskip("cleanlab")
    from cleanlab import count, filter, rank

    def flag(labels, probs, by):
        with warnings.catch_warnings():
            # its advice on classes it would flag as a whole is not under test
            warnings.simplefilter("ignore", UserWarning)
            return filter.find_label_issues(labels, probs, filter_by=by, n_jobs=1)

    return {
        "flag": flag,
        "joint": count.compute_confident_joint,
        "latent": count.estimate_latent,
        "quality": lambda y, p, by: rank.get_label_quality_scores(y, p, method=by),
    }


def random_case(seed, *, n=None, k=None, ties=False, rare=False):
    rng = np.random.default_rng(seed)
    k = k or int(rng.integers(2, 9))
    n = n or int(rng.integers(2 * k, 90))
    labels = rng.integers(0, k, n)
    if rare:  # class sizes that halve: the last ones have one member or none
        labels = np.minimum(rng.geometric(0.5, n) - 1, k - 1)
    labels[:2] = [0, 1]  # the oracle wants two classes
    probs = rng.dirichlet(np.full(k, rng.choice([0.2, 1, 5])), n)
    if ties:
        probs = np.round(probs * 4) / 4
        probs[probs.sum(axis=1) == 0] = 1 / k
        probs /= probs.sum(axis=1, keepdims=True)
    return labels, probs


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), ties=st.booleans(), rare=st.booleans())
def test_equals_cleanlab(cleanlab, seed, ties, rare):
    labels, probs = random_case(seed, ties=ties, rare=rare)
    state = count_joint(labels, probs)

    np.testing.assert_array_equal(state.joint(), cleanlab["joint"](labels, probs))
    for name in FILTERS:
        want = cleanlab["flag"](labels, probs, name)
        np.testing.assert_array_equal(FILTERS[name](state), want, err_msg=name)


def test_equals_cleanlab_where_a_class_must_keep_a_sample(cleanlab):
    # nobody is confident in class 0, so that its estimated size has to be raised to one
    for seed in range(12):
        labels, probs = random_case(seed, n=100, k=8)
        probs[:, 0] *= np.where(labels == 0, 0.02, 4)
        probs /= probs.sum(axis=1, keepdims=True)
        for name in FILTERS:
            want = cleanlab["flag"](labels, probs, name)
            np.testing.assert_array_equal(find_label_errors(labels, probs, filter_by=name), want)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["cifar10", "mnist"])
def test_equals_cleanlab_on_real_predictions(cleanlab, real_data, name):
    folder = real_data / "label_errors"
    probs = np.load(folder / "pyx" / f"{name}_test_set_pyx.npy")
    labels = np.load(folder / "labels" / f"{name}_test_set_original_labels.npy").astype(np.int64)

    masks = {by: find_label_errors(labels, probs, filter_by=by) for by in FILTERS}

    for by, mask in masks.items():
        np.testing.assert_array_equal(mask, cleanlab["flag"](labels, probs, by), err_msg=by)
    published = {"cifar10": 244, "mnist": 15}
    assert masks["confident_learning"].sum() == published[name]


@pytest.mark.parametrize("ranking", RANKINGS)
def test_rankings_equal_cleanlab(cleanlab, ranking):
    for seed in range(20):
        labels, probs = random_case(seed)
        unsure = probs.max(axis=1) < 0.999999  # a row without entropy is a matter of definition
        labels, probs = labels[unsure], probs[unsure]

        quality = RANKINGS[ranking](labels, probs)

        want = cleanlab["quality"](labels, probs, ranking)
        np.testing.assert_allclose(quality, want, rtol=1e-5, atol=1e-9)


def test_entropy_ranking_of_a_sure_row():
    sure = np.array([[1.0, 0, 0], [1.0, 0, 0]])

    assert confidence_weighted_entropy(np.array([0, 1]), sure).tolist() == [1.0, 0.0]


def test_noise_matrices_equal_cleanlab(cleanlab):
    labels, probs = random_case(4, n=80, k=4)
    state = count_joint(labels, probs)
    noise = state.noise()

    prior, transition, inverse = cleanlab["latent"](state.joint(), labels)

    np.testing.assert_allclose(noise.prior, prior, atol=1e-12)
    np.testing.assert_allclose(noise.transition, transition.T, atol=1e-12)
    np.testing.assert_allclose(noise.inverse, inverse.T, atol=1e-12)
    assert noise.joint.sum() == pytest.approx(1)


def test_hand_made():
    probs = [[0.9, 0.1], [0.7, 0.3], [0.1, 0.9], [0.2, 0.8], [0.1, 0.9]]
    first = ThresholdState(2)
    first.update([0, 0, 0, 1, 1], probs)
    np.testing.assert_allclose(first.thresholds(), [1.7 / 3, 0.85])

    state = JointState(first.thresholds())
    state.update([0, 0, 0, 1, 1], probs)

    # sample 3 is under the threshold of class 1, hence counted nowhere; row 1 is scaled up to 2
    assert state.pairs.tolist() == [[2, 1], [0, 1]]
    assert state.joint().tolist() == [[2, 1], [0, 2]]
    assert state.noise().noise_rate == pytest.approx(1 / 5)
    for by in FILTERS:
        assert FILTERS[by](state).tolist() == [False, False, True, False, False]


def test_recovers_the_noise_it_was_given():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 30_000)
    matrix = np.array([[0.8, 0.2, 0], [0, 0.9, 0.1], [0.3, 0, 0.7]])
    labels = (matrix.cumsum(axis=1)[truth] < rng.random((30_000, 1))).sum(axis=1)
    probs = 0.94 * np.eye(3)[truth] + 0.02

    state = count_joint(labels, probs)

    np.testing.assert_allclose(state.noise().transition, matrix, atol=0.01)
    np.testing.assert_array_equal(find_label_errors(labels, probs), labels != truth)


@pytest.mark.parametrize("form", ["dense", "top", "kept"])
@pytest.mark.parametrize("by", FILTERS)
def test_a_stream_in_parts_is_the_whole(form, by):
    labels, probs = random_case(3, n=83, k=7)
    given = top_probabilities(probs, labels, 3) if form == "top" else probs
    keep = 3 if form == "kept" else None
    whole = JointState(count_joint(labels, given).thresholds, keep)
    whole.update(labels, given)

    first, second = [ThresholdState(7), ThresholdState(7)], []
    parts = [slice(0, 5), slice(5, 5), slice(5, 60), slice(60, 83)]
    batches = [(labels[part], probs[part]) for part in parts]
    if form == "top":
        batches = [(y, top_probabilities(p, y, 3)) for y, p in batches]
    for worker, (y, p) in enumerate(batches):
        first[worker // 2].update(y, p)
    first[0].merge(first[1])
    for worker in range(2):
        second.append(JointState(first[0].thresholds(), keep))
        for y, p in batches[2 * worker : 2 * worker + 2]:
            second[worker].update(y, p)
    second[0].merge(second[1])

    np.testing.assert_array_equal(second[0].joint(), whole.joint())
    np.testing.assert_array_equal(FILTERS[by](second[0]), FILTERS[by](whole))


@pytest.mark.parametrize("seed", range(5))
def test_all_top_probabilities_are_the_dense_ones(seed):
    labels, probs = random_case(seed, n=70, k=6)
    top = top_probabilities(probs, labels, 6)

    for by in FILTERS:
        np.testing.assert_array_equal(
            find_label_errors(labels, top, filter_by=by),
            find_label_errors(labels, probs, filter_by=by),
            err_msg=by,
        )
    for name, rank in RANKINGS.items():
        np.testing.assert_allclose(rank(labels, top), rank(labels, probs), err_msg=name)


def test_few_top_probabilities_flag_a_part_of_the_dense_ones():
    labels, probs = random_case(0, n=2000, k=40)
    top = top_probabilities(probs, labels, 8)

    few, all_ = (find_label_errors(labels, p, filter_by="confident_learning") for p in (top, probs))

    assert 0 < (few & all_).sum() <= all_.sum()
    assert (few & all_).sum() > 0.9 * all_.sum()


def test_renumbered_classes_and_shuffled_rows():
    labels, probs = random_case(1, n=200, k=5)
    rows, classes = np.random.default_rng(0).permutation(200), np.array([3, 0, 4, 1, 2])
    renamed = np.argsort(classes)[labels]

    for by in FILTERS:
        if by in ("prune_by_noise_rate", "both"):
            continue  # a remainder of one half is rounded by class number
        other = find_label_errors(renamed[rows], probs[rows][:, classes], filter_by=by)
        np.testing.assert_array_equal(other, find_label_errors(labels, probs, filter_by=by)[rows])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept_and_input_untouched(dtype):
    labels, probs = random_case(1, n=50, k=3)
    probs = probs.astype(dtype)
    before = probs.copy()

    audit = audit_labels(labels, probs, class_names=NAMES)

    assert audit.quality.dtype == dtype
    np.testing.assert_array_equal(probs, before)


@pytest.mark.parametrize("by", FILTERS)
@pytest.mark.parametrize("relabel", [False, True])
def test_audit(by, relabel, tmp_path):
    labels, probs = random_case(2, n=120, k=3)
    flagged = find_label_errors(labels, probs, filter_by=by)

    audit = audit_labels(labels, probs, class_names=NAMES, filter_by=by, relabel=relabel)

    np.testing.assert_array_equal(audit.to_cleanlab_frame().is_label_issue, flagged)
    np.testing.assert_array_equal(audit.label[~flagged], labels[~flagged])
    likeliest = np.where(probs.argmax(axis=1) == labels, -1, probs.argmax(axis=1))
    np.testing.assert_array_equal(audit.label[flagged], likeliest[flagged] if relabel else -1)
    assert audit.noise_rate == pytest.approx(count_joint(labels, probs).noise().noise_rate)
    audit.write(tmp_path / "audit.parquet")


def test_nothing_at_all():
    assert find_label_errors([], np.zeros((0, 3))).tolist() == []
    assert len(audit_state(JointState(np.full(3, 0.5)), class_names=NAMES)) == 0


def test_calibration_keeps_row_totals():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 9, (12, 12)) + np.eye(12, dtype=int)
    sizes = rng.integers(1, 500, 12)

    assert calibrate_joint(counts, sizes).sum(axis=1).tolist() == sizes.tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: find_label_errors([0, 2], np.full((2, 2), 0.5)), r"0 \.\. 1, found 2 at 1"),
        (lambda: find_label_errors([0, -1], np.full((2, 2), 0.5)), "found -1 at 1"),
        (lambda: find_label_errors([0.0, 1.0], np.full((2, 2), 0.5)), "must be integers"),
        (lambda: find_label_errors([0], np.full((2, 2), 0.5)), r"labels must be \[2\]"),
        (lambda: find_label_errors([0, 1], [[0.5, 0.5], [0.5, np.nan]]), "row 1 does not"),
        (lambda: find_label_errors([0, 1], [[0.5, 1.5], [0.5, 0.5]]), "row 0 does not"),
        (lambda: find_label_errors([0], np.zeros(3)), r"probs must be \[N, K\]"),
        (lambda: find_label_errors([0], [[1.0, 0]], filter_by="best"), "filter_by must be one of"),
        (
            lambda: audit_labels([0], [[1.0, 0]], class_names=("a", "b"), ranking="best"),
            "ranking must be one of",
        ),
        (lambda: ThresholdState(3).update([0], [[0.5, 0.5]]), "3 classes, got 2"),
        (lambda: JointState(np.ones(2)).merge(JointState(np.zeros(2))), "share their thresholds"),
        (
            lambda: TopProbabilities(np.array([[5]]), np.array([[0.5]]), np.array([0.5]), 3),
            r"index must lie in 0 \.\. 2",
        ),
        (
            lambda: TopProbabilities(np.array([[0]]), np.array([[1.5]]), np.array([0.5]), 3),
            "value must hold probabilities",
        ),
        (
            lambda: TopProbabilities(np.array([[0]]), np.array([[0.5]]), np.ones(2), 3),
            r"given must be \[1\]",
        ),
        (lambda: top_probabilities([[0.5, 0.5]], [0], 0), "at least 1"),
    ],
)
def test_rejects(call, message):
    with pytest.raises(ValueError, match=message):
        call()
