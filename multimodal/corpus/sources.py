"""Paths, brace expansions, globs and fsspec URLs to files, in one order, with what names them."""

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

Source = str | Path | Sequence[str | Path]

BRACES = re.compile(r"\{([^{}]*)\}")
# one more is a typing error, and would fill the memory before anyone sees it
MAX_FILES = 10_000_000
BUFFER = 2**18
UNSAFE_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def expand_braces(pattern: str) -> list[str]:
    """All paths a pattern such as ``shards/{00000..01243}.tar`` or ``{train,test}.csv`` means.

    Raises:
        ValueError: More than `MAX_FILES`.

    Example:
        >>> expand_braces("{a,b}/{08..10}.tar")[:4]
        ['a/08.tar', 'a/09.tar', 'a/10.tar', 'b/08.tar']
    """
    found = next((m for m in BRACES.finditer(pattern) if _choices(m[1]) is not None), None)
    if found is None:
        return [pattern]
    tails = expand_braces(pattern[found.end() :])
    choices = _choices(found[1]) or []
    if len(choices) * len(tails) > MAX_FILES:
        raise ValueError(f"{pattern} means more than {MAX_FILES:,} files")
    return [f"{pattern[: found.start()]}{choice}{tail}" for choice in choices for tail in tails]


def expand(source: Source) -> list[str]:
    """Files and folders a source means: braces expanded, then globs, each glob sorted.

    Raises:
        ValueError: A list with nothing in it, or a glob that matches nothing.
        OSError: None of the files named without a glob is there (local ones are looked for).
    """
    import fsspec

    patterns = [source] if isinstance(source, str | Path) else list(source)
    if not patterns:
        raise ValueError("source must name at least one file, got an empty list")
    paths: list[str] = []
    for pattern in (p for each in patterns for p in expand_braces(str(each))):
        # a ? is the query of an address, not a glob, where the address is remote
        if re.search(r"[*\[]" if "://" in pattern else r"[*?\[]", pattern):
            files, _ = fsspec.core.url_to_fs(pattern)
            matches = sorted(str(files.unstrip_protocol(p)) for p in files.glob(pattern))
            if not matches:
                raise ValueError(f"{pattern} matches no file")
            paths += [_without_file_protocol(match) for match in matches]
        else:
            paths.append(_without_file_protocol(pattern))
    if not any("://" in path or Path(path).exists() for path in paths):
        raise FileNotFoundError(f"no such file: {paths[0]}")
    return paths


def is_folder(path: str, *, endings: tuple[str, ...] = ()) -> bool:
    """Whether a path or URL is a folder; a URL with one of the endings is a file, unasked."""
    if "://" not in path:
        return Path(path).is_dir()
    # a web server has no folders, and asking it loads the page
    if path.startswith(("http:", "https:")) or path.split("?")[0].endswith(endings or "\0"):
        return False
    import fsspec

    files, inside = fsspec.core.url_to_fs(path)
    return bool(files.isdir(inside))


def list_files(folder: str) -> list[str]:
    """Files directly in a folder, sorted, as full paths or URLs."""
    import fsspec

    files, inside = fsspec.core.url_to_fs(folder)
    entries = [e for e in files.ls(inside, detail=True) if e["type"] == "file"]
    return sorted(_without_file_protocol(files.unstrip_protocol(e["name"])) for e in entries)


def list_files_below(folder: str) -> list[tuple[str, str]]:
    """(path relative to the folder, what identifies its content) of all files below, sorted."""
    import fsspec

    files, inside = fsspec.core.url_to_fs(folder)
    found = files.find(inside, detail=True)
    start = len(inside.rstrip("/")) + 1
    return sorted((name[start:], _identity(info)) for name, info in found.items())


@contextmanager
def open_file(path: str) -> Iterator[BinaryIO]:
    """The file's bytes as a buffered stream; ``.gz``, ``.bz2``, ``.xz`` and the like are unpacked.

    Raises:
        OSError: It cannot be opened.
    """
    if "://" not in path and not is_compressed(path):
        with open(path, "rb") as file:
            yield file
        return
    import fsspec

    with fsspec.open(path, "rb", compression="infer") as stream:
        # files of fsspec read lines byte by byte
        buffered = isinstance(stream, io.BufferedIOBase)
        yield stream if buffered else io.BufferedReader(stream, BUFFER)


def is_compressed(path: str) -> bool:
    """Whether `open_file` unpacks it."""
    from fsspec.utils import infer_compression

    return infer_compression(path) is not None


def file_identity(path: str) -> str:
    """What identifies a file's content without reading it: size and time or entity tag.

    Raises:
        OSError: The file is not there.
    """
    import fsspec

    files, inside = fsspec.core.url_to_fs(path)
    return _identity(files.info(inside))


def digest(*parts: object) -> str:
    """SHA-256 of the parts' representations; parts are plain values or frozen dataclasses."""
    return hashlib.sha256("\0".join(map(repr, parts)).encode("utf-8", "replace")).hexdigest()


def unique_names(paths: Sequence[str]) -> list[str]:
    """A name per path, safe as a file name: the stem, with as many folders as tell them apart.

    Example:
        >>> unique_names(["s3://b/train/0.tar", "s3://b/test/0.tar"])
        ['train-0', 'test-0']
    """
    parts = [_without_suffixes(path).split("/") for path in paths]
    names: list[str] = []
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = [safe_name("-".join(part[-depth:])) for part in parts]
        if _all_differ(names):
            return names
    return [f"{name}-{number}" for number, name in enumerate(names)]


def safe_name(text: str) -> str:
    """The text with everything but letters, digits, ``.``, ``_``, ``-`` replaced; never hidden."""
    return UNSAFE_IN_NAMES.sub("_", text).lstrip(".-_") or "shard"


def is_unsafe(name: str) -> bool:
    """Whether a name in an archive or table is absolute or leaves its folder."""
    flat = name.replace("\\", "/")
    absolute = flat.startswith("/") or re.match(r"[A-Za-z]:", flat) is not None
    return absolute or ".." in flat.split("/") or "\0" in flat


def _choices(inside: str) -> list[str] | None:
    """What stands for a brace, or None where it is no expansion."""
    if "," in inside:
        return inside.split(",")
    numbers = re.fullmatch(r"(\d+)\.\.(\d+)", inside)
    if numbers is None:
        return None
    first, last = int(numbers[1]), int(numbers[2])
    if abs(last - first) >= MAX_FILES:
        raise ValueError(f"{{{inside}}} means more than {MAX_FILES:,} files")
    padded = any(len(n) > 1 and n.startswith("0") for n in numbers.groups())
    width = max(map(len, numbers.groups())) if padded else 0
    step = 1 if last >= first else -1
    return [str(n).zfill(width) for n in range(first, last + step, step)]


def _identity(info: dict[str, Any]) -> str:
    """Size and the first time or tag a file system gives; never what a copy or chmod changes."""
    keys = ("ETag", "etag", "mtime", "LastModified", "last_modified", "md5Hash", "created")
    stamp = next((info[key] for key in keys if info.get(key) is not None), None)
    return f"{info.get('size')} {stamp}"


def _without_file_protocol(path: str) -> str:
    return path.removeprefix("file://")


def _without_suffixes(path: str) -> str:
    """The path without query, protocol, and the suffixes of its last part."""
    path = path.split("?")[0] if "://" in path else path
    folder, _, name = path.rpartition("://")[2].rstrip("/").rpartition("/")
    name = re.sub(r"(\.(tar|tgz|parquet|csv|tsv|jsonl|gz|bz2|xz|zst))+$", "", name) or name
    return f"{folder}/{name}"


def _all_differ(names: Iterable[str]) -> bool:
    seen = [name.casefold() for name in names]  # some file systems do not tell case apart
    return len(set(seen)) == len(seen)
