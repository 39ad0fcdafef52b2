"""What every annotator offers: texts in, votes with confidence and usage out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from labelnoise.class_list import ClassList

ABSTAIN = -1
Progress: TypeAlias = Callable[[int, int, str], None]

# how an answer became a label; each label of a run names its rung
RUNGS = {
    "class_probabilities": "Read from probabilities of the classes.",
    "structured": "A structured answer (schema or choice) named the class.",
    "json": "JSON found in the reply named the class.",
    "name": "Exactly one class name stood in the reply.",
    "repair": "A second question, which quoted the reply, named the class.",
    "similarity": "The nearest class description in the embedding.",
    "replay": "Read from a file of recorded answers.",
    "simulated": "Drawn from a model of an LLM's errors.",
    "combined": "The votes of several annotators.",
    "none": "There is no answer.",
}
# why there is none; "" where there is one
ABSTENTIONS = {
    "no_class_named": "The reply names no class, also after the repair.",
    "ambiguous": "The reply names several classes, also after the repair.",
    "empty_reply": "The reply was empty.",
    "refusal": "The model refused.",
    "cut_off": "The reply ended at the token limit before it named a class.",
    "no_text": "The node has no text.",
    "not_recorded": "The file of recorded answers has none for this node.",
    "request_failed": "The request failed and was given up; see the record.",
    "budget_reached": "Not asked: the budget was used up.",
    "no_majority": "The annotators do not agree on a class.",
}
CONFIDENCE_SOURCES = (
    "class_probabilities",  # log-probabilities over the classes, renormalised
    "votes",  # share of sampled answers
    "stated",  # the number the model gave itself
    "similarity",
    "list_length",  # short lists of guesses are surer ones
    "simulated",
    "combined",
    "none",
)


@dataclass(frozen=True)
class Usage:
    """What annotation cost.

    Attributes:
        calls: Questions that count against a budget: sent, repaired, or answered from the cache.
        sent: Requests that reached a server, retries that were billed included.
        cached: Calls answered from the cache: they cost no money.
        repairs: Second questions after a reply that could not be read; part of `calls`.
        retries: Requests sent again after an error.
        samples: Answers received.
        prompt_tokens, completion_tokens: As the server counted them, else estimated.
        money: In dollars; None where the price is unknown. Unknown and anything stay unknown.
        seconds: Of waiting, summed over requests.
    """

    calls: int = 0
    sent: int = 0
    cached: int = 0
    repairs: int = 0
    retries: int = 0
    samples: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: float | None = 0.0
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        total: dict[str, Any] = {}
        for name in (one.name for one in fields(self)):
            mine, theirs = getattr(self, name), getattr(other, name)
            total[name] = None if mine is None or theirs is None else mine + theirs
        return Usage(**total)


@dataclass(frozen=True)
class Exemplar:
    """A text with its class, shown to the model before the question."""

    text: str
    label: int


@dataclass(frozen=True, eq=False)
class Questions:
    """Texts to label.

    Attributes:
        nodes: Position of each text in its graph ``[M]`` int64. For provenance and for replay;
            never part of a prompt or of a cache key.
        texts: M texts.
        classes: What a label may be.
        neighbours: Texts of the neighbours of each node, or None: the prompt shows none.
        exemplars: Examples shown before every question.
    """

    nodes: NDArray[np.int64]
    texts: tuple[str, ...]
    classes: ClassList
    neighbours: tuple[tuple[str, ...], ...] | None = None
    exemplars: tuple[Exemplar, ...] = ()

    def __post_init__(self) -> None:
        for argument in ("texts", "neighbours"):
            value = getattr(self, argument)
            if value is not None and len(value) != len(self.nodes):
                raise ValueError(
                    f"{argument} must have one entry per node, {len(self.nodes)}, got {len(value)}"
                )

    def __len__(self) -> int:
        return len(self.nodes)

    def part(self, rows: Sequence[int] | NDArray[np.int64]) -> "Questions":
        """Some of the questions, in the order of `rows`."""
        kept = None if self.neighbours is None else tuple(self.neighbours[i] for i in rows)
        texts = tuple(self.texts[i] for i in rows)
        return replace(self, nodes=self.nodes[rows], texts=texts, neighbours=kept)


@dataclass(frozen=True, eq=False)
class Votes:
    """Answers to M questions over K classes, in the order of the questions.

    Attributes:
        labels: ``[M]`` int64; `ABSTAIN` where there is no answer.
        probabilities: Soft label ``[M, K]`` float32: rows sum to 1, and to 0 where abstained.
        confidence: Raw, in 0..1 ``[M]`` float32; NaN where the annotator states none.
        source: Of the confidence ``[M]``, of `CONFIDENCE_SOURCES`.
        rung: How the label was read ``[M]``, of `RUNGS`.
        reason: Of `ABSTENTIONS`; "" where there is a label ``[M]``.
        ranked: Classes in the order of the answer ``[M, R]`` int64 without repeats, padded with
            -1; column 0 is `labels`.
        usage: What all of it cost.
        records: Provenance per question, JSON values: model, prompt hash, template, sampling,
            tokens, price, cached or not, time.
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    confidence: NDArray[np.float32]
    source: NDArray[np.str_]
    rung: NDArray[np.str_]
    reason: NDArray[np.str_]
    ranked: NDArray[np.int64]
    usage: Usage = field(default_factory=Usage)
    records: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        m = len(self.labels)
        for name in ("probabilities", "confidence", "source", "rung", "reason", "ranked"):
            if len(getattr(self, name)) != m:
                raise ValueError(f"{name} must have {m} rows, got {len(getattr(self, name))}")
        if self.records and len(self.records) != m:
            raise ValueError(f"records must be {m} or none, got {len(self.records)}")
        answered = self.labels != ABSTAIN
        if (answered != (self.reason == "")).any():
            raise ValueError("reason must be given exactly where the label is -1")
        sums = self.probabilities.sum(axis=1)
        if not np.allclose(sums, answered, atol=1e-3):
            raise ValueError("probabilities must sum to 1 where answered and to 0 elsewhere")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Where there is a label ``[M]``."""
        return self.labels != ABSTAIN

    def part(self, rows: Sequence[int] | NDArray[np.int64]) -> "Votes":
        """Some of the answers, in the order of `rows`; the usage stays behind (it is a sum)."""
        columns = ("labels", "probabilities", "confidence", "source", "rung", "reason", "ranked")
        kept: dict[str, Any] = {name: getattr(self, name)[rows] for name in columns}
        return Votes(**kept, records=tuple(self.records[i] for i in rows) if self.records else ())


def hard_votes(
    labels: NDArray[np.int64],
    n_classes: int,
    *,
    rung: str,
    confidence: NDArray[np.float32] | None = None,
    source: str = "none",
    reason: str = "",
    ranked: NDArray[np.int64] | None = None,
    usage: Usage | None = None,
    records: tuple[Mapping[str, Any], ...] = (),
) -> Votes:
    """Votes for one class each: all probability on the label.

    Args:
        labels: ``[M]``, `ABSTAIN` where there is no answer.
        n_classes: K.
        rung: Of every answer.
        confidence: ``[M]``; NaN where None.
        source: Of the confidence.
        reason: Of every abstention.
        ranked: ``[M, R]``; the labels alone where None.
        usage: What it cost.
        records: Provenance.
    """
    answered = labels != ABSTAIN
    probabilities = np.zeros((len(labels), n_classes), np.float32)
    probabilities[answered, labels[answered]] = 1
    return Votes(
        labels=labels,
        probabilities=probabilities,
        confidence=np.full(len(labels), np.nan, np.float32) if confidence is None else confidence,
        source=np.where(answered, source, "none"),
        rung=np.where(answered, rung, "none"),
        reason=np.where(answered, "", reason),
        ranked=labels[:, None] if ranked is None else ranked,
        usage=Usage() if usage is None else usage,
        records=records,
    )


def join_votes(parts: Sequence[Votes]) -> Votes:
    """Votes one after the other; usage adds up.

    Raises:
        ValueError: No part.
    """
    if not parts:
        raise ValueError("parts must hold at least one piece of votes, got none")
    width = max(part.ranked.shape[1] for part in parts)
    ranked = [
        np.pad(p.ranked, ((0, 0), (0, width - p.ranked.shape[1])), constant_values=ABSTAIN)
        for p in parts
    ]
    columns = ("labels", "probabilities", "confidence", "source", "rung", "reason")
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in columns
    }
    records: tuple[Mapping[str, Any], ...] = ()
    if all(part.records or not len(part) for part in parts):
        records = tuple(record for part in parts for record in part.records)
    usage = Usage()
    for part in parts:
        usage = usage + part.usage
    return Votes(**joined, ranked=np.concatenate(ranked), usage=usage, records=records)


@dataclass(frozen=True)
class Estimate:
    """What asking would cost, known before anything is sent.

    Attributes:
        usage: Expected calls, samples, tokens, money and seconds.
        exact: Which of the numbers are counted rather than guessed, in words; shown to the user.
        sample_prompt: One complete prompt as it would be sent, or "" where nothing is sent.
    """

    usage: Usage
    exact: str = ""
    sample_prompt: str = ""


class Purse(Protocol):
    """A hard budget: whatever is spent was reserved first; see `graphnoise.annotators.budget`."""

    def reserve(self, wanted: Usage) -> bool:
        """Set the cost aside; False where it would pass a cap, and then nothing is set aside."""
        ...

    def settle(self, reserved: Usage, spent: Usage) -> None:
        """Replace a reservation by what was really spent (`Usage()` gives it back)."""
        ...

    @property
    def spent(self) -> Usage:
        """What was settled so far."""
        ...


class NoLimit:
    """The purse without a cap; it still counts."""

    def __init__(self) -> None:
        self.spent = Usage()

    def reserve(self, wanted: Usage) -> bool:
        """Always possible."""
        return True

    def settle(self, reserved: Usage, spent: Usage) -> None:
        """Count it."""
        self.spent = self.spent + spent


class Annotator(Protocol):
    """Texts in, votes out. A new annotator is one file and one line in `ANNOTATORS`.

    Attributes:
        name: Key of `graphnoise.annotators.ANNOTATORS`.
    """

    @property
    def name(self) -> str:
        """Key of the registry."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """Everything that decides the answers, JSON values; never a secret."""
        ...

    def estimate(self, questions: Questions) -> Estimate:
        """The cost of `annotate` on the same questions. Sends nothing."""
        ...

    def annotate(
        self, questions: Questions, *, purse: Purse | None = None, progress: Progress | None = None
    ) -> Votes:
        """One vote per question, in order. What the purse refuses is abstained from.

        Args:
            questions: Texts and classes.
            purse: Hard budget; None sets no cap. Every question costs one call, cached or not.
            progress: Called with (done, total, what) as answers arrive.

        Raises:
            ValueError: Something that no retry mends: a wrong key, model or address.
        """
        ...
