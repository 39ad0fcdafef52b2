"""Workers on this machine: processes that are started when needed and replaced when they die."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from multimodal.engine.context import Setup
from multimodal.engine.tasks import Event, Failed, Finished, Progress, Task
from multimodal.engine.worker import environment, thread_environment, work

SECONDS_TO_STOP = 5.0
# an idle process below this may wait beside a step over the whole corpus, which saves loading its
# libraries again; one that holds a large model or many rows may not
KEPT_MEMORY = 2**30


@dataclass(eq=False)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    whole: bool
    task: Task | None = None
    ready: bool = False
    memory: int = 0


class LocalPool:
    """Processes of one task at a time each.

    A process is spawned, not forked: libraries with threads do not survive a fork. A step over the
    whole corpus gets a process to itself, and nearly all memory: those that hold a model are
    stopped before it.
    One that dies (out of memory, a crash in a library) fails its own task and no other.

    Args:
        setup: What they work on.
        workers: Number of processes for shards.
        threads: Threads of a task over the whole corpus; a task for a shard has one.
    """

    def __init__(self, setup: Setup, *, workers: int = 1, threads: int = 1) -> None:
        self._setup, self._workers, self._threads = setup, workers, threads
        self._context = multiprocessing.get_context("spawn")
        self._running: list[_Worker] = []
        self._queue: deque[Task] = deque()

    def submit(self, task: Task) -> None:
        """Take a task; it starts when a process is free."""
        self._queue.append(task)

    def wait(self, seconds: float) -> Sequence[Event]:
        """What happened, as soon as something did; nothing after so many seconds.

        Raises:
            RuntimeError: Processes cannot be started.
        """
        self._assign()
        waiting: list[Any] = [worker.pipe for worker in self._running]
        waiting += [worker.process.sentinel for worker in self._running]
        if not waiting:
            return []
        found = set(wait(waiting, seconds))
        events: list[Event] = []
        for worker in list(self._running):
            if worker.pipe in found or worker.process.sentinel in found:
                events += self._listen(worker)
        self._assign()
        return events

    def close(self) -> None:
        """Stop all processes at once; what they have not committed is lost, which is harmless."""
        for worker in self._running:
            worker.process.kill()
        for worker in self._running:
            worker.process.join(SECONDS_TO_STOP)
            worker.pipe.close()
        self._running.clear()

    def _listen(self, worker: _Worker) -> list[Event]:
        events: list[Event] = []
        try:
            while worker.pipe.poll():
                event = worker.pipe.recv()
                if event is None:
                    worker.ready = True
                    continue
                events.append(event)
                if not isinstance(event, Progress):
                    worker.task = None
                if isinstance(event, Finished):
                    worker.memory = event.memory
        except (EOFError, OSError):
            events += self._bury(worker)
        return events

    def _bury(self, worker: _Worker) -> list[Event]:
        worker.process.join(SECONDS_TO_STOP)
        code = worker.process.exitcode
        self._running.remove(worker)
        worker.pipe.close()
        if not worker.ready:
            raise RuntimeError(
                f"a worker process ended before it began (exit code {code}); a script that calls"
                " multimodal.clean needs `if __name__ == '__main__':` around the call"
            )
        if worker.task is None:
            return []
        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        hint = ", out of memory?" if how == "SIGKILL" else ""
        return [Failed(worker.task, f"its worker process died ({how}{hint})")]

    def _assign(self) -> None:
        while self._queue:
            worker = self._free(whole=self._queue[0].whole)
            if worker is None:
                return
            try:
                worker.pipe.send(self._queue[0])
            except OSError:
                # it died while idle; the next look takes another
                self._bury(worker)
                continue
            worker.task = self._queue.popleft()

    def _free(self, *, whole: bool) -> _Worker | None:
        """An idle process for the next task, a new one where there is room for it."""
        others = [worker for worker in self._running if worker.whole != whole]
        if any(worker.task for worker in others):
            return None
        for worker in others:
            if worker.memory > KEPT_MEMORY:
                self._stop(worker)
        ours = [worker for worker in self._running if worker.whole == whole]
        idle = [worker for worker in ours if worker.task is None]
        if idle:
            return idle[0]
        return self._start(whole) if len(ours) < (1 if whole else self._workers) else None

    def _start(self, whole: bool) -> _Worker:
        ours, theirs = self._context.Pipe()
        threads = self._threads if whole else 1
        process = self._context.Process(
            target=work, args=(theirs, self._setup, threads), daemon=False
        )
        with environment(thread_environment(threads)):
            process.start()
        theirs.close()
        worker = _Worker(process, ours, whole)
        self._running.append(worker)
        return worker

    def _stop(self, worker: _Worker) -> None:
        self._running.remove(worker)
        worker.pipe.send(None)
        worker.process.join(SECONDS_TO_STOP)
        if worker.process.exitcode is None:
            worker.process.kill()
            worker.process.join()
        worker.pipe.close()
