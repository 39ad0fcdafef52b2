import json
from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labelnoise.audit import VERDICTS, LabelAudit

REASONS = {"fine": "All views agree.", "other": "Another class is likelier.", "odd": "No view."}


def make_audit(**changes):
    columns = {
        "ids": [10, 11, 12, 13],
        "given": [0, 1, 2, -1],
        "verdict": ["keep", "relabel", "reject", "abstain"],
        "label": [0, 2, -1, -1],
        "quality": np.array([0.9, 0.2, 0.05, 0.5], np.float32),
        "reason": ["fine", "other", "other", "odd"],
        "evidence": {"margin": np.array([0.5, np.nan, -1, 0], np.float32), "votes": [1, 2, 3, 4]},
        "class_names": ("Katze 🐈", "犬", "vogel"),
        "method": "by_hand",
        "reasons": REASONS,
        "settings": {"threshold": 0.1 + 0.2, "parts": (1, 2)},
        "seed": 7,
        "transition": np.array([[0.9, 0.1, 0], [1 / 3, 2 / 3, 0], [0, 0, 1]]),
        "noise_rate": 0.25,
    }
    return LabelAudit(**(columns | changes))


def empty_audit(ids):
    none = np.zeros(0)
    return make_audit(
        ids=ids, given=none, verdict=none, label=none, quality=none.astype(np.float32), reason=none,
        evidence={"margin": none.astype(np.float32), "votes": none},
    )  # fmt: skip


def assert_same(one, other):
    for field in fields(LabelAudit):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if field.name == "evidence":
            assert list(left) == list(right)
            for name in left:
                assert left[name].dtype == right[name].dtype
                np.testing.assert_array_equal(left[name], right[name])
        elif isinstance(left, np.ndarray):
            assert left.dtype.kind == right.dtype.kind
            assert left.dtype.kind == "U" or left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
        else:
            assert left == right


def test_counts_and_summary():
    audit = make_audit()

    assert audit.counts() == dict.fromkeys(VERDICTS, 1)
    summary = audit.summary()
    assert (summary["rows"], summary["labelled"]) == (4, 3)
    assert summary["reasons"] == {"fine": 1, "other": 2, "odd": 1}
    assert [row["class"] for row in summary["classes"]] == ["vogel", "犬", "Katze 🐈"]
    json.dumps(summary, allow_nan=False)


@pytest.mark.parametrize("ids", [[10, 11, 12, 13], ["a", "Ünï", "z" * 40, ""]])
def test_parquet_round_trip_is_lossless(tmp_path, ids):
    audit = make_audit(ids=ids)
    audit.write(tmp_path / "audit.parquet")

    assert_same(LabelAudit.read(tmp_path / "audit.parquet"), audit)
    assert [path.name for path in tmp_path.iterdir()] == ["audit.parquet"]


@pytest.mark.parametrize("ids", [np.zeros(0, np.int64), np.zeros(0, np.str_)])
def test_empty_audit_round_trip(tmp_path, ids):
    audit = empty_audit(ids)
    audit.write(tmp_path / "audit.parquet")

    assert_same(LabelAudit.read(tmp_path / "audit.parquet"), audit)
    assert audit.summary()["mean_quality"] is None


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(st.floats(width=32), max_size=5),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
    names=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), unique=True),
)
def test_any_evidence_and_class_names_survive(tmp_path_factory, values, dtype, names):
    path, n = tmp_path_factory.mktemp("audit") / "a.parquet", len(values)
    with np.errstate(over="ignore"):
        column = np.array(values, dtype="float64").astype(dtype)
    audit = LabelAudit(
        np.arange(n), np.full(n, -1), ["abstain"] * n, np.full(n, -1), np.zeros(n), ["odd"] * n,
        {"x": column}, tuple(names), "any", REASONS,
    )  # fmt: skip
    audit.write(path)

    assert_same(LabelAudit.read(path), audit)


def test_read_refuses_other_files(tmp_path):
    (tmp_path / "text").write_text("no parquet")
    pq.write_table(pa.table({"id": [1]}), tmp_path / "other.parquet")

    with pytest.raises(ValueError, match="text is no label audit: not a Parquet file"):
        LabelAudit.read(tmp_path / "text")
    with pytest.raises(ValueError, match="no audit metadata"):
        LabelAudit.read(tmp_path / "other.parquet")
    with pytest.raises(FileNotFoundError):
        LabelAudit.read(tmp_path / "absent")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "audit.parquet"
    make_audit().write(path)
    before = path.read_bytes()

    def fail(table, where):
        where.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(OSError, match="disk full"):
        make_audit().write(path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("cuts", [[1, 3], [0, 2], [4, 4]])
def test_merge_of_shards_is_the_whole(cuts):
    audit = make_audit()
    rows = np.split(np.arange(4), cuts)

    assert_same(LabelAudit.merge([audit.select(part) for part in rows]), audit)


def test_merge_averages_rates_and_lists_versions():
    one = make_audit(versions={"numpy": "2.0"}, noise_rate=0.3)
    other = make_audit(ids=[1, 2, 3, 4], versions={"numpy": "2.1"}, noise_rate=0.1, seed=8)

    merged = LabelAudit.merge([one, other])

    assert merged.noise_rate == pytest.approx(0.2)
    assert merged.versions == {"numpy": "2.0, 2.1"}
    assert merged.seed is None
    assert LabelAudit.merge([one, replace(other, transition=None)]).transition is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("a", "b", "c")}, "agree in class_names"),
        ({"method": "other"}, "agree in method"),
        ({"settings": {}}, "agree in settings"),
        ({"evidence": {}}, "same evidence"),
        ({"reasons": REASONS | {"fine": "-"}}, "what reason 'fine' means"),
        ({"ids": list("abcd")}, "int64 ids or all"),
        ({}, "more than once"),
    ],
)
def test_merge_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        LabelAudit.merge([make_audit(), make_audit(**changes)])


def test_merge_of_nothing():
    with pytest.raises(ValueError, match="at least one"):
        LabelAudit.merge([])


def test_override_and_sort():
    audit = make_audit().override([12, 10], ["relabel", "reject"], [0, 0]).sorted_by_quality()

    assert audit.ids.tolist() == [12, 11, 13, 10]
    assert audit.label.tolist() == [0, 2, -1, -1]
    assert audit.reason.tolist() == ["overridden", "other", "odd", "overridden"]
    assert audit.override([12], "keep").label.tolist()[0] == 2
    with pytest.raises(ValueError, match="id 99 is not in the audit"):
        audit.override([99], "keep")
    with pytest.raises(ValueError, match="label is needed"):
        audit.override([12], "relabel")
    with pytest.raises(ValueError, match="keep needs label = given"):
        audit.override([13], "keep")


def test_pyg_mask_follows_the_ids():
    mask, y = make_audit(ids=[3, 0, 2, 5]).to_pyg_mask(7)

    assert mask.dtype == torch.bool
    assert mask.tolist() == [True, False, False, True, False, False, False]
    assert y.tolist() == [2, -1, -1, 0, -1, -1, -1]
    with pytest.raises(ValueError, match=r"ids must lie in 0 \.\. 4"):
        make_audit(ids=[3, 0, 2, 5]).to_pyg_mask(5)
    with pytest.raises(ValueError, match="got text"):
        make_audit(ids=list("abcd")).to_pyg_mask(5)


def test_tables():
    audit = make_audit(evidence={"suggested": [0, 2, 1, np.nan]})
    frame = audit.to_pandas()

    assert list(frame) == ["id", "given", "verdict", "label", "quality", "reason", "suggested"]
    assert frame.verdict.tolist() == list(VERDICTS)
    cleanlab = audit.to_cleanlab_frame()
    assert cleanlab.predicted_label.tolist() == [0, 2, 1, -1]
    assert cleanlab.is_label_issue.tolist() == [False, True, True, False]
    assert cleanlab.index.tolist() == [10, 11, 12, 13]


def test_json_file(tmp_path):
    make_audit().to_json(tmp_path / "audit.json")

    loaded = json.loads((tmp_path / "audit.json").read_text())

    assert loaded["columns"]["evidence"]["margin"] == [0.5, None, -1.0, 0.0]
    assert loaded["class_names"][1] == "犬"
    assert loaded["settings"]["parts"] == [1, 2]


def test_hugging_face_columns():
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"key": [13, 5, 12, 11, 10]})

    filled = make_audit().to_hf_column(rows, id_column="key")

    assert filled["label_verdict"][:] == ["abstain", None, "reject", "relabel", "keep"]
    assert filled["label_to_use"][:] == [-1, None, -1, 2, 0]
    assert rows.column_names == ["key"]
    by_position = make_audit(ids=[0, 1, 2, 4]).to_hf_column(rows)
    assert by_position["label_reason"][:] == ["fine", "other", "other", None, "odd"]
    with pytest.raises(ValueError, match="id 10 is not"):
        make_audit().to_hf_column(rows)


def test_columns_cannot_be_written():
    audit, mine = make_audit(), np.array([0, 1, 2, -1])
    with pytest.raises(ValueError, match="read-only"):
        audit.given[0] = 2
    make_audit(given=mine)
    mine[0] = 0  # the caller's own array stays writable


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": [1, 2, 2, 3]}, "found 2 more than once"),
        ({"ids": [1.5, 2, 3, 4]}, "int64 or str"),
        ({"given": [0, 1, 3, -1]}, r"given must lie in -1 .. 2, found 3 at id 12"),
        ({"given": [0, 1]}, r"given must be \[4\]"),
        ({"given": [0.0, 1, 2, 1]}, "given must be integers"),
        ({"verdict": ["keep", "drop", "reject", "abstain"]}, "found 'drop' at id 11"),
        ({"label": [1, 2, -1, -1]}, "keep needs label = given"),
        ({"label": [0, 1, -1, -1]}, "relabel needs a label other"),
        ({"label": [0, -1, -1, -1]}, "relabel needs a label,"),
        ({"label": [0, 2, 1, -1]}, "reject and abstain need"),
        ({"quality": [0.1, np.nan, 0, 1]}, "quality must lie in 0 .. 1, found nan at id 11"),
        ({"quality": [0.1, 1.1, 0, 1]}, "found 1.1"),
        ({"quality": list("abcd")}, "quality must be numbers"),
        ({"reason": ["fine", "new", "odd", "odd"]}, "reason must be one of.*'new'"),
        ({"evidence": {"label": [1, 2, 3, 4]}}, "must not use the column name 'label'"),
        ({"evidence": {"x": [1, 2]}}, r"x must be \[4\]"),
        ({"class_names": ("a", "a", "b")}, "unique"),
        ({"class_names": (1, 2, 3)}, "must be text"),
        ({"transition": np.eye(2)}, r"transition must be \[3, 3\]"),
        ({"transition": np.eye(3) * 0.5}, "add up to 1"),
        ({"noise_rate": 1.5}, "noise_rate"),
        ({"settings": {"x": {1, 2}}}, "JSON values"),
        ({"settings": {"x": float("nan")}}, "JSON values"),
    ],
)
def test_rejects(changes, message):
    with pytest.raises(ValueError, match=message):
        make_audit(**changes)
