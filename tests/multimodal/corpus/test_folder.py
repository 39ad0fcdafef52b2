import csv
import gzip
import json
import os
import pickle
import shutil

import pytest

from multimodal.corpus import ColumnNames, ImageLimits, guess_format, open_corpus
from tests.multimodal.corpus.making import codes, facts, jpeg, member, write_tar


def read(path, **options):
    corpus = open_corpus(path, **options)
    records = [r for shard in corpus.shards for r in shard.records()]
    again = [r for shard in pickle.loads(pickle.dumps(corpus)).shards for r in shard.records()]
    assert [facts(r) for r in records] == [facts(r) for r in again]
    return records


def images(folder, *names):
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number))
    return folder


def write_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def test_a_csv_with_quotes_and_newlines(tmp_path):
    images(tmp_path, "images/a.jpg", "b.jpg")
    rows = [["id", "file_name", "title", "label"], ["1", "a.jpg", 'say "hi",\nfox', "x|y"]]
    write_csv(tmp_path / "table.csv", [*rows, ["2", "b.jpg", "é", ""], ["3", "c.jpg", "", "z"]])
    records = read(tmp_path, columns=ColumnNames(label_separator="|"))
    assert records[0].texts == {"title": 'say "hi",\nfox'}
    assert records[0].labels == ("x", "y")
    assert (records[0].image, records[0].image_name) == (jpeg(0), "a.jpg")
    assert (records[1].texts["title"], records[1].labels, records[1].image) == ("é", (), jpeg(1))
    assert codes(records) == {"1": None, "2": None, "3": "image_missing"}


@pytest.mark.parametrize("per_shard", [1, 2, 5, 100])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_shards_of_a_table_are_the_table(tmp_path, per_shard, packed, ending):
    values = [{"id": f"é{n}", "title": f'line\n"{n}",\t' * (n % 4)} for n in range(17)]
    path = tmp_path / f"t.{ending}"
    if ending == "jsonl":
        path.write_text("".join(f"{json.dumps(v)}\n\n" for v in values))
    else:
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(
                file, ["id", "title"], delimiter="\t" if ending == "tsv" else ","
            )
            writer.writeheader()
            writer.writerows(values)
    if packed:
        with path.open("rb") as plain, gzip.open(f"{path}.gz", "wb") as target:
            shutil.copyfileobj(plain, target)
        path = f"{path}.gz"
    corpus = open_corpus(path, rows_per_shard=per_shard)
    assert len(corpus.shards) == -(-17 // per_shard)
    records = read(path, rows_per_shard=per_shard)
    assert [(r.id, r.texts.get("title", "")) for r in records] == [
        (v["id"], v["title"].strip()) for v in values
    ]


def test_bad_rows_of_a_csv(tmp_path):
    path = tmp_path / "t.csv"
    long = b"x" * 200_000  # beyond the limit of the csv module
    path.write_bytes(
        b"id,title\n1,fine\n2\n3,too,many\n4,caf\xe9\n5,"
        + long
        + b"\n\n6,n\0l\n7,\xed\xa0\x80\n8,fine\n"
    )
    records = read(path)
    assert codes(records) == {
        "1": None,
        "row 1": "record_broken",
        "row 2": "record_broken",
        "4": "text_broken",
        "row 4": "record_broken",
        "6": None,
        "7": "text_broken",
        "8": None,
    }
    assert records[3].texts["title"] == "caf\ufffd"


def test_a_quote_that_is_never_closed_ends_somewhere(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('id,title\n1,fine\n2,"open\n' + "".join(f"{n},x\n" for n in range(9)))
    records = read(path)
    assert records[0].problem is None
    assert len(records) == 2


def test_bad_lines_of_json(tmp_path):
    path = tmp_path / "t.jsonl"
    lines = [b'{"id": "a", "title": "x"}', b"{", b"[1]", b'{"id": "b", "title": "\\udc00"}']
    deep = b"[" * 100_000
    path.write_bytes(b"\n".join([*lines, deep, b'{"title": "caf\xe9"}', b'{"id": "c"}']))
    records = read(path)
    assert codes(records) == {
        "a": None,
        "row 1": "record_broken",
        "row 2": "record_broken",
        "b": "text_broken",
        "row 4": "record_broken",
        "5": "text_broken",
        "c": None,
    }


def test_images_of_a_tar_beside_the_table(tmp_path):
    members = [member("pics/1.jpg", jpeg(1)), member("pics/2.png", jpeg(2))]
    same = [member("x/3.jpg", jpeg(3)), member("y/3.jpg", jpeg(4)), member("../4.jpg", jpeg(4))]
    write_tar(tmp_path / "images.tar", *members, *same, member("big.jpg", bytes(9000)))
    ids = ["1", "2", "3", "4", "5", "big", "/6", ""]
    write_csv(tmp_path / "t.csv", [["id", "title"], *([i, "t"] for i in ids)])
    records = read(tmp_path, limits=ImageLimits(max_bytes=8999))
    assert [r.problem and r.problem.code for r in records] == [
        *[None, None, "image_missing", None, "image_missing", "image_too_large", "unsafe_path"],
        "image_missing",
    ]
    assert [r.image for r in records[:2]] == [jpeg(1), jpeg(2)]
    assert records[0].image_name == "pics/1.jpg"


def test_images_found_by_id(tmp_path):
    images(tmp_path, "images/1.jpg", "images/2.png", "images/3.txt")
    write_csv(tmp_path / "t.csv", [["id"], ["1"], ["2"], ["3"]])
    assert codes(read(tmp_path)) == {"1": None, "2": None, "3": "image_missing"}


def test_a_table_does_not_reach_outside_nor_hang_on_a_pipe(tmp_path):
    images(tmp_path, "secret.jpg", "d/ok.jpg")
    os.mkfifo(tmp_path / "d" / "pipe.jpg")
    names = ["ok.jpg", "../secret.jpg", "/dev/zero", "pipe.jpg", "https://x/1.jpg", "o\0k.jpg"]
    rows = [{"id": str(n), "image": name} for n, name in enumerate(names)]
    (tmp_path / "d" / "t.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert list(codes(read(tmp_path / "d")).values()) == [
        *[None, "unsafe_path", "unsafe_path", "image_missing", "image_missing", "unsafe_path"]
    ]


def test_tables_that_cannot_be_read(tmp_path):
    for name, content, message in [
        ("empty.csv", "", "first row must hold"),
        ("head.csv", "id,title\n", "no rows"),
        ("twice.csv", "id,id\n1,2\n", "repeated"),
        ("none.jsonl", "[1]\n2\n", "no line is a JSON object"),
    ]:
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=message):
            open_corpus(tmp_path / name)
    with pytest.raises(ValueError, match="several tables"):
        open_corpus(tmp_path)
    write_csv(tmp_path / "metadata.csv", [["id"], ["1"]])
    assert [r.id for r in read(tmp_path)] == ["1"]
    with pytest.raises(ValueError, match=r"no column 'name' for title, found \['id'\]"):
        open_corpus(tmp_path, columns=ColumnNames(title="name"))


def test_a_folder_per_class(tmp_path):
    images(tmp_path, "cat/1.jpg", "cat/deep/2.JPG", "dog/1.jpg", "loose.png", "dog/._1.jpg")
    (tmp_path / "cat" / "notes.md").write_text("no image")
    records = read(tmp_path, rows_per_shard=3)
    assert [(r.id, r.labels) for r in records] == [
        ("cat/1.jpg", ("cat",)),
        ("cat/deep/2.JPG", ("cat",)),
        ("dog/1.jpg", ("dog",)),
        ("loose.png", ()),
    ]
    assert records[1].image == jpeg(1)
    before = [s.fingerprint() for s in open_corpus(tmp_path, rows_per_shard=3).shards]
    images(tmp_path, "dog/0.jpg")
    after = [s.fingerprint() for s in open_corpus(tmp_path, rows_per_shard=3).shards]
    assert before != after


def test_a_file_that_goes_away_is_a_record(tmp_path):
    images(tmp_path, "cat/1.jpg", "cat/2.jpg")
    corpus = open_corpus(tmp_path)
    (tmp_path / "cat" / "1.jpg").unlink()
    assert codes(corpus.shards[0].records()) == {"cat/1.jpg": "image_missing", "cat/2.jpg": None}


def test_formats_are_guessed(tmp_path):
    images(tmp_path, "plain/a/1.jpg")
    write_tar(tmp_path / "tars" / "0.tar")
    write_csv(tmp_path / "both" / "t.csv", [["id"], ["1"]])
    write_tar(tmp_path / "both" / "images.tar")
    assert guess_format(tmp_path / "plain") == "folder"
    assert guess_format(tmp_path / "tars") == "webdataset"
    assert guess_format(tmp_path / "both") == "folder"
    assert guess_format("s3://bucket/{000..999}.tar") == "webdataset"
    assert guess_format("https://host/a.tar.gz?token=1") == "webdataset"
    assert guess_format(["gs://b/x.parquet"]) == "parquet"
    with pytest.raises(ValueError, match="format must be given"):
        guess_format("https://host/data.bin")
    with pytest.raises(ValueError, match="format must be one of"):
        open_corpus(tmp_path, format="webdatasets")
    with pytest.raises(FileNotFoundError, match="no such file"):
        open_corpus(tmp_path / "nothing")
    with pytest.raises(ValueError, match="neither a table"):
        open_corpus(images(tmp_path, "notes/x.md") / "notes")


@pytest.mark.real_data
def test_the_web_shop(real_data):
    records = read(real_data / "fashion2k", rows_per_shard=999)
    assert len(records) == 2000
    assert not any(r.problem for r in records)
    first = records[0]
    assert (first.id, first.image_name) == ("26960", "images/26960.jpg")
    assert first.texts == {"title": "Jealous 21 Women Purple Shirt"}
    assert first.labels == ()
