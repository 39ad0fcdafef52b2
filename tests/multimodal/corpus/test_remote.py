"""Corpora behind fsspec: its memory file system and a real web server."""

import functools
import http.server
import threading

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multimodal.corpus import open_corpus
from tests.multimodal.corpus.making import codes, facts, jpeg, member, sample, tar_bytes


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


@pytest.fixture
def server(tmp_path):
    pytest.importorskip("aiohttp")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def read(source, **options):
    corpus = open_corpus(source, **options)
    records = [facts(r) for shard in corpus.shards for r in shard.records()]
    assert records == [facts(r) for shard in corpus.shards for r in shard.records()]
    return corpus, [r for shard in corpus.shards for r in shard.records()]


def test_tars_in_memory_by_glob_braces_and_folder(memory):
    for n in range(3):
        memory.pipe(f"/tars/{n:02d}.tar", tar_bytes(*sample(f"k{n}", n)))
    for source in ("memory://tars/*.tar", "memory://tars/{00..02}.tar", "memory://tars"):
        corpus, records = read(source)
        assert [r.id for r in records] == ["k0", "k1", "k2"]
        assert [s.name for s in corpus.shards] == ["00", "01", "02"]
    before = corpus.shards[0].fingerprint()
    memory.pipe("/tars/00.tar", tar_bytes(*sample("other")))
    assert corpus.shards[0].fingerprint() != before


def test_parquet_tables_and_folders_in_memory(memory):
    with memory.open("/pq/a.parquet", "wb") as file:
        pq.write_table(pa.table({"path": ["pics/1.jpg", "../x.jpg", "no.jpg"]}), file)
    memory.pipe("/pq/pics/1.jpg", jpeg(1))
    memory.pipe("/x.jpg", jpeg(2))
    _, records = read("memory://pq")
    assert codes(records) == {"a:0": None, "a:1": "unsafe_path", "a:2": "image_missing"}
    assert records[0].image == jpeg(1)
    memory.pipe("/t/table.csv", b"id,title\n1,one\n2,two\n")
    memory.pipe("/t/images.tar", tar_bytes(member("1.jpg", jpeg(1)), member("2.jpg", jpeg(2))))
    _, records = read("memory://t", rows_per_shard=1)
    assert [r.image for r in records] == [jpeg(1), jpeg(2)]
    memory.pipe("/classes/cat/1.jpg", jpeg(3))
    _, records = read("memory://classes")
    assert [(r.labels, r.image) for r in records] == [(("cat",), jpeg(3))]


def test_a_web_server(server, tmp_path):
    # this server knows no ranges: archives are read as they come
    large = member("big.bin", bytes(3 * 2**20))
    (tmp_path / "00.tar").write_bytes(tar_bytes(*sample("a", 1), large, *sample("b", 2)))
    (tmp_path / "01.tar").write_bytes(tar_bytes(*sample("c", 3))[:1500])
    _, records = read(f"{server}/{{00..01}}.tar")
    assert codes(records) == {"a": None, "big": "image_missing", "b": None, "c": "record_broken"}
    assert records[2].image == jpeg(2)
    corpus = open_corpus(f"{server}/nothing.tar")
    with pytest.raises(FileNotFoundError):
        list(corpus.shards[0].records())
    (tmp_path / "t.jsonl").write_text('{"id": "1", "image": "x.jpg"}\n{"id": "2", "image": "y"}\n')
    (tmp_path / "x.jpg").write_bytes(jpeg(4))
    _, records = read(f"{server}/t.jsonl")
    assert codes(records) == {"1": None, "2": "image_missing"}
    assert records[0].image == jpeg(4)
