import json
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multimodal.corpus import ColumnNames, ImageLimits, open_corpus
from tests.multimodal.corpus.making import codes, facts, jpeg


def write(path, columns, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    pq.write_table(table, path, **options)
    return path


def read(path, **options):
    corpus = open_corpus(path, **options)
    records = [record for shard in corpus.shards for record in shard.records()]
    again = [record for shard in corpus.shards for record in shard.records()]
    assert [facts(r) for r in records] == [facts(r) for r in again]
    return records


def test_image_bytes_texts_labels_and_embeddings(tmp_path):
    rows = np.arange(8, dtype=np.float16).reshape(2, 4)
    columns = {
        "id": pa.array([7, 8]),
        "image": [jpeg(1), jpeg(2)],
        "caption": ["a cat", None],
        "label": pa.array([["cat", "pet"], []]),
        "clip": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 4),
        "text_row": pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32())),
    }
    names = ColumnNames(embeddings=("clip", "text_row"))
    first, second = read(write(tmp_path / "a.parquet", columns), columns=names)
    assert (first.id, first.texts, first.labels) == ("7", {"title": "a cat"}, ("cat", "pet"))
    assert (second.texts, second.labels, second.image) == ({}, (), jpeg(2))
    assert first.embeddings["clip"].dtype == np.float16
    assert np.array_equal(second.embeddings["clip"], rows[1])
    assert second.embeddings["text_row"].tolist() == [3.0, 4.0]
    assert not any(codes([first, second]).values())


@pytest.mark.parametrize("group", [3, 7, 100])
@pytest.mark.parametrize("per_shard", [1, 4, 10, 1000])
def test_records_do_not_depend_on_row_groups_and_shards(tmp_path, group, per_shard):
    columns = {"image": [jpeg(n) for n in range(23)], "text": [f"t{n}" for n in range(23)]}
    path = write(tmp_path / "a.parquet", columns, row_group_size=group)
    corpus = open_corpus(path, rows_per_shard=per_shard)
    sizes = [len(list(shard.records())) for shard in corpus.shards]
    assert max(sizes) <= max(per_shard, 1)
    records = read(path, rows_per_shard=per_shard)
    assert [r.id for r in records] == [f"a:{n}" for n in range(23)]
    assert [r.image for r in records] == columns["image"]
    assert len({shard.fingerprint() for shard in corpus.shards}) == len(sizes)


def test_hugging_face_structs_and_class_names(tmp_path):
    struct = pa.array([{"bytes": jpeg(1), "path": "x/1.jpg"}, {"bytes": None, "path": None}])
    features = {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"image": struct, "label": [1, -1]}).replace_schema_metadata(metadata)
    first, second = read(write(tmp_path / "a.parquet", table))
    assert (first.image, first.image_name, first.labels) == (jpeg(1), "x/1.jpg", ("dog",))
    assert (second.labels, second.problem.code) == ((), "image_missing")


def test_paths_lie_below_the_folder(tmp_path):
    (tmp_path / "data" / "pics").mkdir(parents=True)
    (tmp_path / "secret.jpg").write_bytes(jpeg(9))
    (tmp_path / "data" / "pics" / "1.jpg").write_bytes(jpeg(1))
    inside = str(tmp_path / "data" / "pics" / "1.jpg")
    paths = ["pics/1.jpg", inside, "pics/2.jpg", "../secret.jpg", "/etc/passwd", "http://x/1.jpg"]
    path = write(tmp_path / "data" / "a.parquet", {"path": [*paths, "pics", None, ""]})
    records = read(path)
    assert [r.problem and r.problem.code for r in records] == [
        *[None, None, "image_missing", "unsafe_path", "unsafe_path", "image_missing"],
        *["image_missing", "image_missing", "image_missing"],
    ]
    assert records[0].image == records[1].image == jpeg(1)
    assert records[0].image_name == "pics/1.jpg"


def test_bad_cells_are_records(tmp_path):
    broken = pa.array([b"caf\xe9", b"fine", b"fine"]).cast(pa.string(), safe=False)
    broken = pa.Array.from_buffers(pa.string(), 3, pa.array([b"caf\xe9", b"fine", b"x"]).buffers())
    columns = {
        "image": [jpeg(1), bytes(5000), jpeg(2)],
        "text": broken,
        "row": pa.array([[1.0], [1.0], [float("nan")]]),
    }
    path = write(tmp_path / "a.parquet", columns)
    limits = ImageLimits(max_bytes=4999)
    records = read(path, columns=ColumnNames(embeddings=("row",)), limits=limits)
    assert codes(records) == {
        "a:0": "text_broken",
        "a:1": "image_too_large",
        "a:2": "record_broken",
    }
    assert records[0].texts["title"] == "caf\ufffd"
    assert records[1].image is None


def test_without_an_image_column_nothing_is_missing(tmp_path):
    columns = {"title": ["a"], "row": pa.array([[1.0, 0.0]])}
    (record,) = read(
        write(tmp_path / "a.parquet", columns), columns=ColumnNames(embeddings=("row",))
    )
    assert record.problem is None
    assert record.image is None


def test_a_named_column_that_is_not_there(tmp_path):
    path = write(tmp_path / "a.parquet", {"title": ["a"], "y": [1]})
    with pytest.raises(ValueError, match=r"no column 'label2' for label, found \['title', 'y'\]"):
        open_corpus(path, columns=ColumnNames(label="label2"))


def test_a_bad_file_among_good_ones_is_one_broken_record(tmp_path):
    write(tmp_path / "d" / "0.parquet", {"image": [jpeg(0)]})
    (tmp_path / "d" / "1.parquet").write_bytes(b"PAR1 not really")
    write(tmp_path / "d" / "sub" / "2.parquet", {"image": [jpeg(2)]})
    records = read(tmp_path / "d")
    assert codes(records) == {"0:0": None, "1:rest": "record_broken", "2:0": None}
    with pytest.raises(ValueError, match=r"1\.parquet"):
        open_corpus(tmp_path / "d" / "1.parquet")


def test_a_damaged_page_is_an_error_of_the_shard(tmp_path):
    columns = {"image": [jpeg(n) for n in range(50)]}
    path = write(tmp_path / "a.parquet", columns, compression="zstd", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[1000:9000] = bytes(8000)
    path.write_bytes(bytes(data))
    shard = open_corpus(path).shards[0]
    with pytest.raises((OSError, ValueError)):
        list(shard.records())


def test_records_are_a_stream(tmp_path):
    image = np.random.default_rng(0).bytes(2**20)
    columns = {"image": [image] * 96}
    # no dictionary, or the repeated image would be stored once; pages of 4 rows instead of 1,024
    pages = {"use_dictionary": False, "data_page_size": 2**20, "write_batch_size": 4}
    path = write(tmp_path / "a.parquet", columns, **pages)
    shard = open_corpus(path).shards[0]
    tracemalloc.start()
    before, most = pa.total_allocated_bytes(), 0
    for record in shard.records():
        assert len(record.image) == 2**20
        most = max(most, pa.total_allocated_bytes() - before)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20
    assert most < 80 * 2**20
