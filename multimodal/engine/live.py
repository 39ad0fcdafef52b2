"""What a person sees of a run: one live line on a terminal, now and then a line in a log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.live import Live
from rich.text import Text

from multimodal.engine.schedule import Schedule
from multimodal.engine.tasks import Progress

SECONDS_BETWEEN_LINES = 15.0


class ProgressLine:
    """Steps with units done, rows per second, failed shards and the time left, as text.

    Args:
        clock: Seconds, growing.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._began: dict[str, tuple[float, int, int]] = {}

    def text(self, schedule: Schedule, progress: Progress | None = None) -> str:
        """The line for a state."""
        parts, now = [], self._clock()
        for name, count in schedule.counts.items():
            done, failed = count.done, len(schedule.failed) if count.total > 1 else 0
            if not 0 < done + failed < count.total and (done or progress is None):
                continue
            self._began.setdefault(name, (now, done, count.rows))
            began, first, rows = self._began[name]
            words = [f"{name} {done}/{count.total}"]
            if progress is not None and progress.task.step == name and progress.task.whole:
                words = [f"{name} {progress.stage} {100 * progress.share:.0f} %"]
            if now > began and count.rows > rows:
                words.append(f"{(count.rows - rows) / (now - began):,.0f} rows/s")
            if now > began and done > first:
                left = (count.total - done - failed) * (now - began) / (done - first)
                words.append(f"{duration(left)} left")
            parts.append(" ".join(words))
        if not parts:
            done, total = (
                sum(getattr(count, field) for count in schedule.counts.values())
                for field in ("done", "total")
            )
            parts.append(f"{done}/{total} units")
        if schedule.failed:
            parts.append(f"{len(schedule.failed)} shards failed")
        return " · ".join(parts)


def duration(seconds: float) -> str:
    """A time for people: ``0:07``, ``12:34``, ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def shown(
    console: Console | None = None,
) -> Iterator[Callable[[Schedule, Progress | None], None]]:
    """A watcher for `run_steps` that writes to stderr."""
    console = console or Console(stderr=True)
    line, last = ProgressLine(), monotonic()
    latest: Progress | None = None

    def current(schedule: Schedule, progress: Progress | None) -> str:
        nonlocal latest
        latest = progress or latest
        if latest is not None and schedule.counts[latest.task.step].done:
            latest = None
        return line.text(schedule, latest)

    if console.is_terminal:
        with Live(console=console, refresh_per_second=4, transient=True) as live:

            def draw(schedule: Schedule, progress: Progress | None) -> None:
                live.update(Text(current(schedule, progress)))

            yield draw
        return

    def log(schedule: Schedule, progress: Progress | None) -> None:
        nonlocal last
        text = current(schedule, progress)
        if monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = monotonic()
            console.print(text, markup=False, highlight=False, soft_wrap=True)

    yield log
