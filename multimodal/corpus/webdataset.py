"""WebDataset tars in img2dataset's layout: ``KEY.jpg``, ``KEY.txt``, ``KEY.json``, ``KEY.cls``.

One tar is one shard, read forward as a stream; nothing is written to disk. Texts of ``KEY.txt``
and ``KEY.cls`` and the entries of ``KEY.json`` are the columns of `ColumnNames` (called ``txt``,
``cls``, and as in the JSON). The id is the entry ``uid`` of the JSON, which is how DataComp names
pairs, else KEY, with its folder. Members of other kinds are skipped unread.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from multimodal.corpus.base import Corpus
from multimodal.corpus.columns import ColumnNames
from multimodal.corpus.fields import make_record
from multimodal.corpus.images import SUFFIXES, ImageLimits
from multimodal.corpus.sources import (
    Source,
    digest,
    expand,
    file_identity,
    is_compressed,
    is_folder,
    is_unsafe,
    list_files,
    open_file,
    unique_names,
)
from multimodal.corpus.tar_stream import Member, TarError, TarStream
from multimodal.records import Problem, Record

ENDINGS = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
TEXT_MEMBERS = ("txt", "json", "cls")
# of a text member; the longest real ones (a page's description, EXIF in JSON) have some 10 kB
MAX_TEXT_BYTES = 2**20


def open_webdataset(
    source: Source, *, columns: ColumnNames, limits: ImageLimits, rows_per_shard: int
) -> Corpus:
    """Tar files as shards; a folder means the tar files in it.

    Args:
        source: Paths, brace expansions, globs, URLs or folders.
        columns: Entries of the JSON members to use.
        limits: Larger image members are skipped unread.
        rows_per_shard: Not used: a tar is a shard.

    Returns:
        The corpus; no archive has been opened yet.
    """
    paths: list[str] = []
    for path in expand(source):
        if is_folder(path, endings=ENDINGS):
            paths += [inside for inside in list_files(path) if inside.endswith(ENDINGS)]
        else:
            paths.append(path)
    shards = (
        TarShard(name, path, columns, limits)
        for name, path in zip(unique_names(paths), paths, strict=True)
    )
    return Corpus(str(source), tuple(shards))


@dataclass(frozen=True)
class TarShard:
    """One tar file.

    Attributes:
        name: Unique in the corpus.
        path: Path or URL.
        columns: As given by the user.
        limits: Larger image members are skipped unread.
    """

    name: str
    path: str
    columns: ColumnNames
    limits: ImageLimits

    def fingerprint(self) -> str:
        """Hash of path, size and time, and of the settings that shape the records."""
        parts = (self.path, file_identity(self.path), self.columns, self.limits)
        return digest("webdataset", *parts)

    def records(self) -> Iterator[Record]:
        """Records in the order of the archive.

        A damaged or cut archive ends with one record more, `record_broken`: it names the sample
        that is cut, or ``SHARD:rest``. So what was readable is used and the loss is counted.

        Raises:
            OSError: The archive cannot be opened, or reading fails (a network that may recover).
        """
        with open_file(self.path) as stream:
            sample: _Sample | None = None
            archive = TarStream(stream, compressed=is_compressed(self.path))
            try:
                for member in archive:
                    if (parts := _key_and_ending(member)) is None:
                        continue
                    key, ending = parts
                    if sample is None or key != sample.key or ending in sample.endings:
                        if sample is not None:
                            yield sample.record(self.columns)
                        sample = _Sample(key)
                    sample.take(member, ending, archive, self.limits)
            except TarError as error:
                yield from self._end(sample, error)
                return
            if sample is not None:
                yield sample.record(self.columns)

    def _end(self, sample: "_Sample | None", error: TarError) -> Iterator[Record]:
        """What can be told of a damaged archive: the sample before the damage, then the damage."""
        problem = Problem("record_broken", f"{error}; nothing behind it can be read")
        parts = _key_and_ending(Member(error.member, 0, "file")) if error.member else None
        if sample is not None and parts is not None and sample.key == parts[0]:
            # `image` may be cut as well
            sample.problem = problem
            yield replace(sample.record(self.columns), image=None)
            return
        if sample is not None:
            yield sample.record(self.columns)
        yield Record(f"{self.name}:rest" if parts is None else parts[0], problem=problem)


@dataclass
class _Sample:
    """Members of one key as they come by."""

    key: str
    endings: set[str] = field(default_factory=set)
    values: dict[str, Any] = field(default_factory=dict)
    image: bytes | None = None
    image_name: str = ""
    problem: Problem | None = None

    def take(self, member: Member, ending: str, archive: TarStream, limits: ImageLimits) -> None:
        """Read what is wanted of a member, and note what is wrong with it."""
        self.endings.add(ending)
        is_image = ending.rpartition(".")[2] in SUFFIXES
        if is_unsafe(member.name):
            self._note("unsafe_path", member.name)
        elif is_image:
            # KEY.jpg stands before KEY.mask.png, whichever comes first
            if not self.image_name or ("." not in ending and "." in _ending(self.image_name)):
                self._take_image(member, archive, limits)
        elif ending in TEXT_MEMBERS:
            self._take_text(member, ending, archive)

    def record(self, columns: ColumnNames) -> Record:
        """The sample as a record."""
        if not self.image_name:
            self._note("image_missing", "the sample has no image")
        return make_record(
            self.values,
            _resolve(columns, tuple(self.values)),
            default_id=self.key,
            image=self.image,
            image_name=self.image_name,
            problem=self.problem,
        )

    def _take_image(self, member: Member, archive: TarStream, limits: ImageLimits) -> None:
        self.image, self.image_name = None, member.name
        if member.kind != "file":
            self._note("image_missing", f"{member.name} is a {member.kind} member, not a file")
        elif member.size > limits.max_bytes:
            self._note("image_too_large", f"{member.size:,} bytes, allowed {limits.max_bytes:,}")
        else:
            self.image = archive.read()

    def _take_text(self, member: Member, ending: str, archive: TarStream) -> None:
        if member.kind != "file":
            self._note("record_broken", f"{member.name} is a {member.kind} member, not a file")
            return
        if member.size > MAX_TEXT_BYTES:
            self._note("record_broken", f"{member.name} has {member.size:,} bytes of text")
            return
        text = archive.read().decode("utf-8", "surrogateescape")
        if ending != "json":
            self.values[ending] = text
            return
        try:
            entries = json.loads(text)
        except (ValueError, RecursionError) as error:
            self._note("record_broken", f"{member.name}: {error}")
            return
        if isinstance(entries, dict):
            # KEY.txt and KEY.cls stand before entries of the same name
            self.values = {**entries, **self.values}
        else:
            self._note("record_broken", f"{member.name} holds no JSON object")

    def _note(self, code: str, detail: str) -> None:
        """The first problem counts."""
        self.problem = self.problem or Problem(code, detail[:200])


def _key_and_ending(member: Member) -> tuple[str, str] | None:
    """Sample and kind of a member, split at the first dot of its name; None: not part of one."""
    folder, slash, name = member.name.removeprefix("./").rpartition("/")
    stem, _, ending = name.partition(".")
    unsafe = is_unsafe(member.name)
    # hidden files are litter (macOS puts ._KEY.jpg there), __meta__ is WebDataset's own
    if member.kind == "folder" or ((not stem or stem.startswith("__")) and not unsafe):
        return None
    return f"{folder}{slash}{stem}", ending.lower()


def _ending(name: str) -> str:
    return name.rpartition("/")[2].partition(".")[2]


@lru_cache(maxsize=1024)
def _resolve(columns: ColumnNames, found: tuple[str, ...]) -> ColumnNames:
    """Columns of one sample; its keys are guessed for the id no further than ``uid``."""
    if columns.id is None:
        columns = replace(columns, id="uid" if "uid" in found else "")
    return replace(columns, image="").resolve(found)
