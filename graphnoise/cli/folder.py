"""A run folder: whose it is, whether it is finished, and how it is begun again."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphnoise.report.stored import ADJACENCY, AUDIT, HISTORY, PREDICTIONS, RECORD
from labelnoise.atomic_files import write_json
from labelnoise.folder_lock import lock_folder

JOB, CHECKPOINT = "job.json", "checkpoint.pt"
# how far a run is, for those who ask while it works
PROGRESS = "progress.json"
PAGES = ("report.html", "report.json")
# the commit record goes first: a folder half emptied must not look finished
OURS = (RECORD, JOB, CHECKPOINT, AUDIT, PREDICTIONS, ADJACENCY, HISTORY, *PAGES)


@dataclass(frozen=True)
class RunFolder:
    """The folder of one job.

    Attributes:
        path: The folder.
        key: Key of the job that wants it.
        outputs: Files of a run, the commit record first.
        keeps: Patterns of files that outlive every run here and make no folder a stranger's:
            answers that were paid for.
    """

    path: Path
    key: str
    outputs: tuple[str, ...] = OURS
    keeps: tuple[str, ...] = ()

    @property
    def checkpoint(self) -> Path:
        """Where training leaves its state."""
        return self.path / CHECKPOINT

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of the folder; it is made, and removed again if left empty.

        The lock dies with the process, however that ends. Systems without `fcntl` go without.

        Raises:
            ValueError: Another process works in the folder, or it is a file.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"--out must be a folder, {self.path} is a file")
        self.path.mkdir(parents=True, exist_ok=True)
        handle = lock_folder(self.path, f"another process is working in {self.path}")
        try:
            yield
        finally:
            if handle is not None:
                os.close(handle)
            if not any(self.path.iterdir()):
                self.path.rmdir()

    def claim(self, *, force: bool = False) -> bool:
        """Check that the folder may be used, and say whether the job is already done there.

        Args:
            force: Delete what another or the same job left there; files of others stay.

        Raises:
            ValueError: The folder belongs to another job, or holds files of somebody else.
        """
        if force:
            self.clear()
        record = _read(self.path / RECORD)
        begun = _read(self.path / JOB)
        for found in (record, begun):
            if found is not None and found.get("key") != self.key:
                raise ValueError(
                    f"{self.path} holds another run (`{found.get('command')}`, key"
                    f" {str(found.get('key'))[:12]}, wanted {self.key[:12]}): choose another --out"
                    " or add --force to replace it"
                )
        kept = {path for pattern in self.keeps for path in self.path.glob(pattern)}
        strangers = sorted(
            one.name
            for one in self.path.iterdir()
            if not one.name.startswith(".") and one not in kept
        )
        if record is None and begun is None and strangers:
            raise ValueError(
                f"{self.path} is not empty and not a run folder (it holds {strangers[0]}):"
                " choose another --out"
            )
        return record is not None

    def begin(self, details: Mapping[str, Any]) -> None:
        """Note which job works here and on what data; checks the note of an earlier attempt.

        Args:
            details: "command" and "data_sha256".

        Raises:
            ValueError: The data changed since the job was begun; its checkpoint would not fit.
        """
        begun = _read(self.path / JOB)
        if begun is not None and begun.get("data_sha256") != details["data_sha256"]:
            raise ValueError(
                f"the data changed since the run in {self.path} was begun: add --force to start"
                " it afresh"
            )
        write_json(self.path / JOB, {"key": self.key, **details})

    def reopen(self) -> None:
        """Let a finished run go on: what it wrote stays until it is replaced.

        Call `begin` first: between the two the folder still counts as finished.
        """
        (self.path / RECORD).unlink(missing_ok=True)

    def commit(self, record: Mapping[str, Any]) -> None:
        """Declare the job done: the record goes last, then what only a restart needs."""
        write_json(self.path / RECORD, {"key": self.key, **record})
        self.tidy()

    def tidy(self) -> None:
        """Remove what only a restart needs, and temporary files of attempts that were killed."""
        for pattern in (f"{CHECKPOINT}*", JOB, PROGRESS, ".*.tmp"):
            for path in self.path.glob(pattern):
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove every file of ours."""
        for name in self.outputs:
            (self.path / name).unlink(missing_ok=True)
        self.tidy()


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(f"{path} is damaged: add --force to start the run afresh") from None
    return dict(content)
