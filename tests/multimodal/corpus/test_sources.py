import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal.corpus.sources import (
    expand,
    expand_braces,
    file_identity,
    is_unsafe,
    safe_name,
    unique_names,
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["a/", "b", ".tar", "x-"]),
            st.lists(st.sampled_from(["t", "u", ""]), min_size=2, max_size=3).map(
                lambda parts: "{" + ",".join(parts) + "}"
            ),
            st.tuples(
                st.integers(0, 12), st.integers(0, 12), st.sampled_from(["", "0", "000"])
            ).map(lambda n: f"{{{n[2]}{n[0]}..{n[2]}{n[1]}}}"),
        ),
        max_size=4,
    ).map("".join)
)
def test_braces_mean_what_braceexpand_says(pattern):
    braceexpand = pytest.importorskip("braceexpand").braceexpand
    assert expand_braces(pattern) == list(braceexpand(pattern))


def test_what_is_no_expansion_stays():
    for plain in ("a{b}.tar", "a{}.tar", "a{1..b}.tar", "{a"):
        assert expand_braces(plain) == [plain]
    assert expand_braces("{x}{1..2}") == ["{x}1", "{x}2"]


@pytest.mark.parametrize("pattern", ["{0..99999999999}", "{0..9999}{0..9999}"])
def test_too_many_files_are_an_error_at_once(pattern):
    with pytest.raises(ValueError, match="means more than 10,000,000 files"):
        expand_braces(pattern)


def test_missing_files(tmp_path):
    (tmp_path / "1.tar").touch()
    # one of many missing is that shard's error, not the corpus'
    assert len(expand(f"{tmp_path}/{{0..2}}.tar")) == 3
    with pytest.raises(FileNotFoundError, match=r"no such file: .*5\.tar"):
        expand(f"{tmp_path}/{{5..9}}.tar")
    with pytest.raises(ValueError, match="empty list"):
        expand([])


def test_names_are_short_unique_and_safe_as_file_names():
    assert unique_names(["/d/00000.tar", "/d/00001.tar.gz"]) == ["00000", "00001"]
    assert unique_names(["a/x.tar", "b/x.tar", "b/y.tar"]) == ["a-x", "b-x", "b-y"]
    assert unique_names(["s3://b/x.tar?v=1"]) == ["x"]
    assert unique_names(["a/X.tar", "b/x.tar"]) == ["a-X", "b-x"]
    assert unique_names(["x.tar", "x.tar"]) == ["x-0", "x-1"]
    assert unique_names([]) == []
    assert safe_name("../é b:c") == "b_c"
    assert safe_name("...") == "shard"


@pytest.mark.parametrize(
    ("name", "unsafe"),
    [
        *[("a/b.jpg", False), ("a..b/c.jpg", False), ("./a.jpg", False), ("a:b.jpg", True)],
        *[("/a.jpg", True), ("../a.jpg", True), ("a/../b.jpg", True), ("a\\..\\b.jpg", True)],
        *[("C:\\a.jpg", True), ("\\a.jpg", True), ("a\0.jpg", True), ("..", True)],
    ],
)
def test_unsafe_names(name, unsafe):
    assert is_unsafe(name) == unsafe


def test_the_identity_of_a_file_outlives_a_chmod_but_not_a_change(tmp_path):
    path = tmp_path / "a"
    path.write_text("x")
    first = file_identity(str(path))
    path.chmod(0o600)
    os.link(path, tmp_path / "b")
    assert file_identity(str(path)) == first == file_identity(str(path))
    os.utime(path, (time.time(), 1.0))
    assert file_identity(str(path)) != first
