"""Every export, read back by the library it is made for."""

import gc
import json
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from multimodal.corpus import open_corpus
from multimodal.export import EXPORTERS, ExportSettings, TrainingFilter, export_run
from multimodal.export.datacomp import as_uids
from multimodal.run_folder import open_run
from tests.multimodal.run_folders import NAMES, Pair, random_pairs, refused, write_run


def uid(i: int) -> str:
    return f"{(i * 0x9E3779B97F4A7C15) % 2**128:032x}"


@pytest.fixture(scope="module")
def pairs():
    both = random_pairs(30), random_pairs(25, seed=1)
    first = [replace(pair, id=uid(i + 1)) for i, pair in enumerate(both[0])]
    second = [replace(pair, id=uid(i + 100)) for i, pair in enumerate(both[1])]
    bad = refused(uid(99), "image_undecodable", "truncated", given=1)
    return {"a": [*first, bad], "b": second}


@pytest.fixture(scope="module")
def folder(pairs, tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("export") / "run", pairs)


def read_webdataset(tars, *stages):
    """All samples; webdataset leaves files to the garbage collector, which must not warn."""
    wds = pytest.importorskip("webdataset")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        stream = wds.WebDataset(tars, shardshuffle=False, empty_check=False)
        for name, argument in stages:
            stream = getattr(stream, name)(argument)
        samples = list(stream)
        del stream
        gc.collect()
    return samples


def kept(pairs: dict[str, list[Pair]]) -> list[Pair]:
    return [p for one in pairs.values() for p in one if p.verdict in ("keep", "relabel")]


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_datacomp_subset_is_what_datacomp_writes(folder, pairs, tmp_path):
    done = export_run(folder, to="datacomp", out=tmp_path / "subset.npy")
    found = np.load(tmp_path / "subset.npy", allow_pickle=False)
    # the recipe of DataComp's baselines
    wanted = np.array(
        [(int(p.id[:16], 16), int(p.id[16:32], 16)) for p in kept(pairs)], np.dtype("u8,u8")
    )
    wanted.sort()
    assert found.dtype == np.dtype([("f0", "u8"), ("f1", "u8")])
    assert (found == wanted).all()
    assert done.rows == len(found) == len(kept(pairs))


def test_datacomp_refuses_ids_that_are_no_uids(tmp_path):
    run = write_run(tmp_path / "run", {"a": random_pairs(5)})
    with pytest.raises(ValueError, match=r"'p0000\d' is no uid of 32 hex"):
        export_run(run, to="datacomp", out=tmp_path / "s.npy")
    assert not (tmp_path / "s.npy").exists()
    done = export_run(
        run, to="datacomp", out=tmp_path / "s.npy", settings=ExportSettings(hash_ids=True)
    )
    assert len(np.load(tmp_path / "s.npy")) == done.rows
    with pytest.raises(ValueError, match=r"must end in \.npy"):
        export_run(run, to="datacomp", out=tmp_path / "subset")
    assert as_uids([]).shape == (0,)


@pytest.mark.parametrize("name", ["table.parquet", "tables"])
def test_parquet_has_a_line_per_decision(folder, pairs, tmp_path, name):
    everything = ExportSettings(verdicts=("keep", "relabel", "reject", "abstain"))
    export_run(folder, to="parquet", out=tmp_path / name, settings=everything)
    rows = pq.read_table(tmp_path / name).to_pylist()
    for row, pair in zip(rows, [p for one in pairs.values() for p in one], strict=True):
        assert (row["id"], row["verdict"], row["reason"]) == (pair.id, pair.verdict, pair.reason)
        assert row["label"] == (NAMES[pair.used] if pair.used >= 0 else None)
        assert row["label_number"] == pair.used
        assert row["given_label"] == NAMES[pair.given]
        assert row["quality"] == pytest.approx(pair.quality)
        assert row["text"] == pair.text
    assert {row["shard"] for row in rows} == {"a", "b"}
    assert "text_match" in rows[0]


def test_quality_and_verdict_choose_rows(folder, pairs, tmp_path):
    settings = ExportSettings(verdicts=("keep",), min_quality=0.8)
    done = export_run(folder, to="parquet", out=tmp_path / "t.parquet", settings=settings)
    wanted = [p.id for p in kept(pairs) if p.verdict == "keep" and p.quality >= 0.8]
    assert pq.read_table(tmp_path / "t.parquet")["id"].to_pylist() == wanted
    assert 0 < done.rows == len(wanted) < len(kept(pairs))


def test_webdataset_is_read_by_webdataset(folder, pairs, tmp_path):
    done = export_run(folder, to="webdataset", out=tmp_path / "out")
    tars = [str(tmp_path / "out" / f"{name}.tar") for name in ("a", "b")]
    samples = read_webdataset(tars, ("decode", "pil"))
    source = {
        record.id: record.image
        for shard in open_run(folder).corpus().shards
        for record in shard.records()
    }
    assert done.rows == len(samples) == len(kept(pairs))
    for sample, pair in zip(samples, kept(pairs), strict=True):
        assert sample["json"]["uid"] == pair.id
        assert sample["json"]["label"] == NAMES[pair.used]
        assert sample["json"]["verdict"] == pair.verdict
        assert sample["cls"] == pair.used
        assert sample["txt"] == pair.text
        assert sample["jpg"].size == (90, 120)
    raw = read_webdataset(tars)
    assert all(one["jpg"] == source[json.loads(one["json"])["uid"]] for one in raw)


def test_webdataset_export_is_a_corpus_again(folder, pairs, tmp_path):
    export_run(folder, to="webdataset", out=tmp_path / "out")
    records = [r for s in open_corpus(str(tmp_path / "out" / "*.tar")).shards for r in s.records()]
    assert [(r.id, r.problem) for r in records] == [(p.id, None) for p in kept(pairs)]


def test_webdataset_bytes_are_repeatable_and_shards_are_resumed(folder, tmp_path):
    export_run(folder, to="webdataset", out=tmp_path / "one")
    export_run(folder, to="webdataset", out=tmp_path / "two")
    first = contents(tmp_path / "one")
    assert first == contents(tmp_path / "two")
    assert "a.tar" in first
    # stopped after the first shard: the second one is written, the first one left alone
    for name in ("b.tar", "b_stats.json"):
        (tmp_path / "two" / name).unlink()
    before = (tmp_path / "two" / "a.tar").stat().st_mtime_ns
    done = export_run(folder, to="webdataset", out=tmp_path / "two")
    assert (done.skipped, done.rows) == (1, len(kept_of(folder)))
    assert (tmp_path / "two" / "a.tar").stat().st_mtime_ns == before
    assert contents(tmp_path / "two") == first
    # other settings are another export
    settings = ExportSettings(verdicts=("keep",))
    assert export_run(folder, to="webdataset", out=tmp_path / "two", settings=settings).skipped == 0
    assert contents(tmp_path / "two") != first


def kept_of(folder):
    audit = open_run(folder).audit()
    return np.flatnonzero(np.isin(audit.verdict, ("keep", "relabel")))


def test_a_changed_corpus_is_not_exported(pairs, tmp_path):
    run = write_run(tmp_path / "run", pairs)
    other = {name: list(reversed(one)) for name, one in pairs.items()}
    write_run(tmp_path / "other", other)
    shutil.copy(tmp_path / "other-shards" / "a.tar", tmp_path / "run-shards" / "a.tar")
    with pytest.raises(ValueError, match="the corpus has changed"):
        export_run(run, to="webdataset", out=tmp_path / "out")
    assert not (tmp_path / "out" / "a.tar").exists()
    write_run(tmp_path / "short", {"a": pairs["a"][:3]})
    shutil.copy(tmp_path / "short-shards" / "a.tar", tmp_path / "run-shards" / "a.tar")
    with pytest.raises(ValueError, match="ends before record"):
        export_run(run, to="webdataset", out=tmp_path / "out")


@pytest.mark.parametrize("images", [True, False])
def test_huggingface_dataset_is_loaded_from_disk(folder, pairs, tmp_path, images):
    datasets = pytest.importorskip("datasets")
    settings = ExportSettings(images=images)
    export_run(folder, to="huggingface", out=tmp_path / "ds", settings=settings)
    loaded = datasets.load_from_disk(str(tmp_path / "ds"))
    assert loaded["id"][:] == [p.id for p in kept(pairs)]
    assert loaded.features["label"].names == list(NAMES)
    assert loaded["label"][:] == [p.used for p in kept(pairs)]
    assert loaded["given_label"][:] == [p.given for p in kept(pairs)]
    assert ("image" in loaded.column_names) == images
    if images:
        assert loaded[0]["image"].size == (90, 120)
    with pytest.raises(ValueError, match="must not exist yet"):
        export_run(folder, to="huggingface", out=tmp_path / "ds")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ds"]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_training_filter_in_a_webdataset_pipeline(folder, pairs, tmp_path, suffix):
    path = tmp_path / f"keep{suffix}"
    export_run(folder, to="training_filter", out=path)
    chosen = TrainingFilter.read(path)
    tars = [str(folder.parent / "run-shards" / f"{name}.tar") for name in ("a", "b")]
    samples = read_webdataset(tars, ("map", chosen))
    found = {json.loads(one["json"])["uid"]: one for one in samples}
    assert {k: one["label"] for k, one in found.items()} == {p.id: p.used for p in kept(pairs)}
    assert all(one["label_name"] == NAMES[one["label"]] for one in found.values())
    assert len(read_webdataset(tars, ("select", chosen.keeps))) == len(found)
    assert path.stat().st_size < 16 * len(chosen) + 2000


def test_training_filter_says_what_it_cannot_read(tmp_path):
    np.savez(tmp_path / "x.npz", keys=np.zeros(1))
    with pytest.raises(ValueError, match="no training filter"):
        TrainingFilter.read(tmp_path / "x.npz")
    empty = TrainingFilter(np.zeros(0, np.uint64), np.zeros(0, int), np.zeros(0), ("a",))
    assert empty({"id": "x"}) is None
    with pytest.raises(KeyError, match="has no id"):
        empty({"jpg": b""})


def test_settings_and_formats_are_checked(folder, tmp_path):
    with pytest.raises(ValueError, match="did you mean 'parquet'"):
        export_run(folder, to="parquett", out=tmp_path / "x")
    with pytest.raises(ValueError, match="verdicts must be some of"):
        ExportSettings(verdicts=("kept",))
    with pytest.raises(ValueError, match="min_quality must lie"):
        ExportSettings(min_quality=1.5)
    (tmp_path / "file").write_text("x")
    for name in ("parquet", "webdataset"):
        with pytest.raises(ValueError, match="must be a folder"):
            export_run(folder, to=name, out=tmp_path / "file")


@pytest.mark.parametrize("name", list(EXPORTERS))
def test_a_run_that_keeps_nothing_is_exported(tmp_path, name):
    nothing = [
        replace(p, verdict="reject", label=None, reason="below_keep_threshold")
        for p in random_pairs(4)
    ]
    run = write_run(tmp_path / "run", {"a": nothing})
    ending = {"datacomp": ".npy", "parquet": ".parquet", "training_filter": ".npz"}.get(name, "")
    if name == "huggingface":
        pytest.importorskip("datasets")
    assert export_run(run, to=name, out=tmp_path / f"out{ending}").rows == 0
