import pickle

import numpy as np
import pytest

from multimodal.corpus import ColumnNames, corpus_from_dataset, guess_format, open_corpus
from tests.multimodal.corpus.making import codes, facts, jpeg

datasets = pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def dataset():
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["cat", "dog", "fox"]),
            "clip": datasets.Sequence(datasets.Value("float32"), length=3),
        }
    )
    rows = {
        "image": [{"bytes": jpeg(n), "path": f"{n}.jpg"} for n in range(7)],
        "text": [f"text {n}" for n in range(7)],
        "label": [0, 1, 2, 0, -1, 2, 1],
        "clip": np.arange(21, dtype=np.float32).reshape(7, 3).tolist(),
    }
    rows["image"][5] = {"bytes": b"broken", "path": None}
    rows["image"][6] = None
    return datasets.Dataset.from_dict(rows, features=features)


def read(corpus):
    records = [r for shard in corpus.shards for r in shard.records()]
    again = [r for shard in pickle.loads(pickle.dumps(corpus)).shards for r in shard.records()]
    assert [facts(r) for r in records] == [facts(r) for r in again]
    return records


def test_a_dataset_from_python(dataset):
    names = ColumnNames(embeddings=("clip",))
    records = read(corpus_from_dataset(dataset, columns=names, rows_per_shard=3))
    assert [r.labels for r in records] == [
        *[("cat",), ("dog",), ("fox",), ("cat",), (), ("fox",), ("dog",)]
    ]
    assert [r.image for r in records[:5]] == [jpeg(n) for n in range(5)]
    assert records[5].image == b"broken"  # found when it is decoded
    assert codes(records) == {**dict.fromkeys("012345"), "6": "image_missing"}
    assert records[2].embeddings["clip"].tolist() == [6.0, 7.0, 8.0]


def test_chosen_rows_come_in_the_chosen_order(dataset):
    records = read(corpus_from_dataset(dataset.select([3, 1]).add_column("uid", ["c", "a"])))
    assert [(r.id, r.labels, r.image) for r in records] == [
        ("c", ("cat",), jpeg(3)),
        ("a", ("dog",), jpeg(1)),
    ]


def test_saved_datasets_and_splits(dataset, tmp_path):
    dataset.save_to_disk(tmp_path / "one")
    both = datasets.DatasetDict({"train": dataset.select(range(4)), "test": dataset.select([4])})
    both.save_to_disk(tmp_path / "two")
    assert guess_format(tmp_path / "one") == guess_format(tmp_path / "two") == "huggingface"
    one = open_corpus(tmp_path / "one", rows_per_shard=4)
    assert [s.name for s in one.shards] == ["rows-000000000", "rows-000000004"]
    assert [r.image for r in read(one)][:5] == [jpeg(n) for n in range(5)]
    two = open_corpus(tmp_path / "two")
    assert [s.name for s in two.shards] == ["train-000000000", "test-000000000"]
    assert [r.id for r in read(two)] == [*(f"train:{n}" for n in range(4)), "test:0"]
    assert len({s.fingerprint() for s in (*one.shards, *two.shards)}) == 4
    # without the data in it
    assert len(pickle.dumps(one.shards[0])) < 2000


def test_multi_label_class_names():
    features = datasets.Features({"labels": datasets.List(datasets.ClassLabel(names=["a", "b"]))})
    made = datasets.Dataset.from_dict({"labels": [[1, 0], []]}, features=features)
    assert [r.labels for r in read(corpus_from_dataset(made))] == [("b", "a"), ()]


def test_errors(dataset):
    with pytest.raises(ValueError, match="no column 'caption' for title, found"):
        corpus_from_dataset(dataset, columns=ColumnNames(title="caption"))
    with pytest.raises(ValueError, match=r"must be a datasets\.Dataset, got list"):
        corpus_from_dataset([1])
    with pytest.raises(ValueError, match="pick one"):
        corpus_from_dataset(datasets.DatasetDict({"train": dataset}))
    with pytest.raises(ValueError, match="one folder or name"):
        open_corpus(["a", "b"], format="huggingface")
