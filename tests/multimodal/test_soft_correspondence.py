import numpy as np
import pytest

from multimodal import soft_correspondence as module
from multimodal.rows import Rows
from multimodal.soft_correspondence import Anchors, inverse_ratio, soft_correspondence


def unit(rng, n, d):
    rows = rng.normal(size=(n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def by_hand(a, b, anchors, row, k):
    """The published ratios of one row, written out."""
    others = [one for one in anchors if one != row]
    image = [np.linalg.norm(a[row] - a[one]) for one in others]
    text = [np.linalg.norm(b[row] - b[one]) for one in others]
    ratios = [
        min(x, y) / max(x, y) if max(x, y) > 0 else 1.0 for x, y in zip(image, text, strict=True)
    ]
    nearest_image = np.argsort(image, kind="stable")[:k]
    nearest_text = np.argsort(text, kind="stable")[:k]
    return np.mean([ratios[p] for p in nearest_image]), np.mean([ratios[q] for q in nearest_text])


@pytest.mark.parametrize("k", [1, 3, 50])
def test_the_ratios_are_those_written_out(k):
    rng = np.random.default_rng(0)
    a, b = unit(rng, 40, 6), unit(rng, 40, 4)
    rows = np.array([5, 0, 17, 22, 39, 8])
    found = soft_correspondence(Rows([a]), Rows([b]), Anchors.of(Rows([a]), Rows([b]), rows), k=k)
    for row in range(40):
        image_to_text, text_to_image = by_hand(a, b, rows.tolist(), row, k)
        assert found.image_to_text[row] == pytest.approx(image_to_text, abs=1e-5)
        assert found.text_to_image[row] == pytest.approx(text_to_image, abs=1e-5)
    assert found.soft == pytest.approx((found.image_to_text + found.text_to_image) / 2)


def test_swapping_the_sides_swaps_the_ratios():
    rng = np.random.default_rng(1)
    a, b, rows = Rows([unit(rng, 30, 5)]), Rows([unit(rng, 30, 5)]), np.arange(0, 30, 4)
    one = soft_correspondence(a, b, Anchors.of(a, b, rows))
    other = soft_correspondence(b, a, Anchors.of(b, a, rows))
    assert np.array_equal(one.image_to_text, other.text_to_image)
    assert np.array_equal(one.text_to_image, other.image_to_text)


def test_a_pair_identical_to_an_anchor_gives_one():
    rng = np.random.default_rng(2)
    a, b = unit(rng, 10, 5), unit(rng, 10, 3)
    a[9], b[9] = a[0], b[0]
    images, texts = Rows([a]), Rows([b])
    found = soft_correspondence(images, texts, Anchors.of(images, texts, np.arange(5)), k=1)
    assert found.soft[9] == 1.0
    # row 0 is that anchor: it may not vouch for itself
    assert found.soft[0] < 1.0


def test_the_same_space_twice_gives_one_everywhere():
    rows = Rows([unit(np.random.default_rng(3), 12, 4)])
    found = soft_correspondence(rows, rows, Anchors.of(rows, rows, np.arange(6)))
    assert found.soft == pytest.approx(np.ones(12))


def test_block_size_changes_nothing_and_gaps_are_nan(monkeypatch):
    rng = np.random.default_rng(4)
    a, b = unit(rng, 33, 5), unit(rng, 33, 5)
    b[4] = 0
    images, texts = Rows([a]), Rows([b])
    anchors = Anchors.of(images, texts, np.array([0, 1, 2]))
    whole = soft_correspondence(images, texts, anchors)
    assert np.flatnonzero(np.isnan(whole.soft)).tolist() == [4]
    monkeypatch.setattr(module, "BLOCK_VALUES", 7 * 5 * 5)
    cut = Rows([a[:9], a[9:]]), Rows([b[:20], b[20:]])
    assert soft_correspondence(*cut, anchors).soft == pytest.approx(whole.soft, nan_ok=True)
    alone = Anchors.of(images, texts, np.array([7]))
    assert np.isnan(soft_correspondence(images, texts, alone).soft[7])


def test_zero_by_zero_is_one_and_errors_are_named():
    assert inverse_ratio([0.0, 0.0, 2.0], [0.0, 1.0, 4.0]).tolist() == [1.0, 0.0, 0.5]
    rows = Rows([np.eye(3, dtype=np.float32)])
    with pytest.raises(ValueError, match="at least one row"):
        Anchors.of(rows, rows, np.array([], int))
    with pytest.raises(ValueError, match="row 1 has not"):
        Anchors.of(rows, Rows([np.diag([1, 0, 1]).astype(np.float32)]), np.array([0, 1]))
    with pytest.raises(ValueError, match="k must be at least 1"):
        soft_correspondence(rows, rows, Anchors.of(rows, rows, np.array([0])), k=0)
