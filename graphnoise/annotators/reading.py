"""From a model's reply to a label, rung by rung, ending in abstention and never in a guess."""

import ast
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from graphnoise.annotators.base import ABSTAIN
from graphnoise.annotators.mentions import Lexicon, lexicon_of
from labelnoise.class_list import ClassList

ANSWER_KEYS = ("answer", "label", "category", "class")
LIST_KEYS = ("answers", "labels", "categories", "classes", "guesses", "predictions")
CONFIDENCE_KEYS = ("confidence", "probability", "score", "likelihood")
# starts of JSON tried in one reply: hostile replies are nothing but brackets
MAX_STARTS = 32
# longer pieces than any list of classes are not read as Python's spelling of JSON
MAX_LITERAL = 20_000
# what Python's parser warns about
ODD_LITERAL = re.compile(r"\\|\b\d\w*[^\W\d]")
THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
OPEN_THOUGHT = re.compile(r"<think(?:ing)?>.*\Z", re.DOTALL | re.IGNORECASE)
LATE_THOUGHT = re.compile(r"\A.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
REFUSAL = re.compile(
    r"\b(?:cannot|can['’]?t|can not|won['’]?t|unable to|not able to|decline to|refuse to)\s+"
    r"(?:\w+ly\s+)?(?:classify|categori[sz]e|determine|assign|decide|answer|help|assist|provide|"
    r"comply|choose|pick|name|fulfil|process|do (?:this|that)|make)",
    re.IGNORECASE,
)


# why there is no text, by the finish reason
WITHOUT_TEXT = {"length": "cut_off", "content_filter": "refusal"}


@dataclass(frozen=True)
class Reading:
    """What a reply says.

    Attributes:
        label: The class, or `ABSTAIN`: ask again once, then abstain.
        ranked: Classes in the order of the reply without repeats; the first is `label`.
        stated: Confidence the reply states for each of them, in 0..1; NaN where none.
        rung: Of `graphnoise.annotators.base.RUNGS`.
        reason: Of `graphnoise.annotators.base.ABSTENTIONS`; "" where there is a label.
        repeated: Classes of the list that stood there again and were left out.
    """

    label: int
    ranked: tuple[int, ...] = ()
    stated: tuple[float, ...] = ()
    rung: str = "none"
    reason: str = ""
    repeated: tuple[int, ...] = ()

    @property
    def needs_repair(self) -> bool:
        """Whether a second question is worth its call."""
        return self.label == ABSTAIN

    @property
    def confidence(self) -> float:
        """Stated for the label; NaN where none."""
        return self.stated[0] if self.stated else math.nan


def read_reply(
    text: str | None,
    classes: ClassList,
    *,
    finish_reason: str | None = None,
    structured: bool = False,
    repaired: bool = False,
) -> Reading:
    """Read the class a reply names.

    A structured answer, else the first JSON value that holds an answer, else exactly one class
    name (or synonym) in the text; whatever the case and with blanks, ``_`` and ``-`` alike, and
    never by resemblance. A list keeps its ranks. Thoughts between ``<think>`` tags are not read.

    Args:
        text: The reply; None is an empty one.
        classes: What a label may be.
        finish_reason: As the server tells it. After "length" a name inside a sentence is not
            read: what would have followed is unknown. "content_filter" is a refusal.
        structured: Whether the server was made to answer by a schema or a choice.
        repaired: Whether this is the answer to the second question; the rung is then "repair".

    Returns:
        The reading; `Reading.needs_repair` where no class could be read.

    Example:
        >>> classes = ClassList(("Rule_Learning", "Theory"))
        >>> read_reply("I would say rule-learning.", classes).label
        0
        >>> read_reply("Rule learning or theory", classes).reason
        'ambiguous'
    """
    reply = _without_thoughts(text or "").strip()
    cut = finish_reason == "length"
    if not reply:
        return Reading(ABSTAIN, reason=WITHOUT_TEXT.get(finish_reason or "", "empty_reply"))
    lexicon = lexicon_of(classes)
    reading = _read_json(reply, lexicon) or _read_name(reply, lexicon, cut=cut)
    if reading.label == ABSTAIN:
        if finish_reason == "content_filter":
            return Reading(ABSTAIN, reason="refusal")
        return Reading(ABSTAIN, reason="cut_off") if cut else reading
    if repaired:
        return replace(reading, rung="repair")
    return replace(reading, rung="structured") if structured else reading


def _without_thoughts(text: str) -> str:
    if "think" not in text and "THINK" not in text:
        return text
    text = THOUGHT.sub("", text)
    # some servers strip the opening tag, and a reply that was cut off lacks the closing one
    return OPEN_THOUGHT.sub("", LATE_THOUGHT.sub("", text))


def _read_name(reply: str, lexicon: Lexicon, *, cut: bool) -> Reading:
    whole = lexicon.exact(reply)
    if whole is not None and not (cut and lexicon.begins_longer(reply)):
        return Reading(whole, (whole,), (math.nan,), "name")
    named = [] if cut else lexicon.mentions(reply)
    if REFUSAL.search(reply):
        return Reading(ABSTAIN, reason="refusal")
    if len(named) == 1:
        return Reading(named[0], (named[0],), (math.nan,), "name")
    return Reading(ABSTAIN, reason="ambiguous" if named else "no_class_named")


def _read_json(reply: str, lexicon: Lexicon) -> Reading | None:
    """The answer of the JSON in a reply; None where there is no JSON with an answer."""
    found: Reading | None = None
    for value in _values(reply):
        reading = _reading_of(value, lexicon)
        if found is None or reading is None:
            found = found or reading
        elif reading.label != found.label:
            # a quoted text may hold an answer of its own
            return Reading(ABSTAIN, reason="ambiguous")
    return found


def _values(reply: str) -> Iterator[Any]:
    """Objects and lists in a text, from left to right, none inside another."""
    decoder, at = json.JSONDecoder(), 0
    for _ in range(MAX_STARTS):
        starts = [place for place in (reply.find("{", at), reply.find("[", at)) if place >= 0]
        if not starts:
            return
        at = min(starts)
        try:
            value, end = decoder.raw_decode(reply, at)
        except (ValueError, RecursionError):
            value, end = _literal(reply, at)
        if end > at:
            yield value
        at = max(end, at + 1)


def _literal(reply: str, start: int) -> tuple[Any, int]:
    """A value in Python's spelling (single quotes, a comma too many); `start` where there is none.

    Models that were shown Python lists answer with them.
    """
    closing = {"{": "}", "[": "]"}[reply[start]]
    end = reply.find(closing, start)
    depth = reply.count(reply[start], start, end) if end >= 0 else 0
    while end >= 0 and depth > 1:
        opened = end
        end = reply.find(closing, end + 1)
        depth += reply.count(reply[start], opened, end) - 1 if end >= 0 else 0
    piece = reply[start : end + 1]
    if end < 0 or len(piece) > MAX_LITERAL or ODD_LITERAL.search(piece):
        return None, start
    try:
        value = ast.literal_eval(piece)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None, start
    return (value, end + 1) if isinstance(value, dict | list) else (None, start)


def _reading_of(value: Any, lexicon: Lexicon) -> Reading | None:
    """The answer in a JSON value; None where it holds none, abstention where it cannot be read."""
    if isinstance(value, Mapping):
        by_key = {str(key).strip().casefold(): entry for key, entry in value.items()}
        for key in filter(by_key.__contains__, (*ANSWER_KEYS, *LIST_KEYS)):
            entry = by_key[key]
            if isinstance(entry, list):
                return _reading_of(entry, lexicon) or Reading(ABSTAIN, reason="no_class_named")
            if key in ANSWER_KEYS:
                return _ranking([(entry, _stated(by_key))], lexicon)
        return _weighed_names(value, lexicon)
    if not isinstance(value, list) or not value:
        return None
    entries = [_entry(item) for item in value]
    if any(entry is None for entry in entries):
        return None
    if all(isinstance(item, str) for item in value) and lexicon.exact(str(value[0])) is None:
        # a list of words is no answer unless it starts with a class
        return None
    return _ranking([entry for entry in entries if entry is not None], lexicon)


def _entry(item: Any) -> tuple[Any, float] | None:
    """Answer and stated number of one item of a list."""
    if isinstance(item, str):
        return item, math.nan
    if isinstance(item, Mapping):
        by_key = {str(key).strip().casefold(): entry for key, entry in item.items()}
        for key in ANSWER_KEYS:
            if key in by_key:
                return by_key[key], _stated(by_key)
    return None


def _weighed_names(value: Mapping[Any, Any], lexicon: Lexicon) -> Reading | None:
    """A mapping from class names to numbers, largest first."""
    pairs = [(key, _number(number)) for key, number in value.items()]
    known = all(isinstance(key, str) and lexicon.exact(key) is not None for key, _ in pairs)
    if not pairs or not known or any(math.isnan(number) for _, number in pairs):
        return None
    pairs.sort(key=lambda pair: -pair[1])
    if len(pairs) > 1 and pairs[0][1] == pairs[1][1]:
        return Reading(ABSTAIN, reason="ambiguous")
    return _ranking(pairs, lexicon)


def _ranking(entries: list[tuple[Any, float]], lexicon: Lexicon) -> Reading:
    """Entries, best first; the first decides, unknown ones further down are passed over."""
    ranked: dict[int, float] = {}
    repeated = []
    for place, (answer, number) in enumerate(entries):
        named = _classes_in(answer, lexicon)
        if len(named) != 1:
            if place == 0:
                return Reading(ABSTAIN, reason="ambiguous" if named else "no_class_named")
        elif named[0] in ranked:
            repeated.append(named[0])
        else:
            ranked[named[0]] = number
    scale = 100.0 if any(number > 1 for _, number in entries) else 1.0
    stated = tuple(min(max(number / scale, 0.0), 1.0) for number in ranked.values())
    order = tuple(ranked)
    return Reading(order[0], order, stated, "json", repeated=tuple(repeated))


def _classes_in(answer: Any, lexicon: Lexicon) -> list[int]:
    # a number is not the number of a class: nothing in a prompt says from where to count
    if isinstance(answer, bool) or not isinstance(answer, str | int):
        return []
    whole = lexicon.exact(str(answer))
    return lexicon.mentions(str(answer)) if whole is None else [whole]


def _stated(by_key: Mapping[str, Any]) -> float:
    return next((_number(by_key[key]) for key in CONFIDENCE_KEYS if key in by_key), math.nan)


def _number(value: Any) -> float:
    """A finite number, also as "80" or "80%" (then .8); NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return math.nan
    percent = isinstance(value, str) and value.strip().endswith("%")
    try:
        number = float(value.strip().rstrip("%") if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return math.nan
    if not math.isfinite(number):
        return math.nan
    return number / 100 if percent else number
