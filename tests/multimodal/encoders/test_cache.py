import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from multimodal.encoders.cache import (
    STORAGES,
    EmbeddingCache,
    content_digest,
    open_cached,
    quantise_rows,
)
from multimodal.rows import Rows

ERROR = {"float32": 0.0, "float16": 2.0**-11, "int8": 1 / 254}


def unit(n, width, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(params=STORAGES)
def storage(request):
    return request.param


class TestStorage:
    def test_rows_come_back_within_the_stated_error(self, tmp_path, storage):
        rows = unit(37, 12)
        rows[5] = 0
        cache = EmbeddingCache(tmp_path, storage=storage)
        path = cache.put("model", "digest", rows)
        assert cache.get("model", "digest") == path
        back = open_cached([path])
        assert back.shape == (37, 12)
        size = np.abs(rows)
        # float16 errs by its own entry, int8 by the row's largest
        size = size.max(axis=1, keepdims=True) if storage == "int8" else size
        assert (np.abs(back.read(0, 37) - rows) <= ERROR[storage] * size + 3e-8).all()
        assert not back.read(5, 6).any()

    def test_pieces_are_gathered_like_one_matrix(self, tmp_path, storage):
        cache = EmbeddingCache(tmp_path, storage=storage)
        parts = [unit(n, 6, seed=n) for n in (5, 1, 9)]
        paths = [cache.put("model", str(len(part)), part) for part in parts]
        back, wanted = open_cached(paths), np.concatenate(parts)
        numbers = np.array([14, 0, 5, 5, 7])
        np.testing.assert_allclose(back.gather(numbers), wanted[numbers], atol=0.004)
        np.testing.assert_allclose(back.read(3, 11), wanted[3:11], atol=0.004)

    @pytest.mark.parametrize("half", ["float16", "float32"])
    def test_floats_are_plain_files(self, tmp_path, half):
        path = EmbeddingCache(tmp_path, storage=half).put("model", "d", unit(4, 3))
        assert Rows.open([path]).shape == (4, 3)
        assert np.load(path).dtype == half

    @given(
        arrays(
            np.float32,
            st.tuples(st.integers(0, 5), st.integers(1, 6)),
            elements=st.floats(-1e6, 1e6, width=32),
        )
    )
    def test_small_integers_err_by_half_a_step(self, rows):
        numbers, scales = quantise_rows(rows)
        back = numbers.astype(np.float64) * scales[:, None]
        # subnormal scales have few bits left; no unit row comes near them
        assert (np.abs(back - rows) <= scales[:, None] * 0.501 + 1e-37).all()

    def test_no_rows(self, tmp_path, storage):
        cache = EmbeddingCache(tmp_path, storage=storage)
        assert open_cached([cache.put("model", "d", np.empty((0, 4), np.float32))]).shape == (0, 4)


class TestLookingUp:
    def test_another_model_content_or_storage_is_another_entry(self, tmp_path):
        cache = EmbeddingCache(tmp_path)
        cache.put("model", "digest", unit(3, 2))
        assert cache.get("other", "digest") is None
        assert cache.get("model", "else") is None
        assert EmbeddingCache(tmp_path, storage="int8").get("model", "digest") is None
        assert EmbeddingCache(tmp_path).get("model", "digest") is not None

    def test_made_once(self, tmp_path, storage):
        calls = []

        def make():
            calls.append(1)
            return unit(3, 2)

        for _ in range(3):
            EmbeddingCache(tmp_path, storage=storage).get_or_make("model", "digest", make)
        assert len(calls) == 1

    @pytest.mark.parametrize("damage", ["cut", "flip", "gone", "record", "no record", "list"])
    def test_damage_is_seen_and_mended(self, tmp_path, storage, damage):
        cache, rows = EmbeddingCache(tmp_path, storage=storage), unit(20, 5)
        path = cache.put("model", "digest", rows)
        record = next(path.parent.glob("*_stats.json"))
        content = path.read_bytes()
        if damage == "cut":
            path.write_bytes(content[:-1])
        elif damage == "flip":
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        elif damage == "gone":
            path.unlink()
        elif damage == "no record":
            record.unlink()
        else:
            record.write_text("[]" if damage == "list" else record.read_text()[:-9])
        assert cache.get("model", "digest") is None
        assert cache.get_or_make("model", "digest", lambda: rows) == path
        assert cache.get("model", "digest") == path

    def test_damaged_scales_are_seen(self, tmp_path):
        cache = EmbeddingCache(tmp_path, storage="int8")
        path = cache.put("model", "digest", unit(20, 5))
        scales = next(path.parent.glob("*.scales.npy"))
        scales.write_bytes(scales.read_bytes()[:-4] + b"\0\0\0\0")
        assert cache.get("model", "digest") is None

    @pytest.mark.parametrize("name", ["rows", "scales"])
    def test_killed_before_the_record_there_is_nothing(self, tmp_path, monkeypatch, name):
        """The record is written last: whatever stops the writer before leaves no entry."""
        cache, real, seen = EmbeddingCache(tmp_path, storage="int8"), os.replace, []

        def stop(source, target):
            if (".scales" in str(target)) == (name == "scales"):
                raise KeyboardInterrupt
            seen.append(str(target))
            real(source, target)

        monkeypatch.setattr(os, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            cache.put("model", "digest", unit(4, 3))
        monkeypatch.undo()
        assert cache.get("model", "digest") is None
        assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]

    def test_record_tells_what_it_is(self, tmp_path):
        path = EmbeddingCache(tmp_path).put("model", "digest", unit(4, 3))
        told = json.loads(next(path.parent.glob("*_stats.json")).read_text())
        assert (told["n_rows"], told["width"], told["storage"]) == (4, 3, "float16")

    def test_errors(self, tmp_path):
        with pytest.raises(ValueError, match="storage must be one of"):
            EmbeddingCache(tmp_path, storage="float64")
        with pytest.raises(ValueError, match="rows must be finite"):
            EmbeddingCache(tmp_path).put("model", "d", np.full((2, 2), np.nan, np.float32))


class TestDigest:
    ITEMS = st.lists(st.one_of(st.none(), st.text(max_size=4), st.binary(max_size=4)), max_size=5)

    @given(ITEMS, ITEMS)
    def test_equal_only_for_equal_content(self, first, second):
        assert (content_digest(first) == content_digest(second)) == (first == second)

    def test_moved_borders_and_kinds_count(self):
        contents = [["ab", "c"], ["a", "bc"], ["abc"], [b"abc"], ["abc", None], ["abc", ""]]
        contents += [["a", "b"], ["atb"], ["at1:b"]]
        assert len({content_digest(items) for items in contents}) == len(contents)

    def test_halves_of_surrogates_can_be_hashed(self):
        assert content_digest(["\ud800"]) != content_digest(["?"])
