import numpy as np
import pytest

from multimodal import text_prototypes as module
from multimodal.text_prototypes import text_prototypes


class Letters:
    """Counts letters: a linear encoder, so that means of texts can be written down."""

    width, batch_size = 26, 3

    def __init__(self, key="letters", space="letters"):
        self.key, self.space = key, space

    def encode(self, texts):
        rows = np.array([[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def direction(row):
    return row / np.linalg.norm(row)


ALIGNED = Letters(key="clip-text", space="clip")
CLASSES = [["shirt", "a garment", " "], [], ["bag"], ["", "worn on feet", "pairs", "leather"]]


def test_chunks_are_the_normalised_mean_of_unit_rows():
    encoder = Letters()
    found = text_prototypes(CLASSES, encoder)
    for row, texts in zip(found, CLASSES, strict=True):
        full = [text for text in texts if text.strip()]
        wanted = direction(encoder.encode(full).mean(0)) if full else np.zeros(26)
        np.testing.assert_allclose(row, wanted, atol=1e-6)
    assert found.dtype == np.float32


def test_single_joins_before_encoding():
    encoder = Letters()
    found = text_prototypes(CLASSES, encoder, class_text="single")
    np.testing.assert_allclose(found[0], encoder.encode(["shirt a garment"])[0], atol=1e-6)
    assert not found[1].any()


def test_aligned_encoders_get_a_prompt_for_the_name_alone():
    found = text_prototypes([["shirt", "worn by men"]], ALIGNED)
    rows = ALIGNED.encode(["a photo of a shirt", "worn by men"])
    np.testing.assert_allclose(found[0], direction(rows.sum(0)), atol=1e-6)
    bare = text_prototypes([["shirt"]], ALIGNED, templates=("{}",))
    np.testing.assert_allclose(bare, ALIGNED.encode(["shirt"]), atol=1e-6)


def test_several_templates_stand_for_one_name():
    templates = ("a {}", "one {} here")
    found = text_prototypes([["shirt", "of cotton"]], Letters(), templates=templates)
    rows = Letters().encode(["a shirt", "one shirt here", "of cotton"])
    np.testing.assert_allclose(found[0], direction(rows[:2].mean(0) + rows[2]), atol=1e-6)


def test_braces_in_a_name_are_letters_like_others():
    found = text_prototypes([["a {0} {}"]], Letters(), templates=("x {}",))
    np.testing.assert_allclose(found, Letters().encode(["x a {0} {}"]), atol=1e-6)


def test_blocks_and_order_of_classes_do_not_matter(monkeypatch):
    whole = text_prototypes(CLASSES, Letters())
    monkeypatch.setattr(module, "CLASSES_TOGETHER", 2)
    np.testing.assert_allclose(text_prototypes(CLASSES, Letters()), whole, atol=1e-6)
    turned = text_prototypes(CLASSES[::-1], Letters())
    np.testing.assert_allclose(turned[::-1], whole, atol=1e-6)
    assert text_prototypes([], Letters()).shape == (0, 26)


def test_errors():
    with pytest.raises(ValueError, match="class_text must be one of"):
        text_prototypes([["a"]], Letters(), class_text="both")
    for templates in ([], ["a photo"], ["{} and {}"]):
        with pytest.raises(ValueError, match=r"one \{\} each"):
            text_prototypes([["a"]], Letters(), templates=templates)
