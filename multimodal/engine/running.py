"""The loop of a run: what is ready goes to the workers, what comes back makes more ready."""

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from multimodal.engine.commits import remove_temporary
from multimodal.engine.context import Setup
from multimodal.engine.schedule import Schedule
from multimodal.engine.tasks import Event, Failed, Finished, Progress, Task

ATTEMPTS = 2
SECONDS_BETWEEN_LOOKS = 1.0


class Executor(Protocol):
    """Who does the tasks. It does not know what a step does."""

    def submit(self, task: Task) -> None:
        """Take a task; it starts when there is room."""
        ...

    def wait(self, seconds: float) -> Sequence[Event]:
        """What happened; waits so many seconds at most for the first."""
        ...

    def close(self) -> None:
        """Stop at once."""
        ...


class StepFailed(RuntimeError):
    """A defect in a step over the whole corpus, with the traceback of its process."""


# (state, what a task reports of itself or None)
Watcher = Callable[[Schedule, Progress | None], None]


def run_steps(
    setup: Setup, executor: Executor, watcher: Watcher = lambda schedule, progress: None
) -> Schedule:
    """Do what is not done yet.

    A task that fails is tried once more; then its shard has failed, takes no part in later steps,
    and the others go on. Steps over the whole corpus have to succeed.

    Args:
        setup: Steps and shards; its folder exists and nobody else works in it.
        executor: Who does the tasks; closed in any case.
        watcher: Called after whatever happens, and every second.

    Returns:
        The schedule, with failed shards and counts.

    Raises:
        ValueError: A step over the whole corpus refused, a package is missing, the disk is full,
            or no shard is left.
        StepFailed: A step over the whole corpus is defective.
        KeyboardInterrupt: Ctrl-C, or SIGTERM; the same call goes on from there.
    """
    schedule, open_tasks, attempts = Schedule(setup), set[Task](), Counter[Task]()

    def submit(tasks: Iterable[Task]) -> None:
        for task in tasks:
            open_tasks.add(task)
            attempts[task] += 1
            executor.submit(task)

    with _terminated_as_interrupted():
        try:
            remove_temporary(setup.folder)
            submit(schedule.start())
            watcher(schedule, None)
            while open_tasks:
                for event in executor.wait(SECONDS_BETWEEN_LOOKS):
                    if isinstance(event, Progress):
                        watcher(schedule, event)
                        continue
                    open_tasks.discard(event.task)
                    submit(_next_tasks(schedule, event, attempts))
                watcher(schedule, None)
        finally:
            executor.close()
            remove_temporary(setup.folder)
    return schedule


def _next_tasks(
    schedule: Schedule, event: Finished | Failed, attempts: Counter[Task]
) -> Iterable[Task]:
    task = event.task
    if isinstance(event, Finished):
        schedule.memory = max(schedule.memory, event.memory)
        return schedule.finish(task, event.commit)
    if event.fatal or (task.whole and event.trace):
        raise _as_error(event)
    if attempts[task] < ATTEMPTS:
        return (task,)
    if task.whole:
        raise _as_error(event)
    following = list(schedule.fail(task, event.reason))
    if len(schedule.failed) == len(schedule.setup.shards):
        raise ValueError(f"every shard failed; {task.unit} in step {task.step}: {event.reason}")
    return following


def _as_error(event: Failed) -> Exception:
    where = f"step {event.task.step}" + ("" if event.task.whole else f", shard {event.task.unit}")
    if not event.defect:
        return ValueError(f"{where}: {event.reason}")
    return StepFailed(f"{where}: {event.reason}\n{event.trace}")


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends the block like Ctrl-C; only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
