"""Where data sets lie: the search order, the user's cache, downloads."""

import os
import shutil
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from graphnoise.datasets.archives import extract

PROJECT = Path(__file__).resolve().parents[2]
DATA_VARIABLE = "NOISE_DATA"
CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Remote:
    """Files of a data set: where they may lie and where they come from.

    Attributes:
        files: Paths of the files needed, relative to one of `layouts`.
        layouts: Folders relative to a data root, in the order they are tried; a download goes
            into the first.
        url: Prefix of each file's address, or the address of the archive that holds them.
        archive: Whether `url` is one archive, whose single top folder is left out.
    """

    files: tuple[str, ...]
    layouts: tuple[str, ...]
    url: str
    archive: bool = False


@dataclass(frozen=True)
class Places:
    """The folders in which data sets are looked for.

    Attributes:
        root: The caller's own folder, first in the order.

    Raises:
        ValueError: `root` is no folder.
    """

    root: Path | None = None

    def __post_init__(self) -> None:
        if self.root is not None and not self.root.is_dir():
            raise ValueError(f"root must be a folder, got {str(self.root)!r}")

    def folders(self) -> list[Path]:
        """The caller's root, ``NOISE_DATA``, ``../shared/data`` of a checkout, the cache."""
        named = os.environ.get(DATA_VARIABLE)
        checkout = (PROJECT / "pyproject.toml").is_file()
        beside = PROJECT.parent / "shared" / "data"
        return [
            *([self.root] if self.root is not None else []),
            *([Path(named)] if named else []),
            *([beside] if checkout and beside.is_dir() else []),
            cache_folder(),
        ]

    def find(self, remote: Remote) -> Path | None:
        """First folder that holds every file of `remote`."""
        for folder in self.folders():
            for layout in remote.layouts:
                if all((folder / layout / name).is_file() for name in remote.files):
                    return folder / layout
        return None

    def fetch(self, name: str, remote: Remote) -> Path:
        """Folder with the files of `remote`, downloaded into the cache where they are nowhere.

        Raises:
            FileNotFoundError: Neither here nor to be had.
        """
        found = self.find(remote)
        if found is not None:
            return found
        try:
            return _download(remote, cache_folder() / remote.layouts[0])
        except OSError as error:
            looked = ", ".join(str(folder) for folder in self.folders())
            raise FileNotFoundError(
                f"data set {name!r} not found: looked for {remote.layouts[0]}/{remote.files[0]}"
                f" (and the same files in {list(remote.layouts[1:])}) under {looked}; the download"
                f" from {remote.url} failed ({error}). Put the files there, set {DATA_VARIABLE},"
                " or use 'python-modules', which needs neither data nor network"
            ) from error


def cache_folder() -> Path:
    """The user's cache of this project: ``$XDG_CACHE_HOME/graphnoise`` or the platform's place."""
    named = os.environ.get("XDG_CACHE_HOME")
    if named:
        return Path(named) / "graphnoise"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "graphnoise" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "graphnoise"
    return Path.home() / ".cache" / "graphnoise"


def _download(remote: Remote, target: Path) -> Path:
    """All files or none: they are fetched aside, and the folder is moved in place at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as aside:
        fresh = Path(aside) / "files"
        fresh.mkdir()
        if remote.archive:
            packed = Path(aside) / remote.url.rpartition("/")[2]
            _save(remote.url, packed)
            extract(packed, fresh, skip_top=True)
        else:
            for name in remote.files:
                _save(remote.url + name, fresh / name)
        missing = [name for name in remote.files if not (fresh / name).is_file()]
        if missing:
            raise FileNotFoundError(f"the download lacks {missing}")
        if target.exists():
            shutil.rmtree(target)  # an incomplete leftover: find() did not accept it
        os.replace(fresh, target)
    return target


def _save(url: str, path: Path) -> None:
    # not PyG's download_url, which switches the check of TLS certificates off
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer, path.open("wb") as file:
        shutil.copyfileobj(answer, file, CHUNK_BYTES)
