import dataclasses
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from labelnoise.class_list import ClassList
from multimodal.cleaning import Workforce, run_request
from multimodal.cleaning_request import CleaningRequest
from multimodal.engine.job import Hardware
from multimodal.run_folder import WORK, open_run, table_hash
from tests.multimodal.engine.toy_parts import (
    CLASSES,
    ToyMeans,
    ToyStepped,
    make_corpus,
    plant_damage,
)
from tests.multimodal.engine.toy_steps import Here

PROJECT = Path(__file__).resolve().parents[3]


class InProcess(Workforce):
    """Everything in this process, for tests of what is done rather than by whom."""

    def executor(self, setup):
        return Here(setup)


def request(folder, *, lead=0.0, log="calls.log", classes=None, **changes):
    toy = f"toy:{folder.parent / log}"
    options = {"image_encoder": toy, "text_encoder": toy, **changes}
    return CleaningRequest(str(folder), ClassList(classes or CLASSES), ToyMeans(lead), **options)


def encoded(folder, log="calls.log"):
    """Items encoded so far, per kind; forgets them."""
    path, found = folder.parent / log, Counter()
    for line in path.read_text().splitlines() if path.exists() else ():
        kind, count = line.split()
        found[kind] += int(count)
    path.unlink(missing_ok=True)
    return dict(found)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("sound") / "tars")


@pytest.fixture(scope="module")
def expected(corpus, tmp_path_factory):
    """The run that all others must equal."""
    out = tmp_path_factory.mktemp("expected") / "out"
    return run_request(request(corpus, log="expected.log"), out, InProcess())


def test_wrong_labels_are_found_and_the_tables_say_so(expected):
    audit = expected.audit()
    assert audit.ids.tolist() == [f"{number:04d}" for number in range(27)]
    wrong = np.arange(27) % 7 == 3
    assert (audit.verdict == np.where(wrong, "relabel", "keep")).all()
    assert (audit.label == np.arange(27) % 3).all()
    rows = expected.rows("00001").to_pydict()
    assert rows["text"][0] == "a red thing 9"
    assert rows["labels"][1] == ["blue"]
    assert (expected.record["rows"], expected.record["usable"]) == (27, 27)
    assert expected.record["verdicts"] == audit.counts()
    assert expected.table_hash == table_hash([audit])
    assert expected.record["encoders"]["image"]["key"] == "toy-image"


def test_a_method_may_bring_steps_of_its_own(corpus, expected, tmp_path):
    asked = dataclasses.replace(request(corpus), method=ToyStepped())
    run = run_request(asked, tmp_path / "out", InProcess())
    assert run.table_hash == expected.table_hash
    assert list(run.record["steps"])[-3:] == ["toy-count", "toy-verdicts", "table"]
    assert run.neighbours("00001").tolist() == [[number - 1] for number in range(9, 18)]
    # another method leaves none: those of this one go
    run = run_request(request(corpus), tmp_path / "out", InProcess(), force=True)
    assert run.neighbours("00001") is None
    assert not (tmp_path / "out" / WORK / "toy-verdicts").exists()


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_gives_the_same_table(corpus, expected, tmp_path, workers):
    run = run_request(request(corpus), tmp_path / "out", Workforce(workers, threads=workers))
    assert run.table_hash == expected.table_hash


def test_ray_gives_the_same_table(corpus, expected, tmp_path):
    pytest.importorskip("ray")
    run = run_request(request(corpus), tmp_path / "out", Workforce(2, ray=True))
    assert run.table_hash == expected.table_hash


def test_settings_redo_what_depends_on_them_and_embed_nothing(corpus, expected, tmp_path):
    out, workforce = tmp_path / "out", InProcess()
    log = "redo.log"
    first = run_request(request(corpus, log=log), out, workforce)
    assert encoded(corpus, log) == {"image": 27, "text": 27 + 3}
    before = stamps(out)
    assert run_request(request(corpus, log=log), out, workforce).record == first.record
    assert stamps(out) == before
    with pytest.raises(ValueError, match=r"holds another run .* --force"):
        run_request(request(corpus, log=log, lead=0.9), out, workforce)
    other = run_request(request(corpus, log=log, lead=0.9), out, workforce, force=True)
    assert other.table_hash != first.table_hash
    assert encoded(corpus, log) == {}
    assert changed(before, stamps(out)) == {"judge", "table"}
    # other classes: labels, their texts, and what follows
    before = stamps(out)
    changed_classes = request(corpus, log=log, classes=("green", "red", "blue"))
    run_request(changed_classes, out, workforce, force=True)
    assert encoded(corpus, log) == {"text": 3}
    assert changed(before, stamps(out)) == {"records", "layout", "class-texts", "judge", "table"}
    back = run_request(request(corpus, log=log), out, workforce, force=True)
    assert back.table_hash == expected.table_hash


def stamps(out):
    return {
        str(path.relative_to(out)): (path.stat().st_mtime_ns, json.loads(path.read_text())["step"])
        for path in out.rglob("*_stats.json")
    }


def changed(before, after):
    return {step for name, (_, step) in after.items() if before.get(name) != after[name]}


def test_a_cache_serves_another_folder(corpus, expected, tmp_path):
    log, cached = "cache.log", InProcess(hardware=Hardware(cache=tmp_path / "cache"))
    run_request(request(corpus, log=log), tmp_path / "one", cached)
    assert encoded(corpus, log) == {"image": 27, "text": 27 + 3}
    run = run_request(request(corpus, log=log, lead=0.9), tmp_path / "two", cached)
    assert encoded(corpus, log) == {"text": 3}
    assert run.record["usable"] == 27
    # a damaged cache is not believed
    for path in (tmp_path / "cache").rglob("*.npy"):
        path.write_bytes(b"damaged")
    run = run_request(request(corpus, log=log), tmp_path / "three", cached)
    assert encoded(corpus, log) == {"image": 27, "text": 27 + 3}
    assert run.table_hash == expected.table_hash


def test_damage_is_rows_with_reasons(tmp_path):
    folder = make_corpus(tmp_path / "tars")
    problems = plant_damage(folder)
    run = run_request(request(folder), tmp_path / "out", InProcess())
    rows = run.rows("00100").to_pydict()
    found = dict(zip(rows["id"], rows["problem"], strict=True))
    assert problems.items() <= found.items()
    assert "unsafe_path" in found.values()
    audit = run.decisions("00100")
    assert audit.ids.tolist() == rows["id"]
    refused = np.array([problem is not None for problem in rows["problem"]])
    assert (audit.verdict[refused] == "reject").all()
    assert audit.reason[refused].tolist() == [code for code in rows["problem"] if code]
    assert audit.quality[rows["id"].index("strange")] == 0
    assert np.isnan(audit.evidence["lead"][refused]).all()
    assert audit.given[rows["id"].index("proposed")] == 1
    assert audit.given[rows["id"].index("mute")] == -1
    # a file that is no archive is a shard refused, and said to be
    assert list(run.failed) == ["00200"]
    assert run.rows("00200")["problem"].to_pylist() == ["record_broken"]
    assert run.record["problems"]["record_broken"] == 1
    assert len(run.audit()) == run.record["rows"] == 27 + len(rows["id"]) + 1
    assert run.find("strange") == ("00100", rows["id"].index("strange"))


def test_a_shard_with_too_much_damage_is_refused_as_a_whole(tmp_path):
    folder = make_corpus(tmp_path / "tars")
    plant_damage(folder)
    run = run_request(request(folder, max_bad_share=0.1), tmp_path / "out", InProcess())
    assert run.failed["00100"].endswith("records are broken")
    rows = run.rows("00100").to_pydict()
    assert not any(rows["usable"])
    assert rows["problem"][0] == "shard_failed"
    assert rows["problem"][rows["id"].index("cut")] == "image_undecodable"
    assert run.record["usable"] == 27


def test_shards_whose_worker_dies_are_one_row_and_tried_again(tmp_path):
    folder, out = make_corpus(tmp_path / "tars"), tmp_path / "out"
    deadly = f"toy:{tmp_path / 'calls.log'}!thing 10"
    run = run_request(request(folder, text_encoder=deadly), out, Workforce(2))
    reason = "embed-text: its worker process died (SIGKILL, out of memory?)"
    assert run.failed == {"00001": reason}
    assert run.rows("00001")["detail"].to_pylist() == [reason]
    audit = run.audit()
    assert len(audit) == 19
    assert audit.reason.tolist()[9] == "shard_failed"
    assert run.record["shards"][1]["retry"]


KILLED = """
import sys
from pathlib import Path
from multimodal.cleaning import Workforce, run_request
from tests.multimodal.engine.test_cleaning import request
if __name__ == "__main__":
    run_request(request(Path(sys.argv[1]), log=sys.argv[3]), Path(sys.argv[2]), Workforce(2))
"""


@pytest.mark.parametrize(
    "landmark",
    ["job.json", "work/ingest/*_stats.json", "work/records/*_stats.json", "work/layout/*.parquet",
     "work/judge/*.parquet", "decisions/*.parquet"],
)  # fmt: skip
def test_killed_in_each_step_and_started_again(corpus, expected, tmp_path, landmark):
    out = tmp_path / "out"
    arguments = [sys.executable, "-c", KILLED, str(corpus), str(out), f"{tmp_path.name}.log"]
    process = subprocess.Popen(arguments, cwd=PROJECT)
    while not list(out.glob(landmark)) and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    run = run_request(request(corpus, log=f"{tmp_path.name}.log"), out, InProcess())
    assert run.table_hash == expected.table_hash
    assert not list(out.rglob("*.tmp"))


def test_only_one_process_works_in_a_folder(corpus, tmp_path):
    from labelnoise.folder_lock import lock_folder

    (tmp_path / "out").mkdir()
    handle = lock_folder(tmp_path / "out", "")
    with pytest.raises(ValueError, match="another process is working"):
        run_request(request(corpus), tmp_path / "out", InProcess())
    os.close(handle)
    (tmp_path / "out" / "letter.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"not a run folder \(it holds letter.txt\)"):
        run_request(request(corpus), tmp_path / "out", InProcess())
    with pytest.raises(ValueError, match="--out must be a folder"):
        run_request(request(corpus), tmp_path / "out" / "letter.txt", InProcess())


def test_what_cannot_be_is_said_before_any_work(corpus, tmp_path):
    out = tmp_path / "out"
    for changes, words in {
        (("image_encoder", None),): "needs image vectors: name an encoder by --image-encoder",
        (("text_encoder", "column:clip"),): "encodes the texts of the classes",
        (("max_bad_share", 2.0),): "max_bad_share must lie in 0 .. 1",
        (("settings", ("leed=1",)),): "no setting 'leed'.*did you mean 'lead'",
        (("settings", ("lead=high",)),): "lead must be float",
    }.items():
        with pytest.raises(ValueError, match=words):
            run_request(request(corpus, **dict(changes)), out, InProcess())
    with pytest.raises(ValueError, match=r"needs about .* GB of memory.*fewer workers"):
        run_request(request(corpus), out, InProcess(workers=8, max_memory=10**8))
    assert not out.exists()
    with pytest.raises(ValueError, match="workers must be at least 1"):
        Workforce(workers=0)


def test_a_run_is_taken_up_when_its_data_changes(tmp_path):
    folder, out = make_corpus(tmp_path / "tars"), tmp_path / "out"
    run_request(request(folder), out, InProcess())
    encoded(folder)
    make_corpus(tmp_path / "tars", 4)
    (folder / "00000.tar").unlink()
    run = run_request(request(folder), out, InProcess())
    assert run.shards == ("00001", "00002", "00003")
    assert encoded(folder)["image"] <= 27
    assert sorted(path.stem for path in (out / "decisions").iterdir()) == list(run.shards)
    assert sorted(path.name for path in out.glob("*_stats.json")) == [
        f"{name}_stats.json" for name in run.shards
    ]
    assert open_run(out).audit().ids.tolist() == [f"{n:04d}" for n in range(9, 36)]
