"""What is done with a corpus, as data: steps over shards, and the key under which one holds."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

# the one unit of a step that looks at the whole corpus
WHOLE = "_all"
# what of a job may decide the result of a step that a method brings
JOB_PARTS = ("method", "seed", "classes")


@dataclass(frozen=True)
class Step:
    """A pure function over the units of a corpus, done once per unit and then never again.

    Attributes:
        name: Unique in the run; names the folder ``work/NAME``.
        run: The function, as ``"package.module:function"``. It is called with a `StepContext` and
            the name of the unit, writes files through the context, and returns its stats: JSON
            values, among them "rows" where it makes sense. The same inputs give the same files.
        units: "shards" for a call per shard, "once" for one call after all units of the steps
            before it (a barrier).
        after: Steps whose files it reads. A shard waits for the same shard of another step over
            shards.
        settings: What decides its result, as JSON values.
        version: Raise it when the function gives another result.
        public: Whether its files are the product and lie in the run folder itself.
        from_job: What is added to the settings of a step that a method brings: all settings of the
            "method", the "seed", the names of the "classes". A step that names in `settings` what
            it reads of the method is not done again when others change.
    """

    name: str
    run: str
    units: Literal["shards", "once"] = "shards"
    after: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    public: bool = False
    from_job: tuple[str, ...] = JOB_PARTS

    def __post_init__(self) -> None:
        if unknown := set(self.from_job) - set(JOB_PARTS):
            raise ValueError(f"from_job must be of {JOB_PARTS}, got {sorted(unknown)}")
        if self.units not in ("shards", "once"):
            raise ValueError(f"units must be 'shards' or 'once', got {self.units!r}")
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"name must be letters, digits, - and _, got {self.name!r}")

    def key(self, inputs: Sequence[tuple[str, str]]) -> str:
        """SHA-256 of all that decides the files of one unit.

        Args:
            inputs: (what it is, its fingerprint or key), in a fixed order.
        """
        values = [self.name, self.version, self.settings, [list(pair) for pair in inputs]]
        text = json.dumps(values, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def check_steps(steps: Sequence[Step]) -> None:
    """Check that names are unique and that every step comes after those it reads.

    Raises:
        ValueError: It is not so.
    """
    seen: set[str] = set()
    for step in steps:
        if step.name in seen:
            raise ValueError(f"steps need unique names, found {step.name!r} twice")
        missing = [name for name in step.after if name not in seen]
        if missing:
            raise ValueError(f"step {step.name!r} comes after {missing[0]!r}, which is not there")
        seen.add(step.name)
