"""What a step's function is given: where to read and write, and the job. Nothing of who runs it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from labelnoise.atomic_files import replacing
from multimodal.corpus.base import Corpus, Shard
from multimodal.engine.commits import read_commit, record_path, step_folder
from multimodal.engine.steps import WHOLE, Step


@dataclass(frozen=True)
class Setup:
    """What every worker knows. Small: shard names and settings, no data.

    Attributes:
        folder: The run folder, on a disk that every worker sees.
        steps: All steps in an order in which each comes after those it reads.
        corpus: The shards.
        job: Whatever the functions of the steps share; cheap to pickle.
    """

    folder: Path
    steps: tuple[Step, ...]
    corpus: Corpus
    job: Any = None

    def step(self, name: str) -> Step:
        """A step by name."""
        return next(step for step in self.steps if step.name == name)

    @cached_property
    def shards(self) -> Mapping[str, Shard]:
        """Shards by name."""
        return {shard.name: shard for shard in self.corpus.shards}


def _unheard(stage: str, share: float) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class StepContext:
    """One call of a step's function.

    Attributes:
        setup: What every worker knows.
        step: The step.
        unit: Name of the shard, or `WHOLE`.
        threads: Threads it should use; the libraries' own are set to it already.
        listener: Called with (what is being done, share done).
    """

    setup: Setup
    step: Step
    unit: str
    threads: int = 1
    listener: Callable[[str, float], None] = _unheard
    _written: dict[str, int] = field(default_factory=dict)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Settings of the step."""
        return self.step.settings

    @property
    def job(self) -> Any:
        """What the steps of this run share."""
        return self.setup.job

    @property
    def shard(self) -> Shard:
        """The shard of this call.

        Raises:
            KeyError: The step looks at the whole corpus.
        """
        return self.setup.shards[self.unit]

    @contextmanager
    def output(self, suffix: str, *, unit: str | None = None, folder: str = "") -> Iterator[Path]:
        """A temporary path to write to; the file appears under its name if the block ends well.

        Args:
            suffix: Ends the name, such as ".image.npy".
            unit: Begins the name, for a step over the whole that leaves files per shard; by
                default the unit of this call.
            folder: Below the step's own.
        """
        if not suffix.startswith(".") or suffix == ".json":
            raise ValueError(f"suffix must begin with a dot and not be .json, got {suffix!r}")
        target = step_folder(self.setup.folder, self.step) / folder / ((unit or self.unit) + suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            yield temporary
        self._written[str(target.relative_to(self.setup.folder))] = target.stat().st_size

    def input(self, step: str, unit: str, suffix: str) -> Path:
        """Path of a file that an earlier step wrote; it may not be there."""
        return step_folder(self.setup.folder, self.setup.step(step)) / (unit + suffix)

    def stats(self, step: str, unit: str = WHOLE) -> Mapping[str, Any]:
        """What the function of an earlier step returned.

        Raises:
            ValueError: That unit is not done.
        """
        commit = read_commit(self.setup.folder, self.setup.step(step), unit)
        if commit is None:
            raise ValueError(f"unit {unit!r} of step {step!r} is not done")
        return commit.stats

    def units(self, step: str) -> tuple[str, ...]:
        """Shards that an earlier step finished, in the order of the corpus; failed ones are not.

        Raises:
            ValueError: This step is over shards too, so that others may still be at work.
        """
        if self.step.units == "shards":
            raise ValueError("only a step over the whole corpus knows which shards are done")
        wanted, folder = self.setup.step(step), self.setup.folder
        done = {path.name for path in step_folder(folder, wanted).glob("*_stats.json")}
        return tuple(n for n in self.setup.shards if record_path(folder, wanted, n).name in done)

    def report(self, share: float, stage: str = "") -> None:
        """Say how far this call is, for people who wait."""
        self.listener(stage, share)

    @property
    def written(self) -> Mapping[str, int]:
        """Path below the run folder -> bytes, of the files written so far."""
        return self._written
