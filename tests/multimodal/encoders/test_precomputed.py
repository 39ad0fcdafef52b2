import json

import numpy as np
import pytest

from multimodal.encoders import is_precomputed, make_image_encoder, make_text_encoder
from multimodal.records import Record

ROWS = np.array([[3, 4], [0, 2], [1, 0], [0, 0], [np.nan, 1]], np.float32)
UNIT = np.array([[0.6, 0.8], [0, 1], [1, 0], [0, 0], [0, 0]], np.float32)


def save(folder, ids, *, name="rows.npy", beside="rows.ids.json", rows=ROWS):
    np.save(folder / name, rows)
    text = json.dumps(ids) if beside.endswith("json") else "\n".join(map(str, ids)) + "\n"
    (folder / beside).write_text(text)
    return folder / name


class TestFile:
    @pytest.mark.parametrize("beside", ["rows.ids.json", "rows_ids.txt", "rows.json", "rows.txt"])
    def test_found_by_id(self, tmp_path, beside):
        path = save(tmp_path, ["a", "b", "c", "zero", "nan"], beside=beside)
        encoder = make_image_encoder(f"file:{path}")
        assert is_precomputed(encoder)
        rows, found = encoder.lookup([Record(id) for id in ("c", "x", "a", "zero", "nan", "c")])
        assert found.tolist() == [True, False, True, False, False, True]
        np.testing.assert_allclose(rows, UNIT[[2, 3, 0, 3, 3, 2]])

    def test_found_by_image_name(self, tmp_path):
        path = save(tmp_path, ["x/1.jpg", "2.jpg", 3, "y/4.jpg", "z/4.jpg"], rows=np.eye(5))
        lookup = make_image_encoder(f"file:{path}").lookup
        names = ["x/1.jpg", "far/1.jpg", "far/2.png", "tar/3.jpg", "4.jpg", "z/4.jpg", ""]
        records = [Record("?", image_name=name) for name in names]
        rows = lookup(records)[0]
        # a bare name of two rows matches neither; a full one does
        wanted = np.vstack([np.eye(5), np.zeros(5)])
        np.testing.assert_allclose(rows, wanted[[0, 0, 1, 2, 5, 4, 5]])

    def test_found_by_an_id_without_its_suffix(self, tmp_path):
        path = save(tmp_path, ["10.jpg", "11.jpg", "12.jpg", "13.jpg", "14.jpg"])
        rows, found = make_image_encoder(f"file:{path}").lookup([Record("11"), Record("11.png")])
        np.testing.assert_allclose(rows, UNIT[[1, 3]])
        assert found.tolist() == [True, False]

    def test_the_id_counts_before_the_name(self, tmp_path):
        path = save(tmp_path, ["a", "b", "c", "d", "e"])
        rows, _ = make_image_encoder(f"file:{path}").lookup([Record("b", image_name="a")])
        np.testing.assert_allclose(rows, UNIT[[1]])

    def test_list_and_space_named_in_the_spec(self, tmp_path):
        path = save(tmp_path, list("abcde"), beside="elsewhere.json")
        image = make_image_encoder(f"file:{path}@{tmp_path / 'elsewhere.json'}#clip")
        text = make_text_encoder("column:text#clip")
        assert image.space == text.space == "clip"
        alone = make_image_encoder(f"file:{path}@{tmp_path / 'elsewhere.json'}")
        assert alone.space == alone.key

    def test_key_follows_rows_and_ids(self, tmp_path):
        keys = set()
        for ids, factor in (("abcde", 1), ("abced", 1), ("abcde", 2)):
            path = save(tmp_path, list(ids), rows=ROWS * factor)
            keys.add(make_image_encoder(f"file:{path}").key)
        assert len(keys) == 3

    @pytest.mark.parametrize(
        ("rows", "ids", "message"),
        [
            (ROWS, ["a"], "has 1 ids for 5 rows"),
            (np.ones((5, 2), np.int8), list("abcde"), "must hold float rows"),
            (ROWS[0], list("ab"), "must hold float rows"),
            (ROWS, {"a": 1}, "JSON list of ids, found dict"),
        ],
    )
    def test_wrong_content(self, tmp_path, rows, ids, message):
        with pytest.raises(ValueError, match=message):
            make_image_encoder(f"file:{save(tmp_path, ids, rows=rows)}")

    def test_wrong_files(self, tmp_path):
        with pytest.raises(ValueError, match=r"must name a \.npy file"):
            make_image_encoder(f"file:{tmp_path}/none.npy")
        np.save(tmp_path / "alone.npy", ROWS)
        with pytest.raises(ValueError, match="no list of ids beside"):
            make_image_encoder(f"file:{tmp_path}/alone.npy")
        np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
        with pytest.raises(ValueError, match="Python objects"):
            make_image_encoder(f"file:{tmp_path}/objects.npy")


class TestColumn:
    def test_rows_of_the_records(self):
        encoder = make_text_encoder("column:text")
        records = [Record(str(i), embeddings={"text": row}) for i, row in enumerate(ROWS)]
        records.insert(1, Record("none", embeddings={"other": ROWS[0]}))
        rows, found = encoder.lookup(records)
        np.testing.assert_allclose(rows, UNIT[[0, 3, 1, 2, 3, 4]])
        assert found.tolist() == [True, False, True, True, False, False]

    def test_width_is_known_once_a_row_was_seen(self):
        encoder = make_text_encoder("column:text")
        assert encoder.lookup([Record("a")])[0].shape == (1, 0)
        encoder.lookup([Record("a", embeddings={"text": ROWS[0]})])
        assert encoder.lookup([Record("a")])[0].shape == (1, 2)
        with pytest.raises(ValueError, match=r"lengths \[2, 3\]"):
            encoder.lookup([Record("a", embeddings={"text": np.ones(3)})])

    def test_needs_a_name(self):
        with pytest.raises(ValueError, match="needs the name of a column"):
            make_image_encoder("column:")
