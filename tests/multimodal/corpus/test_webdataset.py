import gzip
import json
import pickle
import tarfile
import tracemalloc

import pytest

from multimodal.corpus import ColumnNames, ImageLimits, open_corpus
from multimodal.corpus.webdataset import MAX_TEXT_BYTES
from tests.multimodal.corpus.making import (
    codes,
    facts,
    jpeg,
    member,
    sample,
    tar_bytes,
    write_tar,
)


def read(path, **options):
    corpus = open_corpus(path, **options)
    records = [record for shard in corpus.shards for record in shard.records()]
    again = [
        record for shard in pickle.loads(pickle.dumps(corpus)).shards for record in shard.records()
    ]
    assert [facts(r) for r in records] == [facts(r) for r in again]
    return records


def test_a_sample_of_img2dataset(tmp_path):
    entries = {
        **{"caption": "a red fox", "url": "http://x/y.jpg", "key": "000000007", "width": 48},
        **{"status": "success", "error_message": None, "alt": "fox", "tags": ["red", "animal"]},
        **{"description": "Seen in May.", "label": ["fox", "animal"]},
    }
    path = write_tar(
        tmp_path / "00000.tar",
        *sample("000000007", 3, "a red fox", json=json.dumps(entries)),
    )
    (record,) = read(path)
    assert record.id == "000000007"
    assert record.texts == {
        "title": "a red fox",
        "alt": "fox",
        "tags": "red, animal",
        "description": "Seen in May.",
    }
    assert record.labels == ("fox", "animal")
    assert (record.image, record.image_name, record.problem) == (jpeg(3), "000000007.jpg", None)


def test_ids_are_keys_with_their_folder_or_the_uid_of_datacomp(tmp_path):
    path = write_tar(
        tmp_path / "0.tar",
        *sample("./a/1"),
        *sample("b/1", cls="3"),
        *sample("c", json='{"uid": "f00", "id": 1}'),
    )
    records = read(path)
    assert [r.id for r in records] == ["a/1", "b/1", "f00"]
    assert records[1].labels == ("3",)
    assert [r.id for r in read(path, columns=ColumnNames(id="id"))] == ["a/1", "b/1", "1"]


def test_everything_wrong_is_a_record_with_its_reason(tmp_path):
    path = write_tar(
        tmp_path / "0.tar",
        *sample("good"),
        *[member("/etc/abs.jpg", jpeg()), member("../up.jpg", jpeg()), member("a/../../up2.jpg")],
        *[member("C:\\win.jpg", jpeg())],
        *[member("link.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd"), member("link.txt")],
        *[member("hard.jpg", type=tarfile.LNKTYPE, linkname="good.jpg")],
        *[member("pipe.jpg", type=tarfile.FIFOTYPE)],
        *[member("dev.txt", type=tarfile.CHRTYPE)],
        *[member("big.jpg", bytes(5000))],
        *[member("noimage.txt", "only text")],
        *sample("latin", text="x", json='{"alt": "fine"}')[:1],
        *[member("latin.txt", "caf\u00e9".encode("latin-1"))],
        *sample("surrogate", json='{"alt": "\\ud800"}'),
        *sample("badjson", json='{"alt": '),
        *sample("deepjson", json="[" * 100_000),
        *sample("listjson", json="[1]"),
        *sample("longtext", text="x" * (MAX_TEXT_BYTES + 1)),
        *sample("last"),
    )
    records = read(path, limits=ImageLimits(max_bytes=4999))
    assert codes(records) == {
        "good": None,
        "/etc/abs": "unsafe_path",
        "../up": "unsafe_path",
        "a/../../up2": "unsafe_path",
        "C:\\win": "unsafe_path",
        "link": "image_missing",
        "hard": "image_missing",
        "pipe": "image_missing",
        "dev": "record_broken",
        "big": "image_too_large",
        "noimage": "image_missing",
        "latin": "text_broken",
        "surrogate": "text_broken",
        "badjson": "record_broken",
        "deepjson": "record_broken",
        "listjson": "record_broken",
        "longtext": "record_broken",
        "last": None,
    }
    by_id = {r.id: r for r in records}
    assert by_id["latin"].texts["title"] == "caf\ufffd"
    assert by_id["latin"].image == jpeg()
    assert by_id["noimage"].texts == {"title": "only text"}
    assert all(r.image is None for r in records if r.problem and "image" in r.problem.code)


def test_repeated_keys_stay_two_records(tmp_path):
    path = write_tar(tmp_path / "0.tar", *sample("a", 1), *sample("a", 2), *sample("b"))
    assert [(r.id, r.image) for r in read(path)][:2] == [("a", jpeg(1)), ("a", jpeg(2))]


def test_litter_is_no_record_and_a_mask_is_not_the_image(tmp_path):
    path = write_tar(
        tmp_path / "0.tar",
        *[member("d", type=tarfile.DIRTYPE), member("._a.jpg", b"mac"), member("__meta__.json")],
        *[member("a.mask.png", b"mask"), *sample("a", 1), member("a.depth.png", b"depth")],
        *[member("b.v2.jpg", jpeg(2))],
    )
    assert [(r.id, r.image) for r in read(path)] == [("a", jpeg(1)), ("b", jpeg(2))]


def test_empty_archives(tmp_path):
    assert read(write_tar(tmp_path / "0.tar")) == []
    (tmp_path / "1.tar").write_bytes(b"")
    assert codes(read(tmp_path / "1.tar")) == {"1:rest": "record_broken"}


@pytest.mark.parametrize("cut_in", ["b.jpg", "b.txt", "between"])
def test_a_cut_archive_ends_with_a_broken_record(tmp_path, cut_in):
    b = tar_bytes(*sample("a"), *sample("b", 1))
    image_end = b.index(b"b.jpg") + 512 + len(jpeg(1))
    place = {
        "b.jpg": image_end - 100,
        "b.txt": b.index(b"b.txt") + 514,
        "between": b.index(b"b.jpg") + 100,
    }[cut_in]
    (tmp_path / "0.tar").write_bytes(b[:place])
    records = read(tmp_path / "0.tar")
    assert codes(records) == {"a": None, "0:rest" if cut_in == "between" else "b": "record_broken"}
    assert records[1].image is None


def test_a_file_that_is_no_tar_is_one_broken_record(tmp_path):
    (tmp_path / "0.tar").write_bytes(b"<html>404</html>" * 100)
    assert codes(read(tmp_path / "0.tar")) == {"0:rest": "record_broken"}
    with pytest.raises(FileNotFoundError):
        open_corpus(tmp_path / "1.tar")


@pytest.mark.parametrize("damage", [False, True])
def test_packed_archives(tmp_path, damage):
    whole = tar_bytes(*(part for n in range(30) for part in sample(f"{n:03d}", n)))
    packed = bytearray(gzip.compress(whole))
    if damage:
        packed[len(packed) // 2] ^= 255
    (tmp_path / "0.tar.gz").write_bytes(bytes(packed))
    found = codes(read(tmp_path / "0.tar.gz"))
    broken = [code for code in found.values() if code]
    assert broken == (["record_broken"] if damage else [])
    assert len(found) == 30 or damage


def test_shards_by_braces_globs_and_folders(tmp_path):
    for name in ("train/00", "train/01", "test/00"):
        write_tar(tmp_path / f"{name}.tar", *sample(name.replace("/", "-")))
    braces = open_corpus(f"{tmp_path}/train/{{00..01}}.tar")
    assert [s.name for s in braces.shards] == ["00", "01"]
    assert [s.name for s in open_corpus(tmp_path / "train").shards] == ["00", "01"]
    both = open_corpus(f"{tmp_path}/*/*.tar")
    assert [s.name for s in both.shards] == ["test-00", "train-00", "train-01"]
    assert len({s.fingerprint() for s in both.shards}) == 3
    listed = open_corpus([tmp_path / "train" / "01.tar", tmp_path / "test" / "00.tar"])
    assert [s.name for s in listed.shards] == ["01", "00"]
    with pytest.raises(ValueError, match="matches no file"):
        open_corpus(f"{tmp_path}/none/*.tar")


def test_the_fingerprint_sees_content_and_settings(tmp_path):
    path = write_tar(tmp_path / "0.tar", *sample("a"))
    first = open_corpus(path).shards[0].fingerprint()
    assert open_corpus(path).shards[0].fingerprint() == first
    other = open_corpus(path, columns=ColumnNames(title="alt")).shards[0].fingerprint()
    path.write_bytes(tar_bytes(*sample("a"), *sample("b")))
    assert len({first, other, open_corpus(path).shards[0].fingerprint()}) == 3


def test_records_are_a_stream(tmp_path):
    image = jpeg() + bytes(2**20)
    path = write_tar(tmp_path / "0.tar", *(member(f"{n:03d}.jpg", image) for n in range(40)))
    shard = open_corpus(path).shards[0]
    tracemalloc.start()
    assert sum(len(record.image) for record in shard.records()) == 40 * len(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * len(image)


def test_ours_reads_what_the_webdataset_library_writes(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "0.tar")) as sink:
        for n in range(3):
            sink.write({"__key__": f"k{n}", "jpg": jpeg(n), "txt": f"t{n}", "json": {"alt": "é"}})
    records = read(tmp_path / "0.tar")
    assert [(r.id, r.image, r.texts["alt"]) for r in records] == [
        (f"k{n}", jpeg(n), "é") for n in range(3)
    ]
