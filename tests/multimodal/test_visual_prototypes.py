import numpy as np
import pytest
import torch

from labelnoise.kernels.momentum_prototypes import MomentumSums
from multimodal.rows import Rows
from multimodal.visual_prototypes import (
    core_prototypes,
    core_sums,
    momentum_pass,
    momentum_sums,
    moved,
    prototypes_of,
    samples_after,
)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def corpus(n_rows: int = 90, n_classes: int = 4):
    rng = np.random.default_rng(0)
    rows = unit(rng.normal(size=(n_rows, 5))).astype(np.float32)
    return rows, rng.integers(-1, n_classes, n_rows)


def loop(vectors, rows, labels, momentum):
    """CAPro's own update, sample by sample."""
    vectors = vectors.astype(np.float64)
    for row, label in zip(rows, labels, strict=True):
        if label >= 0:
            vectors[label] = momentum * vectors[label] + (1 - momentum) * row
    return unit(vectors)


def test_the_core_gives_normalised_means():
    rows, labels = corpus()
    core = np.flatnonzero(labels >= 0)[::-1]

    found = core_prototypes(Rows([rows[:50], rows[50:]]), core, labels[core], 4)

    wanted = unit(np.stack([rows[labels == c].mean(0) for c in range(4)]))
    np.testing.assert_allclose(found.vectors, wanted, atol=1e-6)
    assert found.counts.tolist() == [(labels == c).sum() for c in range(4)]
    assert found.present.all()


def test_classes_of_nothing_one_and_of_rows_that_cancel_out():
    rows = np.array([[1, 0], [-1, 0], [0, 1]], dtype=np.float32)
    found = core_prototypes(Rows([rows]), np.array([0, 1, 2]), np.array([0, 0, 2]), 3)

    assert found.absent == [0, 1]
    assert found.vectors.tolist() == [[0, 0], [0, 0], [0, 1]]


def test_one_sample_may_stand_for_several_classes():
    rows = np.array([[1, 0], [0, 1]], dtype=np.float32)
    found = core_prototypes(Rows([rows]), np.array([0, 0]), np.array([1, 0]), 2)
    assert found.vectors.tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.999, 1.0])
def test_a_pass_equals_the_loop(momentum):
    rows, labels = corpus()
    start = core_prototypes(Rows([rows]), np.arange(4), np.arange(4), 4)

    found = momentum_pass(start, Rows([rows[:33], rows[33:]]), labels, momentum=momentum)

    wanted = loop(start.vectors, rows, labels, momentum)
    np.testing.assert_allclose(found.vectors, wanted, atol=1e-6)
    assert found.counts.tolist() == [1 + (labels == c).sum() for c in range(4)]


def test_keys_say_who_comes_first_whatever_the_numbering():
    rows, labels = corpus()
    rng = np.random.default_rng(1)
    keys, order = rng.permutation(90).astype(np.uint64), rng.permutation(90)
    start = core_prototypes(Rows([rows]), np.arange(4), np.arange(4), 4)

    here = momentum_pass(start, Rows([rows]), labels, momentum=0.8, keys=keys)
    there = momentum_pass(start, Rows([rows[order]]), labels[order], momentum=0.8, keys=keys[order])

    sequence = np.argsort(keys)
    wanted = loop(start.vectors, rows[sequence], labels[sequence], 0.8)
    np.testing.assert_allclose(here.vectors, wanted, atol=1e-6)
    np.testing.assert_allclose(there.vectors, here.vectors, atol=1e-7)


def test_shards_add_up():
    rows, labels = corpus()
    start = core_prototypes(Rows([rows]), np.arange(4), np.arange(4), 4)
    after = samples_after(labels)
    cuts = [slice(0, 20), slice(20, 21), slice(21, 90)]

    parts = [
        momentum_sums(Rows([rows[cut]]), labels[cut], 4, after[cut], momentum=0.7) for cut in cuts
    ]
    whole = MomentumSums(0.7, sum(p.counts for p in parts), sum(p.sums for p in parts))
    in_order = [
        momentum_sums(
            Rows([rows[cut]]), labels[cut], 4, samples_after(labels[cut]), momentum=0.7
        )
        for cut in cuts
    ]  # fmt: skip

    wanted = momentum_pass(start, Rows([rows]), labels, momentum=0.7)
    np.testing.assert_allclose(moved(start, whole).vectors, wanted.vectors, atol=1e-7)
    merged = in_order[0].merge(in_order[1]).merge(in_order[2])
    np.testing.assert_allclose(moved(start, merged).vectors, wanted.vectors, atol=1e-7)


def test_sums_of_shards_of_the_core_merge():
    rows, labels = corpus()
    core = np.flatnonzero(labels >= 0)
    whole = core_prototypes(Rows([rows]), core, labels[core], 4)
    left, right = core[:30], core[30:]

    merged = core_sums(Rows([rows]), left, labels[left], 4).merge(
        core_sums(Rows([rows]), right, labels[right], 4)
    )

    np.testing.assert_allclose(prototypes_of(merged).vectors, whole.vectors, atol=1e-7)


def test_an_absent_class_stays_absent():
    rows, labels = corpus()
    start = core_prototypes(Rows([rows]), np.arange(3), np.arange(3), 4)
    found = momentum_pass(start, Rows([rows]), labels, momentum=0.5)
    assert found.absent == [3]
    assert not found.vectors[3].any()


def test_samples_after_by_hand():
    assert samples_after(np.array([1, 0, 1, -1, 1, 0])).tolist() == [2, 1, 1, 0, 0, 0]
    keys = np.array([3, 2, 1], dtype=np.uint64)
    assert samples_after(np.array([0, 0, 0]), keys).tolist() == [0, 1, 2]


def test_errors():
    rows = Rows([torch.eye(3).numpy()])
    with pytest.raises(ValueError, match="core_classes must be"):
        core_prototypes(rows, np.array([0]), np.array([0, 1]), 2)
    with pytest.raises(ValueError, match="labels must lie in"):
        core_prototypes(rows, np.array([0]), np.array([2]), 2)
    start = core_prototypes(rows, np.array([0, 1]), np.array([0, 1]), 2)
    with pytest.raises(ValueError, match=r"labels and after must be \[3\]"):
        momentum_pass(start, rows, np.array([0]))
    with pytest.raises(ValueError, match=r"labels must lie in -1 \.\. 1"):
        momentum_pass(start, rows, np.array([0, 1, 2]))
    with pytest.raises(ValueError, match="momentum must lie in"):
        momentum_pass(start, rows, np.array([0, 1, 1]), momentum=1.5)
