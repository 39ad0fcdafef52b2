"""Steps of a toy run: numbers in shards, their sum, and each number over the sum."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multimodal.corpus.base import Corpus
from multimodal.engine.context import Setup
from multimodal.engine.steps import WHOLE, Step
from multimodal.engine.tasks import run_task

HERE = "tests.multimodal.engine.toy_steps"


@dataclass(frozen=True)
class Numbers:
    """A shard: a text file of numbers."""

    path: Path

    @property
    def name(self):
        return self.path.stem

    def fingerprint(self):
        return self.path.read_text()


@dataclass(frozen=True)
class Trouble:
    """What goes wrong, and where the calls are noted.

    Attributes:
        log: A line "step unit" per call.
        die, fail, full, missing: "step unit" -> how often (-1: always).
    """

    log: Path
    die: tuple = ()
    fail: tuple = ()
    full: tuple = ()
    missing: tuple = ()
    slow: float = 0.0


def call(context, unit):
    trouble, name = context.job, f"{context.step.name} {unit}"
    with trouble.log.open("a") as log:
        log.write(f"{name}\n")
    times = trouble.log.read_text().splitlines().count(name)
    time.sleep(trouble.slow)
    for kind, act in ACTS.items():
        for what, often in getattr(trouble, kind):
            if what == name and (often < 0 or times <= often):
                act()


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise LookupError("nothing there\nand more")


def full():
    raise OSError(28, "No space left on device")


def missing():
    raise ImportError("pip install 'graphnoise[toy]'")


ACTS = {"die": die, "fail": fail, "full": full, "missing": missing}


class Here:
    """An executor that does one task after the other in this process."""

    def __init__(self, setup):
        self.setup, self.queue = setup, []

    def submit(self, task):
        self.queue.append(task)

    def wait(self, seconds):
        return [run_task(self.setup, self.queue.pop(0))]

    def close(self):
        self.queue.clear()


def read(context, unit):
    call(context, unit)
    numbers = np.array(context.shard.path.read_text().split(), np.float64)
    with context.output(".npy") as path, path.open("wb") as file:
        np.save(file, numbers * context.settings["factor"])
    return {"rows": len(numbers)}


def total(context, unit):
    call(context, unit)
    names = context.units("read")
    parts = [np.load(context.input("read", name, ".npy")) for name in names]
    context.report(0.5, "adding")
    with context.output(".npy") as path, path.open("wb") as file:
        np.save(file, np.concatenate(parts).sum())
    return {"shards": list(names), "threads": os.environ.get("OMP_NUM_THREADS")}


def share(context, unit):
    call(context, unit)
    numbers = np.load(context.input("read", unit, ".npy"))
    whole = np.load(context.input("total", WHOLE, ".npy"))
    with context.output(".txt", folder="shares") as path:
        path.write_text(" ".join(f"{x:.6f}" for x in numbers / whole))
    return {"rows": len(numbers), "threads": os.environ.get("OMP_NUM_THREADS")}


def toy_steps(factor=1.0, power=1):
    return (
        Step("read", f"{HERE}:read", settings={"factor": factor}),
        Step("total", f"{HERE}:total", "once", ("read",)),
        Step("share", f"{HERE}:share", "shards", ("read", "total"), {"power": power}, public=True),
    )


def toy_setup(folder, n_shards=4, *, factor=1.0, power=1, **trouble):
    """The run folder is ``folder/out``; shard k has k + 1 numbers."""
    source = folder / "source"
    source.mkdir(exist_ok=True)
    for k in range(n_shards):
        path = source / f"s{k}.txt"
        if not path.exists():
            path.write_text(" ".join(str(k + i / 7) for i in range(k + 1)))
    (folder / "out").mkdir(exist_ok=True)
    corpus = Corpus(str(source), tuple(Numbers(path) for path in sorted(source.glob("*.txt"))))
    return Setup(
        folder / "out", toy_steps(factor, power), corpus, Trouble(folder / "calls.log", **trouble)
    )


def product(setup):
    """What the run is for: shard -> text."""
    return {path.name: path.read_text() for path in sorted(setup.folder.glob("shares/*.txt"))}


def calls(setup):
    """Calls so far, and forget them."""
    lines = setup.job.log.read_text().splitlines() if setup.job.log.exists() else []
    setup.job.log.unlink(missing_ok=True)
    return sorted(lines)
