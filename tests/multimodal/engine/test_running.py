import json
import os
import signal
import subprocess
import sys
import time

import pytest

from multimodal.engine.local_pool import LocalPool
from multimodal.engine.running import StepFailed, run_steps
from multimodal.engine.steps import Step, check_steps
from multimodal.run_folder import WORK
from tests.multimodal.engine.toy_steps import Here, calls, product, toy_setup

ALL = ["read s0", "read s1", "read s2", "read s3", "share s0", "share s1", "share s2", "share s3",
       "total _all"]  # fmt: skip


def run(setup, workers=None, **options):
    """In this process, or by so many workers."""
    if workers is None:
        return run_steps(setup, Here(setup))
    return run_steps(setup, LocalPool(setup, workers=workers, **options))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    setup = toy_setup(tmp_path_factory.mktemp("expected"))
    run(setup)
    return product(setup)


def test_runs_each_unit_once_and_the_same_for_any_number_of_workers(tmp_path, expected):
    assert list(expected) == ["s0.txt", "s1.txt", "s2.txt", "s3.txt"]
    shares = [float(x) for text in expected.values() for x in text.split()]
    assert sum(shares) == pytest.approx(1, abs=1e-4)
    setup = toy_setup(tmp_path)
    state = run(setup, workers=3, threads=2)
    assert calls(setup) == ALL
    assert product(setup) == expected
    assert {name: (c.done, c.total, c.rows) for name, c in state.counts.items()} == {
        "read": (4, 4, 10),
        "total": (1, 1, 0),
        "share": (4, 4, 10),
    }
    stats = json.loads((setup.folder / "s1_stats.json").read_text())
    assert stats["stats"]["threads"] == "1"
    assert stats["files"] == {"shares/s1.txt": len(expected["s1.txt"])}
    whole = json.loads((setup.folder / "work/total/_all_stats.json").read_text())
    assert whole["stats"] == {"shards": ["s0", "s1", "s2", "s3"], "threads": "2"}
    # once more: nothing is called
    state = run(setup)
    assert calls(setup) == []
    assert state.counts["share"].kept == 4


def test_settings_and_inputs_redo_what_depends_on_them(tmp_path):
    run(toy_setup(tmp_path))
    calls(toy_setup(tmp_path))
    setup = toy_setup(tmp_path, power=2)
    run(setup)
    assert calls(setup) == ["share s0", "share s1", "share s2", "share s3"]
    (tmp_path / "source/s2.txt").write_text("5 6")
    run(setup)
    assert calls(setup) == ["read s2", *ALL[4:]]
    setup = toy_setup(tmp_path, power=2, factor=2.0)
    run(setup)
    assert calls(setup) == ALL


def test_damaged_records_and_files_are_made_again(tmp_path, expected):
    setup = toy_setup(tmp_path, 6)
    run(setup)
    calls(setup)
    before = product(setup)
    work = setup.folder / "work/read"
    for name, text in {"s0": "", "s1": "{", "s2": "[]", "s3": '{"key": 1}'}.items():
        (work / f"{name}_stats.json").write_text(text)
    (work / "s4.npy").unlink()
    (work / "s5.npy").write_bytes(b"x")
    run(setup)
    # the files are what they were, and so are the keys: nothing after them is stale
    assert calls(setup) == [f"read s{k}" for k in range(6)]
    assert product(setup) == before


def test_what_fails_once_is_tried_again(tmp_path, expected):
    setup = toy_setup(
        tmp_path,
        die=(("read s1", 1), ("total _all", 1)),
        fail=(("share s2", 1),),
    )
    state = run(setup, workers=2)
    assert state.failed == {}
    assert product(setup) == expected


def test_a_shard_that_fails_twice_is_left_out_and_taken_up_by_the_next_run(tmp_path, expected):
    setup = toy_setup(tmp_path, die=(("read s1", -1),), fail=(("read s2", -1), ("share s3", -1)))
    state = run(setup, workers=2)
    assert state.failed == {
        "s1": ("read", "its worker process died (SIGKILL, out of memory?)"),
        "s2": ("read", "LookupError: nothing there"),
        "s3": ("share", "LookupError: nothing there"),
    }
    made = calls(setup)
    assert [made.count(f"read s{k}") for k in range(4)] == [1, 2, 2, 1]
    assert made.count("share s3") == 2
    assert list(product(setup)) == ["s0.txt"]
    setup = toy_setup(tmp_path)
    assert run(setup).failed == {}
    assert calls(setup) == [
        "read s1", "read s2", "share s0", "share s1", "share s2", "share s3", "total _all",
    ]  # fmt: skip
    assert product(setup) == expected


def test_what_no_other_shard_would_survive_stops_the_run(tmp_path):
    for trouble, words in {
        "full": "step read, shard s1: OSError: .Errno 28. No space left",
        "missing": "pip install 'graphnoise.toy.'",
    }.items():
        with pytest.raises(ValueError, match=words):
            run(toy_setup(tmp_path, **{trouble: (("read s1", -1),)}))
    with pytest.raises(StepFailed, match=r"step total: LookupError: nothing there\n.*Traceback"):
        run(toy_setup(tmp_path, fail=(("total _all", -1),)))
    with pytest.raises(ValueError, match="step total: its worker process died"):
        run(toy_setup(tmp_path, die=(("total _all", -1),)), workers=1)
    with pytest.raises(ValueError, match=r"every shard failed; s. in step read: LookupError"):
        run(toy_setup(tmp_path, factor=3.0, fail=tuple((f"read s{k}", -1) for k in range(4))))
    assert not list(tmp_path.rglob("*.tmp"))


def test_unreadable_shards(tmp_path):
    setup = toy_setup(tmp_path)
    (tmp_path / "source/s1.txt").unlink()
    state = run(setup)
    assert list(state.failed) == ["s1"]
    assert "FileNotFoundError" in state.failed["s1"][1]


RUN = """
import sys
from pathlib import Path
from multimodal.engine.local_pool import LocalPool
from multimodal.engine.running import run_steps
from tests.multimodal.engine.toy_steps import toy_setup
if __name__ == "__main__":
    setup = toy_setup(Path(sys.argv[1]), slow=0.15)
    run_steps(setup, LocalPool(setup, workers=2))
"""


def start(folder):
    return subprocess.Popen([sys.executable, "-c", RUN, str(folder)], start_new_session=True)


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.01)


@pytest.mark.parametrize(
    "landmark",
    ["calls.log", f"out/{WORK}/read/s1_stats.json", f"out/{WORK}/total/_all_stats.json"],
)
def test_killed_anywhere_and_started_again(tmp_path, expected, landmark):
    process = start(tmp_path)
    wait_for(tmp_path / landmark, process)
    process.kill()
    process.wait()
    half = tmp_path / "out" / WORK / "read" / ".s3.npy.1.tmp"
    half.parent.mkdir(parents=True, exist_ok=True)
    half.write_text("half")
    setup = toy_setup(tmp_path)
    run(setup, workers=2)
    assert product(setup) == expected
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupts_leave_no_process_behind(tmp_path, number):
    process = start(tmp_path)
    wait_for(tmp_path / "calls.log", process)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    assert process.wait(20) != 0
    deadline = time.monotonic() + 20
    while group_lives(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not list(tmp_path.rglob("*.tmp"))


def group_lives(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_steps_are_checked():
    with pytest.raises(ValueError, match="unique names"):
        check_steps([Step("a", "m:f"), Step("a", "m:f")])
    with pytest.raises(ValueError, match="'a' comes after 'b'"):
        check_steps([Step("a", "m:f", after=("b",))])
    with pytest.raises(ValueError, match="units must be"):
        Step("a", "m:f", "all")
    with pytest.raises(ValueError, match="name must be"):
        Step("a/b", "m:f")
    assert Step("a", "m:f").key([]) != Step("a", "m:f", version=2).key([])
