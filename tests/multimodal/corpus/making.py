"""Images, archives and tables for the tests of readers."""

import io
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def photo(number: int = 0, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """A picture with many colours, another for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, form: str = "JPEG", **options) -> bytes:
    written = io.BytesIO()
    image.save(written, form, **options)
    return written.getvalue()


def jpeg(number: int = 0) -> bytes:
    return encoded(photo(number), quality=90)


def png_bomb(side: int) -> bytes:
    """A small PNG whose header says side x side."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(2**20))
    end = chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end


def member(name: str, content: bytes | str = b"", **header) -> tuple[tarfile.TarInfo, bytes]:
    data = content.encode() if isinstance(content, str) else content
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in header.items():
        setattr(info, key, value)
    return info, data


def tar_bytes(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=form) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return written.getvalue()


def write_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_bytes(*members))
    return path


def sample(key: str, number: int = 0, text: str = "a photo", **more: str) -> list:
    """Members of one sound sample."""
    parts = [member(f"{key}.jpg", jpeg(number)), member(f"{key}.txt", text)]
    return [*parts, *(member(f"{key}.{ending}", content) for ending, content in more.items())]


def facts(record) -> tuple:
    """What makes records equal."""
    rows = sorted((name, row.tobytes()) for name, row in record.embeddings.items())
    texts = tuple(sorted(record.texts.items()))
    parts = (record.id, texts, record.labels, record.image, record.image_name, record.problem)
    return (*parts, tuple(rows))


def codes(records) -> dict[str, str | None]:
    """id -> code of its problem."""
    return {record.id: record.problem and record.problem.code for record in records}
