"""One call of `annotate` behind a server: cache first, then workers ask, repair and shorten."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graphnoise.annotators.answer_cache import StoredAnswer
from graphnoise.annotators.asking import LOOK_AGAIN, Asked, Asker, BudgetReached, Request, sum_usage
from graphnoise.annotators.base import Progress, Questions, Usage, Votes
from graphnoise.annotators.capabilities import Capabilities
from graphnoise.annotators.confidence import votes_from_readings
from graphnoise.annotators.reading import Reading
from graphnoise.annotators.retrying import EndpointError

if TYPE_CHECKING:
    from graphnoise.annotators.served import ServedAnnotator

# questions prepared and looked up together: one query per so many
WINDOW = 1_000
# times a text is shortened because a server says it is too long: the last shows a twentieth of it
SHORTENINGS = 8


@dataclass(frozen=True, eq=False)
class Understood:
    """What the answers to one request say.

    Attributes:
        readings: Of the samples.
        shares: Class probabilities ``[K]``, or None.
        outside: Probability outside the classes.
    """

    readings: tuple[Reading, ...]
    shares: NDArray[np.float64] | None = None
    outside: float = 0.0


class Dialogue(Protocol):
    """Questions as requests to one kind of endpoint, and its answers as readings."""

    def first(self, row: int) -> Request:
        """The request of a question with a text."""
        ...

    def shorter(self, row: int, step: int) -> Request | None:
        """The same with less of the text, step = 1, 2, ...; None where there is no shorter one."""
        ...

    def understand(self, request: Request, answers: Sequence[StoredAnswer]) -> Understood:
        """Read the answers."""
        ...

    def repair(self, request: Request, answers: Sequence[StoredAnswer]) -> Request | None:
        """The second question; None where there is none."""
        ...

    def shown(self, request: Request) -> str:
        """The prompt for people."""
        ...

    def record(self, request: Request) -> dict[str, Any]:
        """Provenance of the request: template, sampling."""
        ...


@dataclass(eq=False)
class Outcome:
    """One question, answered or not."""

    understood: Understood
    reason: str
    usage: Usage
    record: dict[str, Any]


_Pending: TypeAlias = tuple[int, Request, Asked | None]


class Session:
    """One call of `annotate`.

    Args:
        annotator: Whose questions they are.
        asker: Asks the server.
        questions: What is asked.
        progress: See `Annotator.annotate`.
    """

    def __init__(
        self,
        annotator: "ServedAnnotator",
        asker: Asker,
        questions: Questions,
        progress: Progress | None,
    ) -> None:
        self.annotator, self.asker, self.questions = annotator, asker, questions
        self.progress, self.done = progress, 0
        self.outcomes: dict[int, Outcome] = {}
        self.stopped: EndpointError | None = None

    async def all_outcomes(self) -> list[Outcome]:
        """One per question, in order."""
        rows = with_text(self.questions)
        if rows:
            try:
                known = await probed(self.annotator, self.asker)
            except BudgetReached:
                self.outcomes = {row: _nothing("budget_reached") for row in rows}
            else:
                await self._ask_all(rows, known)
        return [self.outcomes.get(row) or _nothing("no_text") for row in range(len(self.questions))]

    async def _ask_all(self, rows: Sequence[int], known: Capabilities) -> None:
        annotator = self.annotator
        dialogue = annotator._dialogue(self.questions, known)
        self.asker.settings = replace(
            self.asker.settings, many=annotator._many(known),
            seeded=known.seed and annotator.endpoint_class == "chat",
            is_answer=annotator._is_answer,
        )  # fmt: skip
        for window in windows(rows):
            pending = self._from_cache(dialogue, window)
            await self._by_workers(dialogue, iter(pending), len(pending))
            if self.stopped is not None:
                raise self.stopped
            await asyncio.sleep(0)  # an interrupt gets its turn

    def _from_cache(self, dialogue: Dialogue, rows: Sequence[int]) -> list[_Pending]:
        """Answer what is there; the rest is pending."""
        requests = {row: dialogue.first(row) for row in rows}
        found = self.annotator._looked_up(list(requests.values()))
        there = {
            row: (request, found[request.key])
            for row, request in requests.items()
            if len(found[request.key]) >= request.samples
        }
        asked = dict(zip(there, self.asker.from_cache(list(there.values())), strict=True))
        pending: list[_Pending] = []
        entries = []
        for row, request in requests.items():
            known = asked.get(row)
            if known is None:
                pending.append((row, request, None))
                continue
            understood = dialogue.understand(request, known.answers)
            if not known.failure:
                entries.append(self.asker.entry_of(request, known.answers))
            if _unread(understood) and not known.failure:
                pending.append((row, request, known))
            else:
                self._finish(row, dialogue, request, known, understood)
        self.asker.cache.add_entries(entries)
        return pending

    async def _by_workers(
        self, dialogue: Dialogue, pending: Iterator[_Pending], count: int
    ) -> None:
        async def work() -> None:
            for row, request, asked in pending:
                if self.stopped is not None:
                    return
                try:
                    await self._question(dialogue, row, request, asked)
                except EndpointError as error:
                    # what is in flight was paid for: the others end their question first
                    self.stopped = error

        tasks = [
            asyncio.create_task(work())
            for _ in range(min(count, self.annotator.options.concurrency))
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _question(
        self, dialogue: Dialogue, row: int, request: Request, asked: Asked | None
    ) -> None:
        usage, step = Usage(), 0
        if asked is None:
            asked = await self.asker.ask(request)
        while asked.failure == "too_long" and step < SHORTENINGS:
            usage, step = usage + asked.usage, step + 1
            shorter = dialogue.shorter(row, step)
            if shorter is None:
                break
            request = shorter
            asked = await self.asker.ask(request)
        asked = replace(asked, usage=usage + asked.usage)
        understood = dialogue.understand(request, asked.answers)
        second = dialogue.repair(request, asked.answers) if _unread(understood) else None
        if second is None or not asked.answers:
            self._finish(row, dialogue, request, asked, understood)
            return
        again = await self.asker.ask(second)
        if again.answers:
            repaired = dialogue.understand(second, again.answers)
            understood = Understood((*repaired.readings, *understood.readings[1:]))
        told = {"repair": again.failure or second.key}
        asked = replace(asked, usage=asked.usage + again.usage)
        self._finish(row, dialogue, request, asked, understood, told)

    def _finish(
        self, row: int, dialogue: Dialogue, request: Request, asked: Asked,
        understood: Understood, told: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        reason = "request_failed" if asked.failure == "too_long" else asked.failure
        record = _provenance(dialogue, request, asked) | dict(told or {})
        if understood.shares is not None:
            record["outside"] = understood.outside
        self.outcomes[row] = Outcome(understood, reason, asked.usage, record)
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, len(self.questions), "answers")


async def probed(annotator: "ServedAnnotator", asker: Asker) -> Capabilities:
    """What the server does: from the cache, else by a probe; two processes do not probe at once."""
    cache, key = asker.cache, annotator._capability_key
    while (record := cache.capability(key)) is None:
        if not cache.claim(key):
            await asyncio.sleep(LOOK_AGAIN)
            continue
        try:
            found = await annotator._probe(asker.send)
            cache.store_capability(key, found.to_json())
        finally:
            cache.release(key)
    return Capabilities.from_json(record)


def votes_of(outcomes: Sequence[Outcome], probed: Usage, n_classes: int) -> Votes:
    """Votes of all questions by the ladders of reading and confidence.

    Args:
        outcomes: In the order of the questions.
        probed: What probes cost besides.
        n_classes: K.
    """
    shares = np.zeros((len(outcomes), n_classes))
    for row, outcome in enumerate(outcomes):
        if outcome.understood.shares is not None:
            shares[row] = outcome.understood.shares
    return votes_from_readings(
        [outcome.understood.readings for outcome in outcomes],
        n_classes,
        class_probabilities=shares,
        outside=np.array([outcome.understood.outside for outcome in outcomes]),
        reasons=[outcome.reason for outcome in outcomes],
        usage=sum_usage([probed, *(outcome.usage for outcome in outcomes)]),
        records=[outcome.record for outcome in outcomes],
    )


def _provenance(dialogue: Dialogue, request: Request, asked: Asked) -> dict[str, Any]:
    """Where a label comes from. Tokens and money are those of the day the answer was paid."""
    record = dialogue.record(request)
    record |= {"cached": asked.cached, "samples_received": len(asked.answers)}
    if asked.message:
        record["message"] = asked.message
    if asked.answers:
        first = asked.answers[0]
        prices = [one.money for one in asked.answers if one.money is not None]
        record |= {
            "model": first.model, "created": first.created,
            "prompt_tokens": sum(one.prompt_tokens for one in asked.answers),
            "completion_tokens": sum(one.completion_tokens for one in asked.answers),
            "money": sum(prices) if len(prices) == len(asked.answers) else None,
            "seconds": sum(one.seconds for one in asked.answers),
        }  # fmt: skip
    return record


def _nothing(reason: str) -> Outcome:
    return Outcome(Understood(()), reason, Usage(), {})


def _unread(understood: Understood) -> bool:
    return understood.shares is None and all(one.needs_repair for one in understood.readings)


def with_text(questions: Questions) -> list[int]:
    """Rows that have a text: the others are not asked."""
    return [row for row, text in enumerate(questions.texts) if text.strip()]


def windows(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    """Rows that are prepared and looked up together."""
    for start in range(0, len(rows), WINDOW):
        yield rows[start : start + WINDOW]
