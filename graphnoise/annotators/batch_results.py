"""Results of a batch queue: lines in any order, days later, into the same cache."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from graphnoise.annotators.answer_cache import AnswerCache
from graphnoise.annotators.batch_state import (
    FAILED,
    STORED,
    AskedLine,
    BatchState,
    locked,
    read_batch_state,
    write_batch_state,
)
from graphnoise.annotators.ledger import LedgerEntry
from graphnoise.annotators.prices import PriceTable, load_prices
from graphnoise.annotators.stored_answer import StoredAnswer, split_response

# results stored per commit
LINES_AT_ONCE = 500
OK = 200


@dataclass(frozen=True)
class BatchFailure:
    """A line without an answer: its key, first sample, and why in the server's words."""

    key: str
    first: int
    reason: str


@dataclass(frozen=True)
class BatchCollection:
    """What `collect_batch` found.

    Attributes:
        stored: Answers that are new in the cache.
        known: Answers that were there.
        failures: Lines to be sent again: failed, expired, or without an answer.
        short: Lines with fewer samples than were asked for.
        cut_off: Files whose last line is incomplete: fetch them again.
        pending: Lines of the folder that have no result yet, in these files or before.
    """

    stored: int
    known: int
    failures: tuple[BatchFailure, ...]
    short: int
    cut_off: tuple[str, ...]
    pending: int


def collect_batch(
    results: str | Path | Sequence[str | Path],
    folder: str | Path,
    cache: AnswerCache,
    *,
    prices: PriceTable | None = None,
    base_url: str | None = None,
    run: str = "batch",
    stage: str = "",
) -> BatchCollection:
    """Take the results of batches into the cache, at the price of the batch queue.

    Lines may come in any order, from one or several files (output and errors), days later, and
    twice. Nothing is stored if any line belongs to another folder. A last line that was cut off
    is left for the next time.

    Args:
        results: One file or several, as the server gave them.
        folder: As in `write_batch`.
        cache: Where the answers go; ledger rows of the kind "batch" beside them.
        prices: Table of prices; None takes ours.
        base_url: Address of the endpoint, as for `PriceTable.price_of`.
        run: Id of the run in the ledger.
        stage: Of the method, in the ledger.

    Raises:
        ValueError: A line that is no JSON, or that was never written here; names file and line.
        OSError: A result cannot be read.
    """
    folder = Path(folder)
    paths = [Path(one) for one in ([results] if isinstance(results, str | Path) else results)]
    with locked(folder):
        state = read_batch_state(folder)
        cut_off = tuple(path.name for path in paths if _check_lines(path, state, folder))
        intake = _Intake(
            dict(state.asked), load_prices() if prices is None else prices, base_url, run, stage
        )
        for path in paths:
            for lines in _groups(content for _, content, _ in _lines_of(path)):
                intake.store([line for line in map(intake.read, lines) if line], cache)
        state = replace(state, asked=intake.asked)
        write_batch_state(folder, state)
    failures = tuple(BatchFailure(*_parts(one), why) for one, why in intake.failures.items())
    return BatchCollection(
        intake.stored, intake.known, failures, intake.short, cut_off, state.pending
    )


@dataclass(frozen=True)
class _Answered:
    """A line with answers, ready for the cache."""

    key: str
    answers: Mapping[int, StoredAnswer]
    entry: LedgerEntry


@dataclass
class _Intake:
    """Reads results one by one and counts what becomes of them."""

    asked: dict[str, AskedLine]
    prices: PriceTable
    base_url: str | None
    run: str
    stage: str
    stored: int = 0
    known: int = 0
    short: int = 0
    failures: dict[str, str] = field(default_factory=dict)

    def read(self, result: Mapping[str, Any]) -> _Answered | None:
        """The answers of a line, or None where it has none: that is then noted."""
        name = str(result["custom_id"])
        line = self.asked[name]
        reason = _failure_of(result)
        if reason:
            self._note_failure(name, line, reason, str(result.get("id") or ""))
            return None
        body = result["response"]["body"]
        answers = split_response(body, money=self._money(body, line))[: line.n]
        self.short += len(answers) < line.n
        self.asked[name] = replace(line, status=STORED)
        self.failures.pop(name, None)
        return self._answered(name, line, answers)

    def store(self, lines: Sequence[_Answered], cache: AnswerCache) -> None:
        """Put answers into the cache, in one commit."""
        new = cache.import_answers((one.key, one.answers, one.entry) for one in lines)
        self.stored += new
        self.known += sum(len(one.answers) for one in lines) - new

    def _answered(self, name: str, line: AskedLine, answers: list[StoredAnswer]) -> _Answered:
        key, first = _parts(name)
        entry = LedgerEntry(
            run=self.run,
            kind="batch",
            key=key,
            model=answers[0].model or line.model,
            stage=self.stage,
            prompt_tokens=sum(one.prompt_tokens for one in answers),
            completion_tokens=sum(one.completion_tokens for one in answers),
            samples=len(answers),
            money=answers[0].money,
        )
        return _Answered(key, {first + i: one for i, one in enumerate(answers)}, entry)

    def _note_failure(self, name: str, line: AskedLine, reason: str, result_id: str) -> None:
        if line.status == STORED or (result_id and result_id == line.failure):
            return  # answered meanwhile, or an old file of errors read a second time
        self.asked[name] = replace(line, status=FAILED, failure=result_id)
        self.failures[name] = reason

    def _money(self, body: Mapping[str, Any], line: AskedLine) -> float | None:
        """Dollars by the batch price; None where the price or the tokens are unknown."""
        price = self.prices.price_of(line.model, self.base_url)
        if not body.get("usage") or price is None or price.batch is None:
            return None
        counted = split_response(body, money=None)
        prompt = sum(one.prompt_tokens for one in counted)
        completion = sum(one.completion_tokens for one in counted)
        return price.money(prompt, completion, batch=True)


def _failure_of(result: Mapping[str, Any]) -> str:
    """Why a line has no answer, in the server's words, or ""."""
    error, response = result.get("error"), result.get("response")
    body = response.get("body") if isinstance(response, Mapping) else None
    if not error and isinstance(body, Mapping) and body.get("error"):
        error = body["error"]
    if error:
        told = error if isinstance(error, Mapping) else {"message": str(error)}
        return str(told.get("code") or told.get("message") or "failed")
    if not isinstance(response, Mapping) or not isinstance(body, Mapping):
        return "no_response"
    if response.get("status_code", OK) != OK:
        return f"status_{response['status_code']}"
    return "" if body.get("choices") or "answers" in body else "no_answer"


def _check_lines(path: Path, state: BatchState, folder: Path) -> bool:
    """Refuse a file with a line that is not ours; whether its last line was cut off."""
    cut_off = False
    for number, content, complete in _lines_of(path):
        if content is None:
            if complete:
                raise ValueError(f"{path}, line {number}: a result must be JSON with a custom_id")
            cut_off = True
        elif content["custom_id"] not in state.asked:
            raise ValueError(
                f"{path}, line {number}: {content['custom_id']!r} was never written in {folder}"
            )
    return cut_off


def _lines_of(path: Path) -> Iterator[tuple[int, Any, bool]]:
    """Number, content and whether the line is complete; content None where it cannot be read."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, _content_of(line), line.endswith("\n")


def _content_of(line: str) -> Any:
    try:
        content = json.loads(line)
    except ValueError:
        return None
    readable = isinstance(content, Mapping) and isinstance(content.get("custom_id"), str)
    return content if readable else None


def _groups(contents: Iterable[Any]) -> Iterator[list[Any]]:
    """Readable lines, so many at once."""
    readable = (content for content in contents if content is not None)
    while group := list(islice(readable, LINES_AT_ONCE)):
        yield group


def _parts(custom_id: str) -> tuple[str, int]:
    """Key and first sample of a custom id."""
    key, _, first = custom_id.rpartition("-")
    return key, int(first)
