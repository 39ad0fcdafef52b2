"""Workers of a Ray cluster: actors that hold the models; Ray places and restarts them."""

import os
import sys
from collections import deque
from collections.abc import Sequence
from typing import Any

from multimodal.engine.context import Setup
from multimodal.engine.local_pool import KEPT_MEMORY
from multimodal.engine.tasks import Event, Failed, Finished, Task, run_task
from multimodal.engine.worker import thread_environment

# of one task after the death of its actor; what raises an error is retried by the run itself
RETRIES = 1


class TaskHost:
    """What runs in each process of Ray.

    Args:
        setup: What it works on.
        threads: Threads of a task.
    """

    def __init__(self, setup: Setup, threads: int) -> None:
        self._setup, self._threads = setup, threads

    def run(self, task: Task) -> Finished | Failed:
        """Do a task."""
        return run_task(self._setup, task, threads=self._threads)


class RayPool:
    """Actors of one task at a time each, on any machine of the cluster that sees the run folder.

    Joins the Ray that runs, else starts one on this machine and stops it at the end. Progress
    within a task is not reported.

    Args:
        setup: What they work on; only names and settings travel.
        workers: Number of actors for shards; None: one per processor of the cluster.
        threads: Threads, and processors, of a task over the whole corpus.
        gpus: Share of a GPU that each actor holds.

    Raises:
        ImportError: Ray is not installed.
    """

    def __init__(
        self, setup: Setup, *, workers: int | None = None, threads: int = 1, gpus: float = 0.0
    ) -> None:
        try:
            import ray
        except ImportError as missing:
            raise ImportError("--ray needs Ray: pip install 'graphnoise[ray]'") from missing
        self._ray: Any = ray
        self._started_here = not ray.is_initialized()
        if self._started_here:
            ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
        self._cpus = max(int(ray.cluster_resources().get("CPU", 1)), 1)
        self._workers, self._threads, self._gpus = workers or self._cpus, threads, gpus
        self._setup = ray.put(setup)
        self._queue: deque[Task] = deque()
        # of steps over shards, and of those over the whole corpus
        self._actors: dict[bool, list[Any]] = {False: [], True: []}
        self._idle: dict[bool, list[Any]] = {False: [], True: []}
        self._largest = 0
        self._running: dict[Any, tuple[Task, Any]] = {}

    def submit(self, task: Task) -> None:
        """Take a task; it starts when an actor is free."""
        self._queue.append(task)

    def wait(self, seconds: float) -> Sequence[Event]:
        """What happened, as soon as something did; nothing after so many seconds."""
        self._assign()
        if not self._running:
            return []
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
        events = [self._event(reference) for reference in ready]
        self._assign()
        return events

    def close(self) -> None:
        """Stop all actors at once, and Ray where it was started here."""
        for whole in (False, True):
            self._stop(whole)
        self._running.clear()
        if self._started_here:
            self._ray.shutdown()

    def _event(self, reference: Any) -> Event:
        task, actor = self._running.pop(reference)
        try:
            event: Event = self._ray.get(reference)
        except self._ray.exceptions.RayActorError:
            self._actors[task.whole].remove(actor)
            return Failed(task, "its worker process died (out of memory?)")
        except self._ray.exceptions.RayError as error:
            event = Failed(task, f"{type(error).__name__}: {str(error).splitlines()[0]}")
        self._idle[task.whole].append(actor)
        if isinstance(event, Finished):
            self._largest = max(self._largest, event.memory)
        return event

    def _assign(self) -> None:
        while self._queue:
            whole = self._queue[0].whole
            if any(task.whole != whole for task, _ in self._running.values()):
                return
            if self._actors[not whole] and not self._room_for_both:
                # a step over the whole corpus has the processors to itself
                self._stop(not whole)
            if not self._idle[whole]:
                if len(self._actors[whole]) >= (1 if whole else self._workers):
                    return
                self._start(whole)
            actor = self._idle[whole].pop()
            task = self._queue.popleft()
            self._running[actor.run.remote(task)] = task, actor

    @property
    def _room_for_both(self) -> bool:
        """Whether idle actors may wait, which saves loading their libraries again."""
        small = not self._gpus and self._largest <= KEPT_MEMORY
        return small and self._workers + self._threads <= self._cpus

    def _start(self, whole: bool) -> None:
        threads = self._threads if whole else 1
        path = os.pathsep.join(one for one in sys.path if one)
        actor = (
            self._ray.remote(TaskHost)
            .options(
                num_cpus=min(threads, self._cpus),
                num_gpus=self._gpus,
                max_restarts=RETRIES,
                max_task_retries=RETRIES,
                runtime_env={"env_vars": {**thread_environment(threads), "PYTHONPATH": path}},
            )
            .remote(self._setup, threads)
        )
        self._actors[whole].append(actor)
        self._idle[whole].append(actor)

    def _stop(self, whole: bool) -> None:
        for actor in self._actors[whole]:
            self._ray.kill(actor)
        self._actors[whole].clear()
        self._idle[whole].clear()
