import numpy as np
import pytest

from multimodal.corpus import ColumnNames, ImageLimits, corpus_from_records
from multimodal.corpus.images import decode_image
from multimodal.records import Record
from tests.multimodal.corpus.making import codes, facts, jpeg, photo


def test_mappings_and_records(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(1))
    row = np.ones(3, np.float32)
    given = [
        {"image": jpeg(0), "caption": "zero", "label": 3, "clip": row},
        {"image": tmp_path / "a.jpg", "caption": "one", "label": ["x", "y"], "clip": row},
        {"image": photo(2), "id": "two", "clip": row},
        {"image": None, "clip": row},
        {"image": str(tmp_path / "b.jpg"), "clip": row},
        {"caption": "no image asked for", "clip": row},
        {"image": 5, "clip": row},
        {"image": jpeg(0)},
        Record("nine", labels=("z",)),
    ]
    corpus = corpus_from_records(
        iter(given), columns=ColumnNames(embeddings=("clip",)), rows_per_shard=4
    )
    assert [s.name for s in corpus.shards] == [f"records-{n:09d}" for n in (0, 4, 8)]
    records = [r for shard in corpus.shards for r in shard.records()]
    assert [facts(r) for r in records] == [
        facts(r) for shard in corpus.shards for r in shard.records()
    ]
    assert codes(records) == {
        **{"0": None, "1": None, "two": None, "3": "image_missing", "4": "image_missing"},
        **{"5": None, "6": "image_undecodable", "7": "record_broken", "nine": None},
    }
    assert (records[0].labels, records[0].texts) == (("3",), {"title": "zero"})
    assert records[1].image == jpeg(1)
    assert np.array_equal(np.asarray(decode_image(records[2].image)), np.asarray(photo(2)))
    assert records[8] is given[8]


def test_the_fingerprint_is_of_the_content():
    def fingerprint(*items):
        return corpus_from_records(items).shards[0].fingerprint()

    base = {"id": "a", "title": "t", "label": "x", "image": jpeg(0)}
    assert fingerprint(base) == fingerprint(dict(base))
    others = [{**base, key: other} for key, other in [("id", "b"), ("title", "u"), ("label", "y")]]
    others += [{**base, "image": jpeg(1)}]
    assert len({fingerprint(item) for item in [base, *others]}) == 5


def test_errors():
    with pytest.raises(ValueError, match="no shards found in records in memory"):
        corpus_from_records([])
    with pytest.raises(ValueError, match="record 1 must be a Record or a mapping"):
        corpus_from_records([{}, "x"])
    with pytest.raises(ValueError, match="rows_per_shard"):
        corpus_from_records([{}], rows_per_shard=0)
    corpus = corpus_from_records([{"image": jpeg()}], limits=ImageLimits(max_bytes=10))
    assert codes(corpus.shards[0].records()) == {"0": "image_too_large"}
