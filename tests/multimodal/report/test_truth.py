"""Truth files in every format, and what is wrong with some."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multimodal.report.truth import read_truth

NAMES = ("cat", "dog", "7")
PAIRS = [("b", "dog"), ("a", "cat"), ("c", "unicorn"), ("d", "7"), ("e", "1")]


def write(path, pairs):
    if path.suffix == ".parquet":
        columns = {"id": [one for one, _ in pairs], "label": [label for _, label in pairs]}
        pq.write_table(pa.table(columns), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps({"id": i, "label": k}) for i, k in pairs))
    else:
        comma = "\t" if path.suffix == ".tsv" else ","
        path.write_text(
            "\n".join(comma.join(("extra", i, k)) for i, k in [("id", "label"), *pairs])
        )
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_says_the_same(tmp_path, suffix):
    truth = read_truth(write(tmp_path / f"truth{suffix}", PAIRS), NAMES)
    # a name stands before a number, a number is taken where no class is so called
    assert truth.of(["a", "b", "c", "d", "e", "unknown"]).tolist() == [0, 1, -1, 2, 1, -1]
    assert (len(truth), truth.outside) == (5, 1)


def test_the_same_line_twice_is_fine_and_two_labels_are_not(tmp_path):
    truth = read_truth(write(tmp_path / "t.csv", [*PAIRS, ("a", "cat")]), NAMES)
    assert len(truth) == 5
    with pytest.raises(ValueError, match="two labels to id 'a'"):
        read_truth(write(tmp_path / "t.csv", [*PAIRS, ("a", "dog")]), NAMES)


def test_files_of_no_use_are_refused(tmp_path):
    with pytest.raises(ValueError, match="truth must be a"):
        read_truth(tmp_path / "truth.txt", NAMES)
    (tmp_path / "t.csv").write_text("name,label\na,cat\n")
    with pytest.raises(ValueError, match="needs a column 'id'"):
        read_truth(tmp_path / "t.csv", NAMES)
    with pytest.raises(ValueError, match=r"no label .* names a class: found 'cow'"):
        read_truth(write(tmp_path / "t.csv", [("a", "cow")]), NAMES)


def test_an_empty_file_knows_nothing(tmp_path):
    assert read_truth(write(tmp_path / "t.csv", []), NAMES).of(["a"]).tolist() == [-1]
