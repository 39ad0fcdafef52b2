"""Asynchronous work for callers that are not, in a program or in a notebook."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, also where an event loop runs already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        in_loop = False
    else:
        in_loop = True
    return _run_beside(work) if in_loop else asyncio.run(work)


def _run_beside(work: Coroutine[Any, Any, T]) -> T:
    """Run in a thread with a loop of its own; an interrupt of this one reaches it."""
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = []

    async def inside() -> T:
        task = asyncio.ensure_future(work)
        running.append((asyncio.get_running_loop(), task))
        return await task

    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(asyncio.run, inside())
        try:
            return future.result()
        except BaseException:
            for loop, task in running:
                if not future.done():
                    loop.call_soon_threadsafe(task.cancel)
            raise
