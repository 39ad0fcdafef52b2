"""The folder in which a store is built: locked, resumed after a kill, moved in place at the end."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graphnoise.graph_store.header import HEADER, Header, sync_folder, write_header
from labelnoise.folder_lock import lock_folder

STATE, STORE = "state.json", "store"


class Workplace:
    """Where one store is built; on the same file system, so that moving it in place is atomic.

    Args:
        out: Folder of the store to be.
        key: Of the build; what another one left here is thrown away.
    """

    def __init__(self, out: Path, key: str) -> None:
        self.out, self.key = out, key
        self.path = out.with_name(f".{out.name}.building")
        self.store = self.path / STORE
        self.state: dict[str, Any] = {}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other builders out. The lock dies with the process, however that ends.

        Raises:
            ValueError: Another process is building the store.
        """
        handle = self._lock()
        try:
            yield
        finally:
            if self.path.exists() and not (self.path / STATE).exists():
                shutil.rmtree(self.path)
            if handle is not None:
                os.close(handle)

    def begin(self) -> bool:
        """Take up what an earlier attempt at the same build left; returns whether there is any."""
        try:
            state = json.loads((self.path / STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            state = {}
        if state.get("key") != self.key:
            for one in self.path.iterdir():
                shutil.rmtree(one) if one.is_dir() else one.unlink()
            state = {}
        self.store.mkdir(exist_ok=True)
        self.state = state
        return bool(state)

    def note(self, step: str, content: Any) -> None:
        """Remember how far a step is; what it tells of must be on the disk."""
        self.state = {**self.state, "key": self.key, step: content}
        temporary = self.path / f"{STATE}.tmp"
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(self.state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path / STATE)

    def commit(self, header: Header) -> None:
        """Write the header and move the store in place; an old one goes aside first."""
        for one in self.store.iterdir():
            if one.name not in header.arrays:
                one.unlink()  # of an attempt that was killed
        write_header(self.store, header)
        old = self.path / "old"
        if self.out.exists():
            os.replace(self.out, old)
        os.replace(self.store, self.out)
        sync_folder(self.out.parent)
        shutil.rmtree(self.path)

    def may_replace(self) -> None:
        """Make sure that what would be replaced is a store.

        Raises:
            ValueError: It is a file, or a folder with other things in it.
        """
        if self.out.is_dir() and ((self.out / HEADER).is_file() or not any(self.out.iterdir())):
            return
        if self.out.exists():
            raise ValueError(f"{self.out} exists and is no graph store: choose another folder")

    def _lock(self) -> int | None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            self.path.mkdir(exist_ok=True)
            handle = lock_folder(self.path, f"another process is building {self.out}")
            if handle is None:
                return None
            # one that finished in between has taken the folder away
            if self.path.exists() and self.path.stat().st_ino == os.fstat(handle).st_ino:
                return handle
            os.close(handle)
