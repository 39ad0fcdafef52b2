"""What runs in a local worker process: tasks come through a pipe, events go back."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from time import monotonic
from typing import Any

# how libraries are told their number of threads; they read it once, when they are loaded
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "RAYON_NUM_THREADS",
)  # fmt: skip
SECONDS_BETWEEN_REPORTS = 0.2


def thread_environment(threads: int) -> dict[str, str]:
    """Environment in which numpy, torch, faiss and numba use so many threads.

    The number is fixed before they are loaded, so that sums are formed in the same order whatever
    the number of workers.
    """
    return {
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        # threads that spin while they wait for each other cost tenfold on shared cores
        "OMP_WAIT_POLICY": "passive",
        "TOKENIZERS_PARALLELISM": "false",
    }


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables that a process started inside the block inherits; ours are put back after it."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def work(pipe: Connection, setup: Any, threads: int) -> None:
    """Do tasks until there are no more: entry point of the process.

    Args:
        pipe: Gives (task) and takes events; None is the end. The first thing sent is None: ready.
        setup: The `Setup` of the run.
        threads: Threads of one task.
    """
    # Ctrl-C reaches the whole group; the parent decides what becomes of us
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from multimodal.engine.tasks import Progress, run_task

    last = 0.0

    def report(progress: Progress) -> None:
        nonlocal last
        if monotonic() - last >= SECONDS_BETWEEN_REPORTS:
            last = monotonic()
            pipe.send(progress)

    try:
        pipe.send(None)
        while (task := pipe.recv()) is not None:
            pipe.send(run_task(setup, task, threads=threads, listener=report))
    except (EOFError, BrokenPipeError):
        sys.exit(1)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        # the next attempt owns the folder; nothing is lost but this unit
        os._exit(1)
