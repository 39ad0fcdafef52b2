"""One unit of work, what came of it, and how it is done: the same in every kind of worker."""

import errno
import resource
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from time import perf_counter

from multimodal.engine.commits import Commit, remove_commit, write_commit
from multimodal.engine.context import Setup, StepContext
from multimodal.engine.steps import WHOLE

# the disk, not the shard: another shard would fare no better
OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True)
class Task:
    """A unit of a step that is to be done.

    Attributes:
        step: Name of the step.
        unit: Name of the shard, or `WHOLE`.
        key: What its commit record will say.
    """

    step: str
    unit: str
    key: str

    @property
    def whole(self) -> bool:
        """Whether it is over the whole corpus."""
        return self.unit == WHOLE


@dataclass(frozen=True)
class Finished:
    """A task that is done and committed.

    Attributes:
        task: The task.
        commit: Its record.
        memory: Largest resident memory of its process so far, in bytes.
    """

    task: Task
    commit: Commit
    memory: int = 0


@dataclass(frozen=True)
class Failed:
    """A task that is not.

    Attributes:
        task: The task.
        reason: One line for people.
        fatal: Whether the run cannot go on: a missing package, a full disk.
        defect: Whether it is no error that bad input explains.
        trace: Traceback, for defects; "" where the process died.
    """

    task: Task
    reason: str
    fatal: bool = False
    defect: bool = False
    trace: str = ""


@dataclass(frozen=True)
class Progress:
    """How far a task is."""

    task: Task
    stage: str
    share: float


Event = Finished | Failed | Progress


def run_task(
    setup: Setup,
    task: Task,
    *,
    threads: int = 1,
    listener: Callable[[Progress], None] = lambda progress: None,
) -> Finished | Failed:
    """Do a task: old record away, files, new record. Raises nothing but what ends a process."""
    step = setup.step(task.step)
    context = StepContext(
        setup, step, task.unit, threads, lambda stage, share: listener(Progress(task, stage, share))
    )
    module, _, name = step.run.partition(":")
    try:
        remove_commit(setup.folder, step, task.unit)
        started = perf_counter()
        stats = getattr(import_module(module), name)(context, task.unit)
        commit = Commit(task.key, dict(context.written), stats or {}, perf_counter() - started)
        write_commit(setup.folder, step, task.unit, commit)
    except Exception as error:
        return _failed(task, error)
    return Finished(task, commit, peak_memory())


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _failed(task: Task, error: Exception) -> Failed:
    lines = str(error).strip().splitlines()
    # a message of several lines is cut: the reason is a cell of a table
    reason = f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
    of_the_machine = isinstance(error, OSError) and error.errno in OF_THE_MACHINE
    return Failed(
        task,
        reason,
        fatal=of_the_machine or isinstance(error, ImportError),
        defect=not isinstance(error, ValueError | OSError | ImportError),
        trace=traceback.format_exc(),
    )
