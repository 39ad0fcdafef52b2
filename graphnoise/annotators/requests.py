"""Questions as chat requests that the server can answer, and its answers as readings."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphnoise.annotators.answer_cache import StoredAnswer, request_key
from graphnoise.annotators.asking import Request
from graphnoise.annotators.base import ABSTAIN, Questions
from graphnoise.annotators.capabilities import CHAT, TOP_LOGPROBS, Capabilities, named_schema
from graphnoise.annotators.confidence import answer_position, class_probabilities_from_logprobs
from graphnoise.annotators.options import AnnotatorOptions
from graphnoise.annotators.prompting import (
    PromptWords,
    choices_for,
    count_message_tokens,
    load_template,
    make_prompt,
    render_prompt,
    repair_messages,
    schema_for,
)
from graphnoise.annotators.reading import Reading, read_reply
from graphnoise.annotators.session import Understood

# what is left of a prompt that the server called too long
SHORTER = 0.7
# a shorter piece, or one of so few words, may be the name of a class
SHORTEST_ECHO = 24
MOST_WORDS_OF_A_NAME = 8


class ChatDialogue:
    """Questions to ``/chat/completions``; see `graphnoise.annotators.session.Dialogue`.

    Args:
        questions: Texts and classes.
        model: As the server knows it.
        options: Template and sampling.
        words: Of the prompt.
        known: What the server does: fields that it ignores are not sent.
        tokenizer: Counts tokens; None divides characters by 4.
    """

    def __init__(
        self,
        questions: Questions,
        model: str,
        options: AnnotatorOptions,
        *,
        words: PromptWords,
        known: Capabilities,
        tokenizer: Any = None,
    ) -> None:
        self.questions, self.options, self.tokenizer = questions, options, tokenizer
        self.template = load_template(options.prompt)
        self._constraint = constraint_for(known, questions, self.template.reply)
        self._repair_constraint = constraint_for(known, questions, "name")
        self.words = replace(words, structured=bool(self._constraint))
        self._fields = {
            "model": model,
            "temperature": options.temperature,
            known.token_field: options.max_tokens,
            **({"seed": options.seed} if known.seed else {}),
            **({"top_p": options.top_p} if options.top_p is not None else {}),
            **({"logprobs": True, "top_logprobs": TOP_LOGPROBS} if known.logprobs else {}),
        }
        self._kept: dict[str, float] = {}  # share of the text shown, by key

    def first(self, row: int) -> Request:
        """The request of a question with a text."""
        return self._request(row, self.words)

    def shorter(self, row: int, step: int) -> Request | None:
        """The same with less of the text; None where the frame alone is longer."""
        full = make_prompt(
            self.template, self.questions, row, words=self.words, tokenizer=self.tokenizer
        )
        limit = max(1, int(full.tokens * SHORTER**step))
        try:
            return self._request(row, replace(self.words, max_prompt_tokens=limit))
        except ValueError:
            return None

    def understand(self, request: Request, answers: Sequence[StoredAnswer]) -> Understood:
        """Read the answers: what they say, and probabilities where the server tells them."""
        readings, shares, outside = [], [], []
        constraint = self._repair_constraint if request.kind == "repair" else self._constraint
        for answer in answers:
            choice = _choice(answer)
            reading = self._reading(choice, request, structured=_keeps(constraint))
            readings.append(reading)
            found = _probabilities(choice, self.questions) if reading.label != ABSTAIN else None
            if found is not None:
                shares.append(found[0])
                outside.append(found[1])
        if not shares or len(shares) < len(readings) or request.kind == "repair":
            return Understood(tuple(readings))
        return Understood(tuple(readings), np.mean(shares, axis=0), float(np.mean(outside)))

    def repair(self, request: Request, answers: Sequence[StoredAnswer]) -> Request | None:
        """The second question, which quotes the first reply."""
        if not self.options.repair or not answers or request.kind == "repair":
            return None
        content = _content(_choice(answers[0]))
        messages = repair_messages(
            request.body["messages"], content, self.questions.classes, words=self.words
        )
        body = {**self._fields, "messages": messages, **self._repair_constraint}
        tokens, _ = count_message_tokens(messages, self.tokenizer)
        return Request(
            request_key(body, "chat"), CHAT, body, tokens, self.options.max_tokens,
            kind="repair", asked=request.asked,
        )  # fmt: skip

    def shown(self, request: Request) -> str:
        """The prompt for people."""
        return render_prompt(request.body["messages"])

    def record(self, request: Request) -> dict[str, Any]:
        """Template, sampling, and what of the text was shown."""
        options = self.options
        return {
            "prompt": request.key, "template": self.template.name,
            "template_version": self.template.version, "text_kept": self._kept[request.key],
            "samples_asked": options.samples, "temperature": options.temperature,
            "top_p": options.top_p, "seed": options.seed, "max_tokens": options.max_tokens,
        }  # fmt: skip

    def _request(self, row: int, words: PromptWords) -> Request:
        prompt = make_prompt(
            self.template, self.questions, row, words=words, tokenizer=self.tokenizer
        )
        body = {**self._fields, "messages": list(prompt.messages), **self._constraint}
        key = request_key(body, "chat")
        self._kept[key] = prompt.kept
        options = self.options
        return Request(
            key, CHAT, body, prompt.tokens, options.max_tokens, options.samples,
            asked=str(int(self.questions.nodes[row])),
        )  # fmt: skip

    def _reading(self, choice: Mapping[str, Any], request: Request, *, structured: bool) -> Reading:
        content = _content(choice)
        message = choice.get("message") or {}
        if message.get("refusal") and not content:
            return Reading(ABSTAIN, reason="refusal")
        ended = choice.get("finish_reason")
        reading = read_reply(
            content, self.questions.classes,
            finish_reason=ended if isinstance(ended, str) else None,
            structured=structured, repaired=request.kind == "repair",
        )  # fmt: skip
        if reading.label != ABSTAIN and _is_echo(content.strip(), request):
            # what is written in a text is no answer to a question about it
            return Reading(ABSTAIN, reason="no_class_named")
        return reading


def constraint_for(known: Capabilities, questions: Questions, reply: str) -> dict[str, Any]:
    """Fields that hold the server to the classes, as far as it can be held.

    Args:
        known: What the server does.
        questions: Whose classes.
        reply: Form of the reply, of `graphnoise.annotators.prompting.REPLIES`.
    """
    if known.structured == "schema":
        return {"response_format": named_schema(schema_for(questions.classes, reply))}
    if known.structured == "choice" and reply == "name":
        return {"structured_outputs": {"choice": choices_for(questions.classes)}}
    if known.structured == "json" and reply != "name":
        return {"response_format": {"type": "json_object"}}
    return {}


def is_chat_answer(body: Mapping[str, Any]) -> bool:
    """Whether a body has a choice with a message."""
    choices = body.get("choices")
    return bool(choices) and isinstance(choices, list) and all(
        isinstance(choice, Mapping) and isinstance(choice.get("message"), Mapping)
        for choice in choices
    )  # fmt: skip


def _keeps(constraint: Mapping[str, Any]) -> bool:
    """Whether the constraint allows nothing but classes."""
    form = constraint.get("response_format", {}).get("type")
    return form == "json_schema" or "structured_outputs" in constraint


def _choice(answer: StoredAnswer) -> Mapping[str, Any]:
    choices = json.loads(answer.raw).get("choices") or [{}]
    return choices[0]


def _content(choice: Mapping[str, Any]) -> str:
    content = (choice.get("message") or {}).get("content")
    if isinstance(content, list):  # parts, as some servers return them
        texts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(str(text or "") for text in texts)
    return str(content or "")


def _is_echo(said: str, request: Request) -> bool:
    """Whether a reply only repeats a piece of the prompt, and is no bare answer."""
    if len(said) < SHORTEST_ECHO or not any(
        said in str(message["content"]) for message in request.body["messages"]
    ):
        return False
    try:
        json.loads(said)
    except ValueError:
        return len(said.split()) > MOST_WORDS_OF_A_NAME
    return False


def _probabilities(
    choice: Mapping[str, Any], questions: Questions
) -> tuple[NDArray[np.float64], float] | None:
    """Class probabilities at the token with which the answer begins; None where untold."""
    try:
        return _probabilities_told(choice, questions)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        return None  # told in a form of the server's own


def _probabilities_told(
    choice: Mapping[str, Any], questions: Questions
) -> tuple[NDArray[np.float64], float] | None:
    tokens = (choice.get("logprobs") or {}).get("content") or []
    if not tokens:
        return None
    at = answer_position([str(one.get("token", "")) for one in tokens], questions.classes)
    if at is None:
        return None
    listed = {str(one["token"]): float(one["logprob"]) for one in tokens[at]["top_logprobs"]}
    shares, outside = class_probabilities_from_logprobs(listed, questions.classes)
    return (shares, outside) if shares.any() and np.isfinite([*shares, outside]).all() else None
