"""Unpack archives without trusting the paths inside them."""

import shutil
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO


def extract(archive: Path, folder: Path, *, skip_top: bool = False) -> None:
    """Unpack a zip or tar file into a folder; only plain files are written.

    Args:
        archive: The file; its content decides which kind it is.
        folder: Existing target.
        skip_top: Leave the first folder of every member's path out.

    Raises:
        ValueError: Neither zip nor tar, or a member that would land outside `folder` or is a
            link or device. Nothing is written then.
    """
    if zipfile.is_zipfile(archive):
        _extract_zip(archive, folder, skip_top)
    elif tarfile.is_tarfile(archive):
        _extract_tar(archive, folder, skip_top)
    else:
        raise ValueError(f"{archive.name} is neither a zip nor a tar archive")


def _extract_zip(archive: Path, folder: Path, skip_top: bool) -> None:
    with zipfile.ZipFile(archive) as packed:
        files = [item for item in packed.infolist() if not item.is_dir()]
        targets = [_inside(item.filename, archive, skip_top) for item in files]
        for item, target in zip(files, targets, strict=True):
            with packed.open(item) as content:
                _write(folder / target, content)


def _extract_tar(archive: Path, folder: Path, skip_top: bool) -> None:
    with tarfile.open(archive) as packed:
        members = [item for item in packed.getmembers() if not item.isdir()]
        strange = [item.name for item in members if not item.isfile()]
        if strange:
            raise ValueError(f"{archive.name} holds a link or device, {strange[0]!r}")
        targets = [_inside(item.name, archive, skip_top) for item in members]
        for item, target in zip(members, targets, strict=True):
            content = packed.extractfile(item)
            if content is not None:
                _write(folder / target, content)


def _inside(name: str, archive: Path, skip_top: bool) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise ValueError(f"{archive.name} holds {name!r}, which leaves the target folder")
    return PurePosixPath(*path.parts[1:]) if skip_top and len(path.parts) > 1 else path


def _write(path: Path, content: IO[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(content, file)
