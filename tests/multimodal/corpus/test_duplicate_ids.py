import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal.corpus import duplicate_ids
from multimodal.corpus.duplicate_ids import mark_duplicates

SHARDS = st.lists(st.lists(st.sampled_from(["a", "b", "é", "\0", "a\0", "", "ab"])), max_size=5)


def brute(shards):
    seen, marks = set(), []
    for ids in shards:
        marks.append([])
        for each in ids:
            marks[-1].append(each in seen)
            seen.add(each)
    return marks


@given(SHARDS)
def test_as_a_set_of_all_ids_says(shards):
    assert [mask.tolist() for mask in mark_duplicates(shards)] == brute(shards)


@given(SHARDS)
def test_however_ids_are_held(shards):
    arrays = [pa.array(ids, pa.string()) for ids in shards]
    functions = [lambda ids=ids: np.array(ids, dtype=object) for ids in shards]
    expected = [mask.tolist() for mask in mark_duplicates(shards)]
    assert [mask.tolist() for mask in mark_duplicates(arrays)] == expected
    assert [mask.tolist() for mask in mark_duplicates(functions)] == expected


@given(SHARDS)
def test_hashes_that_collide_do_not_make_duplicates(shards):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicate_ids, "_hashed", lambda ids: np.zeros(len(ids), np.uint64))
        assert [mask.tolist() for mask in mark_duplicates(shards)] == brute(shards)


def test_only_shards_with_suspects_are_read_again():
    reads = []

    def reading(name, ids):
        return lambda: reads.append(name) or ids

    shards = [reading("one", ["a", "b"]), reading("two", ["c"]), reading("three", ["a"])]
    assert [m.tolist() for m in mark_duplicates(shards)] == [[False, False], [False], [True]]
    assert reads == ["one", "two", "three", "one", "three"]


def test_a_shard_that_changes_between_readings():
    lengths = iter([2, 3])
    with pytest.raises(ValueError, match="had 2 ids and now has 3"):
        mark_duplicates([lambda: ["a"] * next(lengths)])
