"""Ask requests: from the cache, else claimed, reserved, sent, retried, kept and settled."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeAlias

from graphnoise.annotators.answer_cache import AnswerCache, StoredAnswer, split_response
from graphnoise.annotators.base import Purse, Usage
from graphnoise.annotators.connection import Connection, RequestFailed
from graphnoise.annotators.ledger import LedgerEntry
from graphnoise.annotators.prompting import CHARACTERS_PER_TOKEN
from graphnoise.annotators.retrying import EndpointError, Pace, Patience, Trouble, UnreadableBody
from graphnoise.annotators.stored_answer import counted_tokens

# how often a question that another process pays for is looked up
LOOK_AGAIN = 0.05
# some servers break on fields that they do not know
PROBE_RETRIES = 2

# dollars for prompt and completion tokens, None where unknown
Price: TypeAlias = Callable[[int, int], float | None]


@dataclass(frozen=True, eq=False)
class Request:
    """One question to a server.

    Attributes:
        key: Of the cache.
        path: Below the address.
        body: As sent, but for the number of samples.
        prompt_tokens: Estimated.
        max_tokens: Of one sample; 0 where nothing is generated.
        samples: Answers wanted.
        kind: Of the ledger: "question" or "repair".
        asked: What it is about, for the ledger.
    """

    key: str
    path: str
    body: Mapping[str, Any]
    prompt_tokens: int
    max_tokens: int
    samples: int = 1
    kind: str = "question"
    asked: str = ""


@dataclass(frozen=True, eq=False)
class Asked:
    """What became of a request.

    Attributes:
        answers: By sample; fewer than wanted where the server gave fewer or the budget ended.
        usage: What it cost.
        failure: "" or why there is no answer: "budget_reached", "request_failed" or "too_long".
        message: The server's last words where it failed.
    """

    answers: Sequence[StoredAnswer] = ()
    usage: Usage = field(default_factory=Usage)
    failure: str = ""
    message: str = ""

    @property
    def cached(self) -> bool:
        """Whether nothing was sent for it."""
        return self.usage.cached > 0


@dataclass(frozen=True)
class AskSettings:
    """How a run asks.

    Attributes:
        run: Id of the run in the ledger.
        stage: Of the method; "" where it has none.
        model: As asked.
        many: Whether one request may carry several samples.
        seeded: Whether requests carry a seed; each sample then has its own.
        capability: Key of the endpoint's record.
        is_answer: Whether a body is an answer at all.
        price: Of tokens.
    """

    run: str
    stage: str
    model: str
    many: bool
    seeded: bool
    capability: str
    is_answer: Callable[[Mapping[str, Any]], bool]
    price: Price


class BudgetReached(Exception):
    """The purse refused a probe: nothing can be asked."""


class Asker:
    """Asks one server, at most what the purse allows.

    Args:
        connect: Opens the connection; called before the first request is sent, if ever.
        cache: Answers kept.
        purse: Hard budget.
        patience: Retries.
        pace: Rates.
        settings: See `AskSettings`.
        draw: Random numbers of the back-off.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        cache: AnswerCache,
        purse: Purse,
        *,
        patience: Patience,
        pace: Pace,
        settings: AskSettings,
        draw: random.Random,
    ) -> None:
        self._connect, self.cache, self.purse = connect, cache, purse
        self.patience, self.pace, self.settings, self._draw = patience, pace, settings, draw
        self._connection: Connection | None = None
        self._open = self._failures = 0
        self.probed = Usage()  # what probes cost
        self._changed = asyncio.Event()
        self._asking: dict[str, asyncio.Lock] = {}

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()

    def from_cache(self, found: Sequence[tuple[Request, Sequence[StoredAnswer]]]) -> list[Asked]:
        """Count answers that are there: each is a call of the budget that costs nothing.

        All at once where the budget allows it, else one after the other until it refuses.
        """
        counted = [_cached(request, answers) for request, answers in found]
        together = sum_usage(counted)
        if self.purse.reserve(together):
            self.purse.settle(together, together)
            return [
                Asked(answers, usage) for (_, answers), usage in zip(found, counted, strict=True)
            ]
        if len(found) <= 1:
            return [Asked(failure="budget_reached") for _ in found]
        return [self.from_cache([one])[0] for one in found]

    def entry_of(self, request: Request, answers: Sequence[StoredAnswer]) -> LedgerEntry:
        """The ledger's row of an answer from the cache."""
        return self._entry(request, "", samples=len(answers), cached=True)

    async def ask(self, request: Request) -> Asked:
        """The answers to a request, each paid for at most once by all processes together.

        Raises:
            EndpointError: What no retry mends.
        """
        lock = self._asking.setdefault(request.key, asyncio.Lock())
        async with lock:
            answers = self.cache.get(request.key, request.samples)
            if len(answers) >= request.samples:
                return self._take(request, answers)
            return await self._pay(request)

    async def send(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """One probe, with retries and the purse, not cached; its row is kind "probe".

        Raises:
            EndpointError: Refused or given up.
            BudgetReached: The purse refused it.
        """
        tokens = len(str(body)) // CHARACTERS_PER_TOKEN
        limit = next((int(body[name]) for name in body if name.startswith("max_")), 0)
        limit *= int(body.get("n", 1))
        request = Request("probe", path, body, tokens, limit, kind="probe")
        retries = min(self.patience.retries, PROBE_RETRIES)
        # what a probe is told answers no question
        tried = await self._try_often(request, 0, body, retries=retries)
        self.probed = self.probed + tried.usage
        if tried.trouble is not None and tried.trouble.kind == "budget":
            raise BudgetReached
        if tried.trouble is not None:
            raise EndpointError(tried.trouble.message, tried.trouble.status)
        self.cache.add_entries([self._entry(request, "", tried.last)])
        return tried.answer

    def _take(self, request: Request, answers: Sequence[StoredAnswer]) -> Asked:
        """An answer that came into the cache meanwhile, with its row of the ledger."""
        asked = self.from_cache([(request, answers)])[0]
        if not asked.failure:
            self.cache.add_entries([self.entry_of(request, answers)])
        return asked

    async def _pay(self, request: Request) -> Asked:
        """Send what is missing, one request after the other."""
        usage, sent = Usage(), 0
        while missing := self.cache.missing(request.key, request.samples):
            part = missing if self.settings.many else missing[:1]
            if not self.cache.claim(request.key, part):
                await asyncio.sleep(LOOK_AGAIN)
                continue
            try:
                found = await self._send_samples(request, part, first=sent == 0)
            finally:
                self.cache.release(request.key)
            usage, sent = usage + found.usage, sent + 1
            if found.failure or len(found.answers) < len(part):
                answers = self.cache.get(request.key, request.samples)
                if not answers:
                    return replace(found, answers=(), usage=usage)
                break
        else:
            answers = self.cache.get(request.key, request.samples)
        if not sent:  # another process paid in the meantime
            return self._take(request, answers)
        return Asked(answers, usage)

    async def _send_samples(self, request: Request, part: list[int], *, first: bool) -> Asked:
        body = dict(request.body)
        if len(part) > 1:
            body["n"] = len(part)
        if self.settings.seeded:
            body["seed"] = int(body["seed"]) + part[0]
        # further samples of a question are no further call of the budget
        kind = request.kind if first else "sample"
        request = replace(request, kind=kind)
        tried = await self._try_often(request, len(part), body, retries=self.patience.retries)
        if tried.trouble is not None:
            return self._failed(tried.trouble, tried.usage)
        self._failures = 0
        parts = split_response(
            tried.answer, money=tried.last.money, seconds=tried.last.seconds,
            created=time.time(), capability=self.settings.capability,
            prompt_tokens=tried.last.prompt_tokens,
            completion_tokens=tried.last.completion_tokens,
        )[: len(part)]  # fmt: skip
        entry = self._entry(request, "", tried.last, model=str(tried.answer.get("model") or ""))
        kept = dict(zip(part, parts, strict=False))
        self.cache.store_answers(request.key, kept, entry=entry)
        return Asked(parts, tried.usage)

    def _failed(self, trouble: Trouble, usage: Usage) -> Asked:
        if trouble.kind == "stop":
            raise EndpointError(trouble.message, trouble.status)
        if trouble.kind == "again":
            self._failures += 1
            if self._failures >= self.patience.failures:
                raise EndpointError(
                    f"{self._failures} questions in a row were given up, the last one because of"
                    f" {trouble.message}; what was answered is kept: run again to go on",
                    trouble.status,
                )
        reason = {"budget": "budget_reached", "again": "request_failed"}
        failure = reason.get(trouble.kind, trouble.kind)
        return Asked(usage=usage, failure=failure, message=trouble.message)

    async def _try_often(
        self, request: Request, samples: int, body: Mapping[str, Any], *, retries: int
    ) -> "_Tried":
        """One request until it is answered or given up; every try is reserved and settled."""
        total = Usage()
        for attempt in range(retries + 1):
            wanted = self._cost(request, samples, retry=attempt > 0)
            if not await self._reserve(wanted):
                return _Tried(total, Trouble("budget", "the budget was used up"))
            spent = Usage()
            try:
                await self.pace.turn(wanted.tokens)
                connection = self._connected()
                # until it is known better, and for good where the run is interrupted now: what
                # was sent may have been billed
                spent, begin = wanted, time.monotonic()
                answer = await self._post(connection, request.path, body)
                spent = self._real_cost(wanted, answer, time.monotonic() - begin)
                return _Tried(total + spent, None, answer, spent)
            except RequestFailed as failure:
                trouble = failure.trouble
                spent = _lost(wanted, trouble, time.monotonic() - begin)
            finally:
                self._settle(wanted, spent)
            total = total + spent
            again = trouble.kind == "again" and attempt < retries
            again = again and (trouble.wait or 0) <= self.patience.longest_asked
            kind = "retry" if again or trouble.kind == "too_long" else ""
            self.cache.add_entries([self._entry(request, kind, spent)])
            if not again:
                return _Tried(total, trouble)
            if trouble.wait is not None:
                self.pace.hold(trouble.wait)
            self.cache.renew(request.key)
            await asyncio.sleep(self.patience.wait(attempt, trouble.wait, self._draw))
        raise AssertionError("the last try returns")

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    async def _post(
        self, connection: Connection, path: str, body: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        answer = await connection.post(path, body)
        if not self.settings.is_answer(answer):
            raise RequestFailed(
                Trouble("again", str(UnreadableBody(f"{path}: status 200 without an answer")),
                        billed=True)
            )  # fmt: skip
        return answer

    async def _reserve(self, wanted: Usage) -> bool:
        """Set the cost aside; what is in flight may give some back before the answer is no."""
        while not self.purse.reserve(wanted):
            if not self._open:
                return False
            self._changed.clear()
            await self._changed.wait()
        self._open += 1
        return True

    def _settle(self, wanted: Usage, spent: Usage) -> None:
        self.purse.settle(wanted, spent)
        self._open -= 1
        self._changed.set()

    def _cost(self, request: Request, samples: int, *, retry: bool) -> Usage:
        counted = not retry and request.kind in ("question", "repair")
        completion = request.max_tokens * max(samples, 1)
        return Usage(
            calls=int(counted), sent=1, retries=int(retry),
            repairs=int(counted and request.kind == "repair"), samples=samples,
            prompt_tokens=request.prompt_tokens, completion_tokens=completion,
            money=self.settings.price(request.prompt_tokens, completion),
        )  # fmt: skip

    def _real_cost(self, wanted: Usage, answer: Mapping[str, Any], seconds: float) -> Usage:
        """As the server counted, else as estimated."""
        prompt = counted_tokens(answer, "prompt_tokens", "input_tokens")
        completion = counted_tokens(answer, "completion_tokens", "output_tokens")
        choices = answer.get("choices") or [answer]
        if prompt is None:
            prompt = wanted.prompt_tokens
        if completion is None:
            written = sum(len(_content(choice)) for choice in choices)
            completion = -(-written // CHARACTERS_PER_TOKEN)
        return replace(
            wanted, samples=len(choices) if wanted.samples else 0, prompt_tokens=prompt,
            completion_tokens=completion, money=self.settings.price(prompt, completion),
            seconds=seconds,
        )  # fmt: skip

    def _entry(
        self, request: Request, kind: str, usage: Usage | None = None, *, samples: int = 0,
        model: str = "", cached: bool = False,
    ) -> LedgerEntry:  # fmt: skip
        spent = Usage(samples=samples) if usage is None else usage
        return LedgerEntry(
            self.settings.run, kind or request.kind, request.key, model or self.settings.model,
            stage=self.settings.stage, asked=request.asked, samples=spent.samples,
            prompt_tokens=spent.prompt_tokens, completion_tokens=spent.completion_tokens,
            money=spent.money, seconds=spent.seconds, cached=cached,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Tried:
    """What became of a request: all of its tries cost `usage`, the answered one `last`."""

    usage: Usage
    trouble: Trouble | None
    answer: Mapping[str, Any] = field(default_factory=dict)
    last: Usage = field(default_factory=Usage)


def _lost(wanted: Usage, trouble: Trouble, seconds: float) -> Usage:
    """The cost of a failed try: nothing where it was refused, all where the answer was lost."""
    spent = replace(wanted, samples=0, seconds=seconds)
    if trouble.kind == "too_long":
        # the same call goes on with a shorter text
        spent = replace(spent, calls=0, repairs=0)
    if trouble.billed:
        return spent
    return replace(spent, prompt_tokens=0, completion_tokens=0, money=0.0)


def sum_usage(parts: Sequence[Usage]) -> Usage:
    """What many parts sum to, as `Usage.__add__` would."""
    total: dict[str, Any] = {}
    for name in (one.name for one in fields(Usage)):
        values = [getattr(part, name) for part in parts]
        total[name] = None if None in values else sum(values)
    return Usage(**total)


def _cached(request: Request, answers: Sequence[StoredAnswer]) -> Usage:
    repairs = int(request.kind == "repair")
    return Usage(calls=1, cached=1, repairs=repairs, samples=len(answers))


def _content(choice: Any) -> str:
    message = choice.get("message") if isinstance(choice, Mapping) else None
    return str(message.get("content") or "") if isinstance(message, Mapping) else ""
