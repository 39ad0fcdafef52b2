"""Embeddings kept on disk, keyed by model and content: a second run embeds nothing."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelnoise.atomic_files import replacing, write_json
from multimodal.rows import Rows

Storage = Literal["float16", "float32", "int8"]
STORAGES: tuple[Storage, ...] = ("float16", "float32", "int8")
# of the files' layout; another version is computed anew
VERSION = 1


class ContentDigest:
    """SHA-256 over what is embedded, item by item, in order.

    The items' kinds and lengths are part of it: two lists that differ anywhere differ in it.

    Example:
        >>> digest = ContentDigest()
        >>> for item in ("a red shirt", None, b"JPEG"):
        ...     digest.add(item)
        >>> digest.hexdigest() == content_digest(["a red shirt", None, b"JPEG"])
        True
    """

    def __init__(self) -> None:
        self._state = hashlib.sha256()

    def add(self, item: bytes | str | None) -> None:
        """An encoded image, a cleaned text, or None where there is none."""
        if item is None:
            self._state.update(b"n0:")
            return
        content = item.encode("utf-8", "surrogatepass") if isinstance(item, str) else item
        kind = b"t" if isinstance(item, str) else b"b"
        self._state.update(kind + str(len(content)).encode() + b":")
        self._state.update(content)

    def hexdigest(self) -> str:
        """Of all items so far."""
        return self._state.hexdigest()


def content_digest(items: Iterable[bytes | str | None]) -> str:
    """`ContentDigest` of all items."""
    digest = ContentDigest()
    for item in items:
        digest.add(item)
    return digest.hexdigest()


class ScaledRows:
    """Rows of small integers with one scale each, read as float32; a piece of `Rows`.

    Args:
        numbers: ``[N, D]`` int8, usually memory-mapped.
        scales: ``[N]`` float32.
    """

    def __init__(self, numbers: NDArray[np.int8], scales: NDArray[np.float32]) -> None:
        self.numbers, self.scales = numbers, scales
        self.shape = numbers.shape

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, which: Any) -> NDArray[np.float32]:
        """Rows ``[n, D]`` by slice or by array of numbers."""
        return self.numbers[which].astype(np.float32) * self.scales[which][:, None]


class EmbeddingCache:
    """Shards of rows in a folder, one per (encoder's key, digest of the content).

    A shard is there only once its commit record is, which is written last; a record whose files
    have another length or content than it says counts as absent, and the shard is made anew.
    ``float16`` and ``float32`` shards are plain ``.npy`` files that `Rows.open` maps.

    Args:
        folder: Made if absent. Several processes may share it.
        storage: ``float16`` changes an entry by at most 2^-11 (4.9e-4) of itself; ``int8``, with
            a scale per row, by at most 1/254 of the row's largest entry, and takes half the
            space; ``float32`` changes nothing.

    Raises:
        ValueError: Unknown storage.
    """

    def __init__(self, folder: Path, *, storage: Storage = "float16") -> None:
        if storage not in STORAGES:
            raise ValueError(f"storage must be one of {STORAGES}, got {storage!r}")
        self._folder, self._storage = Path(folder), storage

    def get(self, key: str, digest: str) -> Path | None:
        """File of rows, or None where it is not there whole.

        Args:
            key: Of the encoder.
            digest: Of the content, `content_digest`.
        """
        rows, scales, record = self._paths(key, digest)
        try:
            told = json.loads(record.read_text(encoding="utf-8"))
            files = {"rows": rows, "scales": scales} if self._storage == "int8" else {"rows": rows}
            wanted = {"version": VERSION, "key": key, "digest": digest, "storage": self._storage}
            whole = all(told.get(name) == value for name, value in wanted.items()) and all(
                told.get(name) == _described(path) for name, path in files.items()
            )
        except (OSError, ValueError, AttributeError):
            return None
        return rows if whole else None

    def put(self, key: str, digest: str, rows: NDArray[np.float32]) -> Path:
        """Store rows ``[n, D]``, replacing what was there; returns their file.

        Raises:
            ValueError: Rows that are not finite or not two-dimensional.
        """
        if rows.ndim != 2 or not np.isfinite(rows).all():
            raise ValueError(f"rows must be finite and [n, D], got {list(rows.shape)}")
        path, scales, record = self._paths(key, digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        told: dict[str, Any] = {"version": VERSION, "key": key, "digest": digest}
        told |= {"storage": self._storage, "n_rows": len(rows), "width": rows.shape[1]}
        if self._storage == "int8":
            numbers, factors = quantise_rows(rows)
            _save(path, numbers)
            _save(scales, factors)
            told["scales"] = _described(scales)
        else:
            _save(path, rows.astype(self._storage))
        write_json(record, told | {"rows": _described(path)})
        return path

    def get_or_make(self, key: str, digest: str, make: Callable[[], NDArray[np.float32]]) -> Path:
        """The stored file, or that of what `make` returns."""
        return self.get(key, digest) or self.put(key, digest, make())

    def _paths(self, key: str, digest: str) -> tuple[Path, Path, Path]:
        stem = self._folder / key / f"{digest[:40]}.{self._storage}"
        return (
            stem.with_name(stem.name + ".npy"),
            stem.with_name(stem.name + ".scales.npy"),
            stem.with_name(stem.name + "_stats.json"),
        )


def open_cached(paths: Sequence[Path]) -> Rows:
    """Rows of the files that an `EmbeddingCache` names, memory-mapped, whatever their storage."""
    pieces: list[Any] = []
    for path in paths:
        piece = np.load(path, mmap_mode="r", allow_pickle=False)
        if piece.dtype == np.int8:
            scales = np.load(path.with_name(path.stem + ".scales.npy"), allow_pickle=False)
            piece = ScaledRows(piece, scales)
        pieces.append(piece)
    return Rows(pieces)


def quantise_rows(rows: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """``rows ~ numbers * scales[:, None]`` with an error of at most half a scale per entry.

    Args:
        rows: ``[N, D]``, finite.

    Returns:
        Numbers ``[N, D]`` in -127..127 and scales ``[N]``: the row's largest entry / 127.
    """
    scales = np.abs(rows).max(axis=1, initial=0.0).astype(np.float32) / np.float32(127)
    divisor = np.where(scales > 0, scales, 1)[:, None]
    numbers = np.clip(np.rint(rows / divisor), -127, 127)
    return numbers.astype(np.int8), scales.astype(np.float32)


def _save(path: Path, array: NDArray[Any]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": content}
