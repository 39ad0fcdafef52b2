"""Which batch files a folder holds, what was asked in them, and what came back."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from graphnoise.annotators.request_key import request_key, sendable_body
from labelnoise.atomic_files import write_json
from labelnoise.folder_lock import lock_folder

STATE_NAME = "batches.json"
VERSION = 1
# what is known of a request: sent or about to be, answered, to be sent again
WRITTEN, STORED, FAILED = "written", "stored", "failed"


@dataclass(frozen=True, eq=False)
class BatchRequest:
    """One line of a batch file.

    Attributes:
        body: Of the request, as for `request_key`; its ``n`` is set here.
        endpoint_class: As for `request_key`, so that the answer is found by both ways of asking.
        first: Sample index of the first answer wanted.
        n: Answers wanted.
    """

    body: Mapping[str, Any]
    endpoint_class: str = "chat"
    first: int = 0
    n: int = 1

    def __post_init__(self) -> None:
        if self.first < 0 or self.n < 1:
            raise ValueError(f"first must be >= 0 and n >= 1, got {self.first} and {self.n}")

    @cached_property
    def key(self) -> str:
        """Key in the cache."""
        return request_key(self.body, self.endpoint_class)

    @property
    def custom_id(self) -> str:
        """Name of the line: key and first sample."""
        return f"{self.key}-{self.first}"

    def line(self, url: str) -> str:
        """The line, without its end."""
        body = {name: value for name, value in sendable_body(self.body).items() if name != "n"}
        if self.n > 1:
            body["n"] = self.n
        if self.first and isinstance(body.get("seed"), int):
            # with the seed of the first answers a server would give those again
            body["seed"] += self.first
        content = {"custom_id": self.custom_id, "method": "POST", "url": url, "body": body}
        return json.dumps(content, ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True)
class BatchFile:
    """A file to upload.

    Attributes:
        name: In its folder.
        model: Of every line: servers refuse files that mix models.
        requests, bytes: How much it holds.
        batch_id: The server's name of it, once the user has told.
    """

    name: str
    model: str
    requests: int
    bytes: int
    batch_id: str | None = None


@dataclass(frozen=True)
class AskedLine:
    """A line that was written: samples wanted, the model asked, and what became of it.

    Attributes:
        n: Samples wanted.
        model: Asked for.
        status: "written", "stored" or "failed".
        failure: Server's name of the result that said so last, so that an old file of errors that
            is read again does not undo a second attempt.
    """

    n: int
    model: str
    status: str = WRITTEN
    failure: str = ""


@dataclass(frozen=True)
class BatchState:
    """The batch files of a folder, and every line by its custom id."""

    files: tuple[BatchFile, ...] = ()
    asked: Mapping[str, AskedLine] = field(default_factory=dict)

    @property
    def pending(self) -> int:
        """Lines without a result so far."""
        return sum(line.status == WRITTEN for line in self.asked.values())

    def file(self, name: str) -> BatchFile:
        """The file of that name.

        Raises:
            ValueError: There is none.
        """
        for one in self.files:
            if one.name == name:
                return one
        raise ValueError(f"no batch file {name!r}, there are {[one.name for one in self.files]}")

    def with_batch_id(self, name: str, batch_id: str) -> "BatchState":
        """The state in which a file has the server's name."""
        told = replace(self.file(name), batch_id=batch_id)
        return replace(self, files=tuple(told if one.name == name else one for one in self.files))


def read_batch_state(folder: str | Path) -> BatchState:
    """The state of a folder; an empty one where nothing was written yet.

    Raises:
        ValueError: The file is damaged or of another version.
    """
    path = Path(folder) / STATE_NAME
    if not path.exists():
        return BatchState()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']}, this program reads {VERSION}")
        files = tuple(BatchFile(**one) for one in content["files"])
        return BatchState(files, {name: AskedLine(*one) for name, one in content["asked"].items()})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no record of batch files: {error}") from None


def write_batch_state(folder: Path, state: BatchState) -> None:
    """Replace the state of a folder, whole or not at all."""
    asked = {name: [one.n, one.model, one.status, one.failure] for name, one in state.asked.items()}
    files = [asdict(one) for one in state.files]
    write_json(folder / STATE_NAME, {"version": VERSION, "files": files, "asked": asked})


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder, made if need be, for this process alone.

    Raises:
        ValueError: Another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = lock_folder(folder, f"another process is writing batch files in {folder}")
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)
