"""Decisions as columns of a Hugging Face dataset."""

import numpy as np
import pytest

from labelnoise.audit import LabelAudit
from multimodal.dataset_map import label_columns
from multimodal.decision_index import index_of_audit, index_of_run
from multimodal.run_folder import open_run
from tests.multimodal.run_folders import Pair, audit_of, random_pairs, refused, write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pairs = random_pairs(30)
    again = refused(f"{pairs[3].id}#b:0", "duplicate_id", "seen in shard a")
    return write_run(tmp_path_factory.mktemp("map") / "run", {"a": pairs, "b": [again]})


def test_columns_come_by_id_in_any_order(folder):
    datasets = pytest.importorskip("datasets")
    audit = open_run(folder).audit()
    order = np.random.default_rng(0).permutation(30)
    made = datasets.Dataset.from_dict({"uid": [*audit.ids[order].tolist(), "stranger"]})
    found = made.map(label_columns(folder, id_column="uid"), batched=True, batch_size=7)
    assert found["label_verdict"][:] == [*audit.verdict[order].tolist(), None]
    assert found["label_reason"][:] == [*audit.reason[order].tolist(), None]
    labels = [k if k >= 0 else None for k in audit.label[order].tolist()]
    assert found["label_to_use"][:] == [*labels, None]
    assert found["label_quality"][:-1] == pytest.approx(audit.quality[order].tolist())
    whole = made.map(label_columns(audit, id_column="uid"), batched=True)
    assert whole["label_verdict"][:] == found["label_verdict"][:]


def test_a_duplicate_answers_by_the_record_that_was_judged(folder):
    run = open_run(folder)
    judged = run.decisions("a").ids[3]
    index = index_of_run(run, source_ids=True)
    assert index.place(int(index.find([judged])[0])) == (0, 3)
    assert len(index) == 30
    assert len(index_of_run(run)) == 31


def test_numbers_are_found_as_numbers_and_as_text():
    audit = LabelAudit(
        [7, 9], [0, 1], ["keep", "reject"], [0, -1], [0.9, 0.1], ["a", "b"], {}, ("x", "y"), "m",
        {"a": "-", "b": "-"},
    )  # fmt: skip
    assert label_columns(audit)({"id": [9, "7", 8]})["label_verdict"] == ["reject", "keep", None]


def test_an_empty_audit_and_a_missing_column():
    empty = index_of_audit(audit_of([Pair("a", 0)]).select([]))
    assert empty.find(["a"]).tolist() == [-1]
    with pytest.raises(ValueError, match="id_column must be a column"):
        label_columns(audit_of([Pair("a", 0)]))({"uid": ["a"]})
