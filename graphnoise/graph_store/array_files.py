"""Plain ``.npy`` files that are appended to, checked and mapped without reading their headers."""

import io
import math
import mmap
import os
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# numpy pads its header so that it can be rewritten in place; ours all have this length
HEADER_BYTES = 128
READ_BYTES = 1 << 22
# a private mapping counts as memory to be had unless this is set, and Linux then refuses a mapping
# larger than the machine's memory; Python names it from 3.13 on
NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


@dataclass(frozen=True)
class ArrayFile:
    """One array of a store, as its header describes it.

    Attributes:
        dtype: As numpy writes it, "<i8".
        shape: Its shape; the first axis is the one that grew.
        bytes: Size of the file.
        crc32: Of everything after the ``.npy`` header.
    """

    dtype: str
    shape: tuple[int, ...]
    bytes: int
    crc32: int


def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The first `HEADER_BYTES` of an ``.npy`` file."""
    made = io.BytesIO()
    about = {"descr": dtype, "fortran_order": False, "shape": tuple(int(n) for n in shape)}
    np.lib.format.write_array_header_1_0(made, about)
    header = made.getvalue()
    if len(header) != HEADER_BYTES:
        raise AssertionError(f"numpy's header has {len(header)} bytes, expected {HEADER_BYTES}")
    return header


class ArrayWriter:
    """Appends rows to an ``.npy`` file, with a running checksum; survives being killed.

    Args:
        path: The file.
        dtype: Of the array.
        columns: Shape of one row; () for a vector.
        state: What `state` returned when the file was last as far as one wants to go on from.
    """

    def __init__(
        self,
        path: Path,
        dtype: Any,
        *,
        columns: tuple[int, ...] = (),
        state: tuple[int, int] = (0, 0),
    ) -> None:
        self.path, self.dtype, self.columns = path, np.dtype(dtype), columns
        self.rows, self.crc = state
        self._file = path.open("r+b" if path.exists() else "w+b")
        self._row_bytes = self.dtype.itemsize * math.prod(columns)
        self._file.truncate(HEADER_BYTES + self.rows * self._row_bytes)
        self._file.seek(0, os.SEEK_END)
        if self._file.tell() < HEADER_BYTES:
            self._file.write(bytes(HEADER_BYTES - self._file.tell()))

    def append(self, rows: NDArray[Any]) -> None:
        """Write further rows; they are converted to the file's type."""
        block = np.ascontiguousarray(rows, self.dtype)
        view = block.reshape(-1).view(np.uint8).data
        self.crc = zlib.crc32(view, self.crc)
        self._file.write(view)
        self.rows += len(block)

    @property
    def state(self) -> tuple[int, int]:
        """Rows and checksum so far; meaningful to others after `flush`."""
        return self.rows, self.crc

    def flush(self) -> None:
        """Bring everything written so far onto the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Leave the file as it is, without a header."""
        self._file.close()

    def finish(self) -> ArrayFile:
        """Write the ``.npy`` header, bring all onto the disk and close."""
        shape = (self.rows, *self.columns)
        self._file.seek(0)
        self._file.write(npy_header(self.dtype.str, shape))
        self.flush()
        self._file.close()
        return ArrayFile(self.dtype.str, shape, self.path.stat().st_size, self.crc)


def write_array(path: Path, array: NDArray[Any]) -> ArrayFile:
    """Write a whole array."""
    writer = ArrayWriter(path, array.dtype, columns=array.shape[1:])
    rows = max(READ_BYTES // max(array[:1].nbytes, 1), 1)
    for start in range(0, len(array), rows):
        writer.append(array[start : start + rows])
    return writer.finish()


def map_array(path: Path, about: ArrayFile) -> NDArray[Any]:
    """The array as private memory over the file: nothing is read before it is used.

    It is flagged writable, so that compiled code sees the same type as for an array in memory;
    what is written stays in this process.
    """
    if not math.prod(about.shape):
        return np.empty(about.shape, about.dtype)
    with path.open("rb") as file:
        if os.name == "nt":
            mapped = mmap.mmap(file.fileno(), about.bytes, access=mmap.ACCESS_COPY)
        else:
            mapped = mmap.mmap(
                file.fileno(),
                about.bytes,
                flags=mmap.MAP_PRIVATE | NO_RESERVE,
                prot=mmap.PROT_READ | mmap.PROT_WRITE,
            )
    if hasattr(mmap, "MADV_RANDOM"):
        # a query reads rows far apart; reading ahead of each would fetch half of a large store
        mapped.madvise(mmap.MADV_RANDOM)
    return np.ndarray(about.shape, about.dtype, mapped, offset=HEADER_BYTES)


def check_array(path: Path, about: ArrayFile) -> None:
    """Read the whole file and compare it with its description.

    Raises:
        ValueError: Header or content differ.
    """
    with path.open("rb") as file:
        if file.read(HEADER_BYTES) != npy_header(about.dtype, about.shape):
            raise ValueError(
                f"{path} is damaged: its .npy header is not that of {about.dtype} {about.shape}"
            )
        crc = 0
        while block := file.read(READ_BYTES):
            crc = zlib.crc32(block, crc)
    if crc != about.crc32:
        raise ValueError(
            f"{path} is damaged: found checksum {crc:08x}, expected {about.crc32:08x}; build the"
            " store again"
        )
