"""``header.json`` of a store: what is there, and whether it is whole."""

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from graphnoise.graph_store.array_files import ArrayFile

HEADER = "header.json"
FORMAT, VERSION = "graphnoise graph store", 1
INDPTR, INDICES, WEIGHTS, STRENGTH = "indptr.npy", "indices.npy", "weights.npy", "strength.npy"
INTEGER_IDS, TEXT_OFFSETS, TEXT_BYTES = "ids.npy", "id_offsets.npy", "id_bytes.npy"
ID_ORDER = "id_order.npy"


@dataclass(frozen=True)
class Header:
    """All that is known of a store without reading an array.

    Attributes:
        key: Tells stores apart: a digest of the source's identity and the settings.
        source: What it was built from, in words; no folders.
        n_nodes: Number of nodes, N.
        n_entries: Stored neighbours, both directions of each edge.
        total_volume: Sum of all degrees; of all weights, where there are any.
        ids: "position" (ids are 0 .. N-1), "integer" or "text".
        arrays: File name -> description.
        features: Names of the files that hold node attributes: one, or three of a CSR matrix.
        n_features: Number of columns of the features.
        counts: What was read, dropped and merged.
        notes: What was done to the input, in words.
        versions: Of the programs that built it.
    """

    key: str
    source: str
    n_nodes: int
    n_entries: int
    total_volume: float
    ids: str
    arrays: Mapping[str, ArrayFile]
    features: tuple[str, ...] = ()
    n_features: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    def with_features(self, files: Mapping[str, ArrayFile], n_features: int) -> "Header":
        """The header with these attributes instead of the present ones."""
        kept = {name: file for name, file in self.arrays.items() if name not in self.features}
        return replace(
            self, arrays=kept | dict(files), features=tuple(files), n_features=n_features
        )


def write_header(folder: Path, header: Header) -> None:
    """Write the header atomically and onto the disk, the folder's entries too."""
    content = {"format": FORMAT, "version": VERSION, **asdict(header)}
    content["checksum"] = _checksum(content)
    temporary = folder / f".{HEADER}.{os.getpid()}.tmp"
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder / HEADER)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries onto the disk, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_header(folder: Path) -> Header:
    """Read and check the header alone.

    Raises:
        ValueError: There is none, it is damaged, or it is of another format or version.
    """
    path = folder / HEADER
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(
            f"{folder} is no graph store: found no {HEADER}, which `graphnoise build-store` writes"
        ) from None
    except (ValueError, NotADirectoryError) as error:
        raise ValueError(f"{path} is damaged: expected JSON, found {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path}: expected format {FORMAT!r}, found {found!r}")
    if content.get("version") != VERSION:
        raise ValueError(
            f"{path}: expected format version {VERSION}, found {content.get('version')!r}; build"
            " the store again with this version"
        )
    expected, found = _checksum(content), content.get("checksum")
    if found != expected:
        raise ValueError(f"{path} is damaged: found checksum {found!r}, expected {expected!r}")
    return _header(content)


def check_sizes(folder: Path, header: Header) -> None:
    """Compare the size of every file with the header; no file is opened.

    Raises:
        ValueError: A file is missing, truncated or too long.
    """
    for name, about in header.arrays.items():
        try:
            found = (folder / name).stat().st_size
        except FileNotFoundError:
            raise ValueError(
                f"{folder / name} is missing, expected {about.bytes} bytes; build the store again"
            ) from None
        if found != about.bytes:
            raise ValueError(
                f"{folder / name} is damaged: found {found} bytes, expected {about.bytes}; build"
                " the store again"
            )


def _header(content: dict[str, Any]) -> Header:
    plain = {k: v for k, v in content.items() if k not in ("format", "version", "checksum")}
    files = plain.pop("arrays")
    arrays = {
        name: ArrayFile(**about | {"shape": tuple(about["shape"])}) for name, about in files.items()
    }
    for key in ("features", "notes"):
        plain[key] = tuple(plain[key])
    return Header(arrays=arrays, **plain)


def _checksum(content: Mapping[str, Any]) -> str:
    plain = json.dumps({k: v for k, v in content.items() if k != "checksum"}, sort_keys=True)
    return f"{zlib.crc32(plain.encode()):08x}"
