"""What may be done next: units whose inputs are there, each with the key it must end up with."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import labelnoise
from multimodal.engine.commits import Commit, read_commit, remove_commit
from multimodal.engine.context import Setup
from multimodal.engine.steps import WHOLE, Step, check_steps
from multimodal.engine.tasks import Task


@dataclass
class StepCount:
    """How far a step is.

    Attributes:
        total: Units, those of shards that failed included.
        done: Units with a commit record.
        kept: Units of those that an earlier run had done.
        rows: Rows of the units done, where the step counts them.
        seconds: Time of the units done, over all workers and runs.
    """

    total: int = 0
    done: int = 0
    kept: int = 0
    rows: int = 0
    seconds: float = 0.0

    def add(self, commit: Commit, *, kept: bool) -> None:
        """Count a unit."""
        self.done += 1
        self.kept += kept
        self.rows += int(commit.stats.get("rows", 0))
        self.seconds += commit.seconds


@dataclass
class Schedule:
    """The state of a run: which units are done, which shards failed.

    A shard that failed takes no part in later steps; a step over the whole goes on without it, and
    its key says so. `start` gives the first tasks, `finish` and `fail` those that follow.

    Attributes:
        setup: Steps and shards.
        failed: Shard -> (step, reason).
        counts: Step -> how far it is.
        memory: Largest resident memory of any process of this run, in bytes.
    """

    setup: Setup
    failed: dict[str, tuple[str, str]] = field(default_factory=dict)
    counts: dict[str, StepCount] = field(default_factory=dict)
    memory: int = 0
    _keys: dict[str, dict[str, str]] = field(default_factory=dict)
    _waiting: dict[str, int] = field(default_factory=dict)
    _after: dict[str, list[Step]] = field(default_factory=lambda: defaultdict(list))
    _prints: dict[str, str] = field(default_factory=dict)

    def start(self) -> Iterator[Task]:
        """Tasks that depend on nothing or on what is done already."""
        check_steps(self.setup.steps)
        for shard in self.setup.shards.values():
            try:
                self._prints[shard.name] = shard.fingerprint()
            except (OSError, ValueError) as error:
                self.failed[shard.name] = ("read", f"{type(error).__name__}: {error}")
        if not self._prints:
            name, (_, reason) = next(iter(self.failed.items()))
            raise ValueError(f"no shard can be read; {name}: {reason}")
        for step in self.setup.steps:
            self._keys[step.name] = {}
            self.counts[step.name] = StepCount(len(self._units(step)))
            for name in step.after:
                self._after[name].append(step)
            # units of earlier steps that this one waits for as a barrier
            self._waiting[step.name] = sum(
                len(self._units(self.setup.step(name))) for name in step.after
            )
        for unit in self.failed:
            yield from self._drop(unit)
        for step in self.setup.steps:
            if not step.after:
                for unit in self._units(step):
                    yield from self._ready(step, unit)

    def finish(self, task: Task, commit: Commit, *, kept: bool = False) -> Iterator[Task]:
        """Tasks that a finished one makes possible."""
        if task.unit in self.failed:
            # it was under way when the shard failed in another step
            remove_commit(self.setup.folder, self.setup.step(task.step), task.unit)
            return
        self._keys[task.step][task.unit] = task.key
        self.counts[task.step].add(commit, kept=kept)
        yield from self._follow(task.step, task.unit)

    def fail(self, task: Task, reason: str) -> Iterator[Task]:
        """Tasks that the failure of a shard makes possible: those that waited for it."""
        already = task.unit in self.failed
        self.failed.setdefault(task.unit, (task.step, reason))
        if not already:
            yield from self._drop(task.unit)

    def _drop(self, shard: str) -> Iterator[Task]:
        for step in self.setup.steps:
            if step.units == "shards" and shard not in self._keys[step.name]:
                # a record of earlier days must not count as this run's
                remove_commit(self.setup.folder, step, shard)
                yield from self._follow(step.name, shard)

    def _follow(self, name: str, unit: str) -> Iterator[Task]:
        whole = self.setup.step(name).units == "once"
        for step in self._after[name]:
            self._waiting[step.name] -= 1
            if step.units == "once":
                if not self._waiting[step.name]:
                    yield from self._ready(step, WHOLE)
            else:
                for shard in self._units(step) if whole else (unit,):
                    yield from self._ready(step, shard)

    def _ready(self, step: Step, unit: str) -> Iterator[Task]:
        """The task if its inputs are there and it is not done; else what being done leads to."""
        if unit in self.failed or unit in self._keys[step.name]:
            return
        if not all(self._input_done(step, name, unit) for name in step.after):
            return
        task = Task(step.name, unit, step.key(self._inputs(step, unit)))
        commit = read_commit(self.setup.folder, step, unit)
        if commit is not None and commit.key == task.key:
            yield from self.finish(task, commit, kept=True)
        else:
            yield task

    def _input_done(self, step: Step, name: str, unit: str) -> bool:
        before = self.setup.step(name)
        if before.units == "once":
            return WHOLE in self._keys[name]
        return step.units == "once" or unit in self._keys[name]

    def _inputs(self, step: Step, unit: str) -> list[tuple[str, str]]:
        inputs = [("version", labelnoise.__version__)]
        if step.units == "shards":
            inputs.append(("shard", self._prints[unit]))
        for name in step.after:
            keys = self._keys[name]
            if step.units == "shards":
                inputs.append((name, keys.get(unit) or keys[WHOLE]))
            else:
                inputs += [(f"{name}/{one}", keys[one]) for one in self._order(keys)]
        return inputs

    def _order(self, keys: Mapping[str, str]) -> list[str]:
        return [name for name in (WHOLE, *self.setup.shards) if name in keys]

    def _units(self, step: Step) -> tuple[str, ...]:
        return (WHOLE,) if step.units == "once" else tuple(self.setup.shards)
