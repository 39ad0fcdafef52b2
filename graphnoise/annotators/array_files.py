"""Files of named arrays that others wrote: read without pickle, refused in one line."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# what numpy says of a file that is another one, damaged, or holds objects; it names no file
BAD = (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)


class Arrays(Mapping[str, NDArray[Any]]):
    """Arrays of an opened ``.npz`` by name, each read when it is looked up."""

    def __init__(self, path: Path, archive: Mapping[str, Any]) -> None:
        self._path, self._archive = path, archive

    def __getitem__(self, name: str) -> NDArray[Any]:
        try:
            return np.asarray(self._archive[name])
        except BAD as error:
            raise ValueError(f"{self._path}: array {name!r} cannot be read: {error}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._archive

    def __iter__(self) -> Iterator[str]:
        return iter(self._archive)

    def __len__(self) -> int:
        return len(self._archive)


@contextmanager
def opened_arrays(path: str | Path) -> Iterator[Arrays]:
    """The arrays of an ``.npz``.

    Args:
        path: The file.

    Raises:
        ValueError: No ``.npz``; and a look-up of an array that is damaged or holds objects.
        OSError: The file cannot be read.
    """
    path = Path(path)
    with path.open("rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
        except BAD:
            archive = None
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError(f"{path} must be an .npz file of arrays")
        with archive:
            yield Arrays(path, archive)
