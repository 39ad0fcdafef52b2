"""OpenAI-style batch files: requests out at half price, answers back into the same cache."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from graphnoise.annotators.batch_results import BatchCollection, BatchFailure, collect_batch
from graphnoise.annotators.batch_state import (
    FAILED,
    AskedLine,
    BatchFile,
    BatchRequest,
    BatchState,
    locked,
    read_batch_state,
    write_batch_state,
)
from graphnoise.annotators.credentials import known_secrets
from labelnoise.atomic_files import replacing

__all__ = [
    "BatchCollection",
    "BatchFailure",
    "BatchLimits",
    "BatchRequest",
    "BatchWritten",
    "collect_batch",
    "note_batch_id",
    "read_batch_state",
    "write_batch",
]

CHAT_URL = "/v1/chat/completions"
# not the results that somebody may keep beside them
OUR_NAME = re.compile(r"batch-\d{4,}\.jsonl")


@dataclass(frozen=True)
class BatchLimits:
    """What one file may hold; servers refuse more.

    Attributes:
        requests: Lines. 50,000 is what OpenAI takes.
        bytes: Of the whole file. OpenAI takes 200 MB, some servers of the same kind half of it.
    """

    requests: int = 50_000
    bytes: int = 100_000_000

    def __post_init__(self) -> None:
        if self.requests < 1 or self.bytes < 1:
            raise ValueError(f"limits must be positive, got {self.requests} and {self.bytes}")


@dataclass(frozen=True)
class BatchWritten:
    """What `write_batch` did: the new files, and requests left out because they are under way."""

    files: tuple[BatchFile, ...]
    under_way: int


def write_batch(
    requests: Iterable[BatchRequest],
    folder: str | Path,
    *,
    url: str = CHAT_URL,
    limits: BatchLimits | None = None,
    again: bool = False,
) -> BatchWritten:
    """Write requests as files to upload, and keep a record of them in the folder.

    Equal requests are one line, a file holds one model, and a request that is under way in an
    earlier file of the folder, or was answered, is left out. When this returns, the files and
    their record (``batches.json``) are there; killed before, the record knows of none of them, and
    the next call removes what is left.

    Args:
        requests: What to ask; leave out what the cache has (`AnswerCache.missing`).
        folder: Of the files and of their record.
        url: Path of the endpoint, as the server's batch queue names it.
        limits: Of a file.
        again: Also write requests that are under way, such as those of a batch that was lost.

    Raises:
        ValueError: A request longer than a file may be, one that holds an API key, or another
            process is writing in the folder.
    """
    folder, limits = Path(folder), limits or BatchLimits()
    with locked(folder):
        state = read_batch_state(folder)
        wanted = _merged(requests)
        fresh = {
            name: one
            for name, one in wanted.items()
            if name not in state.asked or (again or state.asked[name].status == FAILED)
        }
        _remove_unknown(folder, state)
        files = tuple(_write_files(fresh.values(), folder, len(state.files), url, limits))
        if files:
            lines = {name: _asked(one, state.asked.get(name)) for name, one in fresh.items()}
            asked = {**state.asked, **lines}
            write_batch_state(folder, BatchState((*state.files, *files), asked))
    return BatchWritten(files, len(wanted) - len(fresh))


def note_batch_id(folder: str | Path, name: str, batch_id: str) -> None:
    """Keep the server's name of a file that was uploaded; on disk when this returns.

    Args:
        folder: As in `write_batch`.
        name: Of the file.
        batch_id: As the server gave it.

    Raises:
        ValueError: There is no such file, or it has another id.
    """
    folder = Path(folder)
    with locked(folder):
        state = read_batch_state(folder)
        there = state.file(name).batch_id
        if there not in (None, batch_id):
            raise ValueError(f"{name} was uploaded as batch {there} already, got {batch_id}")
        write_batch_state(folder, state.with_batch_id(name, batch_id))


def _remove_unknown(folder: Path, state: BatchState) -> None:
    """Remove files of a call that was killed: nobody was told of them, and nobody may send them."""
    known = {one.name for one in state.files}
    for path in folder.glob("batch-*.jsonl"):
        if OUR_NAME.fullmatch(path.name) and path.name not in known:
            path.unlink()


def _merged(requests: Iterable[BatchRequest]) -> dict[str, BatchRequest]:
    """Requests by custom id; of equal ones the one that wants most samples."""
    found: dict[str, BatchRequest] = {}
    for one in requests:
        there = found.get(one.custom_id)
        if there is None or there.n < one.n:
            found[one.custom_id] = one
    return found


def _asked(request: BatchRequest, before: AskedLine | None) -> AskedLine:
    failure = "" if before is None else before.failure
    return AskedLine(request.n, str(request.body["model"]), failure=failure)


def _write_files(
    requests: Iterable[BatchRequest], folder: Path, number: int, url: str, limits: BatchLimits
) -> Iterator[BatchFile]:
    """Write files numbered after `number`, one model each."""
    by_model: dict[str, list[BatchRequest]] = {}
    for one in requests:
        by_model.setdefault(str(one.body["model"]), []).append(one)
    for model, ours in by_model.items():
        for lines in _within_limits((one.line(url) for one in ours), limits):
            number += 1
            content = b"".join(lines)
            name = f"batch-{number:04d}.jsonl"
            with replacing(folder / name) as temporary:
                temporary.write_bytes(content)
            yield BatchFile(name, model, len(lines), len(content))


def _within_limits(lines: Iterable[str], limits: BatchLimits) -> Iterator[list[bytes]]:
    """Lines, with their ends, in groups that are a file each."""
    secrets = known_secrets()
    group: list[bytes] = []
    size = 0
    for line in lines:
        if any(secret in line for secret in secrets):
            raise ValueError("a request holds an API key: its text must not be sent or written")
        # half of a character becomes its JSON escape
        content = f"{line}\n".encode("utf-8", "backslashreplace")
        if len(content) > limits.bytes:
            raise ValueError(f"a file takes {limits.bytes} bytes, one request has {len(content)}")
        if group and (len(group) == limits.requests or size + len(content) > limits.bytes):
            yield group
            group, size = [], 0
        group.append(content)
        size += len(content)
    if group:
        yield group
