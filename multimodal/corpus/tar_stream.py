"""A tar archive from strangers, read forward once in bounded memory.

The standard library's `tarfile` is right for archives one trusts: it reads a name or a pax header
of whatever size the archive declares into memory, recurses over chains of them and keeps a list of
all members. Here a header has at most `MAX_HEADER` bytes, nothing is kept, links are never
followed and nothing is written to disk.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import UnsupportedOperation
from lzma import LZMAError
from typing import BinaryIO

BLOCK = 512
MAX_HEADER = 2**20  # of a long name or a pax header; real ones have some hundred bytes
MAX_SIZE = 2**50  # of a member: more is a damaged or hostile header
# unpacked bytes skipped for one member: a few seconds of work, where a bomb would take hours
MAX_UNPACKED_SKIP = 4 * 2**30
CHUNK = 2**20
FILES, LINKS = (b"0", b"\0", b"7"), (b"1", b"2")
# what unpackers raise for damaged data; BadGzipFile is an OSError and told apart by its name
DAMAGED = (EOFError, zlib.error, LZMAError)


class TarError(ValueError):
    """The rest of the archive cannot be read; `member` is the one that is cut, or ""."""

    def __init__(self, message: str, member: str = "") -> None:
        super().__init__(message)
        self.member = member


@dataclass(frozen=True)
class Member:
    """A member's header.

    Attributes:
        name: As written; not checked.
        size: Bytes of content that follow.
        kind: "file", "folder", "link", or "special" (devices, pipes, sparse files).
    """

    name: str
    size: int
    kind: str


class TarStream:
    """The members of a tar archive, one after the other.

    Args:
        stream: The archive, unpacked.
        compressed: Whether `stream` unpacks as it reads; then skipping costs work and is bounded.

    Iteration raises `TarError` where the archive is damaged or cut, OSError where reading fails.
    """

    def __init__(self, stream: BinaryIO, *, compressed: bool = False) -> None:
        self._stream = stream
        self._seekable = not compressed and stream.seekable()
        self._compressed = compressed
        self._left = self._padding = 0
        self._member = ""

    def __iter__(self) -> Iterator[Member]:
        while (member := self._next()) is not None:
            self._member = member.name
            yield member
            self._skip()

    def read(self) -> bytes:
        """Content of the current member, whole. Ask for its size first.

        Raises:
            TarError: The archive ends before the member does.
        """
        content = self._take(self._left)
        self._left = 0
        return content

    def tell(self) -> int:
        """Place of the current member's content in the archive; before it is read."""
        return self._stream.tell()

    def _next(self) -> Member | None:
        """The next header with the long name and size that stood before it."""
        name, size, sparse = "", -1, False
        self._member = ""
        while True:
            header = self._header()
            if header is None:
                return None
            kind, own_name, own_size = header
            if kind not in (b"x", b"g", b"L", b"K", b"X"):
                break
            self._left = own_size
            self._padding = -own_size % BLOCK
            if own_size > MAX_HEADER:
                raise TarError(f"a header of {own_size:,} bytes")
            content = self.read()
            self._skip()
            if kind == b"L":
                name = _text(content)
            elif kind in (b"x", b"X"):
                fields = _pax_fields(content)
                name = fields.get("path", name)
                size = _whole_number(fields["size"]) if "size" in fields else size
                sparse = sparse or any(key.startswith("GNU.sparse.") for key in fields)
        own_size = own_size if size < 0 else size
        name = name or own_name
        meaning = _meaning(kind, name)
        # like tar itself: links, folders and devices have no content, whatever their size says
        self._left = own_size if meaning == "file" or kind == b"S" else 0
        self._padding = -self._left % BLOCK
        return Member(name, self._left, "special" if sparse else meaning)

    def _header(self) -> tuple[bytes, str, int] | None:
        block = self._take(BLOCK)
        if not block.strip(b"\0"):
            if self._compressed:
                self._upto(CHUNK)  # to the end, where the packer's checksum stands
            return None
        blank = block[:148] + b" " * 8 + block[156:]
        if _number(block[148:156]) not in (sum(blank), sum(b - 256 * (b > 127) for b in blank)):
            raise TarError("not a tar header (wrong checksum)")
        kind, size = block[156:157], _number(block[124:136])
        if not 0 <= size <= MAX_SIZE:
            raise TarError(f"a member of {size:,} bytes")
        name = _text(block[:100])
        if block[257:263] == b"ustar\0" and block[345] != 0:
            name = f"{_text(block[345:500])}/{name}"
        if kind == b"S":
            self._skip_sparse_map(block)
        return kind, name, size

    def _skip_sparse_map(self, block: bytes) -> None:
        more = block[482]
        while more:
            more = self._take(BLOCK)[504]

    def _skip(self) -> None:
        """Go behind the current member."""
        count = self._left + self._padding
        self._left = self._padding = 0
        if self._seekable and count > CHUNK:
            try:
                self._stream.seek(count - 1, 1)
                count = 1  # reading the last byte tells whether the archive is long enough
            except (ValueError, UnsupportedOperation):  # some streams only say so when asked
                self._seekable = False
        if self._compressed and count > MAX_UNPACKED_SKIP:
            raise TarError(f"a packed member of {count:,} bytes, not unpacked", self._member)
        while count:
            count -= len(self._take(min(count, CHUNK)))

    def _take(self, count: int) -> bytes:
        content = self._upto(count)
        if len(content) < count:
            raise TarError("the archive is cut", self._member)
        return content

    def _upto(self, count: int) -> bytes:
        """`count` bytes, fewer only at the end; never holds more than is there."""
        pieces, left = [], count
        try:
            while left and (piece := self._stream.read(min(left, CHUNK))):
                pieces.append(piece)
                left -= len(piece)
        except DAMAGED as error:
            raise TarError(f"the packed archive is damaged: {error}", self._member) from None
        except OSError as error:
            if type(error).__name__ != "BadGzipFile" and "data stream" not in str(error):
                raise
            raise TarError(f"the packed archive is damaged: {error}", self._member) from None
        return b"".join(pieces)


def _meaning(kind: bytes, name: str) -> str:
    if kind == b"5" or (kind in FILES and name.endswith("/")):
        return "folder"
    if kind in LINKS:
        return "link"
    # an unknown type is an ordinary file by the standard
    return "special" if kind in (b"3", b"4", b"6", b"S") else "file"


def _number(field: bytes) -> int:
    """Octal digits, or the base-256 form GNU tar uses for large numbers."""
    if field[0] & 0x80:
        number = int.from_bytes(field, "big") - (1 << (8 * len(field) - 1))
        return number if field[0] == 0x80 else -1
    return _whole_number(field.strip(b"\0 ").decode("ascii", "replace") or "0", base=8)


def _whole_number(text: str, *, base: int = 10) -> int:
    try:
        number = int(text, base) if len(text) < 32 else -1
    except ValueError:
        raise TarError(f"{text[:32]!r} is no number of a tar header") from None
    if number < 0 or number > MAX_SIZE:
        raise TarError(f"a size of {text[:32]}")
    return number


def _pax_fields(content: bytes) -> dict[str, str]:
    """Lines ``LENGTH KEY=VALUE``, where LENGTH counts the whole line."""
    fields, start = {}, 0
    while start < len(content) and content[start]:
        digits, _, _ = content[start : start + 12].partition(b" ")
        length = _whole_number(digits.decode("ascii", "replace"))
        line = content[start + len(digits) + 1 : start + length]
        key, equals, value = line.partition(b"=")
        if not equals or not line.endswith(b"\n"):
            raise TarError("a damaged pax header")
        fields[_text(key)] = _text(value[:-1])
        start += length
    return fields


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")
