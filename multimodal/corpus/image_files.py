"""Image files a table names: in its folder, or in an uncompressed tar beside it."""

import os
import stat
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from multimodal.corpus.images import SUFFIXES, ImageError, ImageLimits
from multimodal.corpus.sources import file_identity, is_unsafe, open_file
from multimodal.corpus.tar_stream import TarStream


class ImageFiles(Protocol):
    """Images by name."""

    def read(self, name: str, limits: ImageLimits) -> tuple[bytes, str]:
        """(encoded image, its full name).

        Args:
            name: A file name as the table has it, or a stem (``43996``) to be completed.
            limits: A larger file is not read.

        Raises:
            ImageError: `image_missing`, `image_too_large` or `unsafe_path`.
            OSError: Reading fails.
        """
        ...


@dataclass(frozen=True)
class FolderImages:
    """Files below a folder, local or remote; the folder ``images`` in it is searched as well.

    Attributes:
        root: Path or URL of the folder. A name outside it is not followed: a table from strangers
            must not read other files of this machine. Absolute names are fine if they lie in it.
        stems: Whether names may lack their ending.
    """

    root: str
    stems: bool = False

    def read(self, name: str, limits: ImageLimits) -> tuple[bytes, str]:
        """See `ImageFiles.read`."""
        root = self.root.rstrip("/")
        inside = name.removeprefix(f"{root}/")
        if "://" in inside:
            raise ImageError("image_missing", f"{inside} is an address: download it first")
        if is_unsafe(inside):
            raise ImageError("unsafe_path", f"{inside} lies outside {root}")
        endings = ["", *(f".{suffix}" for suffix in ("jpg", "png", "webp", "jpeg"))]
        for folder in (root, f"{root}/images"):
            for ending in endings if self.stems else endings[:1]:
                path = f"{folder}/{inside}{ending}"
                if (size := _size(path)) is not None:
                    return _read_bounded(path, size, limits), f"{inside}{ending}"
        raise ImageError("image_missing", f"no file {inside} in {root}")


@dataclass(frozen=True)
class TarImages:
    """Members of an uncompressed tar; where they stand is found in one pass per process.

    Attributes:
        path: Path or URL of the tar.
    """

    path: str

    def read(self, name: str, limits: ImageLimits) -> tuple[bytes, str]:
        """See `ImageFiles.read`; a name may lack folder and ending where that is unambiguous."""
        if is_unsafe(name):
            raise ImageError("unsafe_path", f"{name} lies outside the archive")
        members, stems = _index(self.path, file_identity(self.path))
        found = name.removeprefix("./")
        if found not in members:
            found = stems.get(os.path.basename(found), "")
        if not found:
            raise ImageError("image_missing", f"no member {name} in {self.path}")
        start, size = members[found]
        if size > limits.max_bytes:
            raise ImageError("image_too_large", f"{size:,} bytes, allowed {limits.max_bytes:,}")
        with open_file(self.path) as stream:
            stream.seek(start)
            content = stream.read(size)
        if len(content) < size:
            raise ImageError("image_missing", f"{self.path} is cut before the end of {found}")
        return content, found


@lru_cache(maxsize=2)
def _index(path: str, identity: str) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    """(member -> start and size, short name -> member or "" for several) of a tar's images."""
    members: dict[str, tuple[int, int]] = {}
    stems: dict[str, str] = {}
    with open_file(path) as stream:
        archive = TarStream(stream)
        for member in archive:
            name = member.name.removeprefix("./")
            if member.kind == "file" and name.rpartition(".")[2].lower() in SUFFIXES:
                members.setdefault(name, (archive.tell(), member.size))
                base = os.path.basename(name)
                for short in {base, base.rpartition(".")[0] or base}:
                    stems[short] = name if stems.get(short, name) == name else ""
    return members, stems


def _size(path: str) -> int | None:
    """Bytes of a regular file, None for anything else: reading a pipe would hang."""
    if "://" not in path:
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None
    import fsspec

    files, inside = fsspec.core.url_to_fs(path)
    try:
        info = files.info(inside)
    except FileNotFoundError:
        return None
    return int(info.get("size") or 0) if info["type"] == "file" else None


def _read_bounded(path: str, size: int, limits: ImageLimits) -> bytes:
    if size <= limits.max_bytes:
        import fsspec

        with fsspec.open(path, "rb") if "://" in path else open(path, "rb") as stream:
            content: bytes = stream.read(limits.max_bytes + 1)
        size = len(content)
        if size <= limits.max_bytes:
            return content
    raise ImageError("image_too_large", f"{size:,} bytes, allowed {limits.max_bytes:,}")
