import numpy as np
import pyarrow as pa
import pytest

from labelnoise.audit import LabelAudit
from multimodal.engine.entries import pairs_of_entries
from multimodal.engine.layout import Settled
from multimodal.engine.table import with_refused
from multimodal.run_folder import rows_table

REASONS = {"fine": "Fine."}


def records(problems, ids=None):
    """A table as the step "records" leaves it; unknown labels are found on sound records."""
    n = len(problems)
    columns = {
        "id": ids or [f"r{k}" for k in range(n)], "source_id": ids or [f"r{k}" for k in range(n)],
        "image": [""] * n, "text": [""] * n, "title": [""] * n, "labels": [[]] * n,
        "problem": problems, "detail": [""] * n, "usable": [code is None for code in problems],
    }  # fmt: skip
    table = rows_table(columns).append_column("given", pa.array([[1]] * n, pa.list_(pa.int64())))
    sound = [code in (None, "unknown_label") for code in problems]
    return table.append_column("sound", pa.array(sound))


def settle(problems, repeated=(), share=0.5, ids=None):
    mask = np.isin(np.arange(len(problems)), list(repeated))
    return Settled.of(records(problems, ids), "s", mask, share)


def test_nothing_changes_where_all_sound_records_are_usable():
    found = settle([None, "image_missing", None])
    assert not found.changed
    assert found.usable.tolist() == [True, False, True]
    assert found.keep.tolist() == [True, True]


def test_duplicates_and_unknown_labels_lose_their_vectors():
    found = settle([None, "unknown_label", None, None], repeated=[2, 1], ids=["a", "a", "a", "b"])
    assert found.changed
    assert found.keep.tolist() == [True, False, False, True]
    rows = found.table.to_pydict()
    assert rows["id"] == ["a", "a#s:1", "a#s:2", "b"]
    assert rows["problem"] == [None, "unknown_label", "duplicate_id", None]
    assert rows["detail"][2] == "a"


def test_broken_shards_are_refused_but_labels_are_no_damage():
    assert settle([None, "image_missing"]).refused == ""
    found = settle([None, "image_missing", "text_broken"])
    assert found.refused == "2 of 3 records are broken"
    assert found.table["problem"].to_pylist() == ["shard_failed", "image_missing", "text_broken"]
    assert not found.usable.any()
    assert settle([None, "unknown_label", "unknown_label"]).refused == ""
    assert settle([]).usable.tolist() == []


def audit(ids):
    n = len(ids)
    return LabelAudit(
        np.array(ids, np.str_), np.ones(n, int), np.full(n, "keep"), np.ones(n, int),
        np.full(n, 0.75, np.float32), np.full(n, "fine"), {"margin": np.arange(float(n))},
        ("a", "b"), "m", REASONS,
    )  # fmt: skip


def test_refused_records_are_put_back_in_their_place():
    rows = settle(["unknown_label", None, "image_missing", None]).table.to_pydict()
    found = with_refused(audit(["r1", "r3"]), rows)
    assert found.ids.tolist() == ["r0", "r1", "r2", "r3"]
    assert found.verdict.tolist() == ["reject", "keep", "reject", "keep"]
    assert found.reason.tolist() == ["unknown_label", "fine", "image_missing", "fine"]
    assert found.quality.tolist() == [0, 0.75, 0.5, 0.75]
    assert found.label.tolist() == [-1, 1, -1, 1]
    np.testing.assert_array_equal(found.evidence["margin"], [np.nan, 0, np.nan, 1])
    none = settle([None, None]).table.to_pydict()
    assert with_refused(audit(["r0", "r1"]), none).counts()["keep"] == 2
    all_refused = settle(["image_missing"], share=1.0).table.to_pydict()
    assert with_refused(audit([]), all_refused).reason.tolist() == ["image_missing"]


def test_several_rows_of_a_pair_stay_together():
    rows = settle([None, "image_missing", None]).table.to_pydict()
    found = with_refused(audit(["r0/a", "r0/b", "r2/b"]), rows)
    assert found.ids.tolist() == ["r0/a", "r0/b", "r1", "r2/b"]


def test_entries_belong_to_the_longest_id():
    pairs = ["7", "71", "712"]
    entries = ["7/71", "71/7", "712/cat", "712"]
    assert pairs_of_entries(entries, pairs).tolist() == [0, 1, 2, 2]
    with pytest.raises(ValueError, match="belongs to no pair"):
        pairs_of_entries(["8/cat"], pairs)
    with pytest.raises(ValueError, match="out of the order"):
        pairs_of_entries(["71/cat", "7/cat"], pairs)
