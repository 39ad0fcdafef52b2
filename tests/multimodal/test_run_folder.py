import json

import numpy as np
import pytest

from labelnoise.audit import LabelAudit
from multimodal.run_folder import open_run, rows_table, table_hash, write_table

REASONS = {"fine": "Fine.", "odd": "Odd."}


def audit(ids, quality=0.5):
    n = len(ids)
    return LabelAudit(
        np.array(ids, np.str_), np.arange(n) % 2, np.full(n, "keep"), np.arange(n) % 2,
        np.full(n, quality), np.full(n, "fine"), {"margin": np.arange(n) / 3}, ("a", "b"), "m",
        REASONS,
    )  # fmt: skip


def columns(ids):
    n = len(ids)
    return {
        "id": ids, "source_id": [one.partition("#")[0] for one in ids], "image": ["x.jpg"] * n,
        "text": ["red shoe"] * n, "title": [""] * n, "labels": [["a"], []] * (n // 2),
        "problem": [None] * n, "detail": [""] * n, "usable": [True] * n,
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    shards = {"one": ["p", "q"], "two": ["q#two:0", "ß"]}
    for kind in ("rows", "decisions", "neighbours"):
        (tmp_path / kind).mkdir()
    for name, ids in shards.items():
        write_table(rows_table(columns(ids)), tmp_path / "rows" / f"{name}.parquet")
        audit(ids).write(tmp_path / "decisions" / f"{name}.parquet")
    np.save(tmp_path / "neighbours" / "one.npy", np.array([[1], [0]]))
    listed = [{"name": name, "rows": 2, "usable": 2, "failed": None} for name in shards]
    record = {"format": 1, "shards": listed, "table_hash": "7", "job": {"source": None}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    return tmp_path


def test_everything_written_is_read_back(folder):
    run = open_run(folder)
    assert run.shards == ("one", "two")
    assert run.rows("two").column("source_id").to_pylist() == ["q", "ß"]
    assert run.rows("one").column("labels").to_pylist() == [["a"], []]
    assert run.decisions("one").ids.tolist() == ["p", "q"]
    assert run.audit().ids.tolist() == ["p", "q", "q#two:0", "ß"]
    assert run.neighbours("one").tolist() == [[1], [0]]
    assert run.neighbours("two") is None
    assert run.usable_starts.tolist() == [0, 2, 4]
    assert run.failed == {}


def test_ids_are_found_as_decided_then_as_in_the_source(folder):
    run = open_run(folder)
    assert run.find("q") == ("one", 1)
    assert run.find("q#two:0") == ("two", 0)
    with pytest.raises(ValueError, match="no row with id 'z'"):
        run.find("z")
    with pytest.raises(ValueError, match="no shard 'three'"):
        run.rows("three")


def test_folders_that_hold_no_finished_run(tmp_path, folder):
    with pytest.raises(ValueError, match="corpus object"):
        open_run(folder).corpus()
    with pytest.raises(ValueError, match="holds no run"):
        open_run(tmp_path / "nowhere")
    (folder / "run.json").rename(folder / "job.json")
    with pytest.raises(ValueError, match="not finished"):
        open_run(folder)
    (folder / "run.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        open_run(folder)


def test_the_hash_is_of_the_content_not_of_the_cut():
    whole = audit(["p", "q", "r", "s"])
    first = table_hash([whole])
    assert table_hash([whole.select([0, 1, 2]), whole.select([3])]) == first
    assert table_hash([whole.select([1, 0, 2, 3])]) != first
    assert table_hash([audit(["p", "q", "r", "s"], quality=0.25)]) != first
    # the same letters, cut elsewhere
    assert table_hash([audit(["pq", "r"])]) != table_hash([audit(["p", "qr"])])
