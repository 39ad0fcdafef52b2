"""Whose a run folder is, and whether there is anything left to do in it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelnoise.atomic_files import write_json
from labelnoise.folder_lock import lock_folder
from multimodal.run_folder import FORMAT, JOB, RECORD, read_json

# what may lie in a folder before a run begins there
UNIMPORTANT = (".", "_")


@dataclass(frozen=True)
class Claim:
    """A job that wants to work in a folder.

    Attributes:
        folder: The folder.
        key: Of everything the user asked for; another key is another run.
        command: What the user typed, for messages.
    """

    folder: Path
    key: str
    command: str

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out; the lock dies with the process, however that ends.

        Raises:
            ValueError: Another process works in the folder, or it is a file.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"--out must be a folder, {self.folder} is a file")
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = lock_folder(self.folder, f"another process is working in {self.folder}")
        try:
            yield
        finally:
            if not any(self.folder.iterdir()):
                self.folder.rmdir()
            if handle is not None:
                os.close(handle)

    def check(self, *, force: bool = False) -> None:
        """Check that the folder may be used.

        Args:
            force: Replace another run; what its settings and ours have in common is kept.

        Raises:
            ValueError: It holds another run, or files of somebody else.
        """
        found = [self._read(name, force) for name in (JOB, RECORD)]
        for one in found:
            if one is not None and one.get("key") != self.key and not force:
                raise ValueError(
                    f"{self.folder} holds another run (`{one.get('command')}`): choose another"
                    " --out, or add --force to replace it; steps that do not change are kept"
                )
        there = sorted(path.name for path in self.folder.iterdir())
        strangers = [name for name in there if not name.startswith(UNIMPORTANT)]
        if found == [None, None] and strangers:
            raise ValueError(
                f"{self.folder} is not empty and not a run folder (it holds {strangers[0]}):"
                " choose another --out"
            )

    def done(self, data: str) -> Mapping[str, Any] | None:
        """The record of the run if it is finished, on the same data, and no shard failed.

        Args:
            data: Fingerprint of the corpus.
        """
        record = self._read(RECORD, False)
        finished = (
            record is not None
            and (record.get("key"), record.get("data")) == (self.key, data)
            and record.get("format") == FORMAT
            and not any(shard["retry"] for shard in record["shards"])
        )
        return record if finished else None

    def begin(self, job: Mapping[str, Any]) -> None:
        """Note what is being done; a folder without a record is not finished."""
        write_json(self.folder / JOB, {"key": self.key, "command": self.command, **job})
        (self.folder / RECORD).unlink(missing_ok=True)

    def commit(self, record: Mapping[str, Any]) -> None:
        """Declare the run finished."""
        write_json(
            self.folder / RECORD,
            {"format": FORMAT, "key": self.key, "command": self.command, **record},
        )

    def _read(self, name: str, force: bool) -> dict[str, Any] | None:
        try:
            return read_json(self.folder / name)
        except ValueError:
            if force:
                return {}
            raise
