import gzip
import io
import tarfile
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal.corpus import tar_stream
from multimodal.corpus.tar_stream import TarError, TarStream
from tests.multimodal.corpus.making import member, tar_bytes

FORMS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
KINDS = {"isfile": "file", "isdir": "folder", "issym": "link", "islnk": "link"}


def ours(data: bytes) -> list[tuple[str, str, bytes]]:
    archive = TarStream(io.BytesIO(data))
    return [(m.name, m.kind, archive.read()) for m in archive]


def theirs(data: bytes) -> list[tuple[str, str, bytes]]:
    found = []
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for info in archive:
            kind = next((k for test, k in KINDS.items() if getattr(info, test)()), "special")
            content = archive.extractfile(info).read() if kind == "file" else b""
            found.append((info.name + "/" * (kind == "folder"), kind, content))
    return found


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_members_are_those_of_the_standard_library(form, data):
    letters = "ab/.-_é" if form != tarfile.USTAR_FORMAT else "ab/.-_"
    longest = 90 if form == tarfile.USTAR_FORMAT else 300
    names = st.text(letters, min_size=1, max_size=longest).filter(lambda n: n.strip("/"))
    files = data.draw(st.lists(st.tuples(names, st.binary(max_size=1100)), max_size=6))
    made = tar_bytes(*(member(n.rstrip("/"), content) for n, content in files), form=form)
    assert ours(made) == theirs(made)


@pytest.mark.parametrize("form", FORMS)
def test_links_folders_and_devices_have_no_content(form):
    made = tar_bytes(
        member("images", type=tarfile.DIRTYPE),
        member("a.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("b.jpg", type=tarfile.LNKTYPE, linkname="x" * 99),
        member("c.jpg", type=tarfile.CHRTYPE),
        member("d.jpg", b"data"),
        form=form,
    )
    assert ours(made) == theirs(made)
    assert [kind for _, kind, _ in ours(made)] == ["folder", "link", "link", "special", "file"]


def test_a_size_beyond_eight_octal_gigabytes_is_understood():
    info, _ = member("big.bin")
    info.size = 9 * 2**30
    header = info.tobuf(tarfile.GNU_FORMAT)
    archive = TarStream(io.BytesIO(header))
    assert next(iter(archive)).size == 9 * 2**30


@pytest.mark.parametrize("cut", [0, 1, 511, 513, 900, 1023, 1025, 1536, 2000])
def test_a_cut_archive_gives_what_stood_before_and_says_so(cut):
    whole = tar_bytes(member("a.txt", b"a" * 600), member("b.txt", b"b" * 600))
    found = []

    def read():
        archive = TarStream(io.BytesIO(whole[:cut]))
        found.extend((each.name, archive.read()) for each in archive)

    with pytest.raises(TarError, match="cut"):
        read()
    assert found == [("a.txt", b"a" * 600)][: cut >= 512 + 600]


def test_a_large_member_is_skipped_by_seeking_and_a_cut_one_is_noticed():
    class NoBigReads(io.BytesIO):
        def read(self, count=-1):
            assert 0 <= count <= tar_stream.CHUNK
            return super().read(count)

    whole = tar_bytes(member("a.bin", bytes(3 * 2**20)), member("b.txt", b"b"))
    assert [m.name for m in TarStream(NoBigReads(whole))] == ["a.bin", "b.txt"]
    with pytest.raises(TarError, match="cut"):
        list(TarStream(NoBigReads(whole[: 2 * 2**20])))


def test_a_stream_that_cannot_seek_after_all_is_read():
    class Stubborn(io.BytesIO):
        def seek(self, *_):
            raise ValueError("Cannot seek streaming HTTP file")

    whole = tar_bytes(member("a.bin", bytes(3 * 2**20)), member("b.txt", b"b"))
    assert [m.name for m in TarStream(Stubborn(whole))] == ["a.bin", "b.txt"]


def test_bombs_are_refused_before_they_are_read():
    info, _ = member("x")
    info.type, info.size = b"x", 2**40
    with pytest.raises(TarError, match="header of"):
        list(TarStream(io.BytesIO(info.tobuf(tarfile.GNU_FORMAT) + bytes(2**20))))
    info, _ = member("a.jpg")
    info.size = 2**60
    with pytest.raises(TarError, match="member of"):
        list(TarStream(io.BytesIO(info.tobuf(tarfile.GNU_FORMAT))))
    info.size = 2**35
    packed = gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(2**20))
    with gzip.open(io.BytesIO(packed)) as unpacked, pytest.raises(TarError, match="packed member"):
        list(TarStream(unpacked, compressed=True))


def test_a_chain_of_headers_needs_no_recursion():
    header, content = member("g", b"13 path=a.jpg\n", type=b"x")
    chain = (header.tobuf(tarfile.USTAR_FORMAT) + content.ljust(512, b"\0")) * 5000
    with pytest.raises(TarError, match="damaged pax"):
        list(TarStream(io.BytesIO(chain)))
    header, content = member("g", b"14 path=a.jpg\n", type=b"x")
    good = (header.tobuf(tarfile.USTAR_FORMAT) + content.ljust(512, b"\0")) * 5000
    assert [m.name for m in TarStream(io.BytesIO(good + tar_bytes(member("b.jpg"))))] == ["a.jpg"]


def test_damaged_gzip_is_told_apart_from_a_failing_disk():
    whole = tar_bytes(member("a.txt", bytes(range(256)) * 40), member("b.txt", b"b"))
    packed = bytearray(gzip.compress(whole))
    packed[len(packed) // 2] ^= 255
    with gzip.open(io.BytesIO(bytes(packed))) as unpacked, pytest.raises(TarError):
        list(TarStream(unpacked, compressed=True))

    class Failing(io.BytesIO):
        def read(self, count=-1):
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        list(TarStream(Failing()))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_bytes_raise_anything_else(data):
    whole = bytearray(tar_bytes(member("a.txt", b"a" * 600), member("é" * 80, b"b"), form=2))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(TarError):
        ours(bytes(whole))
