"""One annotation job as plain values, and the key under which its results are valid."""

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import labelnoise
from graphnoise.cli.job import input_identity

if TYPE_CHECKING:
    from graphnoise.annotators.options import AnnotatorOptions, AnnotatorSpec

# raise when the files of a run folder change their meaning
FORMAT = 1
# kinds of annotators whose argument is a file that decides the answers
FILES = ("replay",)
# the encoder that takes the graph's own features instead
NO_ENCODER = "none"


@dataclass(frozen=True)
class Question:
    """How each node is asked about; see `AnnotatorOptions`."""

    model: str | None = None
    prompt: str = "zero_shot"
    few_shot: Path | None = None
    neighbours: int = 0
    samples: int = 1
    temperature: float = 0.0
    max_tokens: int | None = None
    repair: bool = True


@dataclass(frozen=True)
class Service:
    """How the annotator is reached: decides what a run takes, not what comes out of it."""

    concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout: float | None = None
    api_key_env: str | None = None
    cache: Path | None = None
    prices: Path | None = None
    tokenizer: str | None = None
    device: str | None = None


@dataclass(frozen=True)
class AnnotationJob:
    """Everything that decides the result but the budget: a larger one goes on where it stopped.

    Attributes:
        graph: Name of a data set, or a path.
        llm: Spec of the annotator.
        classes: File of the classes, or None for the data set's own.
        recipe: Name of `graphnoise.label_free.RECIPES`, or None for the default.
        selector: Name of `graphnoise.node_selection.SELECTORS`, or None for the recipe's own.
        overrides: Settings of the recipe as "name=value".
        seed: Of every random step.
        text_encoder: Embeds the texts; "none" takes the graph's own features.
        class_scores: File of zero-shot scores, or None: they follow from the encoded texts.
        question: How each node is asked about.
    """

    graph: str
    llm: str
    classes: Path | None = None
    recipe: str | None = None
    selector: str | None = None
    overrides: tuple[str, ...] = ()
    seed: int = 0
    text_encoder: str = "minilm"
    class_scores: Path | None = None
    question: Question = field(default_factory=Question)

    @property
    def spec(self) -> "AnnotatorSpec":
        """The annotator's spec, taken apart.

        Raises:
            ValueError: It names no annotator, or holds a password.
        """
        from graphnoise.annotators.choosing import read_spec
        from graphnoise.annotators.options import AnnotatorOptions

        return read_spec(self.llm, AnnotatorOptions(model=self.question.model))

    def options(self, service: Service) -> "AnnotatorOptions":
        """What the annotator is told.

        Raises:
            ValueError: A number out of range, or a key where the name of a variable belongs.
        """
        from graphnoise.annotators.options import AnnotatorOptions

        told = {**asdict(self.question), **asdict(service), "seed": self.seed}
        told["class_scores"] = self.class_scores
        if self.text_encoder != NO_ENCODER:
            told["text_encoder"] = self.text_encoder
        return AnnotatorOptions(
            **{name: value for name, value in told.items() if value is not None}
        )

    def key(self) -> str:
        """SHA-256 over the job, the bytes of every file it names, and our version.

        Raises:
            ValueError: A bad spec.
            OSError: A file cannot be read.
        """
        values = self.plain() | {
            "graph": input_identity(self.graph),
            "llm": self._annotator(),
            "classes": _file_or_name(self.classes),
            "prompt": _file_or_name(self.question.prompt),
            "few_shot": _file_or_name(self.question.few_shot),
            "class_scores": _file_or_name(self.class_scores),
            "format": FORMAT,
            "version": labelnoise.__version__,
        }
        text = json.dumps(values, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def plain(self) -> dict[str, Any]:
        """JSON values; the spec without anything that it must not hold."""
        values = asdict(self) | {"llm": str(self.spec)}
        values |= values.pop("question")
        return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}

    def command(self, budget: Sequence[str], *, verb: str = "run") -> str:
        """The command that repeats this job, without its output folder."""
        words = ["graphnoise", "annotate", verb, self.graph, "--llm", str(self.spec)]
        for cap in budget:
            words += ["--budget", cap]
        plain, standard = self.plain(), AnnotationJob("", "replay:x").plain()
        for name, value in plain.items():
            if name in ("graph", "llm", "overrides") or value == standard[name]:
                continue
            flag = f"--{name.replace('_', '-')}"
            words += ["--no-repair"] if name == "repair" else [flag, str(value)]
        for override in self.overrides:
            words += ["--set", override]
        return shlex.join(words)

    def _annotator(self) -> str:
        """The spec, with what the file says in place of its name."""
        spec = self.spec
        if spec.kind not in FILES:
            return str(spec)
        path, mark, key = spec.argument.partition("#")
        return f"{spec.kind}:{_file_or_name(path)}{mark}{key}"


def _file_or_name(named: str | Path | None) -> str | None:
    if named is None or not Path(named).is_file():
        return None if named is None else str(named)
    return hashlib.sha256(Path(named).read_bytes()).hexdigest()
