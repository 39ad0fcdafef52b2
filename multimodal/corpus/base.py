"""What a reader of corpora offers: named shards, each a stream of records."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from multimodal.records import Record


class Shard(Protocol):
    """A part of a corpus that is read, committed and retried as one. Cheap to pickle: no data."""

    @property
    def name(self) -> str:
        """Unique in the corpus and the same on every run; safe as a file name."""
        ...

    def fingerprint(self) -> str:
        """Hash of what identifies the content without reading it all: path, size, time or rows."""
        ...

    def records(self) -> Iterator[Record]:
        """All records in the order of the source, the broken ones with their `problem`.

        The same on every call. Never raises for one bad record; raises OSError or ValueError
        where the rest of the shard cannot be read.
        """
        ...


@dataclass(frozen=True)
class Corpus:
    """Shards in order.

    Attributes:
        source: What the user asked for, for reports.
        shards: In the order of the source.
    """

    source: str
    shards: tuple[Shard, ...]

    def __post_init__(self) -> None:
        names = [shard.name for shard in self.shards]
        if not names:
            raise ValueError(f"no shards found in {self.source}")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"shards need unique names, found {twice!r} more than once")
