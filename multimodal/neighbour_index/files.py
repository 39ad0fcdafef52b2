"""The header of an index on disk, whose presence says that the rest is whole."""

import json
from pathlib import Path
from typing import Any

from labelnoise.atomic_files import write_json

HEADER = "index.json"
FORMAT = 1


def write_header(folder: Path, header: dict[str, Any]) -> None:
    """Write it in one piece."""
    write_json(folder / HEADER, {"format": FORMAT, **header})


def remove_header(folder: Path) -> None:
    """Say that what is in the folder, if anything, is whole no more."""
    (folder / HEADER).unlink(missing_ok=True)


def read_header(folder: Path) -> dict[str, Any]:
    """Read it.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is of another format.
    """
    path = folder / HEADER
    if not path.exists():
        raise FileNotFoundError(f"no complete neighbour index in {folder}: {HEADER} is missing")
    header: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if header.get("format") != FORMAT:
        raise ValueError(f"{path} must be of format {FORMAT}, got {header.get('format')!r}")
    return header
