"""`clean`: from a corpus and a list of classes to a folder of decisions."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from labelnoise.audit import installed_versions
from multimodal.cleaning_request import CleaningRequest, corpus_fingerprint
from multimodal.engine.claim import Claim
from multimodal.engine.cleaning_steps import cleaning_steps
from multimodal.engine.commits import step_folder
from multimodal.engine.context import Setup
from multimodal.engine.finish import finish_run
from multimodal.engine.job import Hardware
from multimodal.engine.local_pool import LocalPool
from multimodal.engine.running import Executor, Watcher, run_steps
from multimodal.estimates import Estimate, estimate
from multimodal.run_folder import CleanedRun, open_run

if TYPE_CHECKING:
    from labelnoise.class_list import ClassList
    from multimodal.corpus.base import Corpus
    from multimodal.corpus.sources import Source
    from multimodal.methods.base import CleaningMethod


@dataclass(frozen=True)
class Workforce:
    """Who does the work. None of it changes the result.

    Attributes:
        workers: Processes for shards, at least 1; None: one per core.
        ray: Whether Ray spreads the work, on a folder that all its machines see.
        gpus: Share of a GPU that each of Ray's workers holds.
        threads: Threads of a step over the whole corpus; None: ``OMP_NUM_THREADS``, else all
            cores.
        max_memory: Bytes; a run that is estimated to need more is refused. None: no limit.
        hardware: Where models run.
    """

    workers: int | None = None
    ray: bool = False
    gpus: float = 0.0
    threads: int | None = None
    max_memory: int | None = None
    hardware: Hardware = Hardware()  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        for name in ("workers", "threads", "max_memory"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.gpus < 0:
            raise ValueError(f"gpus must be at least 0, got {self.gpus}")

    @property
    def n_workers(self) -> int:
        """Processes for shards."""
        return self.workers or n_cores()

    @property
    def n_threads(self) -> int:
        """Threads of a step over the whole corpus; the same for any number of workers."""
        named = os.environ.get("OMP_NUM_THREADS", "")
        return self.threads or (int(named) if named.isdigit() and int(named) else n_cores())

    def executor(self, setup: Setup) -> Executor:
        """Who does the tasks of a run."""
        if not self.ray:
            return LocalPool(setup, workers=self.n_workers, threads=self.n_threads)
        from multimodal.engine.ray_pool import RayPool

        return RayPool(setup, workers=self.workers, threads=self.n_threads, gpus=self.gpus)


def clean(
    source: "Source | Corpus",
    classes: "str | Path | ClassList",
    *,
    out: str | Path,
    method: "str | CleaningMethod" = "capro",
    image_encoder: str | None = None,
    text_encoder: str | None = None,
    settings: Mapping[str, Any] | Sequence[str] = (),
    seed: int = 0,
    workers: int | None = None,
    ray: bool = False,
    max_memory: int | None = None,
    cache: str | Path | None = None,
    force: bool = False,
) -> CleanedRun:
    """Judge every image-text pair of a corpus; the same call again goes on where it stopped.

    Work is done by processes of their own: a script needs ``if __name__ == "__main__":`` around
    the call. For the rarer options see `CleaningRequest`, `Workforce` and `run_request`.

    Args:
        source: Of `open_corpus`, or a `Corpus`.
        classes: A file of `read_classes`, or a `ClassList`.
        out: Folder of the results.
        method: Name in `CLEANING_METHODS`, or a method.
        image_encoder: Spec of `multimodal.encoders.ENCODERS`, such as ``column:clip``.
        text_encoder: Likewise; by default what the method needs.
        settings: Of the method, name -> value.
        seed: Of the method.
        workers: Processes, by default one per core.
        ray: Whether Ray spreads the work.
        max_memory: Bytes; a run that is estimated to need more is refused.
        cache: Folder of embeddings that several runs share.
        force: Replace another run in `out`; steps that do not change are kept.

    Returns:
        The finished run; shards that could not be finished are listed in its `failed`.

    Raises:
        ValueError: Anything in the request cannot be, the folder belongs to another run, or the
            memory would not do.
    """
    request = CleaningRequest(
        source, classes, method, settings, image_encoder, text_encoder, seed=seed
    )
    hardware = Hardware(cache=None if cache is None else Path(cache))
    workforce = Workforce(workers, ray, max_memory=max_memory, hardware=hardware)
    return run_request(request, Path(out), workforce, force=force)


def run_request(
    request: CleaningRequest,
    out: Path,
    workforce: Workforce = Workforce(),
    *,
    force: bool = False,
    command: str = "",
    watcher: Watcher = lambda schedule, progress: None,
) -> CleanedRun:
    """`clean` with everything that can be chosen.

    Args:
        request: What decides the result.
        out: Folder of the results.
        workforce: Who does the work.
        force: Replace another run.
        command: What the user typed, to be stored; made up where empty.
        watcher: Sees the progress.
    """
    job = request.job(workforce.hardware)
    claim = Claim(out, request.key, command or _command(request, out))
    data = corpus_fingerprint(request.corpus)
    with claim.locked():
        claim.check(force=force)
        if claim.done(data) is not None:
            return open_run(out)
        if workforce.max_memory is not None:
            check_memory(estimate(request, workforce.n_workers), workforce.max_memory)
        started = perf_counter()
        setup = Setup(out.resolve(), cleaning_steps(job), request.corpus, job)
        steps = {
            step.name: [
                str(step_folder(Path(), step)),
                1 if step.units == "once" else len(setup.shards),
            ]
            for step in setup.steps
        }
        claim.begin({"job": request.describe(), "data": data, "steps": steps})
        schedule = run_steps(setup, workforce.executor(setup), watcher)
        record = finish_run(setup, schedule)
        seconds = perf_counter() - started
        claim.commit(
            {
                "job": request.describe(),
                "data": data,
                "method": request.judge.name,
                "settings": request.describe()["settings"],
                "seed": request.seed,
                "n_classes": len(request.class_list),
                **record,
                "seconds": round(seconds, 3),
                "rows_per_second": round(record["rows"] / seconds, 3),
                "peak_memory": schedule.memory,
                "versions": installed_versions(),
            }
        )
    return open_run(out)


def check_memory(needed: Estimate, allowed: int) -> None:
    """Refuse a run before it fails.

    Raises:
        ValueError: More memory is needed than allowed; says what to change.
    """
    if needed.memory > allowed:
        raise ValueError(
            f"the run needs about {needed.memory / 1e9:.1f} GB of memory, --max-memory allows"
            f" {allowed / 1e9:.1f} GB; most is for {needed.largest}: {needed.advice}"
        )


def n_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _command(request: CleaningRequest, out: Path) -> str:
    told = request.describe()
    words = ["multimodal", "clean", str(told["source"]), "--classes", str(told["classes"])]
    words += ["--out", str(out), "--method", told["method"], "--seed", str(request.seed)]
    for role, spec in told["encoders"].items():
        words += [f"--{role}-encoder", spec]
    return shlex.join(words)
