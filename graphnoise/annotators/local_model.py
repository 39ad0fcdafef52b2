"""A causal language model in this process, by the logits of the classes."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from graphnoise.annotators.base import (
    ABSTAIN,
    Estimate,
    NoLimit,
    Progress,
    Purse,
    Questions,
    Usage,
    Votes,
)
from graphnoise.annotators.class_logits import (
    CPU_PROMPTS,
    GPU_PROMPTS,
    LETTERS,
    CausalModel,
    batches_of,
    letter_ids,
    letter_log_probabilities,
    load_causal_model,
    name_log_probabilities,
)
from graphnoise.annotators.counting import have_text, refusals
from graphnoise.annotators.exemplars import with_exemplars
from graphnoise.annotators.options import READINGS, AnnotatorOptions, AnnotatorSpec
from graphnoise.annotators.prompting import (
    MAX_PROMPT_TOKENS,
    PromptWords,
    load_template,
    make_messages,
    render_prompt,
)
from graphnoise.text_graph import TextGraph
from labelnoise.class_list import ClassList

TEMPLATES = {"letters": "letters", "names": "zero_shot"}
# what an answer adds to a prompt at most, and what counting by words may miss
SPARE_TOKENS = 64


class LocalModelAnnotator:
    """Asks a Hugging Face causal model; one forward pass per text and order of the options.

    ``letters``: the options are lettered and the probabilities of the letters as the next token
    are renormalised over the classes; what they leave to other tokens is recorded as `outside`.
    ``names``: the log-probability of a class is the sum over the tokens of its name and of the
    end of the answer behind it, not divided by their number: renormalised over the classes, these
    are the probabilities of the answers that a sampler would give, told to give a class name. A
    model without a chat format has no end of answer; there the sums are divided by the number of
    tokens, or short names would win.

    The answer to a text does not depend on the others of its batch, but for the rounding of
    floats.

    Args:
        model: Folder or name of the hub.
        reading: "letters" or "names"; None takes letters up to 26 classes.
        template: Of the prompt; None takes "letters" or "zero_shot". One of the caller's that is
            read by letters must letter the classes in their order.
        orders: Orders of the options averaged over: the list is turned by equal steps, so
            with K orders every class stands in every place once. Letters only.
        words: See `PromptWords`.
        few_shot: File of examples for questions that have none; see `read_exemplars`.
        device: None takes the best there is.
        batch_size: Prompts per call; None is what suits the device.

    Raises:
        ValueError: Unknown reading or template, or several orders of names.
    """

    name = "local"

    def __init__(
        self,
        model: str | Path,
        *,
        reading: str | None = None,
        template: str | Path | None = None,
        orders: int = 1,
        words: PromptWords | None = None,
        few_shot: Path | None = None,
        device: str | None = None,
        batch_size: int | None = None,
    ) -> None:
        if reading not in (None, *READINGS):
            raise ValueError(f"reading must be one of {READINGS} or None, got {reading!r}")
        if orders < 1 or (orders > 1 and reading == "names"):
            raise ValueError(f"orders must be 1, or more of letters, got {orders}")
        self.model, self.reading, self.orders = str(model), reading, orders
        self._template, self._words = template, PromptWords() if words is None else words
        self._few_shot, self._device, self._batch_size = few_shot, device, batch_size
        self._loaded: CausalModel | None = None
        if template is not None:
            load_template(template)

    @classmethod
    def from_spec(
        cls, spec: AnnotatorSpec, options: AnnotatorOptions, graph: TextGraph | None
    ) -> "LocalModelAnnotator":
        """``local:FOLDER``; the default template of the options is that of the reading."""
        default = str(options.prompt) == AnnotatorOptions.prompt
        return cls(
            spec.argument, reading=options.reading, template=None if default else options.prompt,
            orders=options.orders, few_shot=options.few_shot, device=options.device,
            batch_size=options.batch_size,
        )  # fmt: skip

    def settings(self) -> Mapping[str, Any]:
        """Model, reading and prompt; the weights' digest once they were loaded."""
        told: dict[str, Any] = {
            "annotator": self.name,
            "model": Path(self.model).name if Path(self.model).is_dir() else self.model,
            "reading": self.reading or "letters or names",
            "orders": self.orders,
            "template": None if self._template is None else str(self._template),
        }
        if self._loaded is not None:
            told["weights"] = self._loaded.digest
        return told

    def estimate(self, questions: Questions) -> Estimate:
        """Calls and tokens, counted by the model's own tokenizer; loads the model."""
        questions = with_exemplars(questions, self._few_shot)
        reading = self._reading_of(questions.classes)
        asked = np.flatnonzero(have_text(questions))
        total = sum(sum(map(len, self._prompts(questions, int(row), reading))) for row in asked)
        sample = ""
        if len(asked):
            row = int(asked[0])
            sample = render_prompt(self._messages(questions, row, questions.classes, reading))
        usage = Usage(calls=len(asked), samples=len(asked), prompt_tokens=total)
        return Estimate(usage, "calls and tokens are exact; nothing leaves this machine", sample)

    def annotate(
        self, questions: Questions, *, purse: Purse | None = None, progress: Progress | None = None
    ) -> Votes:
        """Class probabilities of every text; see `Annotator`.

        Raises:
            ValueError: Letters for more than 26 classes, or which the model has no tokens for.
        """
        questions = with_exemplars(questions, self._few_shot)
        reading = self._reading_of(questions.classes)
        n_classes = len(questions.classes)
        purse = NoLimit() if purse is None else purse
        asked = have_text(questions)
        prompts, usage = self._affordable(questions, reading, purse)
        scores = np.full((len(questions), self._turns(reading), n_classes), -np.inf)
        size = self._size()
        for done, rows in enumerate(batches_of([len(p[0]) for p in prompts.values()], size)):
            nodes = [list(prompts)[row] for row in rows]
            for turn in range(scores.shape[1]):
                some = [prompts[node][turn] for node in nodes]
                scores[nodes, turn] = self._scores(some, reading, questions.classes, turn)
            if progress is not None:
                progress(min((done + 1) * size, len(prompts)), len(prompts), self.name)
        allowed = np.zeros(len(questions), bool)
        allowed[list(prompts)] = True
        return self._votes(questions, scores, asked, allowed, usage, reading)

    def _affordable(
        self, questions: Questions, reading: str, purse: Purse
    ) -> tuple[dict[int, list[list[int]]], Usage]:
        """Prompts of the rows that the purse allows, and their cost."""
        prompts: dict[int, list[list[int]]] = {}
        total = Usage()
        for row in np.flatnonzero(have_text(questions)):
            made = self._prompts(questions, int(row), reading)
            cost = Usage(calls=1, samples=1, prompt_tokens=sum(map(len, made)))
            if not purse.reserve(cost):
                break
            purse.settle(cost, cost)
            prompts[int(row)], total = made, total + cost
        return prompts, total

    def _prompts(self, questions: Questions, row: int, reading: str) -> list[list[int]]:
        """Token ids of one question, once per order of the options."""
        made = []
        for turn in range(self._turns(reading)):
            order = turned(len(questions.classes), turn, self._turns(reading))
            messages = self._messages(questions, row, part_of(questions.classes, order), reading)
            made.append(self._load().token_ids(messages))
        return made

    def _messages(
        self, questions: Questions, row: int, classes: ClassList, reading: str
    ) -> list[dict[str, str]]:
        loaded = self._load()
        most = min(self._words.max_prompt_tokens, loaded.longest - SPARE_TOKENS, MAX_PROMPT_TOKENS)
        words = replace(self._words, max_prompt_tokens=most)
        exemplars = tuple(
            replace(one, label=classes.names.index(questions.classes.names[one.label]))
            for one in questions.exemplars
        )
        asked = replace(questions, classes=classes, exemplars=exemplars)
        template = self._template or TEMPLATES[reading]
        return make_messages(template, asked, row, words=words, tokenizer=loaded.tokenizer)

    def _scores(
        self, prompts: Sequence[Sequence[int]], reading: str, classes: ClassList, turn: int
    ) -> NDArray[np.float64]:
        """Log-probabilities ``[B, K]`` in the order of `classes`."""
        loaded = self._load()
        if reading == "letters":
            order = turned(len(classes), turn, self._turns(reading))
            found = letter_log_probabilities(loaded, prompts, letter_ids(loaded, len(classes)))
            scores = np.empty_like(found)
            scores[:, order] = found
            return scores
        names = [loaded.answer_ids(name) for name in classes.names]
        end = loaded.tokenizer.eos_token_id
        if not loaded.chat or end is None:
            lengths = np.array([len(name) for name in names])
            return name_log_probabilities(loaded, prompts, names) / lengths
        return name_log_probabilities(loaded, prompts, [[*name, int(end)] for name in names])

    def _votes(
        self,
        questions: Questions,
        scores: NDArray[np.float64],
        asked: NDArray[np.bool_],
        allowed: NDArray[np.bool_],
        usage: Usage,
        reading: str,
    ) -> Votes:
        shares = np.zeros((len(questions), scores.shape[2]))
        outside = np.zeros(len(questions))
        if allowed.any():
            inside = logsumexp(scores[allowed], axis=2, keepdims=True)
            # the mean over the orders of what each makes of the classes
            shares[allowed] = np.exp(scores[allowed] - inside).mean(axis=1)
            outside[allowed] = 1 - np.minimum(np.exp(inside[:, :, 0]).mean(axis=1), 1)
        ranked = np.argsort(-shares, axis=1, kind="stable")
        ranked[~allowed] = ABSTAIN
        confidence = np.where(allowed, shares.max(axis=1), np.nan)
        return Votes(
            labels=ranked[:, 0].copy(),
            probabilities=shares.astype(np.float32),
            confidence=confidence.astype(np.float32),
            source=np.where(allowed, "class_probabilities", "none"),
            rung=np.where(allowed, "class_probabilities", "none"),
            reason=refusals(asked, allowed),
            ranked=ranked,
            usage=usage,
            records=self._records(questions, allowed, outside, reading),
        )

    def _records(
        self,
        questions: Questions,
        allowed: NDArray[np.bool_],
        outside: NDArray[np.float64],
        reading: str,
    ) -> tuple[Mapping[str, Any], ...]:
        template = load_template(self._template or TEMPLATES[reading])
        records: list[Mapping[str, Any]] = []
        for row, asked in enumerate(allowed):
            if not asked:
                records.append({})
                continue
            messages = self._messages(questions, row, questions.classes, reading)
            written = json.dumps(messages, sort_keys=True, ensure_ascii=True)
            record = {
                "model": self.model, "weights": self._load().digest, "reading": reading,
                "orders": self.orders, "prompt": hashlib.sha256(written.encode()).hexdigest(),
                "template": template.name, "template_version": template.version,
                "cached": False, "money": 0.0,
            }  # fmt: skip
            if reading == "letters":
                record["outside"] = round(float(outside[row]), 6)
            records.append(record)
        return tuple(records)

    def _turns(self, reading: str) -> int:
        return self.orders if reading == "letters" else 1

    def _reading_of(self, classes: ClassList) -> str:
        n_classes = len(classes)
        if self.reading == "letters" and n_classes > len(LETTERS):
            raise ValueError(
                f"letters name at most {len(LETTERS)} classes, got {n_classes}: take 'names'"
            )
        return self.reading or ("letters" if n_classes <= len(LETTERS) else "names")

    def _size(self) -> int:
        on_cpu = self._load().device.type == "cpu"
        return self._batch_size or (CPU_PROMPTS if on_cpu else GPU_PROMPTS)

    def _load(self) -> CausalModel:
        if self._loaded is None:
            self._loaded = load_causal_model(self.model, self._device)
        return self._loaded


def turned(n_classes: int, turn: int, turns: int) -> list[int]:
    """Classes in the order of their places, turned by `turn` of `turns` equal steps.

    Example:
        >>> turned(4, 0, 2), turned(4, 1, 2)
        ([0, 1, 2, 3], [2, 3, 0, 1])
    """
    start = turn * n_classes // turns
    return [(start + place) % n_classes for place in range(n_classes)]


def part_of(classes: ClassList, order: Sequence[int]) -> ClassList:
    """The same classes in another order."""
    columns = (classes.names, classes.definitions, classes.synonyms, classes.texts)
    names, definitions, synonyms, texts = (tuple(one[k] for k in order) for one in columns)
    return ClassList(names, definitions, synonyms, texts)  # type: ignore[arg-type]
