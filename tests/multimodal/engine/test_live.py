import io

from rich.console import Console

from multimodal.engine.context import Setup
from multimodal.engine.live import ProgressLine, duration, shown
from multimodal.engine.schedule import Schedule, StepCount
from multimodal.engine.tasks import Progress, Task


def schedule(**done):
    made = Schedule(Setup(None, (), None))
    for name, (units, total, rows) in done.items():
        made.counts[name] = StepCount(total, units, rows=rows)
    return made


def test_the_line_says_speed_and_time_left():
    seconds = [0.0]
    line = ProgressLine(lambda: seconds[0])
    assert line.text(schedule(ingest=(0, 10, 0), judge=(0, 1, 0))) == "0/11 units"
    assert line.text(schedule(ingest=(2, 10, 200), judge=(0, 1, 0))) == "ingest 2/10"
    seconds[0] = 20.0
    state = schedule(ingest=(6, 10, 600), judge=(0, 1, 0))
    # 4 units with 400 rows in 20 seconds, 4 units to go
    assert line.text(state) == "ingest 6/10 20 rows/s 0:20 left"
    state.failed["s"] = ("ingest", "reason")
    assert line.text(state) == "ingest 6/10 20 rows/s 0:15 left · 1 shards failed"
    whole = Progress(Task("judge", "_all", "key"), "graph", 0.25)
    state = schedule(ingest=(10, 10, 1000), judge=(0, 1, 0))
    assert line.text(state, whole) == "judge graph 25 %"


def test_times_for_people():
    assert [duration(seconds) for seconds in (0.4, 61, 3723)] == ["0:00", "1:01", "1:02:03"]


def test_a_terminal_gets_a_live_line_and_a_log_none_at_once():
    for terminal in (True, False):
        written = io.StringIO()
        console = Console(file=written, force_terminal=terminal, width=100)
        with shown(console) as watcher:
            watcher(schedule(ingest=(2, 10, 200)), None)
        assert ("ingest 2/10" in written.getvalue()) == terminal
